/* SPDX-License-Identifier: MIT */
/*
 * Verdicts and plan for programs: one JSON object.
 *
 *   {"file", "good", "errors": [{"file", "line", "column", "rule", "sentence"}], "more_errors",
 *    "machine": {"cpus", "free_bytes", "devices": [{"text"}], "given_to": [{"cpu", "guests": [{"guest", "vcpu"}]}]},
 *    "needs": {"cpus", "memory_bytes"},
 *    "hypervisor": {"console", "log", "when_all_stopped", "inventory", "quiet_devices", "quirks",
 *                   "speculation", "allow_siblings", "rtc"},
 *    "guests": [{"name", "memory_bytes", "slice_us", "image", "cpus", "leaves_1g", "leaves_2m", "leaves_4k",
 *                "table_bytes", "shadow_tables", "small_code", "ranges": [{"gpa", "hpa", "bytes"}], and every other
 *                key of the config}],
 *    "host": [{"start", "end", "use", "guest", "given_to"}]}
 *
 * A key of the config has its name with `_` for `-`, times in us and sizes in bytes (`slice_us`, `memory_bytes`).
 * "needs" is missing where no ordinary machine has memory at the guests' places, "guest" and "given_to" where memory is
 * no guest's.
 */
#include "tools/check/check.h"

/* Bytes of the UTF-8 character that begins here, or 0 where none does. RFC 3629, 4 "Syntax of UTF-8 Byte Sequences". */
static size_t utf8_bytes(struct text text, size_t at)
{
    uint8_t first = (uint8_t)text.start[at];
    size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    uint32_t code = first & (0x3fu >> (bytes - 1));
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

    if (first < 0xc2 || first > 0xf4 || at + bytes > text.length) {
        return 0;
    }
    for (size_t i = 1; i < bytes; i++) {
        uint8_t next = (uint8_t)text.start[at + i];

        if ((next & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (next & 0x3f);
    }
    return code < least[bytes] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff ? 0 : bytes;
}

/* UTF-8 as it is; a byte that is none becomes the replacement character. */
static void print_json_text(const char *key, struct text text)
{
    printf("\"%s\": \"", key);
    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = (uint8_t)text.start[i];

        if (c < ' ' || c == 0x7f) {
            printf("\\u%04x", (unsigned)c);
        } else if (c > 0x7f) {
            size_t bytes = utf8_bytes(text, i);

            printf(bytes != 0 ? "%.*s" : "\\ufffd", (int)bytes, text.start + i);
            i += bytes != 0 ? bytes - 1 : 0;
        } else {
            printf(c == '"' || c == '\\' ? "\\%c" : "%c", c);
        }
    }
    printf("\"");
}

static void print_flag(const char *key, bool value)
{
    printf(", \"%s\": %s", key, value ? "true" : "false");
}

static void print_errors(const char *file, const struct config_errors *errors, bool *first)
{
    for (uint32_t i = 0; i < errors->count; i++) {
        const struct config_error *error = &errors->list[i];

        printf("%s\n  {", *first ? "" : ",");
        print_json_text("file", text_of(file));
        printf(", \"line\": %u, \"column\": %u, \"rule\": \"%s\", ", error->position.line, error->position.column,
               error->rule);
        print_json_text("sentence", text_of(error->sentence));
        printf("}");
        *first = false;
    }
}

static void print_cpus_given(const struct check *check);

static void print_machine(const struct check *check)
{
    const struct check_machine *machine = &check->machine;

    printf(",\n \"machine\": {\"cpus\": %u, \"free_bytes\": %" PRIu64 ", \"devices\": [", machine->cpu_count,
           memory_map_bytes(&machine->map, MEMORY_FREE));
    for (uint32_t i = 0; i < machine->device_count; i++) {
        printf("%s{", i == 0 ? "" : ", ");
        print_json_text("text", machine->devices[i]);
        printf("}");
    }
    printf("]");
    print_cpus_given(check);
    printf("}");
}

/* A text of the config behind a comma. */
static void print_member(const char *key, struct text text)
{
    printf(", ");
    print_json_text(key, text);
}

static void print_word(const char *key, const char *word)
{
    print_member(key, text_of(word));
}

/* Which guests have each CPU that a guest has. */
static void print_cpus_given(const struct check *check)
{
    bool first_cpu = true;

    printf(", \"given_to\": [");
    for (uint32_t cpu = 0; cpu < check->machine.cpu_count; cpu++) {
        bool first = true;

        for (uint32_t g = 0; g < check->config.guest_count; g++) {
            const struct config_guest *guest = &check->config.guests[g];

            for (uint32_t v = 0; v < guest->cpu_count; v++) {
                if (guest->cpus[v] != cpu) {
                    continue;
                }
                if (first) {
                    printf("%s{\"cpu\": %u, \"guests\": [", first_cpu ? "" : ", ", cpu);
                }
                printf("%s{", first ? "" : ", ");
                print_json_text("guest", guest->name);
                printf(", \"vcpu\": %u}", v);
                first = first_cpu = false;
            }
        }
        printf("%s", first ? "" : "]}");
    }
    printf("]");
}

static void print_needs(const struct check *check)
{
    struct check_needs needs;

    if (check_needs(check, &needs)) {
        printf(",\n \"needs\": {\"cpus\": %u, \"memory_bytes\": %" PRIu64 "}", needs.cpus, needs.memory_bytes);
    }
}

static void print_hypervisor(const struct config *config)
{
    char rtc[CHECK_RTC_MAX];

    printf(",\n \"hypervisor\": {");
    print_json_text("console", text_of(check_outputs_word(config)));
    print_word("log", config->log_debug ? "debug" : "info");
    print_word("when_all_stopped", check_final_word(config->when_all_stopped));
    print_flag("inventory", config->inventory);
    print_flag("quiet_devices", config->quiet_devices);
    print_flag("quirks", config->quirks);
    print_word("speculation", check_speculation_word(config));
    print_flag("allow_siblings", config->allow_siblings);
    print_word("rtc", check_rtc_text(config, rtc));
    printf("}");
}

/* Devices of the machine. */
static void print_direct(const struct config_guest *guest)
{
    printf(", \"ports\": [");
    for (uint32_t i = 0; i < guest->ports_count; i++) {
        printf("%s[%u, %u]", i == 0 ? "" : ", ", guest->ports[i].first, guest->ports[i].last);
    }
    printf("], \"mmio\": [");
    for (uint32_t i = 0; i < guest->mmio_count; i++) {
        const struct config_mmio *mmio = &guest->mmio[i];

        printf("%s{\"start\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"guest_start\": %" PRIu64 "}", i == 0 ? "" : ", ",
               mmio->start, mmio->bytes, mmio->guest_start);
    }
    printf("]");
    print_word("serial", guest->serial_com2 ? "com2" : "no");
    print_word("keyboard", guest->keyboard ? "ps2" : "no");
    print_flag("framebuffer", guest->framebuffer);
}

static void print_files(const struct config_guest *guest)
{
    print_member("kernel", guest->kernel);
    print_member("cmdline", guest->cmdline);
    printf(", \"modules\": [");
    for (uint32_t i = 0; i < guest->module_count; i++) {
        printf("%s{", i == 0 ? "" : ", ");
        print_json_text("path", guest->modules[i].path);
        print_member("arguments", guest->modules[i].arguments);
        printf("}");
    }
    printf("], \"disks\": [");
    for (uint32_t i = 0; i < guest->disk_count; i++) {
        const struct config_disk *disk = &guest->disks[i];

        printf("%s{", i == 0 ? "" : ", ");
        print_json_text("path", disk->path);
        print_flag("ro", disk->read_only);
        print_word("keep", disk->forget ? "no" : "restart");
        printf(", \"changes_bytes\": %" PRIu64 "}", disk->changes_bytes);
    }
    printf("]");
}

static void print_nets(const struct config_guest *guest, bool resolved)
{
    printf(", \"nets\": [");
    for (uint32_t i = 0; i < guest->net_count; i++) {
        const struct config_net *net = &guest->nets[i];

        printf("%s{", i == 0 ? "" : ", ");
        print_json_text("network", net->network);
        printf(", \"mac\": \"%02x:%02x:%02x:%02x:%02x:%02x\"}", net->mac[0], net->mac[1], net->mac[2], net->mac[3],
               net->mac[4], net->mac[5]);
    }
    printf("], \"shared\": [");
    for (uint32_t i = 0; i < guest->share_count; i++) {
        printf("%s{", i == 0 ? "" : ", ");
        print_json_text("name", guest->shares[i].name);
        print_flag("ro", guest->shares[i].read_only);
        printf("}");
    }
    printf("], \"pci\": [");
    for (uint32_t i = 0; i < guest->pci_count; i++) {
        printf("%s{", i == 0 ? "" : ", ");
        print_json_text("wanted", guest->pci[i].text);
        if (guest->pci[i].kind == CONFIG_PCI_ADDRESS || resolved) {
            printf(", \"place\": \"%04x:%02x:%02x.%x\"", guest->pci[i].segment, guest->pci[i].bus, guest->pci[i].device,
                   guest->pci[i].function);
        }
        if (guest->pci[i].vf != 0) {
            printf(", \"vf\": %u", guest->pci[i].vf);
        }
        printf("}");
    }
    printf("]");
    print_direct(guest);
    print_word("virtio", check_virtio_word(guest->virtio));
    print_flag("rng", guest->rng);
    print_flag("console_virtio", guest->console_virtio);
}

/* The sections that are no guests'. */
static void print_sections(const struct config *config)
{
    printf(",\n \"networks\": [");
    for (uint32_t i = 0; i < config->network_section_count; i++) {
        printf("%s{", i == 0 ? "" : ", ");
        print_json_text("name", config->networks[i].name);
        print_flag("isolated", config->networks[i].isolated);
        print_member("router", config->networks[i].router);
        printf(", \"mtu\": %" PRIu64 "}", config->networks[i].mtu);
    }
    printf("],\n \"shared\": [");
    for (uint32_t i = 0; i < config->share_count; i++) {
        printf("%s{", i == 0 ? "" : ", ");
        print_json_text("name", config->shares[i].name);
        printf(", \"bytes\": %" PRIu64 "}", config->shares[i].bytes);
    }
    printf("]");
}

static const char *const paging_words[] = {
    [PAGING_AUTO] = "auto", [PAGING_NESTED] = "nested", [PAGING_SHADOW] = "shadow"};

static void print_policies(const struct config_guest *guest)
{
    print_word("on_stop", check_action_word(guest->on_stop));
    print_word("on_crash", check_action_word(guest->on_crash));
    print_word("on_reset", check_action_word(guest->on_reset));
    print_word("watchdog", check_watchdog_word(guest->watchdog));
    printf(", \"watchdog_us\": %u, \"stop_time_us\": %u, \"debug_exit_ok\": %" PRIu64, guest->watchdog_us,
           guest->stop_us, guest->debug_exit_ok);
    print_flag("share_idle", guest->share_idle);
    print_word("paging", paging_words[guest->paging]);
    printf(", \"shadow_memory\": %" PRIu64, guest->shadow_bytes);
    print_flag("com2", guest->com2);
    print_flag("hpet", guest->hpet);
    print_word("ticks", guest->ticks == TICKS_MERGE ? "merge" : "all");
    printf(", \"memory_at\": %" PRIu64, guest->memory_at);
    if (guest->protocol == PROTOCOL_FLAT) {
        printf(", \"load_address\": %" PRIu64 ", \"entry\": %" PRIu64, guest->load_address, guest->entry_address);
        print_word("mode", check_mode_word(guest->mode));
    }
}

static void print_ranges(const struct guest_memory *memory)
{
    printf(", \"ranges\": [");
    for (uint32_t r = 0; r < memory->range_count; r++) {
        const struct guest_range *range = &memory->ranges[r];

        printf("%s{\"gpa\": %" PRIu64 ", \"hpa\": %" PRIu64 ", \"bytes\": %" PRIu64 "}", r == 0 ? "" : ", ",
               range->start.value, range->backing.value, range->bytes);
    }
    printf("]");
}

static void print_guest(const struct check *check, uint32_t index)
{
    const struct config_guest *guest = &check->config.guests[index];
    const struct guest_plan *plan = &check->plans[index];

    printf("  {");
    print_json_text("name", guest->name);
    printf(", \"memory_bytes\": %" PRIu64 ", \"slice_us\": %u, ", guest->memory_bytes, guest->slice_us);
    print_json_text("image", text_of(check->images[index].description));
    printf(", \"cpus\": [");
    for (uint32_t i = 0; i < guest->cpu_count; i++) {
        printf("%s%u", i == 0 ? "" : ", ", guest->cpus[i]);
    }
    printf("], \"leaves_1g\": %" PRIu64 ", \"leaves_2m\": %" PRIu64 ", \"leaves_4k\": %" PRIu64
           ", \"table_bytes\": %" PRIu64,
           plan->leaves[LEVEL_1G], plan->leaves[LEVEL_2M], plan->leaves[LEVEL_4K], plan->table_count * PAGE_BYTES);
    if (guest->node != CONFIG_NODE_ANY) {
        printf(", \"node\": %u", guest->node);
    }
    print_ranges(&plan->memory);
    print_flag("console", guest->console);
    print_flag("debug_ports", guest->debug_ports);
    print_flag("virtual_apic", guest->virtual_apic);
    printf(", \"shadow_tables\": %u", plan->shadow_tables);
    print_flag("small_code", plan->small_code);
    print_files(guest);
    print_nets(guest, check->machine.pci_count != 0);
    print_policies(guest);
    printf("}");
}

static void print_host(const struct check *check)
{
    static struct check_piece pieces[HOST_PIECES_MAX];
    uint32_t count = check_host_pieces(check, pieces);

    printf(",\n \"host\": [");
    for (uint32_t i = 0; i < count; i++) {
        const struct check_piece *piece = &pieces[i];

        printf("%s\n  {\"start\": %" PRIu64 ", \"end\": %" PRIu64 ", ", i == 0 ? "" : ",", piece->start, piece->end);
        print_json_text("use", text_of(piece->guest == HOST_PIECE_OWN ? "hypervisor" : check_type_name(piece->type)));
        if (piece->guest < CONFIG_GUESTS_MAX) {
            printf(", ");
            print_json_text("guest", check->config.guests[piece->guest].name);
            print_member("given_to", check->config.guests[piece->guest].name);
        }
        printf("}");
    }
    printf("]");
}

void check_print_json(const struct check *check)
{
    bool good = check_is_good(check);
    bool first = true;

    printf("{");
    print_json_text("file", text_of(check->options.config));
    print_flag("good", good);
    printf(",\n \"errors\": [");
    print_errors(check->options.config, &check->errors, &first);
    print_errors(check->options.machine != NULL ? check->options.machine : "", &check->machine_errors, &first);
    printf("], \"more_errors\": %u", check->errors.dropped + check->machine_errors.dropped);
    if (good) {
        print_machine(check);
        print_needs(check);
        print_hypervisor(&check->config);
        print_sections(&check->config);
        printf(",\n \"guests\": [");
        for (uint32_t g = 0; g < check->config.guest_count; g++) {
            printf("%s\n", g == 0 ? "" : ",");
            print_guest(check, g);
        }
        printf("]");
        print_host(check);
    }
    printf("}\n");
}

/* SPDX-License-Identifier: MIT */
/*
 * Verdicts and plan for programs: one JSON object.
 *
 *   {"file", "good", "errors": [{"file", "line", "column", "rule", "sentence"}], "more_errors",
 *    "machine": {"cpus", "free_bytes", "devices": [...]},
 *    "guests": [{"name", "memory_bytes", "slice_us", "image", "cpus", "leaves_1g", "leaves_2m", "leaves_4k",
 *                "table_bytes", "ranges": [{"gpa", "hpa", "bytes"}], "console", "debug_ports", "virtual_apic",
 *                "shadow_tables"}],
 *    "host": [{"start", "end", "use"}]}
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

static void print_machine(const struct check_machine *machine)
{
    printf(",\n \"machine\": {\"cpus\": %u, \"free_bytes\": %" PRIu64 ", \"devices\": [", machine->cpu_count,
           memory_map_bytes(&machine->map, MEMORY_FREE));
    for (uint32_t i = 0; i < machine->device_count; i++) {
        printf("%s{", i == 0 ? "" : ", ");
        print_json_text("text", machine->devices[i]);
        printf("}");
    }
    printf("]}");
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
    print_ranges(&plan->memory);
    print_flag("console", guest->console);
    print_flag("debug_ports", guest->debug_ports);
    print_flag("virtual_apic", guest->virtual_apic);
    printf(", \"shadow_tables\": %u", plan->shadow_tables);
    printf("}");
}

static void print_host(const struct check *check)
{
    static struct host_piece pieces[HOST_PIECES_MAX];
    uint32_t count = check_host_pieces(check, pieces);

    printf(",\n \"host\": [");
    for (uint32_t i = 0; i < count; i++) {
        const struct host_piece *piece = &pieces[i];

        printf("%s\n  {\"start\": %" PRIu64 ", \"end\": %" PRIu64 ", ", i == 0 ? "" : ",", piece->start, piece->end);
        print_json_text("use", text_of(piece->guest == HOST_PIECE_OWN ? "hypervisor" : check_type_name(piece->type)));
        if (piece->guest < CONFIG_GUESTS_MAX) {
            printf(", ");
            print_json_text("guest", check->config.guests[piece->guest].name);
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
        print_machine(&check->machine);
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

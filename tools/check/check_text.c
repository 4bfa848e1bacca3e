/* SPDX-License-Identifier: MIT */
/*
 * Verdicts and plan for people.
 */
#define _POSIX_C_SOURCE 200809L /* fileno, isatty */
#include "tools/check/check.h"

#include "hv/base/format.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* On a terminal, unless the user or the terminal wants none (no-color.org). */
static bool wants_colours(void)
{
    const char *none = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    return isatty(STDOUT_FILENO) != 0 && (none == NULL || none[0] == '\0') &&
           (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

static const char *coloured(const char *escape)
{
    return wants_colours() ? escape : "";
}

static void print_errors(const char *file, const struct config_errors *errors)
{
    for (uint32_t i = 0; i < errors->count; i++) {
        const struct config_error *error = &errors->list[i];

        printf("%s:%u:%u: %s%s%s: %s\n", file, error->position.line, error->position.column, coloured("\x1b[1;31m"),
               error->rule, coloured("\x1b[0m"), error->sentence);
    }
    if (errors->dropped != 0) {
        printf("%s: and %u more; mend these first.\n", file, errors->dropped);
    }
}

/* Devices of the machine. */
static void print_direct(const struct config_guest *guest)
{
    char text[FORMAT_BYTES_MAX];

    for (uint32_t i = 0; i < guest->ports_count; i++) {
        printf("    ports   0x%x to 0x%x of the machine\n", guest->ports[i].first, guest->ports[i].last);
    }
    if (guest->serial_com2) {
        printf("    serial  the machine's COM2, ports 0x2f8 to 0x2ff, IRQ 3\n");
    }
    if (guest->keyboard) {
        printf("    keys    the machine's keyboard controller, ports 0x60 and 0x64, IRQ 1 and 12\n");
    }
    for (uint32_t i = 0; i < guest->mmio_count; i++) {
        const struct config_mmio *mmio = &guest->mmio[i];

        printf("    mmio    0x%" PRIx64 " of the machine, %s, guest 0x%" PRIx64 "\n", mmio->start,
               format_bytes(text, mmio->bytes), mmio->guest_start);
    }
    if (guest->framebuffer) {
        printf("    screen  the machine's framebuffer, guest 0x%llx\n", GUEST_FRAMEBUFFER_START);
    }
}

#define ZEROES_TOLD_MIN (64 * MIB)

static void print_disk(const struct config_disk *disk, const struct check_disk *known)
{
    char bytes_text[FORMAT_BYTES_MAX];

    printf("    disk    %.*s%s%s", (int)disk->path.length, disk->path.start, disk->read_only ? ", read-only" : "",
           disk->forget ? ", as it was after each restart" : "");
    if (disk->changes_bytes != 0) {
        printf(", %s for changes", format_bytes(bytes_text, disk->changes_bytes));
    }
    if (known->expanded_bytes != 0) {
        printf(", expands to %s", format_bytes(bytes_text, known->expanded_bytes));
    }
    if (known->stored_bytes != UINT64_MAX) {
        printf(", %s without its zeroes", format_bytes(bytes_text, known->stored_bytes));
    }
    if (known->zero_bytes >= ZEROES_TOLD_MIN) {
        printf("; %s of it are zeroes: with `changes=SIZE` only what is written takes memory of them",
               format_bytes(bytes_text, known->zero_bytes));
    }
    if (known->foreign != NULL) {
        printf("; warning: it is %s: the guest sees these bytes, and not the disk in it", known->foreign);
    }
    printf("\n");
}

static void print_devices(const struct check *check, const struct config_guest *guest)
{
    printf(
        "    devices local APIC%s, I/O APIC, 8259, 8254, RTC, 8042, PM timer, PCI host bridge, 16550 at 0x3f8 (%s)%s\n",
        guest->virtual_apic ? "" : " (emulated)", guest->console ? "console" : "not shown",
        guest->debug_ports ? ", debug ports 0xe9 and 0xf4" : "");
    if (guest->console_virtio || guest->rng) {
        printf("            %s%s%s\n", guest->console_virtio ? "virtio console (hvc0)" : "",
               guest->console_virtio && guest->rng ? ", " : "", guest->rng ? "virtio-rng" : "");
    }
    for (uint32_t i = 0; i < guest->disk_count; i++) {
        print_disk(&guest->disks[i], &check->disks[guest - check->config.guests][i]);
    }
    for (uint32_t i = 0; i < guest->net_count; i++) {
        const struct config_net *net = &guest->nets[i];

        printf("    network %.*s, %02x:%02x:%02x:%02x:%02x:%02x\n", TEXT_ARGS(net->network), net->mac[0], net->mac[1],
               net->mac[2], net->mac[3], net->mac[4], net->mac[5]);
    }
    for (uint32_t i = 0; i < guest->pci_count; i++) {
        const struct config_pci *pci = &guest->pci[i];

        if (check->machine.pci_count != 0) {
            printf("    pci     %.*s, the machine's %04x:%02x:%02x.%x\n", TEXT_ARGS(pci->text), pci->segment, pci->bus,
                   pci->device, pci->function);
        } else {
            printf("    pci     %.*s of the machine\n", TEXT_ARGS(pci->text));
        }
    }
    print_direct(guest);
    for (uint32_t i = 0; i < guest->share_count; i++) {
        printf("    shared  %.*s%s, guest 0x%" PRIx64 "\n", TEXT_ARGS(guest->shares[i].name),
               guest->shares[i].read_only ? ", read-only" : "", (uint64_t)GUEST_SHARE_START(i));
    }
}

/* What its section says. */
static void print_network_section(const struct config_network *section)
{
    if (section != NULL && section->isolated) {
        printf("; isolated, router %.*s", TEXT_ARGS(section->router));
    }
    if (section != NULL && section->mtu != 0) {
        printf("; MTU %" PRIu64, section->mtu);
    }
}

/* Which guests reach each other. A network with one member is no mistake, but hardly meant. */
static void print_network(const struct config *config, uint32_t index)
{
    struct text name = {NULL, 0};
    uint32_t members = 0;

    for (uint32_t g = 0; g < config->guest_count; g++) {
        const struct config_guest *guest = &config->guests[g];

        for (uint32_t n = 0; n < guest->net_count; n++) {
            if (config_network_index(config, guest->nets[n].network) == index) {
                if (members == 0) {
                    name = guest->nets[n].network;
                    printf("network %.*s:", TEXT_ARGS(name));
                }
                printf("%s %.*s", members == 0 ? "" : ",", TEXT_ARGS(guest->name));
                members++;
            }
        }
    }
    printf("%s", members == 1 ? " alone" : "");
    print_network_section(config_network_named(config, name));
    printf("%s\n", members == 1 ? "; warning: nothing is there to be reached" : "");
}

static void print_share(const struct config *config, const struct config_share *share)
{
    const char *before = "";
    char text[FORMAT_BYTES_MAX];

    printf("shared %.*s, %s: ", TEXT_ARGS(share->name), format_bytes(text, share->bytes));
    for (uint32_t g = 0; g < config->guest_count; g++) {
        const struct config_guest *guest = &config->guests[g];

        for (uint32_t i = 0; i < guest->share_count; i++) {
            if (text_equal(guest->shares[i].name, share->name)) {
                printf("%s%.*s%s", before, TEXT_ARGS(guest->name), guest->shares[i].read_only ? " (reads)" : "");
                before = ", ";
            }
        }
    }
    printf("\n");
}

/* A whole text of the config, which may be long. */
static void print_whole(struct text text)
{
    printf("%.*s", (int)text.length, text.start);
}

/* What is started: the kernel, its command line and the files beside it. */
static void print_image(const struct check *check, uint32_t index)
{
    const struct config_guest *guest = &check->config.guests[index];
    struct text comment = check_cmdline_comment(check, guest);

    printf("    kernel  ");
    print_whole(guest->kernel);
    printf(": %s\n", check->images[index].description);
    if (guest->protocol == PROTOCOL_FLAT) {
        printf("    flat    at 0x%" PRIx64 ", entered at 0x%" PRIx64 " in %s mode\n", guest->load_address,
               guest->entry_address, check_mode_word(guest->mode));
    }
    printf("    cmdline ");
    print_whole(guest->cmdline);
    printf("%s\n", guest->cmdline.length == 0 ? "(none)" : "");
    if (comment.length != 0) {
        printf("            what follows is a comment, and no part of it: %.*s\n", TEXT_ARGS(comment));
    }
    for (uint32_t i = 0; i < guest->module_count; i++) {
        printf("    %s  ", guest->modules[i].arguments.length == 0 ? "initrd" : "module");
        print_whole(guest->modules[i].path);
        printf("%s", guest->modules[i].arguments.length == 0 ? "" : " ");
        print_whole(guest->modules[i].arguments);
        printf("\n");
    }
}

/* What follows when it ends, and how that is noticed. */
static void print_policies(const struct config_guest *guest)
{
    char stop_text[CHECK_TIME_MAX];
    char watchdog_text[CHECK_TIME_MAX];

    printf("    ends    on-stop %s, on-crash %s, on-reset %s; %s to stop at its power button; watchdog %s%s%s\n",
           check_action_word(guest->on_stop), check_action_word(guest->on_crash), check_action_word(guest->on_reset),
           check_time(stop_text, guest->stop_us), check_watchdog_word(guest->watchdog),
           guest->watchdog == WATCHDOG_OFF ? "" : " ",
           guest->watchdog == WATCHDOG_OFF ? "" : check_time(watchdog_text, guest->watchdog_us));
    if (guest->debug_ports) {
        printf("            by port 0xf4: 0x%" PRIx64 " is well, any other value a failure\n", guest->debug_exit_ok);
    }
}

static void print_hypervisor(const struct check *check)
{
    const struct config *config = &check->config;
    char text[FORMAT_BYTES_MAX];
    char rtc[CHECK_RTC_MAX];

    printf("hypervisor: %s at 0x%" PRIx64 "; console %s, log %s, when-all-stopped %s%s%s%s",
           format_bytes(text, check->own_bytes), check->own_start, check_outputs_word(config),
           config->log_debug ? "debug" : "info", check_final_word(config->when_all_stopped),
           config->inventory ? ", writes machine.txt" : "", config->quiet_devices ? "" : ", quiet-devices no",
           config->quirks ? "" : ", quirks none");
    if (config->speculation != SPECULATION_AUTO) {
        printf(", speculation %s", check_speculation_word(config));
    }
    if (config->rtc != RTC_UTC) {
        printf(", rtc %s", check_rtc_text(config, rtc));
    }
    printf("%s\n", config->allow_siblings ? ", allow-siblings yes" : "");
}

/* What the config needs of any machine. */
static void print_needs(const struct check *check)
{
    struct check_needs needs;
    char text[FORMAT_BYTES_MAX];

    if (check_needs(check, &needs)) {
        printf("needs: a machine with %u CPU%s and %s of memory\n", needs.cpus, needs.cpus == 1 ? "" : "s",
               format_bytes(text, needs.memory_bytes));
    }
}

static void print_memory(const struct check *check, uint32_t index)
{
    const struct guest_plan *plan = &check->plans[index];
    uint32_t node = check->config.guests[index].node;
    char nodes_text[PLANNER_NODES_TEXT_MAX];
    char table_text[FORMAT_BYTES_MAX];

    for (uint32_t r = 0; r < plan->memory.range_count; r++) {
        const struct guest_range *range = &plan->memory.ranges[r];

        printf("    memory  guest 0x%" PRIx64 "..0x%" PRIx64 " is host 0x%" PRIx64 "..0x%" PRIx64 "\n",
               range->start.value, range->start.value + range->bytes, range->backing.value,
               range->backing.value + range->bytes);
    }
    if (numa_is_known(&check->machine.numa) && node != CONFIG_NODE_ANY) {
        printf("    nodes   %s\n", planner_nodes_text(&plan->memory, &check->machine.numa, node, nodes_text));
    }
    printf("    leaves  %" PRIu64 " of 1 GiB, %" PRIu64 " of 2 MiB, %" PRIu64 " of 4 KiB; %" PRIu64 " tables, %s\n",
           plan->leaves[LEVEL_1G], plan->leaves[LEVEL_2M], plan->leaves[LEVEL_4K], plan->table_count,
           format_bytes(table_text, plan->table_count * PAGE_BYTES));
    if (plan->small_code) {
        printf("    code    in leaves of 4 KiB alone, for which the tables are: this CPU, or `speculation = all`\n");
    }
    if (plan->shadow_tables != 0) {
        printf("    shadow  %u tables and %s for each vCPU\n", plan->shadow_tables,
               format_bytes(table_text, planner_shadow_pages(plan->shadow_tables, 1) * PAGE_BYTES));
    }
}

static void print_guest(const struct check *check, uint32_t index)
{
    const struct config_guest *guest = &check->config.guests[index];
    char memory_text[FORMAT_BYTES_MAX];
    char time_text[CHECK_TIME_MAX];

    printf("guest %.*s: %u vCPU%s on CPU%s ", TEXT_ARGS(guest->name), guest->cpu_count,
           guest->cpu_count == 1 ? "" : "s", guest->cpu_count == 1 ? "" : "s");
    for (uint32_t i = 0; i < guest->cpu_count; i++) {
        printf("%s%u", i == 0 ? "" : ",", guest->cpus[i]);
    }
    if (guest->slice_us != 0) {
        printf(", slices of %s%s", check_time(time_text, guest->slice_us),
               guest->share_idle ? "" : " that it keeps while it halts");
    }
    printf(", %s of memory\n", format_bytes(memory_text, guest->memory_bytes));
    print_image(check, index);
    print_memory(check, index);
    print_devices(check, guest);
    print_policies(guest);
}

static void print_cpu(const struct check *check, uint32_t cpu)
{
    const struct machine_cpu *known = &check->machine.cpus[cpu];
    bool used = false;

    printf("CPU %u", cpu);
    if (known->described) {
        printf(" (package %u, core %u, thread %u", known->package, known->core, known->thread);
        if (numa_is_known(&check->machine.numa)) {
            printf(", node %u", known->node);
        }
        printf("%s%s)", known->kind == CPU_KIND_ANY ? "" : ", ",
               known->kind == CPU_KIND_ANY ? "" : config_cpu_kind_name(known->kind));
    }
    printf(":");
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        const struct config_guest *guest = &check->config.guests[g];

        for (uint32_t v = 0; v < guest->cpu_count; v++) {
            if (guest->cpus[v] == cpu) {
                printf("%s %.*s vCPU %u", used ? "," : "", TEXT_ARGS(guest->name), v);
                used = true;
            }
        }
    }
    printf("%s\n", used ? "" : " free");
}

static void print_neighbours(const struct check *check)
{
    const struct config_machine machine = check_machine_of(check);
    struct config_neighbours found;
    uint32_t from = 0;

    while (config_next_neighbours(&check->config, &machine, &from, &found)) {
        printf(
            "warning: guests %.*s and %.*s share a core (CPUs %u and %u are its threads): each slows the other and can "
            "learn of it; `cpus` lists give them cores of their own\n",
            TEXT_ARGS(check->config.guests[found.guests[0]].name),
            TEXT_ARGS(check->config.guests[found.guests[1]].name), found.cpus[0], found.cpus[1]);
    }
}

static void print_host(const struct check *check)
{
    static struct check_piece pieces[HOST_PIECES_MAX];
    uint32_t count = check_host_pieces(check, pieces);
    char size_text[FORMAT_BYTES_MAX];

    printf("host memory\n");
    for (uint32_t i = 0; i < count; i++) {
        const struct check_piece *piece = &pieces[i];

        printf("    0x%09" PRIx64 "..0x%09" PRIx64 " %10s  ", piece->start, piece->end,
               format_bytes(size_text, piece->end - piece->start));
        if (piece->guest < CONFIG_GUESTS_MAX) {
            printf("guest %.*s\n", TEXT_ARGS(check->config.guests[piece->guest].name));
        } else {
            printf("%s\n", piece->guest == HOST_PIECE_OWN ? "the hypervisor" : check_type_name(piece->type));
        }
    }
}

static bool begins(struct text text, const char *with)
{
    return text.length >= strlen(with) && memcmp(text.start, with, strlen(with)) == 0;
}

/* A list of CPUs behind a sentence: "1, 2, 3". */
static void print_cpus(const char *sentence, const struct cpu_set *set, uint32_t cpu_count)
{
    const char *before = "";

    if (cpu_set_count(set) == 0) {
        return;
    }
    printf("    %s: CPU%s ", sentence, cpu_set_count(set) == 1 ? "" : "s");
    for (uint32_t cpu = 0; cpu < cpu_count && cpu < CPUS_MAX; cpu++) {
        if (cpu_set_has(set, cpu)) {
            printf("%s%u", before, cpu);
            before = ", ";
        }
    }
    printf("\n");
}

/* What a file has that was written by the machine itself; one by hand is silent. */
static void print_reasons(const struct check_machine *machine)
{
    if (machine->cpus_asked != 0 && machine->cpus_asked < machine->cpu_count) {
        printf("    %u of %u CPUs were asked: of the others it is not known whether they can\n", machine->cpus_asked,
               machine->cpu_count);
    } else if (machine->cpus_asked != 0 && cpu_set_count(&machine->differ) == 0) {
        printf("    all CPUs say the same of themselves\n");
    }
    print_cpus("the firmware has locked virtualization off, no guest can run there", &machine->locked_off,
               machine->cpu_count);
    print_cpus("other features than CPU 0: a guest sees what its own CPUs have", &machine->differ, machine->cpu_count);
    print_cpus("other microcode than CPU 0: a firmware update may mend it", &machine->other_microcode,
               machine->cpu_count);
    print_cpus("other memory types (MTRRs) than CPU 0: they get those of CPU 0 at the start", &machine->other_mtrrs,
               machine->cpu_count);
    if (machine->code_erratum) {
        printf("    its CPU stops at code whose page changes its size (CVE-2018-12207): guests' code lies in leaves of "
               "4 KiB, "
               "whose tables take 0.2 %% of their memory\n");
    }
    if (machine->iommus_refused != 0) {
        printf("    the firmware's table of IOMMUs cannot be understood: nothing is promised of devices\n");
    } else if (machine->iommu_units != 0) {
        printf("    %u IOMMU%s, %u of them left on by the firmware: no device reaches memory\n", machine->iommu_units,
               machine->iommu_units == 1 ? "" : "s", machine->iommus_on);
    } else if (machine->iommus_told) {
        printf("    no IOMMU (is VT-d or AMD IOMMU off in the firmware's set-up?): nothing is promised of devices\n");
    }
    if (machine->usb_firmware != 0) {
        printf("    USB controllers that the firmware serves: %u; they are taken from it at the start\n",
               machine->usb_firmware);
    }
}

/* What is said of the machine alone, whatever the config wants of it. */
static void print_verdict(const struct check *check)
{
    const struct check_machine *machine = &check->machine;
    bool vmx = machine->format == &page_table_ept4;
    bool console = false;
    char text[FORMAT_BYTES_MAX];

    if (vmx && machine->vmx_locked_off) {
        printf("verdict: this machine cannot run Plinth as it is set up: its firmware has locked VMX off "
               "(IA32_FEATURE_CONTROL); switch \"Intel Virtualization Technology\" on in its set-up\n");
        return;
    }
    if (!vmx && machine->svm_locked_off) {
        printf("verdict: this machine cannot run Plinth as it is set up: its firmware has locked SVM off (VM_CR); "
               "switch \"SVM Mode\" on in its set-up\n");
        return;
    }
    for (uint32_t i = 0; i < machine->device_count; i++) {
        console = console || begins(machine->devices[i], "uart") || begins(machine->devices[i], "screen");
    }
    printf("verdict: this machine can run Plinth: %s with %s paging, leaves up to %s, %u CPU%s, %s free for guests%s\n",
           vmx ? "Intel VMX" : "AMD SVM", machine->nested_paging ? "nested" : "shadow",
           machine->largest_leaf == LEVEL_1G ? "1 GiB" : "2 MiB", machine->cpu_count,
           machine->cpu_count == 1 ? "" : "s", format_bytes(text, memory_map_bytes(&machine->map, MEMORY_FREE)),
           console ? "" : "; no console is described: neither `uart` nor `screen`");
    print_reasons(machine);
}

static void print_plan(const struct check *check)
{
    uint64_t tables = 0;
    char text[FORMAT_BYTES_MAX];

    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        tables += check->plans[g].table_count;
    }
    printf("%s is good for %s: %u CPUs, %s free for guests", check->options.config,
           check->options.machine != NULL ? check->options.machine : "a machine that has what it needs",
           check->machine.cpu_count, format_bytes(text, memory_map_bytes(&check->machine.map, MEMORY_FREE)));
    printf("; nested tables %s.\n", format_bytes(text, tables * PAGE_BYTES));
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        print_guest(check, g);
    }
    for (uint32_t cpu = 0; cpu < check->machine.cpu_count && cpu < CPUS_MAX; cpu++) {
        print_cpu(check, cpu);
    }
    print_neighbours(check);
    for (uint32_t network = 0; network < check->config.network_count; network++) {
        print_network(&check->config, network);
    }
    for (uint32_t i = 0; i < check->config.share_count; i++) {
        print_share(&check->config, &check->config.shares[i]);
    }
    print_hypervisor(check);
    print_needs(check);
    print_host(check);
    if (check->options.machine != NULL) {
        print_verdict(check);
    }
    for (uint32_t i = 0; i < check->machine.device_count; i++) {
        printf("%s%.*s\n", i == 0 ? "machine's devices\n    " : "    ", (int)check->machine.devices[i].length,
               check->machine.devices[i].start);
    }
}

void check_print_text(const struct check *check)
{
    print_errors(check->options.config, &check->errors);
    if (check->options.machine != NULL) {
        print_errors(check->options.machine, &check->machine_errors);
    }
    if (check_is_good(check)) {
        print_plan(check);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * The machine's description: \\plinth\\machine.txt as the hypervisor writes it (efi/efi_inventory.c), or a few lines by
 * hand. The reader of lines is the config's.
 *
 *   cpus = 4                                   CPUs that guests may use
 *   memory = 8G                                the usual hole below 4 GiB assumed, or region by region:
 *   region = 0x100000 0x80000000 free          start, end, and free, boot, loader, acpi, reserved or mmio
 *   virtualization = vmx                       vmx or svm: the format of nested tables
 *   largest-leaf = 1G                          or 2M
 *   nested-paging = yes                        or no
 *   code-erratum = no                          or yes: code lies in 4 KiB leaves (hv/mm/small_code.h)
 *   virtual = no                               or yes: an emulator, whose threads show nothing of each other
 *   hypervisor = fixed 1M guest 20K vcpu 48K   what it takes for itself, for each guest and each vCPU
 *   cpu = 0 apic 0 package 0 core 0 thread 0   where it is: threads share a core. Behind it, where it is so: `node 1`,
 *                                              `kind performance` (or `efficient`), `broken`
 *   node = 0 0x0 0x80000000                    memory from START to END that is of this node
 *   distance = 0 1 21                          from a node's CPUs to another's memory (10: its own)
 *   cpuid = 0x1 0 0x... 0x... 0x... 0x...      leaf, subleaf, EAX to EDX of the boot CPU
 *   msr = 0x3a 0x5                             a register of the boot CPU
 *   cpu-cpuid = 1 0x7 0 0x... 0x... 0x... 0x...   and what another CPU, whose number comes first, says otherwise
 *   cpu-msr = 1 0x3a 0x1
 *   cpu-microcode = 1 0xf0
 *   cpu-lacks = 1 leaf 0x1a                    the first leaf, or msr, that the boot CPU has and this one not
 *   cpus-asked = 8                             how many said of themselves
 *   iommu = intel 0xfed90000 segment 0 off all   or amd; on: the firmware left it on; or `intel refused: WHY`, `none`
 *   pci = 02:00.0 8086:10d3 class 020000       a PCI function, a segment in front where it is not 0. Behind it, where
 *                                              it is known: `, can 01 05 11` (its capabilities), `, group 02:00.0`,
 *                                              `, console`, `, vfs 4` (virtual functions that it can have)
 *   iommu-keeps = 0x7b800000 0x7fa00000        memory that the firmware's devices go on using
 *   usb = xHCI 0000:00:14.0 firmware           what serves the controller; or free, unreachable
 *   uart = port 0x2f8                          a serial port
 *   keyboard = ps2                             a keyboard controller (8042), by ACPI; or none
 *   screen = 800 x 600 at ADDRESS bytes SIZE   the framebuffer
 *   taken = ports 0x600 0x680 acpi-pm          from START to END, which no guest may have, and what is there
 *   cpu-name, features, acpi              told only
 */
#include "tools/check/check.h"

#include "hv/base/cpu_set.h"
#include "hv/boot_info.h"

#include <stdlib.h>
#include <sys/stat.h>

/* What firmware and hypervisor keep of a machine that is known by its memory size only. */
#define FIRMWARE_BYTES (64 * MIB)
#define LOW_MEMORY_END (2 * GIB)

#define HIGH_MEMORY_START (4 * GIB)
#define MACHINE_BYTES_MAX (1u << 20)
#define PHYSICAL_END (1ULL << 52)
#define SUGGEST_DISTANCE_MAX 2u
#define CPU_WORDS 9u
#define OWN_WORDS 6u
#define SCREEN_WORDS 7u
#define TAKEN_WORDS 4u
/* IA32_FEATURE_CONTROL. SDM 3C 24.7 "Enabling and Entering VMX Operation". */
#define MSR_FEATURE_CONTROL 0x3au
#define FEATURE_CONTROL_LOCK (1u << 0)
#define FEATURE_CONTROL_VMX (1u << 2)
/* VM_CR. APM 2 15.30.1 "VM_CR MSR (C001_0114h)". */
#define MSR_AMD_VM_CR 0xc0010114u
#define MSR_ARCH_CAPABILITIES 0x10au
#define MSR_VMX_FIRST 0x480u /* SDM 3D A.1 to A.10 */
#define MSR_VMX_LAST 0x490u
#define MSR_MTRR_FIRST 0x200u /* SDM 3A 12.11 "Memory Type Range Registers (MTRRs)" */
#define MSR_MTRR_LAST 0x2ffu
#define VM_CR_LOCK (1u << 3)
#define VM_CR_SVM_DISABLE (1u << 4)

static const struct planner_own own_usual = {CHECK_OWN_FIXED_BYTES, CHECK_OWN_GUEST_BYTES, CHECK_OWN_VCPU_BYTES};

static const char *const region_types[] = {
    [MEMORY_FREE] = "free", [MEMORY_BOOT] = "boot",         [MEMORY_LOADER] = "loader",
    [MEMORY_ACPI] = "acpi", [MEMORY_RESERVED] = "reserved", [MEMORY_MMIO] = "mmio",
};

const char *check_type_name(enum memory_type type)
{
    return region_types[type];
}

/* In front of the sentence stands what is wrong. */
static void refuse(struct check *check, struct config_piece piece, const char *sentence)
{
    config_report(&check->machine_errors, piece.position, "bad-machine", "\"%.*s\" %s", TEXT_ARGS(piece.text),
                  sentence);
}

/* A multiple of 4K. */
static bool read_address(struct check *check, struct config_piece word, uint64_t *address)
{
    if (!config_value_size(word.text, address)) {
        refuse(check, word, "is not an address; write `region = START END TYPE`, such as 0x100000 2G free.");
        return false;
    }
    if (!is_aligned(*address, PAGE_BYTES) || *address > PHYSICAL_END) {
        refuse(check, word, "is not where a page of 4K begins below 2^52; regions are whole pages.");
        return false;
    }
    return true;
}

static bool read_type(struct check *check, struct config_piece word, enum memory_type *type)
{
    for (size_t i = 0; i < ARRAY_COUNT(region_types); i++) {
        if (config_text_alike(word.text, region_types[i])) {
            *type = (enum memory_type)i;
            return true;
        }
    }
    refuse(check, word, "is no kind of memory; write free, boot, loader, acpi, reserved or mmio behind START and END.");
    return false;
}

static void read_region(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    struct config_piece words[3];
    enum memory_type type = MEMORY_FREE;
    uint64_t start = 0;
    uint64_t end = 0;

    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        config_take_word(&rest, &words[i]);
    }
    if (rest.text.length != 0) {
        refuse(check, rest, "is too much; write `region = START END TYPE`.");
        return;
    }
    if (!read_address(check, words[0], &start) || !read_address(check, words[1], &end) ||
        !read_type(check, words[2], &type)) {
        return;
    }
    if (start >= end) {
        refuse(check, words[1], "is not behind the region's start; write the lower address first.");
    } else if (memory_map_set(&check->machine.map, start, end, type) != STATUS_OK) {
        refuse(check, line->value, "is one region too many; join neighbours.");
    }
}

/* A PC of this much memory: up to 2 GiB from 1 MiB, the rest from 4 GiB, and some kept by the firmware. */
static bool set_memory(struct memory_map *map, uint64_t bytes)
{
    uint64_t low = align_down(min_u64(bytes, LOW_MEMORY_END), PAGE_BYTES);
    uint64_t high = align_down(bytes, PAGE_BYTES) - low;

    if (low < FIRMWARE_BYTES + 2 * MIB) {
        return false;
    }
    return memory_map_set(map, MIB, low - FIRMWARE_BYTES, MEMORY_FREE) == STATUS_OK &&
           memory_map_set(map, low - FIRMWARE_BYTES, low, MEMORY_RESERVED) == STATUS_OK &&
           (high == 0 || memory_map_set(map, HIGH_MEMORY_START, HIGH_MEMORY_START + high, MEMORY_FREE) == STATUS_OK);
}

static void read_memory(struct check *check, const struct config_line *line)
{
    uint64_t bytes = 0;

    if (!config_value_size(line->value.text, &bytes) || !set_memory(&check->machine.map, bytes)) {
        refuse(check, line->value, "is not a machine's memory; write a size of at least 66M, such as 8G.");
    }
}

static void read_cpus(struct check *check, const struct config_line *line)
{
    uint64_t number = 0;

    if (!config_value_number(line->value.text, &number) || number == 0 || number > UINT32_MAX) {
        refuse(check, line->value, "is not a number of CPUs; write one, such as 4.");
        return;
    }
    check->machine.cpu_count = (uint32_t)number;
}

/* What may stand behind a CPU's place: "node 1", "kind performance", and "broken" where no guest gets it. */
static bool read_cpu_more(struct config_piece *rest, struct machine_cpu *cpu)
{
    while (rest->text.length != 0) {
        struct config_piece word;
        struct config_piece value;
        uint64_t node = 0;

        if (!config_take_word(rest, &word)) {
            return false;
        }
        if (config_text_alike(word.text, "broken")) {
            continue;
        }
        if (!config_take_word(rest, &value)) {
            return false;
        }
        if (config_text_alike(word.text, "node") && config_value_number(value.text, &node) && node < NUMA_NODES_MAX) {
            cpu->node = (uint32_t)node;
        } else if (config_text_alike(word.text, "kind") && config_text_alike(value.text, "performance")) {
            cpu->kind = CPU_KIND_PERFORMANCE;
        } else if (config_text_alike(word.text, "kind") && config_text_alike(value.text, "efficient")) {
            cpu->kind = CPU_KIND_EFFICIENT;
        } else {
            return false;
        }
    }
    return true;
}

/* "0 apic 0 package 0 core 0 thread 0", and what read_cpu_more() knows. */
static void read_cpu(struct check *check, const struct config_line *line)
{
    static const char *const names[] = {NULL, "apic", NULL, "package", NULL, "core", NULL, "thread", NULL};
    struct config_piece rest = line->value;
    uint64_t numbers[CPU_WORDS] = {0};
    struct machine_cpu cpu = {0};
    bool good = true;

    for (size_t i = 0; i < CPU_WORDS; i++) {
        struct config_piece word;

        good = config_take_word(&rest, &word) && good;
        good = good && (names[i] != NULL ? config_text_alike(word.text, names[i])
                                         : config_value_number(word.text, &numbers[i]) && numbers[i] <= UINT32_MAX);
    }
    if (!good || !read_cpu_more(&rest, &cpu)) {
        refuse(
            check, line->value,
            "is not where a CPU is; write `cpu = NUMBER apic N package N core N thread N`, behind it `node N`, `kind "
            "performance` or `broken`. How many there are is `cpus = N`.");
    } else if (numbers[0] < CPUS_MAX) {
        cpu.apic_id = (uint32_t)numbers[2];
        cpu.package = (uint32_t)numbers[4];
        cpu.core = (uint32_t)numbers[6];
        cpu.thread = (uint32_t)numbers[8];
        cpu.described = true;
        check->machine.cpus[numbers[0]] = cpu;
    }
}

/* Nodes are numbered as they are here: the domain of one is its number. */
static uint32_t node_named(struct check *check, uint64_t number)
{
    while (number < NUMA_NODES_MAX && check->machine.numa.node_count <= number) {
        numa_node(&check->machine.numa, check->machine.numa.node_count);
    }
    return number < NUMA_NODES_MAX ? (uint32_t)number : NUMA_NODE_NONE;
}

/* "NODE START END" */
static void read_node(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    struct config_piece words[3];
    uint64_t node = 0;
    uint64_t start = 0;
    uint64_t end = 0;

    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        config_take_word(&rest, &words[i]);
    }
    if (rest.text.length != 0 || !config_value_number(words[0].text, &node) || node >= NUMA_NODES_MAX) {
        refuse(check, line->value, "is no memory of a node; write `node = NUMBER START END`, with numbers from 0 on.");
        return;
    }
    if (!read_address(check, words[1], &start) || !read_address(check, words[2], &end)) {
        return;
    }
    if (start >= end || !numa_add_range(&check->machine.numa, node_named(check, node), start, end)) {
        refuse(check, line->value, "is empty, another node's, or one range too many.");
    }
}

/* "FROM TO DISTANCE" */
static void read_distance(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    uint64_t numbers[3] = {0};
    bool good = true;

    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        struct config_piece word;

        good = config_take_word(&rest, &word) && config_value_number(word.text, &numbers[i]) && good;
    }
    if (!good || rest.text.length != 0 || numbers[0] >= NUMA_NODES_MAX || numbers[1] >= NUMA_NODES_MAX ||
        numbers[2] < NUMA_DISTANCE_HERE || numbers[2] > NUMA_DISTANCE_NEVER) {
        refuse(check, line->value, "is no distance; write `distance = FROM TO 10`, where 10 is a node's to itself.");
        return;
    }
    check->machine.numa.distances[node_named(check, numbers[0])][node_named(check, numbers[1])] = (uint8_t)numbers[2];
}

/* "fixed BYTES guest BYTES vcpu BYTES" */
static void read_own(struct check *check, const struct config_line *line)
{
    static const char *const names[] = {"fixed", NULL, "guest", NULL, "vcpu", NULL};
    struct config_piece rest = line->value;
    uint64_t bytes[OWN_WORDS] = {0};
    bool good = true;

    for (size_t i = 0; i < OWN_WORDS; i++) {
        struct config_piece word;

        good = config_take_word(&rest, &word) && good;
        good = good && (names[i] != NULL ? config_text_alike(word.text, names[i])
                                         : config_value_size(word.text, &bytes[i]) && bytes[i] <= GIB);
    }
    if (!good || rest.text.length != 0) {
        refuse(check, line->value,
               "is not what it needs; write `fixed BYTES guest BYTES vcpu BYTES`, each at most 1G.");
        return;
    }
    check->machine.own = (struct planner_own){bytes[1], bytes[3], bytes[5]};
}

static void read_virtualization(struct check *check, const struct config_line *line)
{
    if (config_text_alike(line->value.text, "vmx")) {
        check->machine.format = &page_table_ept4;
    } else if (config_text_alike(line->value.text, "svm")) {
        check->machine.format = &page_table_npt4;
    } else {
        refuse(check, line->value, "is no virtualization; write vmx (Intel) or svm (AMD).");
    }
}

static void read_leaf(struct check *check, const struct config_line *line)
{
    if (config_text_alike(line->value.text, "1G")) {
        check->machine.largest_leaf = LEVEL_1G;
    } else if (config_text_alike(line->value.text, "2M")) {
        check->machine.largest_leaf = LEVEL_2M;
    } else {
        refuse(check, line->value, "is no leaf size; write 1G or 2M.");
    }
}

static void read_virtual(struct check *check, const struct config_line *line)
{
    check->machine.is_virtual = config_text_alike(line->value.text, "yes");
    if (!check->machine.is_virtual && !config_text_alike(line->value.text, "no")) {
        refuse(check, line->value, "is neither yes nor no.");
    }
}

static void read_erratum(struct check *check, const struct config_line *line)
{
    check->machine.code_erratum = config_text_alike(line->value.text, "yes");
    if (!check->machine.code_erratum && !config_text_alike(line->value.text, "no")) {
        refuse(check, line->value, "is neither yes nor no.");
    }
}

static void read_nested(struct check *check, const struct config_line *line)
{
    check->machine.nested_paging = config_text_alike(line->value.text, "yes");
    if (!check->machine.nested_paging && !config_text_alike(line->value.text, "no")) {
        refuse(check, line->value, "is neither yes nor no.");
    }
}

static void read_name(struct check *check, const struct config_line *line)
{
    check->machine.cpu_name = line->value.text;
}

static void read_device(struct check *check, const struct config_line *line)
{
    if (check->machine.device_count < MACHINE_DEVICES_MAX) {
        const char *start = line->name.text.start;
        const char *end = line->value.text.start + line->value.text.length;

        check->machine.devices[check->machine.device_count++] = (struct text){start, (size_t)(end - start)};
    }
}

/* What stands behind ", NAME" in a line, to the next comma. False: it is not there. */
static bool find_part(struct text text, const char *name, struct config_piece *part)
{
    struct text wanted = text_of(name);

    for (size_t i = 0; i + wanted.length <= text.length; i++) {
        size_t end = i + wanted.length;

        if (text_equal((struct text){text.start + i, wanted.length}, wanted)) {
            while (end < text.length && text.start[end] != ',') {
                end++;
            }
            part->text = (struct text){text.start + i + wanted.length, end - i - wanted.length};
            *part = config_trim(*part);
            return true;
        }
    }
    return false;
}

/* "02:00.0", or with the segment in front. False: it is none. */
static bool read_place(struct text text, struct config_pci_function *function)
{
    char copy[16];
    unsigned segment = 0, bus, device, number;

    text_copy(text, copy, sizeof(copy));
    if (sscanf(copy, "%4x:%2x:%2x.%1u", &segment, &bus, &device, &number) != 4) {
        segment = 0;
        if (sscanf(copy, "%2x:%2x.%1u", &bus, &device, &number) != 3) {
            return false;
        }
    }
    function->segment = (uint16_t)segment;
    function->bus = (uint8_t)bus;
    function->device = (uint8_t)device;
    function->function = (uint8_t)number;
    return true;
}

/* Message signalled interrupts, and their extended kind: PCI Local Bus 3.0, appendix H. */
static bool can_send_messages(struct config_piece capabilities)
{
    struct config_piece word;

    while (capabilities.text.length != 0 && config_take_word(&capabilities, &word)) {
        if (text_is(word.text, "05") || text_is(word.text, "11")) {
            return true;
        }
    }
    return false;
}

/* "02:00.0 8086:10d3 class 020000, network card, can 01 05 11, group 02:00.0". What is not understood is told only. */
/* A file that an older version wrote has the capability (x0010) and does not say how many. */
static void read_vfs(struct text text, struct config_pci_function *function)
{
    struct config_piece part;
    char number[8];

    if (find_part(text, ", vfs ", &part)) {
        text_copy(part.text, number, sizeof(number));
        function->vfs_known = true;
        function->vfs = (uint16_t)strtoul(number, NULL, 10);
    } else {
        function->vfs_known = function->messages_known && !find_part(text, " x0010", &part);
    }
}

static void read_pci(struct check *check, const struct config_line *line)
{
    struct config_pci_function function = {.group = CONFIG_PCI_NO_GROUP}, leader;
    struct config_piece rest = line->value, words[4], part = line->value;
    char text[32];
    unsigned vendor, product;

    read_device(check, line);
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (!config_take_word(&rest, &words[i])) {
            return;
        }
    }
    text_copy(words[1].text, text, sizeof(text));
    if (check->machine.pci_count == MACHINE_PCI_MAX || !read_place(words[0].text, &function) ||
        sscanf(text, "%4x:%4x", &vendor, &product) != 2) {
        return;
    }
    text_copy(words[3].text, text, sizeof(text));
    function.vendor = (uint16_t)vendor;
    function.product = (uint16_t)product;
    function.class_code = (uint32_t)strtoul(text, NULL, 16);
    function.messages_known = find_part(line->value.text, ", can ", &part);
    function.messages = function.messages_known && can_send_messages(part);
    function.line = find_part(line->value.text, ", line ", &part);
    function.console = find_part(line->value.text, ", console", &part);
    read_vfs(line->value.text, &function);
    if (find_part(line->value.text, ", group ", &part) && read_place(part.text, &leader)) {
        function.group =
            (uint32_t)leader.segment << 16 | (uint32_t)leader.bus << 8 | (uint32_t)leader.device << 3 | leader.function;
    }
    check->machine.pci[check->machine.pci_count++] = function;
}

/* "port 0x2f8" */
static void read_uart(struct check *check, const struct config_line *line)
{
    check->machine.has_com2 = check->machine.has_com2 || config_text_alike(line->value.text, "port 0x2f8");
    read_device(check, line);
}

/* "ps2", or "none"; files of older versions do not say it. */
static void read_keyboard(struct check *check, const struct config_line *line)
{
    check->machine.has_keyboard = config_text_alike(line->value.text, "ps2");
    check->machine.keyboard_known = true;
    if (!check->machine.has_keyboard && !config_text_alike(line->value.text, "none")) {
        refuse(check, line->value, "is no keyboard controller; write `keyboard = ps2`, or none.");
    }
}

/* "800 x 600 at ADDRESS bytes SIZE"; files of older versions have no size. */
static void read_screen(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    struct config_piece words[SCREEN_WORDS];
    bool good = true;

    for (size_t i = 0; i < SCREEN_WORDS; i++) {
        good = config_take_word(&rest, &words[i]) && good;
    }
    if (good && (!config_value_size(words[4].text, &check->machine.screen.start) ||
                 !config_value_size(words[6].text, &check->machine.screen.bytes))) {
        check->machine.screen = (struct config_screen){0, 0};
    }
    read_device(check, line);
}

/* "ports START END WORD", or memory. */
static void read_taken(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    struct config_piece words[TAKEN_WORDS];
    struct config_taken taken = {.kind = TAKEN_PM};
    uint32_t kind = 0;
    bool good = true;

    for (size_t i = 0; i < TAKEN_WORDS; i++) {
        good = config_take_word(&rest, &words[i]) && good;
    }
    taken.ports = good && config_text_alike(words[0].text, "ports");
    while (good && kind < TAKEN_KINDS &&
           !config_text_alike(words[3].text, config_taken_word((enum config_taken_kind)kind))) {
        kind++;
    }
    taken.kind = (enum config_taken_kind)kind;
    if (!good || rest.text.length != 0 || kind == TAKEN_KINDS ||
        (!taken.ports && !config_text_alike(words[0].text, "memory")) ||
        !config_value_size(words[1].text, &taken.start) || !config_value_size(words[2].text, &taken.end) ||
        taken.start >= taken.end) {
        refuse(check, line->value, "is not what is taken; write `taken = ports START END acpi-pm`, or memory.");
    } else if (check->machine.taken_count < CONFIG_TAKEN_MAX) {
        check->machine.taken[check->machine.taken_count++] = taken;
    }
}

/* For a person, or for a later reader. */
static void read_nothing(struct check *check, const struct config_line *line)
{
    (void)check;
    (void)line;
}

/* Whether a register says that the firmware has locked virtualization off. */
static bool is_locked_off(uint64_t msr, uint64_t value)
{
    if (msr == MSR_FEATURE_CONTROL) {
        return (value & FEATURE_CONTROL_LOCK) != 0 && (value & FEATURE_CONTROL_VMX) == 0;
    }
    return msr == MSR_AMD_VM_CR && (value & (VM_CR_LOCK | VM_CR_SVM_DISABLE)) == (VM_CR_LOCK | VM_CR_SVM_DISABLE);
}

/* A register that says what the CPU can do for guests, or what it is not open to. */
static bool is_virtualization_word(uint64_t msr)
{
    return msr == MSR_FEATURE_CONTROL || msr == MSR_AMD_VM_CR || msr == MSR_ARCH_CAPABILITIES ||
           (msr >= MSR_VMX_FIRST && msr <= MSR_VMX_LAST);
}

/* As many numbers as there is room for, each written as the config writes them. False: too few, or one is none. */
static bool take_numbers(struct config_piece *rest, uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct config_piece word;

        if (!config_take_word(rest, &word) || !config_value_size(word.text, &numbers[i])) {
            return false;
        }
    }
    return true;
}

/* "NUMBER VALUE"; of use here is whether the firmware has locked VMX or SVM off. */
static void read_msr(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    uint64_t words[2];

    if (!take_numbers(&rest, words, ARRAY_COUNT(words)) || rest.text.length != 0) {
        refuse(check, line->value, "is no register; write `msr = NUMBER VALUE`.");
    } else if (words[0] == MSR_FEATURE_CONTROL) {
        check->machine.vmx_locked_off = is_locked_off(words[0], words[1]);
    } else if (words[0] == MSR_AMD_VM_CR) {
        check->machine.svm_locked_off = is_locked_off(words[0], words[1]);
    }
}

/* "CPU LEAF SUBLEAF EAX EBX ECX EDX" */
static void read_cpu_cpuid(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    uint64_t words[7];

    if (!take_numbers(&rest, words, ARRAY_COUNT(words)) || rest.text.length != 0 || words[0] >= CPUS_MAX) {
        refuse(check, line->value, "is no answer of CPUID; write `cpu-cpuid = CPU LEAF SUBLEAF EAX EBX ECX EDX`.");
        return;
    }
    cpu_set_add(&check->machine.differ, (uint32_t)words[0]);
}

/* "CPU NUMBER VALUE" */
static void read_cpu_msr(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    uint64_t words[3];

    if (!take_numbers(&rest, words, ARRAY_COUNT(words)) || rest.text.length != 0 || words[0] >= CPUS_MAX) {
        refuse(check, line->value, "is no register of a CPU; write `cpu-msr = CPU NUMBER VALUE`.");
        return;
    }
    if (is_virtualization_word(words[1])) {
        cpu_set_add(&check->machine.differ, (uint32_t)words[0]);
    } else if (words[1] >= MSR_MTRR_FIRST && words[1] <= MSR_MTRR_LAST) {
        cpu_set_add(&check->machine.other_mtrrs, (uint32_t)words[0]);
    }
    if (is_locked_off(words[1], words[2])) {
        cpu_set_add(&check->machine.locked_off, (uint32_t)words[0]);
    }
}

static void read_cpu_microcode(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    uint64_t words[2];

    if (!take_numbers(&rest, words, ARRAY_COUNT(words)) || rest.text.length != 0 || words[0] >= CPUS_MAX) {
        refuse(check, line->value, "is no revision; write `cpu-microcode = CPU REVISION`.");
        return;
    }
    cpu_set_add(&check->machine.other_microcode, (uint32_t)words[0]);
}

/* "CPU leaf NUMBER", or "CPU msr NUMBER" */
static void read_cpu_lacks(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    struct config_piece what = line->value;
    uint64_t cpu = 0;
    uint64_t number = 0;

    if (!take_numbers(&rest, &cpu, 1) || cpu >= CPUS_MAX || !config_take_word(&rest, &what) ||
        !(config_text_alike(what.text, "leaf") || config_text_alike(what.text, "msr")) ||
        !take_numbers(&rest, &number, 1) || rest.text.length != 0) {
        refuse(check, line->value, "is nothing that a CPU lacks; write `cpu-lacks = CPU leaf NUMBER`, or msr.");
        return;
    }
    cpu_set_add(&check->machine.differ, (uint32_t)cpu);
}

static void read_cpus_asked(struct check *check, const struct config_line *line)
{
    uint64_t number = 0;

    if (!config_value_number(line->value.text, &number) || number == 0 || number > CPUS_MAX) {
        refuse(check, line->value, "is not how many CPUs were asked; write a number, such as 4.");
        return;
    }
    check->machine.cpus_asked = (uint32_t)number;
}

/* "intel BASE segment N on|off ...", "intel refused: WHY", "none" */
static void read_iommu(struct check *check, const struct config_line *line)
{
    struct check_machine *machine = &check->machine;
    struct config_piece rest = line->value;
    struct config_piece words[5];
    uint64_t base = 0;
    size_t count = 0;

    while (count < ARRAY_COUNT(words) && rest.text.length != 0 && config_take_word(&rest, &words[count])) {
        count++;
    }
    machine->iommus_told = true;
    if (count == 1 && config_text_alike(words[0].text, "none")) {
        return;
    }
    if (count >= 2 && config_text_alike(words[1].text, "refused:")) {
        machine->iommus_refused++;
    } else if (count == ARRAY_COUNT(words) && config_value_size(words[1].text, &base) &&
               (config_text_alike(words[4].text, "on") || config_text_alike(words[4].text, "off"))) {
        machine->iommu_units++;
        machine->iommus_on += config_text_alike(words[4].text, "on");
    } else {
        refuse(check, line->value, "is no IOMMU; write `iommu = intel BASE segment N off` (or amd; or on), or none.");
    }
}

/* "KIND ADDRESS OWNER" */
static void read_usb(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    struct config_piece words[3];

    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (rest.text.length == 0 || !config_take_word(&rest, &words[i])) {
            refuse(check, line->value, "is no USB controller; write `usb = xHCI 0000:00:14.0 firmware`, or free.");
            return;
        }
    }
    check->machine.usb_firmware += config_text_alike(words[2].text, "firmware");
}

/* What there is. `once`: a second line of the same name is a mistake. */
static const struct {
    const char *name;
    void (*read)(struct check *check, const struct config_line *line);
    bool once;
} keys[] = {
    {"cpus", read_cpus, true},
    {"memory", read_memory, true},
    {"region", read_region, false},
    {"cpu", read_cpu, false},
    {"pci", read_pci, false},
    {"virtualization", read_virtualization, true},
    {"uart", read_uart, false},
    {"taken", read_taken, false},
    {"acpi", read_device, false},
    {"largest-leaf", read_leaf, true},
    {"keyboard", read_keyboard, true},
    {"screen", read_screen, false},
    {"hypervisor", read_own, true},
    {"features", NULL, false},
    {"cpuid", read_nothing, false},
    {"msr", read_msr, false},
    {"microcode", read_nothing, true},
    {"cpu-name", read_name, true},
    {"nested-paging", read_nested, true},
    {"virtual", read_virtual, true},
    {"code-erratum", read_erratum, true},
    {"node", read_node, false},
    {"distance", read_distance, false},
    {"cpu-cpuid", read_cpu_cpuid, false},
    {"cpu-msr", read_cpu_msr, false},
    {"cpu-microcode", read_cpu_microcode, false},
    {"cpu-lacks", read_cpu_lacks, false},
    {"cpus-asked", read_cpus_asked, true},
    {"iommu", read_iommu, false},
    {"iommu-keeps", read_nothing, false},
    {"usb", read_usb, false},
};

/* Lines of each key; 0: none yet. */
struct machine_seen {
    uint32_t lines[ARRAY_COUNT(keys)];
};

static void report_unknown(struct check *check, struct config_piece name)
{
    const char *meant = NULL;

    for (size_t i = 0; i < ARRAY_COUNT(keys) && meant == NULL; i++) {
        meant = config_text_distance(name.text, keys[i].name) <= SUGGEST_DISTANCE_MAX ? keys[i].name : NULL;
    }
    if (config_text_alike(name.text, "mem") || config_text_alike(name.text, "ram")) {
        meant = "memory";
    }
    if (meant != NULL) {
        config_report(&check->machine_errors, name.position, "unknown-key",
                      "A machine has no `%.*s`; did you mean `%s`?", TEXT_ARGS(name.text), meant);
    } else {
        config_report(&check->machine_errors, name.position, "unknown-key",
                      "A machine has no `%.*s`; take the line out. plinth-check --help lists what it has.",
                      TEXT_ARGS(name.text));
    }
}

static void read_setting(struct check *check, const struct config_line *line, struct machine_seen *seen)
{
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        if (!config_text_alike(line->name.text, keys[i].name)) {
            continue;
        }
        if (seen->lines[i] != 0 && keys[i].once) {
            config_report(&check->machine_errors, line->name.position, "duplicate-key",
                          "`%s` was already written in line %u; take one of the two out.", keys[i].name,
                          seen->lines[i]);
        } else if (keys[i].read != NULL) {
            keys[i].read(check, line);
        }
        seen->lines[i] = line->name.position.line;
        return;
    }
    report_unknown(check, line->name);
}

static void report_line(struct check *check, const struct config_line *line)
{
    bool section = line->kind == LINE_SECTION;

    config_report(&check->machine_errors, line->name.position, "bad-line",
                  section ? "A machine's description has no sections (is this a plinth.conf?); take the line out, or "
                            "name machine.txt behind --machine."
                          : "A machine is described by lines `key = value`; comments start with #.");
}

/* What no plan can do without. */
static void check_complete(struct check *check)
{
    const char *missing = NULL;

    if (check->machine.cpu_count == 0) {
        missing = "how many CPUs there are; add `cpus = 4`";
    } else if (check->machine.map.count == 0) {
        missing = "what memory there is; add `memory = 8G`, or `region` lines";
    }
    if (missing != NULL && check->machine_errors.count == 0) {
        config_report(&check->machine_errors, (struct config_position){1, 1}, "bad-machine",
                      "The file does not say %s, or its end is missing.", missing);
    }
}

static void read_lines(struct check *check)
{
    struct config_reader reader = config_reader_of(check->machine.file);
    struct config_line line;
    struct machine_seen seen = {.lines = {0}};

    while (config_read_line(&reader, &line)) {
        if (line.kind == LINE_SETTING) {
            read_setting(check, &line, &seen);
        } else if (line.kind != LINE_BLANK) {
            report_line(check, &line);
        }
    }
    check_complete(check);
}

void check_machine_read(struct check *check)
{
    struct span file;
    const char *why;

    check->machine.format = &page_table_npt4;
    check->machine.largest_leaf = LEVEL_1G;
    check->machine.nested_paging = true;
    check->machine.own = own_usual;
    if (!check_read_file(check->options.machine, MACHINE_BYTES_MAX, &file, &why)) {
        config_report(&check->machine_errors, (struct config_position){1, 1}, "missing-file",
                      "The machine's description cannot be read: %s. Name a text file below 1 MiB.", why);
        return;
    }
    check->machine.file = (struct text){(const char *)file.base, (size_t)file.bytes};
    if (config_is_text(check->machine.file, &check->machine_errors)) {
        read_lines(check);
    }
}

/* What a file of so many bytes expands to where it is compressed with gzip, by its trailer; RFC 1952 2.3.1, "ISIZE". */
static uint64_t expanded_bytes(const char *host, uint64_t bytes)
{
    FILE *file = fopen(host, "rb");
    uint8_t magic[2] = {0};
    uint8_t size[4] = {0};
    bool good;

    if (file == NULL) {
        return bytes;
    }
    good = fread(magic, 1, sizeof(magic), file) == sizeof(magic) && magic[0] == 0x1f && magic[1] == 0x8b &&
           fseek(file, -4, SEEK_END) == 0 && fread(size, 1, sizeof(size), file) == sizeof(size);
    fclose(file);
    return good ? bytes + (size[0] | (uint64_t)size[1] << 8 | (uint64_t)size[2] << 16 | (uint64_t)size[3] << 24)
                : bytes;
}

/* A disk's image, and as much again for its map and for what is changed. 0 where it is not there. */
static uint64_t disk_bytes(const struct check *check, const struct config_guest *guest)
{
    char host[HOST_PATH_MAX];
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < guest->disk_count; i++) {
        struct stat info;

        check_host_path(check, guest->disks[i].path, host);
        bytes += stat(host, &info) == 0 ? 3 * expanded_bytes(host, (uint64_t)info.st_size) : 0;
    }
    return align_up(bytes, GIB);
}

/* As many CPUs as give each guest without a list CPUs of its own, beside those that lists name. */
static uint32_t cpus_needed(const struct config *config)
{
    struct cpu_set named = {0};
    uint32_t placed = 0;
    uint32_t highest = 0;

    for (uint32_t g = 0; g < config->guest_count; g++) {
        for (uint32_t i = 0; i < config->guests[g].cpu_count; i++) {
            uint32_t cpu = config->guests[g].cpus[i];

            if (cpu == CONFIG_CPU_ANY) {
                placed++;
            } else {
                cpu_set_add(&named, cpu);
                highest = (uint32_t)max_u64(highest, cpu + 1);
            }
        }
    }
    placed += cpu_set_count(&named);
    return (uint32_t)max_u64(highest, min_u64(placed, CPUS_MAX));
}

static void assume_memory(struct check *check)
{
    uint64_t memory = GIB;
    uint64_t placed_end = HIGH_MEMORY_START;

    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        const struct config_guest *guest = &check->config.guests[g];

        memory += align_up(guest->memory_bytes, GIB) + disk_bytes(check, guest);
        if (guest->memory_at >= MIB && is_aligned(guest->memory_bytes, PAGE_BYTES)) {
            memory_map_set(&check->machine.map, guest->memory_at, guest->memory_at + guest->memory_bytes, MEMORY_FREE);
            placed_end = max_u64(placed_end, guest->memory_at + guest->memory_bytes);
        }
    }
    memory += check->config.share_count * GIB;
    /* Beyond them, too: files are taken from the top. */
    memory_map_set(&check->machine.map, HIGH_MEMORY_START, placed_end + memory, MEMORY_FREE);
}

void check_machine_assume(struct check *check)
{
    check->machine.cpu_count = cpus_needed(&check->config);
    check->machine.format = &page_table_npt4;
    check->machine.largest_leaf = LEVEL_1G;
    check->machine.nested_paging = true;
    check->machine.own = own_usual;
    if (check->trial_bytes != 0) {
        (void)set_memory(&check->machine.map, check->trial_bytes);
    } else {
        assume_memory(check);
    }
}

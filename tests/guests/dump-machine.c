/* SPDX-License-Identifier: MIT */
/*
 * Prints everything of its machine that a guest can find out, as lines `@ WHAT: VALUE`, for tests/boot/compare-machine:
 * the same guest under both vendors must print the same, but for what docs/machine-differences.md lists.
 *
 * What time changes is left out or said to move, so that two runs print the same. Memory and devices are looked at
 * before the first byte is printed, because printing uses them. Numbers are hexadecimal. What reads zero is left out of
 * the longer lists, and so are MSRs that raise #GP: what is not printed must be absent elsewhere, too.
 */
#include "tests/guests/lib/cmos.h"
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "dump-machine";

#define BIT(n) (1u << (n))
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define PAGE 4096u
#define WORKED 0xffu /* trap_last.vector where no exception came */
#define VECTOR_UD 6u
#define FNV_START 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

static uint64_t hash_bytes(const uint8_t *bytes, uint64_t count)
{
    uint64_t hash = FNV_START;

    for (uint64_t i = 0; i < count; i++) {
        hash = (hash ^ bytes[i]) * FNV_PRIME;
    }
    return hash;
}

/* ---- Readings: taken at the start, printed later ---- */

#define READINGS_MAX 512u

static struct {
    const char *what;
    uint32_t index; /* printed behind the name, unless it is NO_INDEX */
    uint64_t value;
} readings[READINGS_MAX];
static uint32_t reading_count;
#define NO_INDEX 0xffffffffu

static void note_indexed(const char *what, uint32_t index, uint64_t value)
{
    CHECK(reading_count < READINGS_MAX);
    readings[reading_count].what = what;
    readings[reading_count].index = index;
    readings[reading_count].value = value;
    reading_count++;
}

static void note(const char *what, uint64_t value)
{
    note_indexed(what, NO_INDEX, value);
}

static void note_unless_zero(const char *what, uint32_t index, uint64_t value)
{
    if (value != 0) {
        note_indexed(what, index, value);
    }
}

static void print_readings(void)
{
    for (uint32_t i = 0; i < reading_count; i++) {
        if (readings[i].index == NO_INDEX) {
            print("@ %s: %q\n", readings[i].what, readings[i].value);
        } else {
            print("@ %s %x: %q\n", readings[i].what, readings[i].index, readings[i].value);
        }
    }
}

/* ---- Memory ---- */

/* lib/elf.ld puts this program at 1 MiB. Its own memory changes as it runs. */
#define OWN_START 0x100000u
#define OWN_END 0x200000u

static void note_page(uint64_t page)
{
    const uint64_t *words = (const uint64_t *)(uintptr_t)page;

    for (uint32_t i = 0; i < PAGE / sizeof(*words); i++) {
        if (words[i] != 0) {
            note_indexed("page", (uint32_t)page, hash_bytes((const uint8_t *)words, PAGE));
            return;
        }
    }
}

/* RAM as the guest finds it: zero but for what the loader put there. */
static void note_memory(const struct start_info *info)
{
    const struct start_info_memory *map = start_info_memory(info);

    CHECK((uintptr_t)&reading_count < OWN_END && (uintptr_t)readings < OWN_END);
    for (uint32_t i = 0; i < info->memory_map_count; i++) {
        uint64_t end = map[i].address + map[i].bytes;

        for (uint64_t page = map[i].address & ~(uint64_t)(PAGE - 1); map[i].type == START_INFO_RAM && page < end;
             page += PAGE) {
            if (page < OWN_START || page >= OWN_END) {
                note_page(page);
            }
        }
    }
}

static void print_memory_map(const struct start_info *info)
{
    const struct start_info_memory *map = start_info_memory(info);

    print("@ start-info at: %q\n@ start-info version: %x\n@ start-info flags: %x\n@ start-info modules: %x\n",
          entry_state.bx, info->version, info->flags, info->module_count);
    print("@ start-info cmdline: %s\n@ start-info rsdp: %q\n", start_info_cmdline(info), info->rsdp);
    for (uint32_t i = 0; i < info->memory_map_count; i++) {
        print("@ memory-map %u: %q %q type %u\n", i, map[i].address, map[i].bytes, map[i].type);
    }
}

/* ---- ACPI ---- */

struct __attribute__((packed)) acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision, creator, creator_revision;
};

static const char *checksum_of(const uint8_t *bytes, uint32_t length)
{
    uint8_t sum = 0;

    for (uint32_t i = 0; i < length; i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    return sum == 0 ? "sums up" : "WRONG CHECKSUM";
}

static void print_table(uint64_t address, const char *checksum)
{
    const struct acpi_header *table = (const struct acpi_header *)(uintptr_t)address;
    const uint8_t *bytes = (const uint8_t *)table;

    print("@ acpi %c%c%c%c: at %q length %x revision %x, %s, hash %q\n", table->signature[0], table->signature[1],
          table->signature[2], table->signature[3], address, table->length, table->revision,
          checksum != NULL ? checksum : checksum_of(bytes, table->length), hash_bytes(bytes, table->length));
}

#define FADT_FACS 36u
#define FADT_DSDT 40u

static void print_acpi(const struct start_info *info)
{
    const uint8_t *rsdp = (const uint8_t *)(uintptr_t)info->rsdp;
    uint64_t xsdt_address = *(const uint64_t *)(const void *)(rsdp + 24);
    const struct acpi_header *xsdt = (const struct acpi_header *)(uintptr_t)xsdt_address;

    print("@ acpi RSDP: revision %x, %s, hash %q\n", rsdp[15], checksum_of(rsdp, 36), hash_bytes(rsdp, 36));
    print_table(xsdt_address, NULL);
    print_table(*(const uint32_t *)(const void *)(rsdp + 16), NULL);
    for (uint32_t i = 0; i < (xsdt->length - sizeof(*xsdt)) / 8; i++) {
        uint64_t table = *(const uint64_t *)(const void *)((const uint8_t *)(xsdt + 1) + i * 8);

        print_table(table, NULL);
        if (*(const char *)(uintptr_t)table == 'F') { /* FACP names two more; the FACS has no checksum */
            print_table(*(const uint32_t *)(uintptr_t)(table + FADT_DSDT), NULL);
            print_table(*(const uint32_t *)(uintptr_t)(table + FADT_FACS), "no checksum");
        }
    }
}

/* ---- Devices ---- */

static void note_uart(void)
{
    uint8_t line = in8(COM1 + 3);

    note("uart IER", in8(COM1 + 1));
    note("uart IIR", in8(COM1 + 2));
    note("uart LCR", line);
    note("uart MCR", in8(COM1 + 4));
    note("uart LSR", in8(COM1 + 5));
    note("uart MSR", in8(COM1 + 6));
    note("uart SCR", in8(COM1 + 7));
    out8(COM1 + 3, line | 0x80);
    note("uart divisor", (uint64_t)in8(COM1) | (uint64_t)in8(COM1 + 1) << 8);
    out8(COM1 + 3, line);
}

static uint8_t pic_register(uint16_t base, uint8_t which)
{
    out8(base, which);
    return in8(base);
}

/* IRR without the 8254's request, which comes 55 ms after the start. From here on the port shows ISR. */
static void note_pic(uint16_t base, uint32_t index)
{
    note_indexed("pic IMR", index, in8((uint16_t)(base + 1)));
    note_indexed("pic IRR", index, pic_register(base, 0x0a) & 0xfeu);
    note_indexed("pic ISR", index, pic_register(base, 0x0b));
    note_indexed("pic ELCR", index, in8((uint16_t)(0x4d0 + index)));
}

/* The 8254's status without the output, which time changes. */
static void note_pit(void)
{
    for (uint32_t channel = 0; channel < 3; channel++) {
        out8(0x43, (uint8_t)(0xe0 | 2u << channel));
        note_indexed("pit status", channel, in8((uint16_t)(0x40 + channel)) & 0x7fu);
    }
    note("port-b low", in8(0x61) & 0x0fu);
}

static void note_cmos(void)
{
    for (uint8_t index = RTC_A; index < 0x80; index++) {
        note_unless_zero("cmos", index, cmos_read(index) & (index == RTC_A ? 0x7fu : 0xffu));
    }
    out8(0x70, RTC_D);
}

static uint64_t keyboard_ask(uint8_t command)
{
    out8(0x64, command);
    for (uint32_t i = 0; i < 1000; i++) {
        if ((in8(0x64) & 1) != 0) {
            return in8(0x60);
        }
    }
    return ~0ull;
}

static void note_keyboard(void)
{
    note("i8042 status", in8(0x64));
    note("i8042 config", keyboard_ask(0x20));
    note("i8042 output-port", keyboard_ask(0xd0));
    note("i8042 port-test", keyboard_ask(0xab));
    note("i8042 mouse-test", keyboard_ask(0xa9));
    note("port-92", in8(0x92));
}

static void note_pm(void)
{
    note("pm status", in16(0x600));
    note("pm enable", in16(0x602));
    note("pm control", in16(PM1A_CONTROL));
    note("reset-control", in8(0xcf9));
}

static uint32_t pci_read(uint32_t function, uint32_t offset)
{
    out32(0xcf8, BIT(31) | function << 8 | offset);
    return in32(0xcfc);
}

static void note_pci(void)
{
    note("pci address", in32(0xcf8));
    for (uint32_t function = 0; function < 0x300; function++) { /* the first three buses */
        if (pci_read(function, 0) == 0xffffffffu) {
            continue;
        }
        for (uint32_t offset = 0; offset < 0x100; offset += 4) {
            note_unless_zero("pci", function << 8 | offset, pci_read(function, offset));
        }
    }
    out32(0xcf8, 0);
}

static void note_ioapic(void)
{
    for (uint32_t index = 0; index < 0x40; index++) {
        mmio_write32(IOAPIC_BASE, index);
        note_indexed("ioapic", index, mmio_read32(IOAPIC_BASE + 0x10));
    }
    mmio_write32(IOAPIC_BASE, 0);
}

static void note_lapic(void)
{
    for (uint32_t offset = 0; offset < 0x400; offset += 0x10) {
        note_unless_zero("lapic", offset, lapic_read(offset));
    }
}

static void note_devices(void)
{
    note_uart();
    note_pic(0x20, 0);
    note_pic(0xa0, 1);
    note_pit();
    note_keyboard();
    note_pm();
    note_pci();
    note_ioapic();
    note_lapic();
    note_cmos();
}

/* ---- Ports and memory addresses, probed: neighbours that answer alike are one run ---- */

#define RUNS_MAX 512u
#define PORTS 0x10000u

struct answer {
    uint32_t byte, word, dword;
    bool moves; /* a counter, or part of one */
};

struct run {
    uint32_t first, last;
    struct answer answer;
};

static struct run port_runs[RUNS_MAX];
static struct run address_runs[RUNS_MAX];

static bool same_answer(const struct answer *left, const struct answer *right)
{
    return left->moves == right->moves &&
           (left->moves || (left->byte == right->byte && left->word == right->word && left->dword == right->dword));
}

static void add_to_runs(struct run *runs, uint32_t *count, uint32_t at, const struct answer *answer)
{
    if (*count != 0 && same_answer(&runs[*count - 1].answer, answer)) {
        runs[*count - 1].last = at;
        return;
    }
    CHECK(*count < RUNS_MAX);
    runs[*count] = (struct run){at, at, *answer};
    (*count)++;
}

/* The 8254's counters and port 0x61, which shows one's output; the ACPI timer. */
static bool port_moves(uint32_t port)
{
    return (port >= 0x40 && port <= 0x42) || port == 0x61 || (port >= 0x608 && port <= 0x60b);
}

static struct answer probe_port(uint32_t port)
{
    struct answer answer = {in8((uint16_t)port), in16((uint16_t)port), in32((uint16_t)port), false};

    for (uint32_t i = 0; i < 4; i++) {
        answer.moves = answer.moves || port_moves(port + i);
    }
    return answer;
}

static uint32_t probe_ports(void)
{
    uint32_t count = 0;

    for (uint32_t port = 0; port < PORTS; port++) {
        struct answer answer = probe_port(port);

        add_to_runs(port_runs, &count, port, &answer);
    }
    return count;
}

static struct answer probe_address(uint32_t address)
{
    uintptr_t at = address;

    return (struct answer){*(volatile uint8_t *)at, *(volatile uint16_t *)at, *(volatile uint32_t *)at, false};
}

/* From the end of RAM to 4 GiB: one read in each 4 MiB, and in each page around the APICs. */
static uint32_t probe_addresses(const struct start_info *info)
{
    const struct start_info_memory *map = start_info_memory(info);
    uint64_t ram_end = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < info->memory_map_count; i++) {
        uint64_t end = map[i].address + map[i].bytes;

        ram_end = map[i].type == START_INFO_RAM && end > ram_end ? end : ram_end;
    }
    for (uint64_t at = ram_end; at < 1ull << 32; at += at >= 0xfec00000u && at < 0xff000000u ? PAGE : 0x400000u) {
        struct answer answer = probe_address((uint32_t)at);

        add_to_runs(address_runs, &count, (uint32_t)at, &answer);
    }
    return count;
}

static void print_runs(const char *what, const struct run *runs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (runs[i].answer.moves) {
            print("@ %s %x-%x: moves\n", what, runs[i].first, runs[i].last);
        } else {
            print("@ %s %x-%x: %x %x %x\n", what, runs[i].first, runs[i].last, runs[i].answer.byte, runs[i].answer.word,
                  runs[i].answer.dword);
        }
    }
}

/* ---- CPUID ---- */

static bool same_words(struct cpuid left, struct cpuid right)
{
    return left.eax == right.eax && left.ebx == right.ebx && left.ecx == right.ecx && left.edx == right.edx;
}

static void print_words(uint32_t leaf, uint32_t subleaf, struct cpuid words)
{
    if (!same_words(words, (struct cpuid){0, 0, 0, 0})) {
        print("@ cpuid %x %x: %x %x %x %x\n", leaf, subleaf, words.eax, words.ebx, words.ecx, words.edx);
    }
}

/* Subleaves that repeat the first are not printed; where they differ, those that are zero are not. */
static void print_leaf(uint32_t leaf)
{
    struct cpuid first = cpuid(leaf, 0);

    print_words(leaf, 0, first);
    for (uint32_t subleaf = 1; subleaf < 64; subleaf++) {
        struct cpuid words = cpuid(leaf, subleaf);

        if (!same_words(words, first)) {
            print_words(leaf, subleaf, words);
        }
    }
}

static void print_leaves(uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        print_leaf(first + i);
    }
}

static void print_cpuid(void)
{
    print_leaves(0, 0x30);
    print_leaves(0x40000000u, 0x20);
    print_leaves(0x40000100u, 0x10);
    print_leaves(0x80000000u, 0x30);
    print_leaves(0x8fffffffu, 2);
    print_leaves(0xc0000000u, 8);
}

/* ---- MSRs ---- */

#define MSRS_MAX 1024u
#define IA32_APIC_BASE 0x1b
#define EFER 0xc0000080u

static const struct {
    uint32_t first, count;
} msr_ranges[] = {
    {0, 0x2000}, {0x40000000, 0x100}, {0x4b564d00, 0x100}, {0xc0000000, 0x2000}, {0xc0010000, 0x2000},
};

static struct {
    uint32_t number;
    uint64_t value;
    bool moves;
} msrs[MSRS_MAX];
static uint32_t msr_count;

static bool msr_read(uint32_t number, uint64_t *value)
{
    uint32_t low = 0, high = 0;

    TRAP("rdmsr", : "+a"(low), "+d"(high) : "c"(number) : "memory");
    *value = (uint64_t)high << 32 | low;
    return trap_last.vector == WORKED;
}

static bool msr_write(uint32_t number, uint64_t value)
{
    TRAP("wrmsr", : : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(number) : "memory");
    return trap_last.vector == WORKED;
}

static void probe_msr(uint32_t number)
{
    uint64_t value, again = 0;

    if (!msr_read(number, &value)) {
        return;
    }
    CHECK(msr_count < MSRS_MAX);
    (void)msr_read(number, &again);
    msrs[msr_count].number = number;
    msrs[msr_count].value = value;
    msrs[msr_count].moves = value != again;
    msr_count++;
}

static void probe_msrs(void)
{
    for (uint32_t i = 0; i < LENGTH(msr_ranges); i++) {
        for (uint32_t j = 0; j < msr_ranges[i].count; j++) {
            probe_msr(msr_ranges[i].first + j);
        }
    }
}

/* What a write of `value` leads to: #GP, or what a read then gives. */
static void print_write(uint32_t number, uint64_t value)
{
    uint64_t first = 0, second = 0;

    if (!msr_write(number, value)) {
        print(" #GP");
        return;
    }
    (void)msr_read(number, &first);
    (void)msr_read(number, &second);
    if (first != second) {
        print(" moves");
    } else {
        print(" %q", first);
    }
}

static void print_msrs(void)
{
    for (uint32_t i = 0; i < msr_count; i++) {
        uint32_t number = msrs[i].number;

        if (msrs[i].moves) {
            print("@ msr %x: moves", number);
        } else {
            print("@ msr %x: %q", number, msrs[i].value);
        }
        print_write(number, 0);
        print_write(number, ~0ull);
        print("\n");
        (void)msr_write(number, msrs[i].value);
    }
}

static bool msr_was_read(uint32_t number)
{
    for (uint32_t i = 0; i < msr_count; i++) {
        if (msrs[i].number == number) {
            return true;
        }
    }
    return false;
}

/* Those that cannot be read, but written. */
static void print_write_only_msrs(void)
{
    for (uint32_t i = 0; i < LENGTH(msr_ranges); i++) {
        for (uint32_t number = msr_ranges[i].first; number < msr_ranges[i].first + msr_ranges[i].count; number++) {
            if (!msr_was_read(number) && msr_write(number, 0)) {
                print("@ msr-write-only %x: takes 0\n", number);
            }
        }
    }
}

/* The local APIC in x2APIC mode, where this guest leaves it. */
static void print_x2apic(void)
{
    if (!msr_write(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE) | BIT(10) | BIT(11))) {
        print("@ x2apic: refused\n");
        return;
    }
    print("@ x2apic: %q\n", rdmsr(IA32_APIC_BASE));
    for (uint32_t number = 0x800; number < 0x900; number++) {
        uint64_t value;
        bool readable = msr_read(number, &value);
        bool zero = msr_write(number, 0), ones = msr_write(number, ~0ull);

        if (readable) {
            print("@ x2apic %x: %q, zero %s, ones %s\n", number, value, zero ? "taken" : "#GP", ones ? "taken" : "#GP");
        } else if (zero || ones) {
            print("@ x2apic %x: #GP, zero %s, ones %s\n", number, zero ? "taken" : "#GP", ones ? "taken" : "#GP");
        }
    }
}

/* ---- Control, debug and flag registers: what each bit does when it is turned over ---- */

struct bits {
    uint64_t changes, ignored, refused;
};

static void count_bit(struct bits *bits, uint64_t bit, uint64_t wanted, uint64_t now)
{
    if (trap_last.vector != WORKED) {
        bits->refused |= bit;
    } else if (((wanted ^ now) & bit) == 0) {
        bits->changes |= bit;
    } else {
        bits->ignored |= bit;
    }
}

static void print_bits(const char *what, const struct bits *bits)
{
    print("@ bits %s changes: %q\n@ bits %s ignored: %q\n@ bits %s refused: %q\n", what, bits->changes, what,
          bits->ignored, what, bits->refused);
}

static bool on_qemu(void)
{
    struct cpuid brand = cpuid(0x80000002u, 0);

    return brand.eax == 0x554d4551u && brand.ebx == 0x47435420u; /* "QEMU TCG" */
}

#define TRY_BITS(name, label, mask, read, write)                 \
    static void name(void)                                       \
    {                                                            \
        struct bits bits = {0, 0, 0};                            \
        uint64_t before, now;                                    \
        __asm__ volatile(read : "=r"(before) : : "memory");      \
        for (uint32_t i = 0; i < 64; i++) {                      \
            uint64_t bit = 1ull << i, value = before ^ bit;      \
            if ((bit & (mask)) != 0) {                           \
                TRAP(write, : : "r"(value) : "memory", "cc");    \
                __asm__ volatile(read : "=r"(now) : : "memory"); \
                count_bit(&bits, bit, value, now);               \
                TRAP(write, : : "r"(before) : "memory", "cc");   \
                CHECK(trap_last.vector == WORKED);               \
            }                                                    \
        }                                                        \
        print("@ register " label ": %q\n", before);             \
        print_bits(label, &bits);                                \
    }

/* Not TF and IF: nothing here handles what they would bring. */
#define FLAGS_TO_TRY (~(uint64_t)(BIT(8) | BIT(9)))
/* Not GD, which makes reading it back an exception. */
#define DR7_TO_TRY (~(uint64_t)BIT(13))

TRY_BITS(try_cr0, "cr0", ~0ull, "movq %%cr0, %0", "movq %0, %%cr0")
TRY_BITS(try_cr4, "cr4", ~0ull, "movq %%cr4, %0", "movq %0, %%cr4")
TRY_BITS(try_cr8, "cr8", ~0ull, "movq %%cr8, %0", "movq %0, %%cr8")
TRY_BITS(try_dr0, "dr0", ~0ull, "movq %%dr0, %0", "movq %0, %%dr0")
TRY_BITS(try_dr6, "dr6", ~0ull, "movq %%dr6, %0", "movq %0, %%dr6")
TRY_BITS(try_dr7, "dr7", DR7_TO_TRY, "movq %%dr7, %0", "movq %0, %%dr7")
TRY_BITS(try_flags, "flags", FLAGS_TO_TRY, "pushfq; popq %0", "pushq %0; popfq")

static void try_efer(void)
{
    struct bits bits = {0, 0, 0};
    uint64_t before = rdmsr(EFER);

    for (uint32_t i = 0; i < 64; i++) {
        uint64_t bit = 1ull << i;

        (void)msr_write(EFER, before ^ bit);
        count_bit(&bits, bit, before ^ bit, rdmsr(EFER));
        wrmsr(EFER, before);
    }
    print("@ register efer: %q\n", before);
    print_bits("efer", &bits);
}

#define CR4_OSFXSR (BIT(9) | BIT(10))
#define CR4_FSGSBASE BIT(16)
#define CR4_OSXSAVE BIT(18)

static void cr4_add(word_t bits)
{
    word_t value = read_cr4() | bits;

    TRAP("movq %0, %%cr4", : : "r"(value) : "memory");
}

static bool xcr0_write(uint32_t value)
{
    TRAP("xsetbv", : : "a"(value), "d"(0), "c"(0) : "memory");
    return trap_last.vector == WORKED;
}

/* Each component, with those below it that it needs; CPUID's size of the area follows. */
static void try_xcr0(void)
{
    static const uint32_t values[] = {0, 1, 3, 5, 7, 9, 0xb, 0x1b, 0x23, 0xe1, 0xe3, 0xe7, 0x207, 0x2e7, 0x60007};
    uint32_t offered = cpuid(0xd, 0).eax;

    cr4_add(CR4_OSXSAVE);
    for (uint32_t i = 0; i < LENGTH(values); i++) {
        if (xcr0_write(values[i])) {
            print("@ xcr0 %x: %x bytes\n", values[i], cpuid(0xd, 0).ebx);
        } else {
            print("@ xcr0 %x: vector %u\n", values[i], trap_last.vector);
        }
    }
    print("@ osxsave: %x\n", (cpuid(1, 0).ecx >> 27) & 1);
    if (offered != 0) {
        CHECK(xcr0_write(offered));
    }
}

static void print_registers(void)
{
    try_cr0();
    try_cr4();
    try_cr8();
    try_efer();
    try_dr0();
    try_dr6();
    try_dr7();
    try_flags();
    try_xcr0();
}

/* ---- The floating-point unit at entry: nothing of another owner's may be left in it ---- */

static uint8_t fxsave_area[512] __attribute__((aligned(16)));

static void save_fpu(void)
{
    write_cr4(read_cr4() | CR4_OSFXSR);
    __asm__ volatile("fxsave %0" : "=m"(fxsave_area));
    write_cr4(read_cr4() & ~(word_t)CR4_OSFXSR);
}

static void print_fpu(void)
{
    const uint16_t *words = (const uint16_t *)(const void *)fxsave_area;
    const uint32_t *dwords = (const uint32_t *)(const void *)fxsave_area;

    print("@ fpu control: %x\n@ fpu status: %x\n@ fpu tags: %x\n", words[0], words[1], fxsave_area[4]);
    print("@ fpu mxcsr: %x\n@ fpu mxcsr-mask: %x\n", dwords[6], dwords[7]);
    print("@ fpu registers: hash %q\n", hash_bytes(&fxsave_area[32], 16 * 8 + 16 * 16));
}

/* ---- Instructions: does what CPUID offers work, and what happens to the rest ---- */

enum word {
    EAX,
    EBX,
    ECX,
    EDX,
    NONE, /* no CPUID bit belongs to it */
};

struct instruction {
    const char *name;
    uint32_t leaf, subleaf;
    enum word word;
    uint32_t bit;
    uint8_t length;
    uint8_t bytes[10];
};

/*
 * They run with rax = rdi = a page of scratch, rsi = a page of zeroes, rcx = rdx = 0, all offered extended states on.
 * MWAIT comes before MONITOR, so that no CPU sleeps.
 */
/* clang-format off */
static const struct instruction instructions[] = {
    {"lahf", 0x80000001, 0, ECX, 0, 1, {0x9f}},
    {"cmpxchg16b", 1, 0, ECX, 13, 4, {0x48, 0x0f, 0xc7, 0x0f}},
    {"popcnt", 1, 0, ECX, 23, 4, {0xf3, 0x0f, 0xb8, 0xc1}},
    {"movbe", 1, 0, ECX, 22, 4, {0x0f, 0x38, 0xf0, 0x07}},
    {"addps", 1, 0, EDX, 25, 3, {0x0f, 0x58, 0xc1}},
    {"haddps", 1, 0, ECX, 0, 4, {0xf2, 0x0f, 0x7c, 0xc1}},
    {"pshufb", 1, 0, ECX, 9, 5, {0x66, 0x0f, 0x38, 0x00, 0xc1}},
    {"pmulld", 1, 0, ECX, 19, 5, {0x66, 0x0f, 0x38, 0x40, 0xc1}},
    {"crc32", 1, 0, ECX, 20, 5, {0xf2, 0x0f, 0x38, 0xf1, 0xc1}},
    {"pclmulqdq", 1, 0, ECX, 1, 6, {0x66, 0x0f, 0x3a, 0x44, 0xc1, 0x00}},
    {"aesenc", 1, 0, ECX, 25, 5, {0x66, 0x0f, 0x38, 0xdc, 0xc1}},
    {"extrq", 0x80000001, 0, ECX, 6, 4, {0x66, 0x0f, 0x79, 0xc1}},
    {"pfadd", 0x80000001, 0, EDX, 31, 4, {0x0f, 0x0f, 0xc1, 0x9e}},
    {"sha1msg1", 7, 0, EBX, 29, 4, {0x0f, 0x38, 0xc9, 0xc1}},
    {"gf2p8mulb", 7, 0, ECX, 8, 5, {0x66, 0x0f, 0x38, 0xcf, 0xc1}},
    {"xgetbv", 1, 0, ECX, 26, 3, {0x0f, 0x01, 0xd0}},
    {"xsave", 1, 0, ECX, 26, 3, {0x0f, 0xae, 0x27}},
    {"xsaveopt", 0xd, 1, EAX, 0, 3, {0x0f, 0xae, 0x37}},
    {"xsavec", 0xd, 1, EAX, 1, 3, {0x0f, 0xc7, 0x27}},
    {"xgetbv-1", 0xd, 1, EAX, 2, 8, {0xb9, 0x01, 0x00, 0x00, 0x00, 0x0f, 0x01, 0xd0}},
    {"xsaves", 0xd, 1, EAX, 3, 3, {0x0f, 0xc7, 0x2f}},
    {"vaddps-ymm", 1, 0, ECX, 28, 4, {0xc5, 0xfc, 0x58, 0xc1}},
    {"vcvtph2ps", 1, 0, ECX, 29, 5, {0xc4, 0xe2, 0x7d, 0x13, 0xc1}},
    {"vfmadd231ps", 1, 0, ECX, 12, 5, {0xc4, 0xe2, 0x75, 0xb8, 0xc1}},
    {"vpaddd-ymm", 7, 0, EBX, 5, 4, {0xc5, 0xf5, 0xfe, 0xc1}},
    {"vaesenc-ymm", 7, 0, ECX, 9, 5, {0xc4, 0xe2, 0x75, 0xdc, 0xc1}},
    {"vaddps-zmm", 7, 0, EBX, 16, 6, {0x62, 0xf1, 0x74, 0x48, 0x58, 0xc1}},
    {"vfrczps", 0x80000001, 0, ECX, 11, 5, {0x8f, 0xe9, 0x78, 0x80, 0xc1}},
    {"blcfill", 0x80000001, 0, ECX, 21, 5, {0x8f, 0xe9, 0x70, 0x01, 0xc9}},
    {"tilerelease", 7, 0, EDX, 24, 5, {0xc4, 0xe2, 0x78, 0x49, 0xc0}},
    {"andn", 7, 0, EBX, 3, 5, {0xc4, 0xe2, 0x70, 0xf2, 0xc1}},
    {"bzhi", 7, 0, EBX, 8, 5, {0xc4, 0xe2, 0x70, 0xf5, 0xc1}},
    {"adcx", 7, 0, EBX, 19, 5, {0x66, 0x0f, 0x38, 0xf6, 0xc1}},
    {"rdrand", 1, 0, ECX, 30, 3, {0x0f, 0xc7, 0xf0}},
    {"rdseed", 7, 0, EBX, 18, 3, {0x0f, 0xc7, 0xf8}},
    {"rdtscp", 0x80000001, 0, EDX, 27, 3, {0x0f, 0x01, 0xf9}},
    {"rdpid", 7, 0, ECX, 22, 4, {0xf3, 0x0f, 0xc7, 0xf8}},
    {"rdfsbase", 7, 0, EBX, 0, 4, {0xf3, 0x0f, 0xae, 0xc0}},
    {"invpcid", 7, 0, EBX, 10, 5, {0x66, 0x0f, 0x38, 0x82, 0x0e}},
    {"clflush", 1, 0, EDX, 19, 3, {0x0f, 0xae, 0x3f}},
    {"clflushopt", 7, 0, EBX, 23, 4, {0x66, 0x0f, 0xae, 0x3f}},
    {"clwb", 7, 0, EBX, 24, 4, {0x66, 0x0f, 0xae, 0x37}},
    {"clzero", 0x80000008, 0, EBX, 0, 3, {0x0f, 0x01, 0xfc}},
    {"wbnoinvd", 0x80000008, 0, EBX, 9, 3, {0xf3, 0x0f, 0x09}},
    {"wbinvd", 0, 0, NONE, 0, 2, {0x0f, 0x09}},
    {"invd", 0, 0, NONE, 0, 2, {0x0f, 0x08}},
    {"clac", 7, 0, EBX, 20, 3, {0x0f, 0x01, 0xca}},
    {"serialize", 7, 0, EDX, 14, 3, {0x0f, 0x01, 0xe8}},
    {"movdiri", 7, 0, ECX, 27, 4, {0x0f, 0x38, 0xf9, 0x07}},
    {"movdir64b", 7, 0, ECX, 28, 5, {0x66, 0x0f, 0x38, 0xf8, 0x3e}},
    {"rdpkru", 7, 0, ECX, 3, 3, {0x0f, 0x01, 0xee}},
    {"setssbsy", 7, 0, ECX, 7, 4, {0xf3, 0x0f, 0x01, 0xe8}},
    {"xtest", 7, 0, EBX, 11, 3, {0x0f, 0x01, 0xd6}},
    {"encls", 7, 0, EBX, 2, 3, {0x0f, 0x01, 0xcf}},
    {"enclu", 7, 0, EBX, 2, 3, {0x0f, 0x01, 0xd7}},
    {"pconfig", 7, 0, EDX, 18, 3, {0x0f, 0x01, 0xc5}},
    {"tpause", 7, 0, ECX, 5, 4, {0x66, 0x0f, 0xae, 0xf1}},
    {"mwait", 1, 0, ECX, 3, 3, {0x0f, 0x01, 0xc9}},
    {"monitor", 1, 0, ECX, 3, 3, {0x0f, 0x01, 0xc8}},
    {"mwaitx", 0x80000001, 0, ECX, 29, 3, {0x0f, 0x01, 0xfb}},
    {"monitorx", 0x80000001, 0, ECX, 29, 3, {0x0f, 0x01, 0xfa}},
    {"rdpru", 0x80000008, 0, EBX, 4, 3, {0x0f, 0x01, 0xfd}},
    {"invlpgb", 0x80000008, 0, EBX, 3, 3, {0x0f, 0x01, 0xfe}},
    {"tlbsync", 0x80000008, 0, EBX, 3, 3, {0x0f, 0x01, 0xff}},
    {"rdpmc", 0, 0, NONE, 0, 2, {0x0f, 0x33}},
    {"rsm", 0, 0, NONE, 0, 2, {0x0f, 0xaa}},
    {"getsec", 1, 0, ECX, 6, 2, {0x0f, 0x37}},
    {"vmxon", 1, 0, ECX, 5, 4, {0xf3, 0x0f, 0xc7, 0x37}},
    {"vmlaunch", 1, 0, ECX, 5, 3, {0x0f, 0x01, 0xc2}},
    {"vmptrld", 1, 0, ECX, 5, 3, {0x0f, 0xc7, 0x37}},
    {"vmread", 1, 0, ECX, 5, 3, {0x0f, 0x78, 0xc1}},
    {"vmfunc", 1, 0, ECX, 5, 3, {0x0f, 0x01, 0xd4}},
    {"invept", 1, 0, ECX, 5, 5, {0x66, 0x0f, 0x38, 0x80, 0x0e}},
    {"invvpid", 1, 0, ECX, 5, 5, {0x66, 0x0f, 0x38, 0x81, 0x0e}},
    {"vmrun", 0x80000001, 0, ECX, 2, 3, {0x0f, 0x01, 0xd8}},
    {"vmload", 0x80000001, 0, ECX, 2, 3, {0x0f, 0x01, 0xda}},
    {"vmsave", 0x80000001, 0, ECX, 2, 3, {0x0f, 0x01, 0xdb}},
    {"stgi", 0x80000001, 0, ECX, 2, 3, {0x0f, 0x01, 0xdc}},
    {"clgi", 0x80000001, 0, ECX, 2, 3, {0x0f, 0x01, 0xdd}},
    {"invlpga", 0x80000001, 0, ECX, 2, 3, {0x0f, 0x01, 0xdf}},
    {"skinit", 0x80000001, 0, ECX, 12, 3, {0x0f, 0x01, 0xde}},
    {"vmcall", 0, 0, NONE, 0, 3, {0x0f, 0x01, 0xc1}},
    {"vmmcall", 0, 0, NONE, 0, 3, {0x0f, 0x01, 0xd9}},
    {"swapgs", 0, 0, NONE, 0, 3, {0x0f, 0x01, 0xf8}},
    {"int1", 0, 0, NONE, 0, 1, {0xf1}},
    {"ud0", 0, 0, NONE, 0, 3, {0x0f, 0xff, 0xc0}},
    {"ud1", 0, 0, NONE, 0, 3, {0x0f, 0xb9, 0xc0}},
    {"ud2", 0, 0, NONE, 0, 2, {0x0f, 0x0b}},
    {"read-cr1", 0, 0, NONE, 0, 3, {0x0f, 0x20, 0xc8}},
    {"read-dr4", 0, 0, NONE, 0, 3, {0x0f, 0x21, 0xe0}},
};
/* clang-format on */

static uint8_t scratch[PAGE] __attribute__((aligned(PAGE)));
static uint8_t zeroes[PAGE] __attribute__((aligned(PAGE)));
static uint8_t code[PAGE] __attribute__((aligned(PAGE)));
static const char *broken_offer;

static bool offered(const struct instruction *instruction)
{
    struct cpuid words = cpuid(instruction->leaf, instruction->subleaf);
    const uint32_t by_word[] = {words.eax, words.ebx, words.ecx, words.edx, 0};

    return (by_word[instruction->word] >> instruction->bit & 1) != 0;
}

/* Copies it in front of a RET and calls it. After an exception the return address is still on the stack. */
static void execute(const struct instruction *instruction)
{
    register void *to __asm__("r13") = code;
    void *a = scratch, *c = NULL, *d = NULL, *di = scratch, *si = zeroes;

    for (uint32_t i = 0; i < instruction->length; i++) {
        code[i] = instruction->bytes[i];
    }
    code[instruction->length] = 0xc3;
    TRAP("movq %%rsp, %%r12\n\tcall *%5", "movq %%r12, %%rsp"
         : "+a"(a), "+c"(c), "+d"(d), "+D"(di), "+S"(si)
         : "r"(to), "b"(0)
         : "memory", "cc", "r8", "r9", "r10", "r11", "r12");
}

static void print_outcome(void)
{
    if (trap_last.vector == WORKED) {
        print("works\n");
    } else {
        print("vector %u\n", trap_last.vector);
    }
}

static void try_instruction(const struct instruction *instruction)
{
    bool is_offered = offered(instruction);

    execute(instruction);
    print("@ instruction %s: %s", instruction->name,
          instruction->word == NONE ? "" : (is_offered ? "offered, " : "not offered, "));
    print_outcome();
    if (is_offered && trap_last.vector == VECTOR_UD) {
        broken_offer = instruction->name;
    }
}

static void print_hypercall(void)
{
    uint64_t result = 99; /* no hypercall has this number */

    TRAP("vmcall", : "+a"(result) : "b"(0), "c"(0), "d"(0), "S"(0) : "memory");
    print("@ hypercall vmcall: %q\n", result);
    result = 99;
    TRAP("vmmcall", : "+a"(result) : "b"(0), "c"(0), "d"(0), "S"(0) : "memory");
    print("@ hypercall vmmcall: %q\n", result);
}

/* QEMU's CPU knows no XOP and takes its first byte for POP, which runs into nowhere. */
static bool runs_astray(const struct instruction *instruction)
{
    return on_qemu() && instruction->bytes[0] == 0x8f;
}

static void print_instructions(void)
{
    cr4_add(CR4_OSFXSR);
    cr4_add(CR4_FSGSBASE);
    for (uint32_t i = 0; i < LENGTH(instructions); i++) {
        if (!runs_astray(&instructions[i])) {
            try_instruction(&instructions[i]);
        }
    }
    print_hypercall();
}

/* ---- SYSCALL and SYSENTER, from 64-bit and from 32-bit code ---- */

#define STAR 0xc0000081u
#define LSTAR 0xc0000082u
#define CSTAR 0xc0000083u
#define SFMASK 0xc0000084u
#define SYSENTER_CS 0x174u
#define SYSENTER_ESP 0x175u
#define SYSENTER_EIP 0x176u
#define COMPATIBILITY_CODE 0x18u

static uint64_t gdt_with_compatibility_code[] = {0, 0x00af9b000000ffffull, 0x00cf93000000ffffull,
                                                 0x00cf9b000000ffffull};
static uint64_t call_stack[64];

/* Exceptions from 32-bit code go on in 64-bit code. */
static void back_to_64_bits(struct trap_frame *frame)
{
    trap_last.vector = (uint32_t)frame->vector;
    frame->cs = KIT_CODE;
    frame->ss = KIT_DATA;
    frame->ip = trap_resume;
}

/* All four ways in lead to the end of the TRAP, whose address is stored before the instruction. */
#define SET_MSR_TO_RESUME(number)              \
    "movl $" #number ", %%ecx\n\t"             \
    "movq trap_resume(%%rip), %%rax\n\t"       \
    "movq %%rax, %%rdx\n\tshrq $32, %%rdx\n\t" \
    "wrmsr\n\t"
#define FROM_32_BITS(instruction)                                      \
    "pushq $0x18\n\tleaq 2f(%%rip), %%rax\n\tpushq %%rax\n\tlretq\n\t" \
    ".code32\n2:\t" instruction "\n\t.code64\n\t"
#define TRY_CALL(label, setup, instruction)                                                                    \
    do {                                                                                                       \
        print("@ call " label ": ");                                                                           \
        TRAP("movq %%rsp, %%r12\n\t" setup instruction, "movq %%r12, %%rsp"                                    \
             :                                                                                                 \
             :                                                                                                 \
             : "rax", "rcx", "rdx", "rbx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", \
               "memory", "cc");                                                                                \
        print_outcome();                                                                                       \
    } while (0)

static void print_calls(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } gdt = {sizeof(gdt_with_compatibility_code) - 1, (uintptr_t)gdt_with_compatibility_code};

    __asm__ volatile("lgdt %0" : : "m"(gdt));
    trap_set(VECTOR_UD, back_to_64_bits);
    trap_set(13, back_to_64_bits);
    wrmsr(STAR, (uint64_t)KIT_CODE << 32);
    wrmsr(SFMASK, 0);
    wrmsr(SYSENTER_CS, KIT_CODE);
    wrmsr(SYSENTER_ESP, (uintptr_t)&call_stack[LENGTH(call_stack)]);
    TRY_CALL("syscall without EFER.SCE", SET_MSR_TO_RESUME(0xc0000082), "syscall");
    wrmsr(EFER, rdmsr(EFER) | 1);
    TRY_CALL("syscall from 64 bits", SET_MSR_TO_RESUME(0xc0000082), "syscall");
    TRY_CALL("syscall from 32 bits", SET_MSR_TO_RESUME(0xc0000083), FROM_32_BITS("syscall"));
    if (!on_qemu()) { /* whose SYSENTER loads a CS that its VMRUN refuses */
        TRY_CALL("sysenter from 64 bits", SET_MSR_TO_RESUME(0x176), "sysenter");
        TRY_CALL("sysenter from 32 bits", SET_MSR_TO_RESUME(0x176), FROM_32_BITS("sysenter"));
    }
    trap_set(VECTOR_UD, NULL);
    trap_set(13, NULL);
}

/* ---- The whole ---- */

static void print_entry(void)
{
    const uint64_t *gdt = (const uint64_t *)(uintptr_t)entry_state.gdtr.base;

    print("@ entry ax: %q\n@ entry bx: %q\n@ entry cx: %q\n@ entry dx: %q\n", entry_state.ax, entry_state.bx,
          entry_state.cx, entry_state.dx);
    print("@ entry si: %q\n@ entry di: %q\n@ entry bp: %q\n@ entry sp: %q\n", entry_state.si, entry_state.di,
          entry_state.bp, entry_state.sp);
    print("@ entry flags: %q\n@ entry cr0: %q\n@ entry cr3: %q\n@ entry cr4: %q\n@ entry efer: %q\n", entry_state.flags,
          entry_state.cr0, entry_state.cr3, entry_state.cr4, entry_state.efer);
    print("@ entry gdtr: %q limit %x\n@ entry idtr: %q limit %x\n", entry_state.gdtr.base, entry_state.gdtr.limit,
          entry_state.idtr.base, entry_state.idtr.limit);
    print("@ entry cs: %x\n@ entry ds: %x\n@ entry es: %x\n@ entry fs: %x\n@ entry gs: %x\n@ entry ss: %x\n",
          entry_state.cs, entry_state.ds, entry_state.es, entry_state.fs, entry_state.gs, entry_state.ss);
    print("@ entry tr: %x\n@ entry ldtr: %x\n", entry_state.tr, entry_state.ldtr);
    for (uint32_t i = 0; i < (entry_state.gdtr.limit + 1u) / 8; i++) {
        print("@ entry gdt %x: %q\n", i * 8, gdt[i]);
    }
}

void guest_main(void)
{
    const struct start_info *info = start_info();
    uint32_t ports, addresses;

    CHECK(info != NULL);
    save_fpu();
    note_memory(info);
    note_devices();
    ports = probe_ports();
    addresses = probe_addresses(info);
    probe_msrs();
    print_entry();
    print_fpu();
    print_memory_map(info);
    print_acpi(info);
    print_readings();
    print_runs("port", port_runs, ports);
    print_runs("address", address_runs, addresses);
    print_cpuid();
    print_msrs();
    print_write_only_msrs();
    print_registers();
    print_instructions();
    print_calls();
    print_x2apic();
    if (broken_offer != NULL) {
        guest_fail("CPUID offers %s, and it raises #UD", broken_offer);
    }
}

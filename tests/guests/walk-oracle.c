/* SPDX-License-Identifier: MIT */
/*
 * The CPU's MMU against hv/mm/guest_walk.c, which is linked into this guest as it is.
 *
 * Round by round the guest builds random page tables of its own: rights, sizes, holes, reserved bits, accessed and
 * dirty bits. It loads them with random CR0.WP, CR4.SMEP, SMAP, PSE and EFER.NXE, and touches addresses: read, write,
 * fetch, as supervisor (with EFLAGS.AC set or clear) and as user. guest_walk predicts each touch from a copy of the
 * tables: success and which page of RAM it reaches, or the page fault's error code, and the accessed and dirty bits
 * afterwards. The MMU decides. Anything that differs is printed and is a FAIL.
 *
 * 64-bit: 4-level paging. 32-bit: PAE and 32-bit paging, in turn.
 *
 * Linear addresses: the tables' first root entries are the kit's, one to one and for the supervisor only, so that this
 * code, its stack and its IDT are there whatever the rest says; there is also one page of code for user mode. The rest
 * of the root is random. Leaves point into SAFE, 8 MiB of RAM that hold nothing: each dword there is a UD2 instruction
 * and the number of its page, so that a read tells which page it came from, and a fetch ends at once.
 *
 * What a walk that faults leaves behind is up to the CPU in one point: accessed bits in links above the fault. Real
 * CPUs and QEMU set them on the way down, Bochs only at the end. They are not compared then.
 */
#include "tests/guests/lib/guest.h"

#include "hv/base/memory.h"
#include "hv/mm/guest_walk.h"

const char guest_name[] = "walk-oracle";

#define ROUNDS 300u
#define TOUCHES 64u
#define REPORTS_MAX 6u

#define SAFE_START 0x400000u
#define SAFE_END 0xc00000u
#define UD2 0x0b0fu

#define MSR_EFER 0xc0000080u
#define FLAGS_AC 0x40000u
#define FLAGS_ONE 2u

#define PRESENT 1ULL
#define WRITE 2ULL
#define USER 4ULL
#define ACCESSED 0x20ULL
#define DIRTY 0x40ULL
#define LARGE 0x80ULL
#define GLOBAL 0x100ULL
#define NO_EXECUTE (1ULL << 63)
#define ADDRESS 0x000ffffffffff000ULL

#define LEVELS_MAX 4u
#define PER_LEVEL 3u /* tables below the root, at each level */
#define TABLES (1u + (LEVELS_MAX - 1u) * PER_LEVEL)
#define SLOTS 8u /* used entries per table */

struct mode {
    const char *name;
    uint32_t levels, index_bits, entry_bytes;
    uint32_t large_levels; /* levels 1 .. this can have leaves */
    uint32_t root_first;   /* entries of the root before this are the kit's */
    uint32_t root_entries; /* a power of two */
    bool pointers_at_top;  /* PAE's page-directory pointers: no rights, and a reserved bit is #GP at MOV to CR3 */
    uint32_t user_linear;  /* where the page of user code is */
    uint64_t cr4;
};

#ifdef __x86_64__
static const struct mode modes[] = {{"4-level", 4, 9, 8, 2, 1, 512, false, 0x40000000u, CR4_PAE}};
#else
static const struct mode modes[] = {{"PAE", 3, 9, 8, 1, 1, 4, true, 511u << 21, CR4_PAE},
                                    {"32-bit", 2, 10, 4, 1, 5, 1024, false, 4u << 22, 0}};
#endif

static uint8_t tables[TABLES][4096] __attribute__((aligned(4096)));
static uint8_t copies[TABLES][4096] __attribute__((aligned(4096))); /* what guest_walk walks */
static uint16_t slots[TABLES][SLOTS];
static uint64_t kit_tables[5][512] __attribute__((aligned(4096)));
static uint8_t user_code[4096] __attribute__((aligned(4096)));

static const struct mode *mode;
static struct guest_memory copy_memory;
static struct guest_paging paging;
static bool has_smep, has_smap, has_nx;
static uint64_t random_state = 88172645463325252ULL;
static uint32_t faults, successes, wrong;
static uint32_t reserved_faults, reserved_absent; /* of those, without the present bit */
static uint32_t pointers_accessed;

/* ---- What guest_walk.c wants from the hypervisor, and the compiler from a library ---- */

_Noreturn void check_failed(const char *file, uint32_t line, const char *condition, uint64_t left, uint64_t right);
_Noreturn void check_failed(const char *file, uint32_t line, const char *condition, uint64_t left, uint64_t right)
{
    guest_fail("%s:%u: %s (0x%q, 0x%q)", file, line, condition, left, right);
}

#ifndef __x86_64__
/* A 64-bit access is no single instruction here; nothing else touches the copies. */
uint64_t plain_load(const volatile void *from, int order) __asm__("__atomic_load_8");
uint64_t plain_load(const volatile void *from, int order)
{
    (void)order;
    return *(const volatile uint64_t *)from;
}

bool plain_exchange(volatile void *at, void *expected, uint64_t new, int success,
                    int failure) __asm__("__atomic_compare_exchange_8");
bool plain_exchange(volatile void *at, void *expected, uint64_t new, int success, int failure)
{
    uint64_t *want = expected;
    volatile uint64_t *value = at;

    (void)success;
    (void)failure;
    if (*value != *want) {
        *want = *value;
        return false;
    }
    *value = new;
    return true;
}
#endif

/* ---- Chance ---- */

static uint32_t random_u32(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)(random_state * 0x2545f4914f6cdd1dULL >> 32);
}

static uint32_t below(uint32_t count)
{
    return random_u32() % count;
}

static bool one_in(uint32_t count)
{
    return below(count) == 0;
}

/* ---- Tables ---- */

static uint64_t entry_at(const uint8_t *table, uint32_t index)
{
    return mode->entry_bytes == 8 ? ((const uint64_t *)(const void *)table)[index]
                                  : ((const uint32_t *)(const void *)table)[index];
}

static void entry_set(uint8_t *table, uint32_t index, uint64_t value)
{
    if (mode->entry_bytes == 8) {
        ((uint64_t *)(void *)table)[index] = value;
    } else {
        ((uint32_t *)(void *)table)[index] = (uint32_t)value;
    }
}

static uint64_t address_of(const void *memory)
{
    return (uint64_t)(uintptr_t)memory;
}

static uint32_t shift_of(uint32_t level)
{
    return 12u + level * mode->index_bits;
}

static bool is_pointer(uint32_t level)
{
    return mode->pointers_at_top && level + 1 == mode->levels;
}

static uint32_t level_of(uint32_t table)
{
    return table == 0 ? mode->levels - 1 : mode->levels - 2 - (table - 1) / PER_LEVEL;
}

/* A table of the level below. */
static uint64_t random_link(uint32_t level)
{
    return address_of(tables[1 + (mode->levels - 1 - level) * PER_LEVEL + below(PER_LEVEL)]);
}

/* Where in SAFE a leaf may point; a leaf that is larger than SAFE holds it. */
static uint64_t random_page(uint32_t level)
{
    uint32_t bytes = 1u << shift_of(level);

    return bytes > SAFE_END - SAFE_START ? 0 : SAFE_START + below((SAFE_END - SAFE_START) / bytes) * bytes;
}

/* Bits that the CPU ignores or that change no right: cache types, global, available to software. */
static uint64_t random_ignored(bool leaf, uint32_t level)
{
    uint64_t bits = random_u32() & (0xe18ULL | (leaf ? GLOBAL : 0));

    if (leaf) {
        bits |= one_in(4) ? (level == 0 ? LARGE : 0x1000) : 0; /* the third cache bit */
    }
    if (mode->levels == 4) {
        bits |= (uint64_t)(random_u32() & 0x7ff) << 52;
    }
    return bits;
}

static uint64_t random_rights(bool pointer)
{
    uint64_t bits = PRESENT;

    if (pointer) {
        return bits;
    }
    bits |= one_in(3) ? 0 : WRITE;
    bits |= one_in(3) ? 0 : USER;
    bits |= one_in(4) ? ACCESSED : 0;
    bits |= one_in(8) ? DIRTY : 0;
    bits |= mode->entry_bytes == 8 && one_in(5) ? NO_EXECUTE : 0;
    return bits;
}

/* One bit that must be 0 here, or none where there is none of the kind. */
static uint64_t random_reserved(bool leaf, uint32_t level)
{
    uint32_t physical = paging.physical_bits;

    switch (below(3)) {
    case 0:
        return mode->entry_bytes == 8 && physical < 52 ? 1ULL << (physical + below(52 - physical)) : 0;
    case 1:
        if (!leaf || level == 0) {
            return level > mode->large_levels ? LARGE : 0;
        }
        return mode->entry_bytes == 8 ? 1ULL << (13 + below(shift_of(level) - 13)) : 1ULL << 21;
    default:
        return mode->levels == 3 ? 1ULL << (52 + below(11)) : 0;
    }
}

static uint64_t random_entry(uint32_t level)
{
    bool leaf = level == 0 || (level <= mode->large_levels && one_in(3));
    bool pse = mode->entry_bytes == 8 || (paging.cr4 & CR4_PSE) != 0;
    uint64_t entry;

    if (one_in(16)) {
        return ((uint64_t)random_u32() << 32 | random_u32()) & ~PRESENT;
    }
    leaf = leaf && (level == 0 || pse);
    entry = random_rights(is_pointer(level)) | (leaf ? random_page(level) : random_link(level));
    entry |= is_pointer(level) ? 0 : random_ignored(leaf, level);
    entry |= leaf && level != 0 ? LARGE : 0;
    entry |= !pse && level == 1 && one_in(2) ? LARGE : 0; /* ignored */
    entry |= !is_pointer(level) && one_in(20) ? random_reserved(leaf, level) : 0;
    return entry;
}

static void table_make(uint32_t table)
{
    uint32_t level = level_of(table);
    uint32_t first = table == 0 ? mode->root_first : 0;
    uint32_t entries = table == 0 ? mode->root_entries : 1u << mode->index_bits;

    for (uint32_t i = 0; i < SLOTS; i++) { /* those of the round before */
        if (slots[table][i] >= first) {
            entry_set(tables[table], slots[table][i], 0);
            entry_set(copies[table], slots[table][i], 0);
        }
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t slot = first + below(entries - first);
        uint64_t entry = random_entry(level);

        slots[table][i] = (uint16_t)slot;
        entry_set(tables[table], slot, entry);
        entry_set(copies[table], slot, entry);
    }
}

/* The root entries that are the kit's: the first 16 MiB and more one to one, supervisor only, and the user's page. */
static void kit_map(void)
{
    uint64_t(*kit)[512] = kit_tables;
    uint64_t user = address_of(user_code) | PRESENT | USER;

    memset(tables, 0, sizeof(tables));
    memset(kit, 0, sizeof(kit_tables));
    if (mode->entry_bytes == 4) {
        for (uint32_t i = 0; i < 4096; i++) {
            ((uint32_t *)(void *)kit)[i] = i << 12 | (uint32_t)(PRESENT | WRITE);
        }
        for (uint32_t i = 0; i < 4; i++) {
            entry_set(tables[0], i, address_of(kit[i]) | PRESENT | WRITE);
        }
        *(uint32_t *)(void *)kit[4] = (uint32_t)user;
        entry_set(tables[0], 4, address_of(kit[4]) | PRESENT | USER);
        return;
    }
    for (uint32_t i = 0; i < 256; i++) { /* 512 MiB; the last entry of PAE's is the user's */
        kit[0][i] = (uint64_t)i << 21 | LARGE | PRESENT | WRITE;
    }
    kit[1][0] = user;
    if (mode->levels == 3) {
        kit[0][511] = address_of(kit[1]) | PRESENT | USER;
        entry_set(tables[0], 0, address_of(kit[0]) | PRESENT);
        return;
    }
    kit[2][0] = address_of(kit[1]) | PRESENT | USER;
    kit[3][0] = address_of(kit[0]) | PRESENT | WRITE;
    kit[3][1] = address_of(kit[2]) | PRESENT | USER;
    entry_set(tables[0], 0, address_of(kit[3]) | PRESENT | WRITE | USER);
}

/* ---- Going to user mode and back ---- */

#define SELECTOR_USER_DATA 0x1b
#define SELECTOR_USER_CODE 0x23
#define SELECTOR_TSS 0x28

#define TSS_BYTES 104u
static uint8_t tss[TSS_BYTES] __attribute__((aligned(16)));
static uint64_t gdt[8];
static uint8_t trap_stack[4096] __attribute__((aligned(16)));
word_t saved_sp;

/* Offsets are those of the three instructions in user_code, and what they are is below. */
#define USER_READ 0u
#define USER_WRITE 16u
#define USER_FETCH 32u
static const uint8_t user_instructions[3][4] = {
    {0x8b, 0x08, 0x0f, 0x0b}, /* mov (%ax), %ecx; ud2 */
    {0x89, 0x10, 0x0f, 0x0b}, /* mov %edx, (%ax); ud2 */
    {0xff, 0xe0, 0x0f, 0x0b}, /* jmp *%ax; ud2 */
};

static void user_init(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        word_t base;
    } pointer = {sizeof(gdt) - 1, (word_t)(uintptr_t)gdt};
    uint64_t base = address_of(tss);
    word_t top = (word_t)(uintptr_t)(trap_stack + sizeof(trap_stack));

#ifdef __x86_64__
    gdt[1] = 0x00af9b000000ffffULL;
    gdt[4] = 0x00affb000000ffffULL;
#else
    gdt[1] = 0x00cf9b000000ffffULL;
    gdt[4] = 0x00cffb000000ffffULL;
    tss[8] = KIT_DATA;
#endif
    gdt[2] = 0x00cf93000000ffffULL;
    gdt[3] = 0x00cff3000000ffffULL;
    gdt[5] = 0x0000890000000000ULL | (TSS_BYTES - 1) | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
    gdt[6] = base >> 32;
    memcpy(tss + 4, &top, sizeof(top));
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(pointer), "r"(SELECTOR_TSS) : "memory");
    for (uint32_t i = 0; i < 3; i++) {
        memcpy(user_code + i * 16, user_instructions[i], sizeof(user_instructions[i]));
    }
}

/* Ends whatever was tried, and goes on in the kit's code. */
static void on_trap(struct trap_frame *frame)
{
    trap_record(frame);
    frame->flags = FLAGS_ONE;
#ifdef __x86_64__
    frame->ss = KIT_DATA;
    frame->sp = (frame->cs & 3) != 0 ? saved_sp : frame->sp;
#endif
    frame->cs = KIT_CODE; /* 32-bit: IRET within the ring then leaves the stack to the code at trap_resume */
}

/* 32-bit code needs data segments that ring 3 may have: IRET would empty the others, and the kit's traps do not load
 * any. */
#ifdef __x86_64__
#define TO_USER                                                                                             \
    "movq %%rsp, saved_sp(%%rip)\n\tpushq %[data]\n\tpushq $0\n\tpushq %[flags]\n\tpushq %[code]\n\tpushq " \
    "%[target]\n\t"                                                                                         \
    "iretq\n1:\tmovq saved_sp(%%rip), %%rsp"
#else
#define TO_USER                                                                                                 \
    "movw $0x1b, %%cx\n\tmovw %%cx, %%ds\n\tmovw %%cx, %%es\n\tmovl %%esp, saved_sp\n\tpushl %[data]\n\tpushl " \
    "$0\n\tpushl %[flags]\n\tpushl %[code]\n\tpushl %[target]\n\t"                                              \
    "iretl\n1:\tmovl saved_sp, %%esp\n\tmovw $16, %%ax\n\tmovw %%ax, %%ds\n\tmovw %%ax, %%es"
#endif

static uint32_t touch_as_user(word_t linear, enum guest_access access, uint32_t value)
{
    word_t target = mode->user_linear + (access == GUEST_READ    ? USER_READ
                                         : access == GUEST_WRITE ? USER_WRITE
                                                                 : USER_FETCH);
    uint32_t got = 0;

    trap_last.vector = 0xff;
    __asm__ volatile(TRAP_SET_RESUME TO_USER
                     : "=&c"(got), "+a"(linear)
                     : "d"(value), [target] "r"(target), [data] "i"(SELECTOR_USER_DATA), [code] "i"(SELECTOR_USER_CODE),
                       [flags] "r"((word_t)FLAGS_ONE)
                     : "memory", "cc");
    trap_resume = 0;
    return got;
}

#ifdef __x86_64__
#define SET_FLAGS "pushq %[flags]\n\tpopfq\n\t"
#define CLEAR_FLAGS "\n1:\tpushq $2\n\tpopfq"
#define CX "%%rcx"
#else
#define SET_FLAGS "pushl %[flags]\n\tpopfl\n\t"
#define CLEAR_FLAGS "\n1:\tpushl $2\n\tpopfl"
#define CX "%%ecx"
#endif
#define TOUCH(instruction)                                                                        \
    __asm__ volatile(TRAP_SET_RESUME SET_FLAGS instruction CLEAR_FLAGS                            \
                     : "+d"(value)                                                                \
                     : "c"(linear), [flags] "r"((word_t)((paging.rflags & FLAGS_AC) | FLAGS_ONE)) \
                     : "memory", "cc")

static uint32_t touch_as_supervisor(word_t linear, enum guest_access access, uint32_t value)
{
    trap_last.vector = 0xff;
    switch (access) {
    case GUEST_READ:
        TOUCH("movl (" CX "), %%edx");
        break;
    case GUEST_WRITE:
        TOUCH("movl %%edx, (" CX ")");
        break;
    case GUEST_FETCH:
        TOUCH("jmp *" CX);
        break;
    }
    trap_resume = 0;
    return value;
}

/* ---- One touch ---- */

/* Down through random slots of the tables as they stand; sometimes through an entry that is not used. */
static uint64_t random_linear(void)
{
    uint32_t table = 0;
    uint32_t level = mode->levels - 1;
    uint64_t linear = 0;

    for (;;) {
        uint32_t index = one_in(40) && table != 0 ? below(1u << mode->index_bits) : slots[table][below(SLOTS)];
        uint64_t entry = entry_at(tables[table], index);
        uint64_t next = (entry & ADDRESS) - address_of(tables);
        bool large = level != 0 && level <= mode->large_levels && (entry & LARGE) != 0 &&
                     (mode->entry_bytes == 8 || (paging.cr4 & CR4_PSE) != 0);

        linear |= (uint64_t)index << shift_of(level);
        if ((entry & PRESENT) == 0 || level == 0 || large || next >= sizeof(tables)) {
            break;
        }
        table = (uint32_t)(next >> 12);
        level--;
    }
    /* A leaf of 1 GiB holds SAFE, smaller ones lie in it. */
    linear |= shift_of(level) >= 30 ? SAFE_START + below(SAFE_END - SAFE_START)
                                    : random_u32() & ((1u << shift_of(level)) - 1);
    linear &= ~3ULL;
    return mode->levels == 4 && (linear >> 47 & 1) != 0 ? linear | 0xffff000000000000ULL : linear;
}

static uint32_t safe_word(uint64_t address)
{
    return UD2 | (uint32_t)(address >> 12) << 16;
}

static void report(const char *what, uint64_t linear, enum guest_access access, uint64_t expected, uint64_t got)
{
    static const char letters[] = "rwx";

    wrong++;
    if (wrong > REPORTS_MAX) {
        return;
    }
    print("%s: %s: 0x%q %c ring %u cr0 0x%w cr4 0x%w efer 0x%x flags 0x%x: expected 0x%q, got 0x%q\n", mode->name, what,
          linear, letters[access], (uint32_t)paging.cpl, (word_t)paging.cr0, (word_t)paging.cr4, (uint32_t)paging.efer,
          (uint32_t)paging.rflags, expected, got);
    for (uint32_t table = 0, level = mode->levels; level-- > 0;) {
        uint32_t index = (uint32_t)(linear >> shift_of(level)) & ((1u << mode->index_bits) - 1);
        uint64_t entry = entry_at(copies[table], index);
        uint64_t next = (entry & ADDRESS) - address_of(tables);

        print("  level %u: 0x%q\n", level, entry);
        if ((entry & PRESENT) == 0 || next >= sizeof(tables)) {
            break;
        }
        table = (uint32_t)(next >> 12);
    }
}

/* The tables as the MMU left them, against the copy as guest_walk left it; then they are the same again. */
static void compare_tables(uint64_t linear, enum guest_access access, bool faulted)
{
    for (uint32_t table = 0; table < 1 + (mode->levels - 1) * PER_LEVEL; table++) {
        for (uint32_t i = 0; i < SLOTS; i++) {
            uint64_t real = entry_at(tables[table], slots[table][i]);
            uint64_t copy = entry_at(copies[table], slots[table][i]);

            if (real != copy && is_pointer(level_of(table)) && real == (copy | ACCESSED)) {
                pointers_accessed++;
                entry_set(tables[table], slots[table][i], copy);
                continue;
            }
            if (real != copy && !(faulted && level_of(table) != 0 && real == (copy | ACCESSED))) {
                report("entry afterwards", linear, access, copy, real);
            }
            entry_set(copies[table], slots[table][i], real);
        }
    }
}

static void compare_fault(uint64_t linear, enum guest_access access, const struct guest_translation *expected)
{
    bool reserved = (expected->error_code & PAGE_FAULT_RESERVED) != 0;
    bool absent = reserved && trap_last.error == (expected->error_code & ~PAGE_FAULT_PRESENT);

    faults++;
    reserved_faults += reserved;
    reserved_absent += absent;
    if (trap_last.vector != 14) {
        report("a page fault, but the vector", linear, access, 14, trap_last.vector);
    } else if (trap_last.error != expected->error_code && !absent) {
        report("error code", linear, access, expected->error_code, trap_last.error);
    } else if (trap_last.cr2 != (word_t)linear) {
        report("cr2", linear, access, linear, trap_last.cr2);
    }
}

static void compare_success(uint64_t linear, enum guest_access access, const struct guest_translation *expected,
                            uint32_t value)
{
    volatile uint32_t *reached = (volatile uint32_t *)(uintptr_t)expected->address.value;
    uint32_t vector = paging.cpl == 3 || access == GUEST_FETCH ? 6 : 0xff;
    uint32_t original = safe_word(expected->address.value);

    successes++;
    if (trap_last.vector != vector) {
        report(trap_last.vector == 14 ? "success, but a page fault" : "success, but the vector", linear, access, vector,
               trap_last.vector == 14 ? trap_last.error : trap_last.vector);
    } else if (access == GUEST_FETCH && trap_last.ip != (word_t)linear) {
        report("instruction pointer", linear, access, linear, trap_last.ip);
    } else if (access == GUEST_READ && value != original) {
        report("what was read", linear, access, original, value);
    } else if (access == GUEST_WRITE && *reached != ~original) {
        report("what was written", linear, access, ~original, *reached);
    }
    *reached = original;
}

static void touch_once(void)
{
    uint64_t linear = random_linear();
    enum guest_access access = (enum guest_access)below(3);
    struct guest_translation expected;
    enum guest_walk_result result;
    uint32_t value = 0;

    paging.cpl = one_in(2) ? 3 : 0;
    paging.rflags = paging.cpl == 0 && one_in(2) ? FLAGS_AC : 0;
    result = guest_walk(&copy_memory, &paging, linear, access, &expected);
    if (result == GUEST_WALK_UNMAPPED) {
        guest_fail("%s: guest_walk says that the table at 0x%q is outside RAM", mode->name, expected.bad_table.value);
    }
    if (result == GUEST_WALK_OK && (expected.address.value < SAFE_START || expected.address.value >= SAFE_END)) {
        guest_fail("%s: guest_walk leads 0x%q to 0x%q", mode->name, linear, expected.address.value);
    }
    if (access == GUEST_WRITE && result == GUEST_WALK_OK) {
        value = ~safe_word(expected.address.value);
    }
    write_cr3((word_t)paging.cr3);
    value = paging.cpl == 3 ? touch_as_user((word_t)linear, access, value)
                            : touch_as_supervisor((word_t)linear, access, value);
    compare_tables(linear, access, result == GUEST_WALK_FAULT);
    if (result == GUEST_WALK_FAULT) {
        compare_fault(linear, access, &expected);
    } else {
        compare_success(linear, access, &expected, value);
    }
}

/* ---- Rounds ---- */

static void round_start(void)
{
    word_t cr4 = (word_t)mode->cr4;

    cr4 |= has_smep && one_in(2) ? CR4_SMEP : 0;
    cr4 |= has_smap && one_in(2) ? CR4_SMAP : 0;
    cr4 |= mode->entry_bytes == 8 || one_in(2) ? CR4_PSE : 0;
    paging.cr4 = cr4;
    paging.cr0 = (read_cr0() & ~(word_t)CR0_WP) | CR0_PG | (one_in(2) ? CR0_WP : 0);
    if (has_nx) {
        paging.efer = (rdmsr(MSR_EFER) & ~(uint64_t)EFER_NXE) | (one_in(4) ? 0 : EFER_NXE);
        wrmsr(MSR_EFER, paging.efer);
    }
    for (uint32_t table = 0; table < 1 + (mode->levels - 1) * PER_LEVEL; table++) {
        table_make(table);
    }
#ifdef __x86_64__
    write_cr3((word_t)paging.cr3);
    write_cr4(cr4);
    write_cr0((word_t)paging.cr0);
#else
    write_cr0((word_t)paging.cr0 & ~CR0_PG); /* one to one, on and off */
    write_cr4(cr4);
    write_cr3((word_t)paging.cr3);
    write_cr0((word_t)paging.cr0);
#endif
}

static void mode_run(const struct mode *with)
{
#ifndef __x86_64__
    write_cr0(read_cr0() & ~CR0_PG);
#endif
    mode = with;
    memset(slots, 0xff, sizeof(slots));
    for (uint32_t table = 0; table < TABLES; table++) {
        for (uint32_t i = 0; i < SLOTS; i++) {
            slots[table][i] = (uint16_t)mode->root_first; /* nothing to clear yet */
        }
    }
    kit_map();
    memcpy(copies, tables, sizeof(copies));
    paging.cr3 = address_of(tables[0]);
    faults = successes = 0;
    for (uint32_t i = 0; i < ROUNDS && wrong < 100; i++) {
        round_start();
        for (uint32_t j = 0; j < TOUCHES; j++) {
            touch_once();
        }
    }
    print("%s: %u touches succeeded and %u faulted as predicted, %u differ\n", mode->name, successes, faults, wrong);
}

/* Every page of SAFE is its own: the nested tables lead no two guest-physical pages to one. */
static void safe_fill(void)
{
    for (uint32_t address = SAFE_START; address < SAFE_END; address += 4) {
        *(volatile uint32_t *)(uintptr_t)address = safe_word(address);
    }
    for (uint32_t address = SAFE_START; address < SAFE_END; address += 4096) {
        CHECK_EQUAL(*(volatile uint32_t *)(uintptr_t)address, safe_word(address));
    }
}

static void features_read(void)
{
    struct cpuid leaf7 = cpuid(0, 0).eax >= 7 ? cpuid(7, 0) : (struct cpuid){0, 0, 0, 0};
    struct cpuid extended = cpuid(0x80000001u, 0);
    struct cpuid vendor = cpuid(0, 0);

    has_smep = (leaf7.ebx >> 7 & 1) != 0;
    has_smap = (leaf7.ebx >> 20 & 1) != 0;
    has_nx = (extended.edx >> 20 & 1) != 0;
    paging.nx_supported = has_nx;
    paging.gib_pages = (extended.edx >> 26 & 1) != 0;
    paging.physical_bits = (uint8_t)(cpuid(0x80000008u, 0).eax & 0xff);
    paging.upper_bit8_reserved = vendor.ebx != 0x756e6547u; /* not "Genu": AMD. No test here sets the bit. */
    print("physical bits %u, smep %u, smap %u, nx %u, 1 GiB pages %u\n", (uint32_t)paging.physical_bits, has_smep,
          has_smap, has_nx, paging.gib_pages);
}

void guest_main(void)
{
    features_read();
    safe_fill();
    user_init();
    trap_set(6, on_trap);
    trap_set(13, on_trap);
    trap_set(14, on_trap);
    copy_memory.ranges[0] = (struct guest_range){gpa(address_of(tables)), hpa(address_of(copies)), sizeof(tables)};
    copy_memory.range_count = 1;
    for (uint32_t i = 0; i < ARRAY_COUNT(modes); i++) {
        mode_run(&modes[i]);
    }
    if (reserved_absent != 0) {
        print("this MMU says present = 0 in %u of %u page faults for a reserved bit\n", reserved_absent,
              reserved_faults);
    }
    if (pointers_accessed != 0) {
        print("this MMU sets accessed bits in page-directory pointers\n");
    }
    CHECK(reserved_absent == 0 || reserved_absent == reserved_faults);
    if (wrong != 0) {
        guest_fail("%u predictions of guest_walk differ from the MMU", wrong);
    }
}

/*
 * Values that a CPU refuses: reserved bits and forbidden combinations in control registers, bases that are not
 * canonical. QEMU's TCG checks none of these, natively or nested, so this guest is for Bochs and real CPUs.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "reserved";

#define GP 13

static void expect(const char *what)
{
    if (trap_last.vector != GP || trap_last.error != 0) {
        guest_fail("%s: vector %u error 0x%x instead of 13 and 0", what, trap_last.vector, trap_last.error);
    }
}

void guest_main(void)
{
    TRAP("mov %0, %%cr0", : : "r"((read_cr0() | (word_t)0x80000000u) & ~(word_t)1) : "memory");
    expect("paging without protection");
    TRAP("mov %0, %%cr4", : : "r"(read_cr4() | (word_t)0x80000000u) : "memory");
    expect("a reserved bit of cr4");
#ifdef __x86_64__
    TRAP("mov %0, %%cr8", : : "r"(0x10ull) : "memory");
    expect("cr8 above 15");
    TRAP("wrmsr", : : "c"(0xc0000100u), "a"(0), "d"(0x80000000u) : "memory");
    expect("a non-canonical FS base");
#endif
}

/* SPDX-License-Identifier: MIT */
/*
 * A Linux program without a C library: prints the time stamp counter, for `make bench-boot`. It is in the demo's
 * initramfs and runs just before the shell, so its line marks the end of a boot.
 */
#include <stdint.h>

#define SYSCALL_WRITE 1
#define SYSCALL_EXIT 60
#define STDOUT 1
#define LINE_BYTES 40u

static int64_t system_call(int64_t number, uint64_t first, uint64_t second, uint64_t third)
{
    int64_t result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return result;
}

static uint64_t tsc_read(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static void line_print(uint64_t value)
{
    static const char prefix[] = "tsc at the shell: ";
    char line[LINE_BYTES];
    char *at = line + sizeof line;

    *--at = '\n';
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    system_call(SYSCALL_WRITE, STDOUT, (uint64_t)prefix, sizeof prefix - 1);
    system_call(SYSCALL_WRITE, STDOUT, (uint64_t)at, (uint64_t)(line + sizeof line - at));
}

void _start(void);

void _start(void)
{
    line_print(tsc_read());
    system_call(SYSCALL_EXIT, 0, 0, 0);
}

/* SPDX-License-Identifier: MIT */
/*
 * The work of `make bench-linux` and `make bench-linux-shadow`: a static Linux program as init, which measures what a
 * kernel does with page tables, time and its console in ticks of the TSC. Before each piece of work it waits for a
 * line, so that the script can ask the hypervisor for its counts.
 *
 *   init              all of it, then the machine is switched off
 *   init end          nothing: what is executed by fork-exec
 */
#define _GNU_SOURCE
#include "tests/bench/marks.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PAGE_SIZE 4096u
#define LARGE_SIZE (2u << 20)
#define PAGES 2048u
#define LARGE_PAGES 32u
#define FORKS 100u
#define EXECS 50u
#define ROUNDS 10000u
#define CALLS 100000u
#define STEPS 20000000u
#define CHASES 5000000u
#define SLEEPS 200u
#define LINES 50u
#define SLEEP_NS 1000000L
#define SETTLE_S 3 /* while keys are typed the hypervisor looks for them more often: until two seconds after the last */
#define CHASE_BYTES (8u << 20)
#define PROGRAM "/init"

static uint64_t ticks(void)
{
    uint32_t low, high;

    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static void need(int good, const char *what)
{
    if (!good) {
        printf("work failed: %s\n", what);
        reboot(RB_POWER_OFF);
        exit(1);
    }
}

/* A work has at most one piece of memory, which goes after it: a fork would copy its tables. */
static uint8_t *mapped;
static uint64_t mapped_bytes;

static uint8_t *pages_of(uint64_t bytes, int advice)
{
    uint8_t *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    need(start != MAP_FAILED, "mmap");
    need(madvise(start, bytes, advice) == 0, "madvise");
    mapped = start;
    mapped_bytes = bytes;
    return start;
}

static void nothing(uint32_t count)
{
    (void)count;
}

static void touch_pages(uint32_t count)
{
    volatile uint8_t *start = pages_of((uint64_t)count * PAGE_SIZE, MADV_NOHUGEPAGE);

    for (uint32_t i = 0; i < count; i++) {
        start[(uint64_t)i * PAGE_SIZE] = 1;
    }
}

static void touch_large_pages(uint32_t count)
{
    volatile uint8_t *start = pages_of((uint64_t)(count + 1) * LARGE_SIZE, MADV_HUGEPAGE);

    start += -(uintptr_t)start & (LARGE_SIZE - 1);
    for (uint32_t i = 0; i < count; i++) {
        start[(uint64_t)i * LARGE_SIZE] = 1;
    }
}

static void fork_and_wait(uint32_t count, int execute)
{
    for (uint32_t i = 0; i < count; i++) {
        pid_t child = fork();

        if (child == 0) {
            if (execute) {
                execl(PROGRAM, PROGRAM, "end", (char *)NULL);
            }
            _exit(0);
        }
        need(child > 0 && waitpid(child, NULL, 0) == child, "fork");
    }
}

static void fork_exit_wait(uint32_t count)
{
    fork_and_wait(count, 0);
}

static void fork_exec_wait(uint32_t count)
{
    fork_and_wait(count, 1);
}

/* Two processes give each other a byte by turns. */
static void ping_pong(uint32_t count)
{
    int there[2], back[2];
    pid_t child;
    char byte = 0;

    need(pipe(there) == 0 && pipe(back) == 0, "pipe");
    child = fork();
    for (uint32_t i = 0; i < count; i++) {
        if (child == 0) {
            need(read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1, "the child's pipe");
        } else {
            need(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "the parent's pipe");
        }
    }
    if (child == 0) {
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void compute(uint32_t count)
{
    uint64_t value = 1;

    for (uint32_t i = 0; i < count; i++) {
        value = value * 6364136223846793005ULL + i;
        __asm__ volatile("" : "+r"(value));
    }
}

static void get_pid(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        syscall(SYS_getpid);
    }
}

/* Each page has the place of another one; all are there before the ticks are counted. */
static void **chase_start;

static void chase_prepare(void)
{
    uint8_t *start = pages_of(CHASE_BYTES, MADV_NOHUGEPAGE);
    uint32_t pages = CHASE_BYTES / PAGE_SIZE;

    for (uint32_t i = 0; i < pages; i++) {
        *(void **)(void *)(start + (uint64_t)i * PAGE_SIZE) = start + (uint64_t)((i * 769 + 1) % pages) * PAGE_SIZE;
    }
    chase_start = (void **)(void *)start;
}

static void chase(uint32_t count)
{
    void **at = chase_start;

    for (uint32_t i = 0; i < count; i++) {
        at = *at;
        __asm__ volatile("" : "+r"(at));
    }
}

static void get_time(uint32_t count)
{
    struct timespec now;

    for (uint32_t i = 0; i < count; i++) {
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
}

/* Without the slack of 50 us that the kernel gives itself. */
static void sleep_1ms(uint32_t count)
{
    const struct timespec wait = {.tv_nsec = SLEEP_NS};

    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    for (uint32_t i = 0; i < count; i++) {
        nanosleep(&wait, NULL);
    }
}

/* A line of 65 characters, until the UART has it. */
static void write_line(uint32_t count)
{
    static const char line[] = "The quick brown fox jumps over the lazy dog, and then once more.\n";

    _Static_assert(sizeof(line) == 65 + 1, "as the goal counts them");
    for (uint32_t i = 0; i < count; i++) {
        need(write(1, line, sizeof(line) - 1) == (ssize_t)sizeof(line) - 1 && tcdrain(1) == 0, "the serial line");
    }
}

static const struct {
    const char *name;
    void (*run)(uint32_t count);
    uint32_t count;
    void (*prepare)(void);
} works[] = {
    {"nothing", nothing, 1, NULL},
    {"touch-4k", touch_pages, PAGES, NULL},
    {"touch-2m", touch_large_pages, LARGE_PAGES, NULL},
    {"fork-exit", fork_exit_wait, FORKS, NULL},
    {"fork-exec", fork_exec_wait, EXECS, NULL},
    {"ping-pong", ping_pong, ROUNDS, NULL},
    {"compute", compute, STEPS, NULL},
    {"getpid", get_pid, CALLS, NULL},
    {"chase", chase, CHASES, chase_prepare},
    {"gettime", get_time, CALLS, NULL},
    {"sleep", sleep_1ms, SLEEPS, NULL},
    {"serial", write_line, LINES, NULL},
};

int main(int count, char **arguments)
{
    uint64_t start = ticks();
    char line[16];

    if (count > 1 && strcmp(arguments[1], "end") == 0) {
        return 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("work boot count 1 ticks %llu\n", (unsigned long long)start);
    for (uint32_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
        printf("ready for %s\n", works[i].name);
        need(fgets(line, sizeof(line), stdin) != NULL, "a line");
        if (works[i].prepare != NULL) {
            works[i].prepare();
        }
        (void)sleep(SETTLE_S);
        MARK(0);
        start = ticks();
        works[i].run(works[i].count);
        start = ticks() - start;
        MARK(1);
        if (mapped != NULL) {
            munmap(mapped, mapped_bytes);
            mapped = NULL;
        }
        printf("work %s count %u ticks %llu\n", works[i].name, works[i].count, (unsigned long long)start);
    }
    printf("ready for the end\n");
    (void)!fgets(line, sizeof(line), stdin);
    reboot(RB_POWER_OFF);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Marks, between which build/bench/qemu-count.so counts (tests/bench/qemu_count.c): MARK(number), an instruction that
 * does nothing, NOPL MARK_FIRST+number(%rax), 7 bytes. `number` is a constant from 0 to 255.
 */
#ifndef TESTS_BENCH_MARKS_H
#define TESTS_BENCH_MARKS_H

#define MARK_FIRST 0x504c4e00
#define MARK(number) __asm__ volatile("nopl %c0(%%rax)" : : "i"(MARK_FIRST + (number)) : "memory")

#endif

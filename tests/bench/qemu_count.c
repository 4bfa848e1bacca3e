/* SPDX-License-Identifier: MIT */
/*
 * A plugin of QEMU: how often each instruction is executed between two marks, by its virtual address, on all CPUs
 * together. tests/bench/count-functions starts QEMU with it and reads what it writes.
 *
 *   -plugin build/bench/qemu-count.so,out=FILE
 *
 * A mark is an instruction that a program executes on purpose (tests/bench/marks.h). FILE gets "mark NUMBER" and
 * behind it a line "ADDRESS COUNT" for each instruction since the mark before; at the end of QEMU the rest, as "end".
 * "vmrun ADDRESS" is a place of that instruction: by it the hypervisor's image is found.
 *
 * QEMU's package has the interface but not its header, so what is used of it is declared here (QEMU's documentation,
 * "QEMU TCG Plugins", version 1).
 */
#include "tests/bench/marks.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

typedef void on_block(plugin_id id, struct qemu_plugin_tb *block);
typedef void on_exit_of_qemu(plugin_id id, void *data);
typedef void on_instruction(unsigned int cpu, void *data);

enum { ADD_U64 = 0, NO_REGISTERS = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, on_block *call);
extern void qemu_plugin_register_atexit_cb(plugin_id id, on_exit_of_qemu *call, void *data);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation, void *counter,
                                                       uint64_t addend);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, on_instruction *call, int registers,
                                                   void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

extern EXPORTED int qemu_plugin_version;
EXPORTED int qemu_plugin_version = 1;

/* The translated code has the counters' addresses, so they never move and never go. */
struct counter {
    struct counter *next;
    uint64_t address;
    uint64_t count;
};

#define BUCKETS 65536u

static struct counter *buckets[BUCKETS];
static FILE *out;

static struct counter *counter_of(uint64_t address)
{
    struct counter **bucket = &buckets[(address ^ address >> 16) % BUCKETS];
    struct counter *found = *bucket;

    while (found != NULL && found->address != address) {
        found = found->next;
    }
    if (found == NULL) {
        found = calloc(1, sizeof(*found));
        if (found == NULL) {
            abort();
        }
        *found = (struct counter){.next = *bucket, .address = address};
        *bucket = found;
    }
    return found;
}

static void write_counts(void)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct counter *counter = buckets[i]; counter != NULL; counter = counter->next) {
            if (counter->count != 0) {
                fprintf(out, "%" PRIx64 " %" PRIu64 "\n", counter->address, counter->count);
                counter->count = 0;
            }
        }
    }
    fflush(out);
}

static void on_mark(unsigned int cpu, void *data)
{
    (void)cpu;
    fprintf(out, "mark %u\n", (unsigned int)(uintptr_t)data);
    write_counts();
}

static void on_end(plugin_id id, void *data)
{
    (void)id;
    (void)data;
    fprintf(out, "end\n");
    write_counts();
    fclose(out);
}

static bool is_mark(const uint8_t *bytes, size_t size, uint32_t *number)
{
    static const uint8_t nopl[] = {0x0f, 0x1f, 0x80};
    uint32_t value;

    if (size != sizeof(nopl) + sizeof(value) || memcmp(bytes, nopl, sizeof(nopl)) != 0) {
        return false;
    }
    memcpy(&value, bytes + sizeof(nopl), sizeof(value));
    *number = value & 0xff;
    return (value & ~0xffu) == MARK_FIRST;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *block)
{
    static const uint8_t vmrun[] = {0x0f, 0x01, 0xd8};

    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        const uint8_t *bytes = qemu_plugin_insn_data(insn);
        size_t size = qemu_plugin_insn_size(insn);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        uint32_t number;

        if (size == sizeof(vmrun) && memcmp(bytes, vmrun, sizeof(vmrun)) == 0) {
            fprintf(out, "vmrun %" PRIx64 "\n", address);
        }
        qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &counter_of(address)->count, 1);
        if (is_mark(bytes, size, &number)) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, NO_REGISTERS, (void *)(uintptr_t)number);
        }
    }
}

extern EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments);
EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments)
{
    static const char name[] = "out=";

    (void)info;
    if (count != 1 || strncmp(arguments[0], name, sizeof(name) - 1) != 0) {
        fprintf(stderr, "qemu-count: say out=FILE\n");
        return -1;
    }
    out = fopen(arguments[0] + sizeof(name) - 1, "w");
    if (out == NULL) {
        perror(arguments[0] + sizeof(name) - 1);
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}

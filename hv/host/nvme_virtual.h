/* SPDX-License-Identifier: MIT */
/*
 * NVMe: a controller with virtual functions has controllers of these (secondary ones), which are offline and have no
 * queues until its own driver gives them some. A controller whose virtual functions guests have belongs to no driver,
 * so the hypervisor is it for as long as that takes, before the guests run: by one admin queue, one command at a time,
 * polled.
 *
 *     nvme_virtual_release()   what queues and interrupts can be given away, the controller itself gives up
 *     (a reset of the function, which makes that true, and its virtual functions are made)
 *     nvme_virtual_lend()      each secondary controller gets its part, and is online
 *
 * After that the controller stays enabled and has nothing to do: a reset of it would take its secondary controllers
 * offline. It needs bus mastering, and `memory` in reach, only during these two calls.
 *
 * Pure: registers, time and memory are given. All waits are bounded by what the controller says of itself, 10 s at
 * most.
 *
 * "NVM Express Base Specification" 1.4, 3.1 "Register Definition", 4.2 "Submission Queue Entry", 4.6 "Completion Queue
 * Entry", 5.15 "Identify command", 5.22 "Virtualization Management command", 7.6.1 "Initialization", 8.5
 * "Virtualization Enhancements".
 */
#ifndef HV_HOST_NVME_VIRTUAL_H
#define HV_HOST_NVME_VIRTUAL_H

#include "hv/base/types.h"

#define NVME_CLASS 0x010802u
#define NVME_REGISTERS 0x2000u /* of BAR 0 at least: doorbells of the admin queue at any stride that is served */
#define NVME_TEXT_MAX 160u
#define NVME_VIRTUAL_MAX 255u /* virtual functions */

#define NVME_QUEUE 16u /* entries */
#define NVME_COMMAND_WORDS 16u
#define NVME_ANSWER_WORDS 4u
#define NVME_DATA_BYTES 4096u

/* What the controller reads and writes. */
struct nvme_memory {
    _Alignas(4096) uint32_t commands[NVME_QUEUE][NVME_COMMAND_WORDS];
    _Alignas(4096) uint32_t answers[NVME_QUEUE][NVME_ANSWER_WORDS];
    _Alignas(4096) uint8_t data[NVME_DATA_BYTES];
};

struct nvme_io {
    void *context;
    uint32_t (*read)(void *context, uint32_t offset); /* registers of BAR 0 */
    void (*write)(void *context, uint32_t offset, uint32_t value);
    void (*wait_us)(void *context, uint32_t us);
};

struct nvme_controller {
    const struct nvme_io *io;
    struct nvme_memory *memory;
    uint64_t memory_at; /* where the controller finds it */
    /* What nvme_virtual_release() and nvme_virtual_lend() keep. */
    uint32_t stride, timeout_us;
    uint32_t tail, head, phase;
    bool refused; /* the last command was answered, by an error */
    char why[NVME_TEXT_MAX];
};

/* NULL, or a sentence of why not. A controller that has no queues and interrupts to give away is left as it is, and
 * *managed false: its virtual functions work by themselves. Whether it has some is asked for by "Identify" and not read
 * from the bit of Virtualization Management in its Optional Admin Command Support, which QEMU 7.2 has not set. */
const char *nvme_virtual_release(struct nvme_controller *controller, bool *managed);

/* To the secondary controllers of virtual functions 1 to `count` (1 to NVME_VIRTUAL_MAX), equal parts. NULL, or a
 * sentence of why not. */
const char *nvme_virtual_lend(struct nvme_controller *controller, uint32_t count);

#endif

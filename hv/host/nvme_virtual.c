/* SPDX-License-Identifier: MIT */
#include "hv/host/nvme_virtual.h"

#include "hv/base/format.h"
#include "hv/base/memory.h"

/* 3.1 "Register Definition". */
#define CAPABILITIES 0x00u
#define CAPABILITIES_HIGH 0x04u
#define CONFIGURATION 0x14u
#define STATUS 0x1cu
#define QUEUE_SIZES 0x24u
#define SUBMISSION_AT 0x28u
#define COMPLETION_AT 0x30u
#define DOORBELLS 0x1000u

#define CAPABILITIES_TIMEOUT(low) ((low) >> 24) /* in units of 500 ms */
#define CAPABILITIES_STRIDE(high) (4u << ((high)&0xfu))
#define CAPABILITIES_PAGE_MIN(high) ((high) >> 16 & 0xfu) /* 0: 4 KiB */
#define CONFIGURATION_ON 0x00460001u                      /* NVM commands, pages of 4 KiB, entries of 64 and 16 bytes */
#define STATUS_READY (1u << 0)
#define STATUS_FATAL (1u << 1)

#define TIMEOUT_UNIT_US 500000u
#define TIMEOUT_MAX_US 10000000u
#define COMMAND_US 1000000u
#define STEP_US 50u

/* 5 "Admin Command Set". */
#define OPCODE_IDENTIFY 0x06u
#define OPCODE_VIRTUALIZATION 0x1cu
#define IDENTIFY_PRIMARY 0x14u
#define IDENTIFY_SECONDARY 0x15u

/* "Primary Controller Capabilities Structure": the resources of queues, and 32 bytes behind of interrupts. */
#define PRIMARY_ID 0u
#define PRIMARY_TYPES 4u /* bit n: of type n there are some */
#define PRIMARY_RESOURCES(type) (32u + 32u * (type))
#define RESOURCES_TOTAL 0u /* that can be given away; 32 bits */
#define RESOURCES_EACH 12u /* to one secondary controller at most */
#define RESOURCES_STEP 14u /* in these steps; 0 or 1: any number */

/* "Secondary Controller List". */
#define LIST_COUNT 0u
#define LIST_ENTRY(i) (32u + 32u * (i))
#define LIST_ENTRIES_MAX 127u
#define LISTS_MAX 4u
#define ENTRY_ID 0u
#define ENTRY_FUNCTION 8u

/* 5.22 "Virtualization Management command". */
enum resource {
    RESOURCE_QUEUES,
    RESOURCE_INTERRUPTS,
    RESOURCES,
};
#define TYPES_ALL 0x3u
#define ACTION_PRIMARY 0x1u
#define ACTION_OFFLINE 0x7u
#define ACTION_ASSIGN 0x8u
#define ACTION_ONLINE 0x9u
#define VIRTUALIZATION(id, type, action) ((uint32_t)(id) << 16 | (uint32_t)(type) << 8 | (action))

#define QUEUES_MIN 2u /* the admin queue and one more */

/* 4.6.1 "Status Field Definition". */
#define ANSWER_PHASE(word) ((word) >> 16 & 1u)
#define ANSWER_STATUS(word) ((word) >> 17 & 0x7ffu)

static uint32_t read_register(const struct nvme_controller *controller, uint32_t offset)
{
    return controller->io->read(controller->io->context, offset);
}

static void write_register(const struct nvme_controller *controller, uint32_t offset, uint32_t value)
{
    controller->io->write(controller->io->context, offset, value);
}

__attribute__((format(printf, 2, 3))) static const char *fail(struct nvme_controller *controller, const char *form, ...)
{
    va_list list;

    va_start(list, form);
    (void)format_list(controller->why, sizeof(controller->why), form, list);
    va_end(list);
    return controller->why;
}

static uint16_t data16(const struct nvme_controller *controller, uint32_t at)
{
    return (uint16_t)(controller->memory->data[at] | controller->memory->data[at + 1] << 8);
}

static bool await_ready(const struct nvme_controller *controller, bool ready)
{
    for (uint32_t us = 0; us <= controller->timeout_us; us += STEP_US) {
        uint32_t status = read_register(controller, STATUS);

        if (status == ~0u || (ready && (status & STATUS_FATAL) != 0)) {
            return false;
        }
        if (((status & STATUS_READY) != 0) == ready) {
            return true;
        }
        controller->io->wait_us(controller->io->context, STEP_US);
    }
    return false;
}

static const char *stop(struct nvme_controller *controller)
{
    uint32_t units = CAPABILITIES_TIMEOUT(read_register(controller, CAPABILITIES));

    controller->timeout_us = (uint32_t)min_u64((units + 1ULL) * TIMEOUT_UNIT_US, TIMEOUT_MAX_US);
    write_register(controller, CONFIGURATION, 0);
    return await_ready(controller, false) ? NULL : fail(controller, "its NVMe controller does not stop");
}

/* With an empty admin queue. */
static const char *start(struct nvme_controller *controller)
{
    uint64_t commands = controller->memory_at + offsetof(struct nvme_memory, commands);
    uint64_t answers = controller->memory_at + offsetof(struct nvme_memory, answers);
    uint32_t high = read_register(controller, CAPABILITIES_HIGH);
    const char *problem = stop(controller);

    if (problem != NULL) {
        return problem;
    }
    controller->stride = CAPABILITIES_STRIDE(high);
    if (CAPABILITIES_PAGE_MIN(high) != 0 || DOORBELLS + 2 * controller->stride > NVME_REGISTERS) {
        return fail(controller, "its NVMe controller has no pages of 4 KiB, or its doorbells lie too far apart");
    }
    memset(controller->memory, 0, sizeof(*controller->memory));
    controller->tail = controller->head = 0;
    controller->phase = 1;
    write_register(controller, QUEUE_SIZES, (NVME_QUEUE - 1) << 16 | (NVME_QUEUE - 1));
    write_register(controller, SUBMISSION_AT, (uint32_t)commands);
    write_register(controller, SUBMISSION_AT + 4, (uint32_t)(commands >> 32));
    write_register(controller, COMPLETION_AT, (uint32_t)answers);
    write_register(controller, COMPLETION_AT + 4, (uint32_t)(answers >> 32));
    write_register(controller, CONFIGURATION, CONFIGURATION_ON);
    return await_ready(controller, true) ? NULL : fail(controller, "its NVMe controller does not start");
}

/* One command, until it is done. Words 10 and 11 are its own. */
static const char *command(struct nvme_controller *controller, uint32_t opcode, uint32_t word10, uint32_t word11)
{
    uint32_t *words = controller->memory->commands[controller->tail];
    volatile uint32_t *answer = &controller->memory->answers[controller->head][NVME_ANSWER_WORDS - 1];
    uint64_t data = controller->memory_at + offsetof(struct nvme_memory, data);
    uint32_t us = 0, status;

    memset(words, 0, sizeof(controller->memory->commands[0]));
    words[0] = opcode | controller->tail << 16;
    words[6] = (uint32_t)data;
    words[7] = (uint32_t)(data >> 32);
    words[10] = word10;
    words[11] = word11;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    controller->tail = (controller->tail + 1) % NVME_QUEUE;
    write_register(controller, DOORBELLS, controller->tail);
    while (ANSWER_PHASE(*answer) != controller->phase) {
        if (us >= COMMAND_US) {
            return fail(controller, "its NVMe controller does not answer (command 0x%x)", opcode);
        }
        controller->io->wait_us(controller->io->context, STEP_US);
        us += STEP_US;
    }
    status = ANSWER_STATUS(*answer);
    controller->head = (controller->head + 1) % NVME_QUEUE;
    controller->phase ^= controller->head == 0;
    write_register(controller, DOORBELLS + controller->stride, controller->head);
    controller->refused = status != 0;
    return status == 0 ? NULL
                       : fail(controller, "its NVMe controller refuses command 0x%x (0x%x, 0x%x): status 0x%x", opcode,
                              word10, word11, status);
}

const char *nvme_virtual_release(struct nvme_controller *controller, bool *managed)
{
    const char *problem = start(controller);
    uint32_t types = 0;
    uint16_t id = 0;

    *managed = false;
    problem = problem == NULL ? command(controller, OPCODE_IDENTIFY, IDENTIFY_PRIMARY, 0) : problem;
    if (problem == NULL) {
        id = data16(controller, PRIMARY_ID);
        types = controller->memory->data[PRIMARY_TYPES] & TYPES_ALL;
    } else if (!controller->refused) {
        return problem;
    }
    *managed = types == TYPES_ALL;
    problem = NULL;
    for (uint32_t type = 0; type < RESOURCES && *managed && problem == NULL; type++) {
        problem = command(controller, OPCODE_VIRTUALIZATION, VIRTUALIZATION(id, type, ACTION_PRIMARY), 0);
    }
    return problem != NULL ? problem : stop(controller);
}

/* Equal parts of what can be given away. */
static const char *find_parts(struct nvme_controller *controller, uint32_t count, uint32_t parts[RESOURCES])
{
    const char *problem = command(controller, OPCODE_IDENTIFY, IDENTIFY_PRIMARY, 0);

    for (uint32_t type = 0; type < RESOURCES && problem == NULL; type++) {
        uint32_t at = PRIMARY_RESOURCES(type);
        uint32_t total = data16(controller, at) | (uint32_t)data16(controller, at + 2) << 16;
        uint32_t each = data16(controller, at + RESOURCES_EACH), step = data16(controller, at + RESOURCES_STEP);

        parts[type] = (uint32_t)min_u64(total / count, each);
        if (step > 1 && parts[type] > step) {
            parts[type] -= parts[type] % step;
        }
    }
    if (problem == NULL && (parts[RESOURCE_QUEUES] < QUEUES_MIN || parts[RESOURCE_INTERRUPTS] == 0)) {
        problem =
            fail(controller, "its NVMe controller has too few queues or interrupts for %u virtual functions", count);
    }
    return problem;
}

/* The secondary controllers of 127 at most from one number on, of which `next` is the first that is not told. */
static const char *read_list(struct nvme_controller *controller, uint32_t count, uint16_t *ids, uint32_t *next)
{
    const char *problem = command(controller, OPCODE_IDENTIFY, IDENTIFY_SECONDARY | *next << 16, 0);
    uint32_t entries = (uint32_t)min_u64(controller->memory->data[LIST_COUNT], LIST_ENTRIES_MAX);

    if (problem != NULL) {
        return problem;
    }
    for (uint32_t i = 0; i < entries; i++) {
        uint32_t function = data16(controller, LIST_ENTRY(i) + ENTRY_FUNCTION);
        uint16_t id = data16(controller, LIST_ENTRY(i) + ENTRY_ID);

        if (function != 0 && function <= count) {
            ids[function - 1] = id;
        }
        *next = id + 1u;
    }
    *next = entries < LIST_ENTRIES_MAX ? 0 : *next;
    return NULL;
}

static const char *lend_one(struct nvme_controller *controller, uint16_t id, const uint32_t parts[RESOURCES])
{
    const char *problem = command(controller, OPCODE_VIRTUALIZATION, VIRTUALIZATION(id, 0, ACTION_OFFLINE), 0);

    for (uint32_t type = 0; type < RESOURCES && problem == NULL; type++) {
        problem = command(controller, OPCODE_VIRTUALIZATION, VIRTUALIZATION(id, type, ACTION_ASSIGN), parts[type]);
    }
    return problem != NULL ? problem
                           : command(controller, OPCODE_VIRTUALIZATION, VIRTUALIZATION(id, 0, ACTION_ONLINE), 0);
}

const char *nvme_virtual_lend(struct nvme_controller *controller, uint32_t count)
{
    uint16_t ids[NVME_VIRTUAL_MAX] = {0};
    uint32_t parts[RESOURCES] = {0}, next = 0;
    const char *problem = start(controller);

    problem = problem == NULL ? find_parts(controller, count, parts) : problem;
    for (uint32_t i = 0; i < LISTS_MAX && problem == NULL && (i == 0 || next != 0); i++) {
        problem = read_list(controller, count, ids, &next);
    }
    for (uint32_t n = 0; n < count && problem == NULL; n++) {
        problem = ids[n] == 0
                      ? fail(controller, "its NVMe controller names no controller of virtual function %u", n + 1)
                      : lend_one(controller, ids[n], parts);
    }
    return problem;
}

/* SPDX-License-Identifier: MIT */
/* See testdev.h. */
#include "hv/dev/testdev.h"

#include "hv/base/memory.h"
#include "hv/dev/platform_config.h"
#include "hv/dev/timebase.h"

#define LATCH_FIRST 0xe0u
#define LATCH_BYTES 4u
#define DROP_FIRST 0xe4u
#define DROP_BYTES 4u
#define FW_CFG_SELECT 0x510u
#define FW_CFG_DATA 0x511u
#define LINES_FIRST 0x2000u

/* Items of fw_cfg: number, length and value, lowest byte first. QEMU, docs/specs/fw_cfg.rst. */
enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_CPUS = 0x05,
    FW_CFG_CPUS_MAX = 0x0f,
};
#define SIGNATURE_QEMU 0x554d4551u
#define ID_PORTS_ONLY 1u
#define ITEM_BYTES_MAX 8u

void testdev_reset(struct testdev *testdev, uint16_t cpus, uint64_t ram_bytes)
{
    memset(testdev, 0, sizeof(*testdev));
    testdev->cpus = cpus;
    testdev->ram_bytes = ram_bytes;
    testdev->line = TESTDEV_NO_LINE;
    testdev->signals.deadline = DEADLINE_NONE;
}

static uint64_t item_value(const struct testdev *testdev)
{
    switch (testdev->key) {
    case FW_CFG_SIGNATURE:
        return SIGNATURE_QEMU;
    case FW_CFG_ID:
        return ID_PORTS_ONLY;
    case FW_CFG_RAM_SIZE:
        return testdev->ram_bytes;
    case FW_CFG_CPUS:
    case FW_CFG_CPUS_MAX:
        return testdev->cpus;
    default:
        return 0; /* every item that is not there reads as zeroes */
    }
}

static uint8_t next_item_byte(struct testdev *testdev)
{
    uint32_t offset = testdev->offset;

    if (offset >= ITEM_BYTES_MAX) {
        return 0;
    }
    testdev->offset++;
    return (uint8_t)(item_value(testdev) >> (8 * offset));
}

bool testdev_port_read(struct testdev *testdev, uint16_t port, uint8_t size, uint32_t *value)
{
    if (port >= LATCH_FIRST && port + size <= LATCH_FIRST + LATCH_BYTES) {
        *value = testdev->latch >> (8 * (port - LATCH_FIRST));
        *value &= size < 4 ? (1u << (8 * size)) - 1 : ~0u;
        return true;
    }
    if (port == FW_CFG_DATA && size == 1) {
        *value = next_item_byte(testdev);
        return true;
    }
    return false;
}

static void write_latch(struct testdev *testdev, uint32_t byte, uint8_t size, uint32_t value)
{
    uint32_t mask = (size < 4 ? (1u << (8 * size)) - 1 : ~0u) << (8 * byte);

    testdev->latch = (testdev->latch & ~mask) | (value << (8 * byte) & mask);
}

bool testdev_port_write(struct testdev *testdev, uint16_t port, uint8_t size, uint32_t value)
{
    if (port >= LATCH_FIRST && port + size <= LATCH_FIRST + LATCH_BYTES) {
        write_latch(testdev, port - LATCH_FIRST, size, value);
        return true;
    }
    if (port >= DROP_FIRST && port + size <= DROP_FIRST + DROP_BYTES) {
        return true;
    }
    if (port == FW_CFG_SELECT && size == 2) {
        testdev->key = (uint16_t)value;
        testdev->offset = 0;
        return true;
    }
    if (port >= LINES_FIRST && port < LINES_FIRST + TESTDEV_LINES && size == 1) {
        testdev->line = (uint8_t)(port - LINES_FIRST);
        testdev->level = value != 0;
        testdev->signals.wants |= BUS_TEST_LINE;
        return true;
    }
    return false;
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    uint32_t value;
    bool answered = testdev_port_read(state, (uint16_t)access->at, access->size, &value);

    access->value = answered ? value : access->value;
    return answered;
}

static bool write_at(void *state, const struct bus_access *access)
{
    return testdev_port_write(state, (uint16_t)access->at, access->size, (uint32_t)access->value);
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    const struct platform_config *config = environment->config;

    (void)now;
    testdev_reset(state, config->cpus, config->ram_low_bytes + config->ram_high_bytes);
}

const struct bus_row testdev_row = {
    .name = "test device",
    BUS_RANGES(BUS_AT(BUS_PORT, LATCH_FIRST, LATCH_BYTES + DROP_BYTES, LATCH_FIRST, 1 | 2 | 4),
               BUS_AT(BUS_PORT, FW_CFG_SELECT, 2, FW_CFG_SELECT, 1 | 2), BUS_PORTS(LINES_FIRST, TESTDEV_LINES)),
    .read = read_at,
    .write = write_at,
    .reset = reset,
    .presence = BUS_WITH_DEBUG_PORTS,
    BUS_STATE(struct testdev, signals),
};

/* SPDX-License-Identifier: MIT */
/*
 * A virtio driver over PCI, in both register layouts, written from the specification: finds the structures by walking
 * the capabilities, negotiates, sets up queues and MSI-X. Over tests/unit/virtq_driver.h.
 */
#ifndef TESTS_UNIT_VIRTIO_DRIVER_H
#define TESTS_UNIT_VIRTIO_DRIVER_H

#include "hv/dev/virtio/pci.h"
#include "tests/unit/pci_driver.h"
#include "tests/unit/virtq_driver.h"

struct virtio_place {
    unsigned bar;
    uint32_t offset;
    uint32_t bytes; /* 0: not found */
};

struct virtio_driver {
    struct virtio_pci *pci;
    struct arena *arena;
    bool legacy;
    struct virtio_place common, notify, isr, config;
    uint32_t notify_multiplier;
    struct driver_queue queues[VIRTIO_QUEUES_MAX];
};

/* Accesses as the bus makes them: with what the row does after each. */
static inline uint64_t vd_read(struct virtio_driver *driver, unsigned bar, uint64_t offset, uint8_t size)
{
    struct bus_access access = {.at = PCI_AT(bar, offset), .size = size};

    (void)virtio_pci_row.read(driver->pci, &access);
    return access.value;
}

static inline void vd_write(struct virtio_driver *driver, unsigned bar, uint64_t offset, uint8_t size, uint64_t value)
{
    struct bus_access access = {.at = PCI_AT(bar, offset), .size = size, .value = value};

    (void)virtio_pci_row.write(driver->pci, &access);
}

static inline struct virtio_place vd_find(struct virtio_driver *driver, uint8_t type, bool ports, uint32_t *more)
{
    struct pci_endpoint *function = &driver->pci->function;
    unsigned cap;

    for (unsigned nth = 0; (cap = driver_find_capability(function, 9, nth)) != 0; nth++) {
        unsigned bar = pci_config_read(function, cap + 4, 1);

        if (pci_config_read(function, cap + 3, 1) != type ||
            (!ports && (driver_read32(function, 0x10 + 4 * bar) & 1) != 0)) {
            continue;
        }
        if (more != NULL) {
            *more = driver_read32(function, cap + 16);
        }
        return (struct virtio_place){bar, driver_read32(function, cap + 8), driver_read32(function, cap + 12)};
    }
    return (struct virtio_place){0};
}

static inline void vd_status(struct virtio_driver *driver, uint8_t status)
{
    if (driver->legacy) {
        vd_write(driver, 0, 18, 1, status);
    } else {
        vd_write(driver, driver->common.bar, driver->common.offset + 20, 1, status);
    }
}

static inline uint8_t vd_get_status(struct virtio_driver *driver)
{
    return (uint8_t)(driver->legacy ? vd_read(driver, 0, 18, 1)
                                    : vd_read(driver, driver->common.bar, driver->common.offset + 20, 1));
}

static inline uint64_t vd_features(struct virtio_driver *driver)
{
    uint64_t features = 0;

    if (driver->legacy) {
        return vd_read(driver, 0, 0, 4);
    }
    for (unsigned half = 0; half < 2; half++) {
        vd_write(driver, driver->common.bar, driver->common.offset, 4, half);
        features |= vd_read(driver, driver->common.bar, driver->common.offset + 4, 4) << (32 * half);
    }
    return features;
}

static inline void vd_accept(struct virtio_driver *driver, uint64_t features)
{
    if (driver->legacy) {
        vd_write(driver, 0, 4, 4, (uint32_t)features);
        return;
    }
    for (unsigned half = 0; half < 2; half++) {
        vd_write(driver, driver->common.bar, driver->common.offset + 8, 4, half);
        vd_write(driver, driver->common.bar, driver->common.offset + 12, 4, (uint32_t)(features >> (32 * half)));
    }
}

static inline void vd_queue(struct virtio_driver *driver, unsigned index, uint64_t at, uint16_t size)
{
    uint64_t common = driver->common.offset;
    unsigned bar = driver->common.bar;
    struct driver_queue *queue = &driver->queues[index];

    if (driver->legacy) {
        vd_write(driver, 0, 14, 2, index);
        driver_queue_init(queue, driver->arena, at, (uint16_t)vd_read(driver, 0, 12, 2));
        vd_write(driver, 0, 8, 4, at >> 12);
        return;
    }
    driver_queue_init(queue, driver->arena, at, size);
    vd_write(driver, bar, common + 22, 2, index);
    vd_write(driver, bar, common + 24, 2, size);
    vd_write(driver, bar, common + 26, 2, index + 1);
    vd_write(driver, bar, common + 32, 4, (uint32_t)queue->descriptors);
    vd_write(driver, bar, common + 36, 4, queue->descriptors >> 32);
    vd_write(driver, bar, common + 40, 8, queue->available);
    vd_write(driver, bar, common + 48, 8, queue->used);
    vd_write(driver, bar, common + 28, 2, 1);
}

/* Up to DRIVER_OK, with queue n at `at` + n * 0x8000. False: the device does not accept the features. */
static inline bool vd_start(struct virtio_driver *driver, struct virtio_pci *pci, struct arena *arena, bool legacy,
                            uint64_t features, unsigned queues, uint64_t at, uint16_t size)
{
    *driver = (struct virtio_driver){.pci = pci, .arena = arena, .legacy = legacy};
    pci_config_write(&pci->function, 4, 2, 7);
    driver->common = vd_find(driver, 1, true, NULL);
    driver->notify = vd_find(driver, 2, true, &driver->notify_multiplier);
    driver->isr = vd_find(driver, 3, true, NULL);
    driver->config = legacy ? (struct virtio_place){0, 20, 60} : vd_find(driver, 4, true, NULL);
    vd_status(driver, 0);
    vd_status(driver, 3);
    vd_accept(driver, features);
    if (!legacy) {
        vd_status(driver, 11);
        if (vd_get_status(driver) != 11) {
            return false;
        }
    }
    for (unsigned i = 0; i < queues; i++) {
        vd_queue(driver, i, at + 0x8000u * i, size);
    }
    vd_status(driver, legacy ? 7 : 15);
    return true;
}

static inline void vd_notify(struct virtio_driver *driver, unsigned queue)
{
    if (driver->legacy) {
        vd_write(driver, 0, 16, 2, queue);
    } else {
        vd_write(driver, driver->notify.bar, driver->notify.offset + driver->notify_multiplier * queue, 2, queue);
    }
}

static inline uint64_t vd_config(struct virtio_driver *driver, unsigned offset, uint8_t size)
{
    return vd_read(driver, driver->config.bar, driver->config.offset + offset, size);
}

#endif

/* SPDX-License-Identifier: MIT */
/* Virtio over PCI. See pci.h. */
#include "hv/dev/virtio/pci.h"

#include "hv/base/memory.h"

/* 4.1.2 "PCI Device Discovery". */
#define VENDOR 0x1af4u
#define DEVICE_MODERN 0x1040u
#define DEVICE_TRANSITIONAL 0x1000u
#define SUBSYSTEM_MODERN 0x1100u /* 0x40 at least, so that no legacy driver takes it; QEMU's number */
#define REVISION_MODERN 1u

#define BAR_PORTS 0u
#define BAR_MSIX 1u
#define BAR_MODERN 4u
#define PORTS_BYTES 128u
#define MSIX_BYTES 4096u
#define MSIX_PBA 0x800u
#define MODERN_BYTES 0x4000u
#define REGION_COMMON 0x0000u
#define REGION_ISR 0x1000u
#define REGION_DEVICE 0x2000u
#define REGION_NOTIFY 0x3000u
#define REGION_BYTES 0x1000u
#define NOTIFY_STRIDE 4u /* as QEMU's */

/* 4.1.4 "Virtio Structure PCI Capabilities". */
#define CAP_VENDOR 0x09u
#define CAP_BAR 4u /* fields, from the capability's start */
#define CAP_OFFSET 8u
#define CAP_LENGTH 12u
#define CAP_DATA 16u
enum cap_type {
    CAP_COMMON = 1,
    CAP_NOTIFY = 2,
    CAP_ISR = 3,
    CAP_DEVICE = 4,
    CAP_WINDOW = 5,
};

/* 4.1.4.3 "Common configuration structure layout". */
struct common {
    uint32_t device_feature_select;
    uint32_t device_feature;
    uint32_t driver_feature_select;
    uint32_t driver_feature;
    uint16_t config_vector;
    uint16_t queue_count;
    uint8_t status;
    uint8_t generation;
    uint16_t queue_select;
    uint16_t queue_size;
    uint16_t queue_vector;
    uint16_t queue_enable;
    uint16_t queue_notify_offset;
    uint64_t descriptors;
    uint64_t available;
    uint64_t used;
    uint16_t notify_data;
    uint16_t queue_reset;
    uint32_t end;
};
_Static_assert(offsetof(struct common, queue_select) == 22 && offsetof(struct common, descriptors) == 32 &&
                   offsetof(struct common, queue_reset) == 58 && sizeof(struct common) == 64,
               "as the specification lays it out");
#define AT(field) offsetof(struct common, field)

/* 4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout". */
#define LEGACY_DEVICE_FEATURES 0u
#define LEGACY_DRIVER_FEATURES 4u
#define LEGACY_QUEUE_ADDRESS 8u
#define LEGACY_QUEUE_SIZE 12u
#define LEGACY_QUEUE_SELECT 14u
#define LEGACY_QUEUE_NOTIFY 16u
#define LEGACY_STATUS 18u
#define LEGACY_ISR 19u
#define LEGACY_CONFIG_VECTOR 20u
#define LEGACY_QUEUE_VECTOR 22u
#define LEGACY_CONFIG 20u
#define LEGACY_CONFIG_MSIX 24u

/* 4.1.4.5 "ISR status capability". */
#define ISR_QUEUE 1u
#define ISR_CONFIG 2u

static struct virtio_device *device_of(const struct virtio_pci *pci)
{
    return pci->function.device;
}

/* NULL where the driver has selected a queue that there is not. */
static struct virtq *selected_queue(const struct virtio_pci *pci)
{
    struct virtio_device *device = device_of(pci);

    return pci->queue_select < device->kind->queue_count ? &device->queues[pci->queue_select] : NULL;
}

/* ---- status, features, vectors: common to both layouts ---- */

static void status_write(struct virtio_pci *pci, uint8_t status)
{
    virtio_status_write(device_of(pci), status);
    if (status == 0) {
        pci->isr = 0;
        pci->function.pending = 0;
    }
}

/* 4.1.5.1.2.1: a vector that there is not reads back as none. */
static uint16_t vector_of(const struct virtio_pci *pci, uint32_t value)
{
    return value < pci->function.msix_count ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static uint8_t take_isr(struct virtio_pci *pci)
{
    uint8_t isr = pci->isr;

    pci->isr = 0;
    pci->function.intx = false;
    return isr;
}

/* ---- the legacy registers ---- */

static unsigned legacy_config(const struct virtio_pci *pci)
{
    return pci_msix_enabled(&pci->function) ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG;
}

static uint32_t legacy_page(const struct virtq *queue)
{
    return queue != NULL && queue->enabled ? (uint32_t)(queue->descriptors / PAGE_BYTES) : 0;
}

static uint32_t legacy_register_read(struct virtio_pci *pci, unsigned offset)
{
    const struct virtio_device *device = device_of(pci);
    const struct virtq *queue = selected_queue(pci);

    switch (offset) {
    case LEGACY_DEVICE_FEATURES:
        return (uint32_t)(device->offered | VIRTIO_F_ANY_LAYOUT);
    case LEGACY_DRIVER_FEATURES:
        return (uint32_t)device->accepted;
    case LEGACY_QUEUE_ADDRESS:
        return legacy_page(queue);
    case LEGACY_QUEUE_SIZE:
        return queue != NULL ? queue->size : 0;
    case LEGACY_QUEUE_SELECT:
        return pci->queue_select;
    case LEGACY_STATUS:
        return device->status;
    case LEGACY_ISR:
        return take_isr(pci);
    case LEGACY_CONFIG_VECTOR:
        return device->config_vector;
    case LEGACY_QUEUE_VECTOR:
        return queue != NULL ? queue->vector : VIRTIO_NO_VECTOR;
    default:
        return 0;
    }
}

static uint32_t legacy_read(struct virtio_pci *pci, unsigned offset, uint8_t size)
{
    unsigned config = legacy_config(pci);

    if (offset >= config) {
        return virtio_config_read(device_of(pci), offset - config, size);
    }
    return legacy_register_read(pci, offset);
}

/* A legacy driver may not know of bus mastering; Linux before 2.6.34 did not. Its DRIVER_OK switches it on. */
static void legacy_status_write(struct virtio_pci *pci, uint8_t status)
{
    if ((status & VIRTIO_DRIVER_OK) != 0) {
        pci->function.config[PCI_COMMAND] |= PCI_COMMAND_MASTER;
    }
    status_write(pci, status);
    device_of(pci)->legacy = status != 0;
}

static void legacy_register_write(struct virtio_pci *pci, unsigned offset, uint32_t value)
{
    struct virtio_device *device = device_of(pci);
    struct virtq *queue = selected_queue(pci);

    switch (offset) {
    case LEGACY_DRIVER_FEATURES:
        device->legacy = true;
        virtio_features_write(device, false, value);
        break;
    case LEGACY_QUEUE_ADDRESS:
        device->legacy = true;
        virtio_queue_place_legacy(device, pci->queue_select, value);
        break;
    case LEGACY_QUEUE_SELECT:
        pci->queue_select = (uint16_t)value;
        break;
    case LEGACY_QUEUE_NOTIFY:
        virtio_notify(device, (uint16_t)value);
        break;
    case LEGACY_STATUS:
        legacy_status_write(pci, (uint8_t)value);
        break;
    case LEGACY_CONFIG_VECTOR:
        device->config_vector = vector_of(pci, value);
        break;
    case LEGACY_QUEUE_VECTOR:
        if (queue != NULL) {
            queue->vector = vector_of(pci, value);
        }
        break;
    default:
        break;
    }
}

static void legacy_write(struct virtio_pci *pci, unsigned offset, uint8_t size, uint32_t value)
{
    unsigned config = legacy_config(pci);

    if (offset >= config) {
        virtio_config_write(device_of(pci), offset - config, size, value);
    } else {
        legacy_register_write(pci, offset, value);
    }
}

/* ---- the modern registers ---- */

static void fill_common(const struct virtio_pci *pci, struct common *common)
{
    const struct virtio_device *device = device_of(pci);
    const struct virtq *queue = selected_queue(pci);
    uint32_t select = pci->feature_select, driver_select = pci->driver_feature_select;

    *common = (struct common){
        .device_feature_select = select,
        .device_feature = select < 2 ? (uint32_t)(device->offered >> (32 * select)) : 0,
        .driver_feature_select = driver_select,
        .driver_feature = driver_select < 2 ? (uint32_t)(device->accepted >> (32 * driver_select)) : 0,
        .config_vector = device->config_vector,
        .queue_count = device->kind->queue_count,
        .status = device->status,
        .generation = device->generation,
        .queue_select = pci->queue_select,
        .queue_vector = VIRTIO_NO_VECTOR,
    };
    if (queue != NULL) {
        common->queue_size = queue->size;
        common->queue_vector = queue->vector;
        common->queue_enable = queue->enabled;
        common->queue_notify_offset = pci->queue_select;
        common->descriptors = queue->descriptors;
        common->available = queue->available;
        common->used = queue->used;
    }
}

static uint64_t common_read(const struct virtio_pci *pci, uint64_t offset, uint8_t size)
{
    struct common common;
    uint64_t value = 0;

    fill_common(pci, &common);
    if (offset < sizeof(common)) {
        memcpy(&value, (const uint8_t *)&common + offset, (size_t)min_u64(size, sizeof(common) - offset));
    }
    return value;
}

/* Half of an address, or all of it. */
static void address_write(uint64_t *address, uint64_t offset, uint8_t size, uint64_t value)
{
    if (size == 8) {
        *address = value;
    } else if (size == 4) {
        unsigned shift = offset % 8 == 0 ? 0 : 32;

        *address = (*address & ~(0xffffffffULL << shift)) | value << shift;
    }
}

static void queue_write(struct virtio_pci *pci, struct virtq *queue, uint64_t offset, uint8_t size, uint64_t value)
{
    switch (offset) {
    case AT(queue_size):
        queue->size = queue->enabled ? queue->size : (uint16_t)value;
        break;
    case AT(queue_vector):
        queue->vector = vector_of(pci, (uint16_t)value);
        break;
    case AT(queue_enable):
        if (value == 1) {
            virtio_queue_enable(device_of(pci), pci->queue_select);
        }
        break;
    case AT(queue_reset):
        if (value == 1) {
            virtio_queue_reset(device_of(pci), pci->queue_select);
        }
        break;
    case AT(descriptors):
    case AT(descriptors) + 4:
    case AT(available):
    case AT(available) + 4:
    case AT(used):
    case AT(used) + 4:
        if (!queue->enabled) {
            address_write(offset < AT(available) ? &queue->descriptors
                          : offset < AT(used)    ? &queue->available
                                                 : &queue->used,
                          offset, size, value);
        }
        break;
    default:
        break;
    }
}

/* A write is of a whole field (4.1.3.1); anything else would be of none. */
static void common_write(struct virtio_pci *pci, uint64_t offset, uint8_t size, uint64_t value)
{
    struct virtio_device *device = device_of(pci);
    struct virtq *queue = selected_queue(pci);

    switch (offset) {
    case AT(device_feature_select):
        pci->feature_select = (uint32_t)value;
        break;
    case AT(driver_feature_select):
        pci->driver_feature_select = (uint32_t)value;
        break;
    case AT(driver_feature):
        if (pci->driver_feature_select < 2) {
            virtio_features_write(device, pci->driver_feature_select == 1, (uint32_t)value);
        }
        break;
    case AT(config_vector):
        device->config_vector = vector_of(pci, (uint16_t)value);
        break;
    case AT(status):
        status_write(pci, (uint8_t)value);
        break;
    case AT(queue_select):
        pci->queue_select = (uint16_t)value;
        break;
    default:
        if (queue != NULL) {
            queue_write(pci, queue, offset, size, value);
        }
        break;
    }
}

static uint64_t modern_read(struct virtio_pci *pci, uint64_t offset, uint8_t size)
{
    uint64_t at = offset % REGION_BYTES;

    switch (offset - at) {
    case REGION_COMMON:
        return common_read(pci, at, size);
    case REGION_ISR:
        return at == 0 ? take_isr(pci) : 0;
    case REGION_DEVICE:
        return virtio_config_read(device_of(pci), (unsigned)at, (uint8_t)min_u64(size, 4)) |
               (size == 8 ? (uint64_t)virtio_config_read(device_of(pci), (unsigned)at + 4, 4) << 32 : 0);
    default:
        return 0;
    }
}

/* QEMU looks at the place alone, so that drivers get along which write something else than their queue's number; the
 * number counts at the first place for one that knows no other. A notification too many is found to be none. */
static void notify_at(struct virtio_pci *pci, uint64_t at, uint64_t value)
{
    virtio_notify(device_of(pci), (unsigned)(at / NOTIFY_STRIDE));
    if (at < NOTIFY_STRIDE) {
        virtio_notify(device_of(pci), (uint16_t)value);
    }
}

static void modern_write(struct virtio_pci *pci, uint64_t offset, uint8_t size, uint64_t value)
{
    uint64_t at = offset % REGION_BYTES;

    switch (offset - at) {
    case REGION_COMMON:
        common_write(pci, at, size, value);
        break;
    case REGION_DEVICE:
        virtio_config_write(device_of(pci), (unsigned)at, (uint8_t)min_u64(size, 4), (uint32_t)value);
        break;
    case REGION_NOTIFY:
        notify_at(pci, at, value);
        break;
    default:
        break;
    }
}

/* ---- interrupts ---- */

static void interrupt(struct virtio_pci *pci, uint16_t vector, uint8_t isr)
{
    if (!pci_msix_enabled(&pci->function)) {
        pci->isr |= isr;
    } else if (vector != VIRTIO_NO_VECTOR) {
        pci_interrupt(&pci->function, vector);
    }
}

/* The state says what the signals are: the line follows the ISR. */
void virtio_pci_signal(struct virtio_pci *pci)
{
    pci->function.intx = pci->isr != 0;
    pci_signal(&pci->function);
    if (virtio_has_work(device_of(pci))) {
        pci->function.signals.wants |= BUS_WORK;
    }
}

void virtio_pci_raise(struct virtio_pci *pci)
{
    struct virtio_device *device = device_of(pci);
    uint32_t signals = virtio_take_signals(device);

    for (uint32_t left = signals & ((1u << device->kind->queue_count) - 1); left != 0; left &= left - 1) {
        interrupt(pci, device->queues[__builtin_ctz(left)].vector, ISR_QUEUE);
    }
    if ((signals & VIRTIO_SIGNAL_CONFIG) != 0) {
        device->generation++;
        interrupt(pci, device->config_vector, ISR_CONFIG);
    }
}

void virtio_pci_carry_signals(struct virtio_pci *pci)
{
    virtio_pci_raise(pci);
    virtio_pci_signal(pci);
}

/* ---- BARs, and the window to them in configuration space ---- */

static uint64_t bar_read(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size)
{
    struct virtio_pci *pci = (struct virtio_pci *)function;

    return bar == BAR_PORTS    ? legacy_read(pci, (unsigned)offset, size)
           : bar == BAR_MODERN ? modern_read(pci, offset, size)
                               : 0;
}

static void bar_write(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size, uint64_t value)
{
    struct virtio_pci *pci = (struct virtio_pci *)function;

    if (bar == BAR_PORTS) {
        legacy_write(pci, (unsigned)offset, size, (uint32_t)value);
    } else if (bar == BAR_MODERN) {
        modern_write(pci, offset, size, value);
    }
}

struct window {
    unsigned bar;
    uint64_t at;
    uint8_t bytes;
};

/*
 * 4.1.4.9 "PCI configuration access capability": the driver writes BAR, offset and length, and the dword behind them is
 * the BAR at this place. False: the three name nothing.
 */
static bool window_names(const struct virtio_pci *pci, unsigned from, struct window *window)
{
    const struct pci_endpoint *function = &pci->function;
    uint32_t length = pci_config_dword(function, pci->window_cap + CAP_LENGTH);

    window->bar = function->config[pci->window_cap + CAP_BAR];
    window->at = pci_config_dword(function, pci->window_cap + CAP_OFFSET);
    window->bytes = (uint8_t)length;
    return from == pci->window_cap + CAP_DATA && window->bar < PCI_BARS &&
           function->bars[window->bar].kind != PCI_BAR_NONE && (length == 1 || length == 2 || length == 4) &&
           window->at % length == 0 && window->at < function->bars[window->bar].bytes;
}

static bool window_read(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t *value)
{
    struct virtio_pci *pci = (struct virtio_pci *)function;
    struct window window;

    (void)size;
    if (!window_names(pci, offset, &window)) {
        return false;
    }
    *value = (uint32_t)pci_bar_read(function, window.bar, window.at, window.bytes);
    virtio_pci_signal(pci);
    return true;
}

static bool window_write(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t value)
{
    struct virtio_pci *pci = (struct virtio_pci *)function;
    struct window window;

    (void)size;
    if (!window_names(pci, offset, &window)) {
        return false;
    }
    pci_bar_write(function, window.bar, window.at, window.bytes, value & ~0u >> (32 - 8 * window.bytes));
    virtio_pci_carry_signals(pci);
    return true;
}

static const struct pci_device_ops ops = {
    .read = bar_read, .write = bar_write, .config_read = window_read, .config_write = window_write};

/* ---- the function's description ---- */

static uint8_t add_cap(struct virtio_pci *pci, enum cap_type type, uint8_t bar, uint32_t offset, uint32_t length,
                       unsigned more, uint8_t multiplier)
{
    uint8_t body[CAP_DATA + 4 - 2] = {0};

    body[0] = (uint8_t)(CAP_DATA + more);
    body[1] = (uint8_t)type;
    body[CAP_BAR - 2] = bar;
    memcpy(&body[CAP_OFFSET - 2], &offset, sizeof(offset));
    memcpy(&body[CAP_LENGTH - 2], &length, sizeof(length));
    body[CAP_DATA - 2] = multiplier;
    return pci_function_add_capability(&pci->function, CAP_VENDOR, body, CAP_DATA - 2 + more);
}

/*
 * All queues share the port, whose value says which it is; in memory each has a place. Every device has a configuration
 * of its own, as QEMU's have, as long as its region, and it reads 0 behind its fields: Hermit's driver wants room for
 * every field of the specification, Asterinas' wants one of random numbers, too.
 */
static void add_caps(struct virtio_pci *pci, bool ports)
{
    add_cap(pci, CAP_COMMON, BAR_MODERN, REGION_COMMON, sizeof(struct common), 0, 0);
    if (ports) {
        add_cap(pci, CAP_NOTIFY, BAR_PORTS, LEGACY_QUEUE_NOTIFY, 2, 4, 0);
    }
    add_cap(pci, CAP_NOTIFY, BAR_MODERN, REGION_NOTIFY, REGION_BYTES, 4, NOTIFY_STRIDE);
    add_cap(pci, CAP_ISR, BAR_MODERN, REGION_ISR, 1, 0, 0);
    add_cap(pci, CAP_DEVICE, BAR_MODERN, REGION_DEVICE, REGION_BYTES, 0, 0);
    pci->window_cap = add_cap(pci, CAP_WINDOW, 0, 0, 0, 4, 0);
    pci->function.writable[pci->window_cap + CAP_BAR] = 0xff;
    memset(&pci->function.writable[pci->window_cap + CAP_OFFSET], 0xff, 8);
}

/* 4.1.2.1 and 5: transitional ids exist for the kinds that the first edition had, in an order of their own. */
static uint16_t transitional_device(uint16_t kind)
{
    switch (kind) {
    case VIRTIO_NET:
        return DEVICE_TRANSITIONAL;
    case VIRTIO_BLOCK:
        return DEVICE_TRANSITIONAL + 1;
    case VIRTIO_CONSOLE:
        return DEVICE_TRANSITIONAL + 3;
    case VIRTIO_ENTROPY:
        return DEVICE_TRANSITIONAL + 5;
    default:
        return 0;
    }
}

void virtio_pci_init(struct virtio_pci *pci, struct virtio_device *device, enum config_virtio form)
{
    uint16_t transitional = form == VIRTIO_MODERN ? 0 : transitional_device(device->kind->id);
    const struct pci_identity identity = {
        .vendor = VENDOR,
        .device = transitional != 0 ? transitional : (uint16_t)(DEVICE_MODERN + device->kind->id),
        .subsystem_vendor = VENDOR,
        .subsystem = transitional != 0 ? device->kind->id : SUBSYSTEM_MODERN,
        .class_code = device->kind->pci_class,
        .revision = transitional != 0 ? 0 : REVISION_MODERN,
        .has_intx = true,
    };

    memset(pci, 0, sizeof(*pci));
    pci_function_init(&pci->function, &identity, &ops, device);
    if (transitional != 0) {
        pci_function_add_bar(&pci->function, BAR_PORTS, (struct pci_bar){.kind = PCI_BAR_PORTS, .bytes = PORTS_BYTES});
    }
    pci_function_add_bar(&pci->function, BAR_MSIX, (struct pci_bar){.kind = PCI_BAR_MEMORY32, .bytes = MSIX_BYTES});
    pci_function_add_bar(&pci->function, BAR_MODERN, (struct pci_bar){PCI_BAR_MEMORY64, true, MODERN_BYTES});
    pci_function_add_msix(&pci->function, device->kind->queue_count + 1u, BAR_MSIX, 0, MSIX_PBA);
    add_caps(pci, transitional != 0 && form == VIRTIO_TRANSITIONAL);
}

/* ---- on the device bus ---- */

static bool row_read(void *state, struct bus_access *access)
{
    bool known = pci_row_read(state, access);

    virtio_pci_signal(state);
    return known;
}

/* A write that says which queue has buffers, and does nothing else. The legacy layout's register comes first: the
 * modern one leads there, too (add_caps()). */
static bool row_notify(void *state, uint64_t at, uint64_t value)
{
    if (at == PCI_AT(BAR_PORTS, LEGACY_QUEUE_NOTIFY)) {
        virtio_notify(device_of(state), (uint16_t)value);
        return true;
    }
    at -= PCI_AT(BAR_MODERN, REGION_NOTIFY);
    if (at >= REGION_BYTES) {
        return false;
    }
    notify_at(state, at, value);
    return true;
}

/* A register's write may leave something to tell, as when it breaks the device. A notification leaves work. */
static bool row_write(void *state, const struct bus_access *access)
{
    struct virtio_pci *pci = state;

    if (row_notify(pci, access->at, access->value)) {
        pci->function.signals.wants |= BUS_WORK;
        return true;
    }
    pci_bar_write(state, PCI_AT_BAR(access->at), PCI_AT_OFFSET(access->at), access->size, access->value);
    virtio_pci_carry_signals(state);
    return true;
}

const struct bus_row virtio_pci_row = {
    .name = "virtio",
    PCI_ROW_RANGES,
    .read = row_read,
    .write = row_write,
    .notify = row_notify,
    .next_message = pci_row_next_message,
    .lines = {BUS_NO_LINE},
    .line_count = 1,
    .state_bytes = sizeof(struct virtio_pci),
    .signals_at = offsetof(struct virtio_pci, function.signals),
    .saved_from = sizeof(struct virtio_pci),
};

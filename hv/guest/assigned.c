/* SPDX-License-Identifier: MIT */
#include "hv/guest/assigned.h"

#include "hv/base/check.h"
#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/guest/device_irq.h"
#include "hv/guest/virtual.h"
#include "hv/host/budget.h"
#include "hv/host/host_devices.h"
#include "hv/host/host_memory.h"
#include "hv/host/host_vectors.h"
#include "hv/host/pci_bridge.h"
#include "hv/host/pci_device.h"
#include "hv/host/pci_ports.h"
#include "hv/host/pci_topology.h"
#include "hv/host/pool.h"
#include "hv/host/tsc.h"
#include "hv/iommu/iommu.h"
#include "hv/x86/insn.h"

#define PROBLEM_BYTES 200u
#define LOW_KEPT (64 * MIB)     /* of the window below 4 GiB, for the guest's other devices */
#define LOW_BAR_MAX (64 * MIB)  /* larger ones go above 4 GiB where they can */
#define REGISTERS_MAX (1 * GIB) /* of one BAR: hv/plan/planner.c counts the tables */
#define MSIX_ENTRY_BYTES 16u
#define ANSWER_WAITS 9u /* of PCI_RESET_US, after the first */

/* What a function's interrupt line is to its guest. Those of higher numbers get theirs first. */
enum line {
    LINE_NONE,   /* it is not known, or another guest's device has it */
    LINE_BESIDE, /* messages are there, too: without the line it works as well */
    LINE_ALONE,  /* there are no messages */
    LINE_NAMED,  /* the config has it */
};

/* One function of the machine that a guest has. */
struct assigned {
    struct pci_assigned_facts facts;
    struct iommu_device device;
    enum pci_reset reset;
    const struct pci_node *bridge; /* whose bus is reset, with PCI_RESET_BUS */
    enum line line;
    struct host_irq_pin pin; /* of its line */
    uint8_t line_vector;     /* of the host, for the line; 0: none yet */
    uint32_t line_source;    /* of the guest */
    bool shared;             /* with another guest's, for which this one does without */
};

/* What guest and message a vector of a CPU stands for. */
struct slot {
    uint8_t guest, function, message;
    bool used;
};

/* All that one guest has. */
struct owner {
    struct guest *guest; /* NULL until it has been made */
    struct assigned functions[CONFIG_PCI_MAX];
    uint32_t count;
    struct page_table tree; /* by which they reach its memory */
    bool snooping;          /* it has caches snooped whatever they ask for */
    struct table_pool pool;
    struct guest_range registers[GUEST_REGISTERS_MAX];
    uint32_t register_count;
    uint64_t ready_at; /* TSC at which the last reset is over */
    bool asleep;       /* and then they have to be woken */
    uint32_t waits;    /* how often one of them did not answer after that */
    char problem[PROBLEM_BYTES];
};

_Static_assert(sizeof(struct owner) <= BUDGET_DEVICES_PAGES * PAGE_BYTES, "budget.h");

static struct owner *owners[CONFIG_GUESTS_MAX]; /* NULL: the guest has none */
static struct slot slots[CPUS_MAX][HOST_VECTOR_MESSAGES];
static uint8_t slots_used[CPUS_MAX];

/* ---- how the guest's emulated accesses reach the machine ---- */

static void io_config_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value)
{
    const struct pci_access *access = host_devices_access();

    (void)context;
    access->write(access->context, address, offset, bytes, value);
}

static uint64_t read_port(uint16_t port, uint8_t size)
{
    if (size == 1) {
        return insn_in8(port);
    }
    return size == 2 ? insn_in16(port) : insn_in32(port);
}

static uint64_t io_read(void *context, bool port, uint64_t at, uint8_t size)
{
    (void)context;
    if (port) {
        return read_port((uint16_t)at, size);
    }
    switch (size) {
    case 1:
        return *(volatile uint8_t *)(uintptr_t)at;
    case 2:
        return *(volatile uint16_t *)(uintptr_t)at;
    case 4:
        return *(volatile uint32_t *)(uintptr_t)at;
    default:
        return *(volatile uint64_t *)(uintptr_t)at;
    }
}

static void write_port(uint16_t port, uint8_t size, uint32_t value)
{
    if (size == 1) {
        insn_out8(port, (uint8_t)value);
    } else if (size == 2) {
        insn_out16(port, (uint16_t)value);
    } else {
        insn_out32(port, value);
    }
}

static void io_write(void *context, bool port, uint64_t at, uint8_t size, uint64_t value)
{
    (void)context;
    if (port) {
        write_port((uint16_t)at, size, (uint32_t)value);
        return;
    }
    switch (size) {
    case 1:
        *(volatile uint8_t *)(uintptr_t)at = (uint8_t)value;
        break;
    case 2:
        *(volatile uint16_t *)(uintptr_t)at = (uint16_t)value;
        break;
    case 4:
        *(volatile uint32_t *)(uintptr_t)at = (uint32_t)value;
        break;
    default:
        *(volatile uint64_t *)(uintptr_t)at = value;
        break;
    }
}

static void io_line_open(void *context, uint8_t vector)
{
    (void)context;
    host_irq_open(vector);
}

static bool answers(const struct pci_assigned_facts *facts)
{
    return pci_device_answers(host_devices_access(), facts);
}

static bool io_is_there(void *context, const struct pci_assigned_facts *facts)
{
    (void)context;
    if (answers(facts)) {
        return true;
    }
    log_warning("device %04x:%02x:%02x.%x does not answer any more: for its guest it is gone, until the guest starts "
                "again",
                facts->address.segment, facts->address.bus, facts->address.device, facts->address.function);
    return false;
}

static const struct pci_assigned_io machine_io = {NULL, io_config_write, io_read, io_write, io_is_there, io_line_open};

/* ---- before the guests are made ---- */

__attribute__((format(printf, 3, 4))) static void refuse(struct owner *owner, const struct pci_address *at,
                                                         const char *form, ...)
{
    char why[PROBLEM_BYTES];
    va_list list;

    va_start(list, form);
    (void)format_list(why, sizeof(why), form, list);
    va_end(list);
    if (owner->problem[0] == '\0') {
        format_text(owner->problem, sizeof(owner->problem), "%04x:%02x:%02x.%x cannot be given to it: %s", at->segment,
                    at->bus, at->device, at->function, why);
    }
}

/* Registers in whole pages are mapped; all must be in reach of the hypervisor, for what the guest moves. */
static void check_bars(struct owner *owner, struct assigned *function)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_assigned_bar *bar = &function->facts.bars[i];

        if (bar->bar.kind == PCI_BAR_NONE || bar->bar.kind == PCI_BAR_PORTS) {
            continue;
        }
        if (bar->at == 0) {
            refuse(owner, &function->facts.address, "the firmware gave its registers (BAR %u) no place", i);
        } else if (bar->bar.bytes > REGISTERS_MAX) {
            refuse(owner, &function->facts.address, "its registers (BAR %u) have more than 1 GiB", i);
        } else if (!host_memory_map_device(bar->at, bar->bar.bytes)) {
            refuse(owner, &function->facts.address, "its registers (BAR %u, 0x%" PRIx64 ") cannot be mapped", i,
                   bar->at);
        }
        bar->mapped = bar->bar.bytes >= PAGE_BYTES && is_aligned(bar->at, PAGE_BYTES);
    }
}

static bool has_messages(const struct assigned *function)
{
    return function->facts.msix != 0 || function->facts.msi != 0;
}

/* A vector of the CPU for each message, as far as it has any left, and at least one. */
static void take_vectors(struct owner *owner, uint32_t guest, uint32_t cpu, struct assigned *function)
{
    uint32_t wanted = function->facts.msix != 0 ? (uint32_t)min_u64(function->facts.msix_count, PCI_MSIX_MAX) : 1;
    uint32_t left = HOST_VECTOR_MESSAGES - slots_used[cpu];
    struct iommu_vectors *vectors = &function->device.vectors;

    vectors->count = (uint16_t)min_u64(wanted, left);
    if (vectors->count == 0) {
        refuse(owner, &function->facts.address, "CPU %u has no interrupt vector left", cpu);
    }
    for (uint32_t n = 0; n < vectors->count; n++) {
        uint8_t slot = slots_used[cpu]++;

        slots[cpu][slot] = (struct slot){(uint8_t)guest, (uint8_t)owner->count, (uint8_t)n, true};
        vectors->to[n].apic_id = cpus[cpu].apic_id;
        vectors->to[n].vector = (uint8_t)(HOST_VECTOR_MESSAGE + slot);
    }
}

/* What the function has, which must be something that a guest can use. False: refused. */
static bool read_function(struct owner *owner, const struct config_pci *pci, struct assigned *function)
{
    const struct pci_address at = {pci->segment, pci->bus, pci->device, pci->function};
    const char *problem = pci->vf != 0 ? guest_virtual_read(pci, &function->facts) : NULL;

    if (problem != NULL) {
        refuse(owner, &at, "its virtual function %u is not there: %s", pci->vf, problem);
        return false;
    }
    if (pci->vf != 0) {
        return true;
    }
    if (pci_topology_find(iommu_topology(), at) == NULL) {
        refuse(owner, &at, "there is no such function");
    } else if (pci_device_read(host_devices_access(), at, &function->facts) != STATUS_OK) {
        refuse(owner, &at, "it is a bridge");
    } else {
        return true;
    }
    return false;
}

/* Where it has messages they are made and the IOMMU has room for them. False: refused. */
static bool open_device(const struct boot_info *info, uint32_t guest, struct assigned *function)
{
    const struct pci_address *at = &function->facts.address;
    const char *problem;

    function->device = (struct iommu_device){.address = *at, .domain = (uint16_t)guest};
    if (has_messages(function)) {
        take_vectors(owners[guest], guest, info->config.guests[guest].cpus[0], function);
    }
    problem = iommu_device_open(&function->device);
    if (problem != NULL) {
        refuse(owners[guest], at, "%s", problem);
    }
    return problem == NULL;
}

/* The pin that its line leads to: as the config says, or the firmware has led it. A PCI line is low while it asks, but
 * where the firmware's tables say something else. */
static void find_pin(const struct config_pci *pci, struct assigned *function)
{
    uint32_t irq;

    if (!function->facts.has_pin) {
        return;
    }
    if (pci->has_gsi) {
        function->pin = (struct host_irq_pin){.gsi = pci->gsi, .level = true, .active_low = true};
        function->line = LINE_NAMED;
    } else if (pci_device_irq(host_devices_access(), function->facts.address, pci_ports_levels(), &irq)) {
        function->pin = host_irq_isa(irq);
        function->pin.active_low = !function->pin.level || function->pin.active_low;
        function->pin.level = true;
        function->line = has_messages(function) ? LINE_BESIDE : LINE_ALONE;
    }
}

static void find_function(const struct boot_info *info, uint32_t guest, const struct config_pci *pci)
{
    struct owner *owner = owners[guest];
    struct assigned *function = &owner->functions[owner->count];
    const struct span *rom;

    if (!read_function(owner, pci, function)) {
        return;
    }
    rom = &info->guests[guest].roms[pci - info->config.guests[guest].pci];
    function->facts.rom = rom->base;
    function->facts.rom_bytes = (uint32_t)rom->bytes;
    pci_device_stop(host_devices_access(), &function->facts);
    find_pin(pci, function);
    if (!has_messages(function) && function->line == LINE_NONE) {
        refuse(
            owner, &function->facts.address,
            "it has no interrupt messages (MSI-X, MSI), and to which input of the I/O APICs its interrupt line leads "
            "the firmware does not say; write it behind the function: gsi 17");
        return;
    }
    if (!open_device(info, guest, function)) {
        return;
    }
    check_bars(owner, function);
    owner->count++;
}

static const struct owner *owner_of(const struct pci_address *at, const struct assigned **function)
{
    for (uint32_t g = 0; g < CONFIG_GUESTS_MAX; g++) {
        for (uint32_t i = 0; owners[g] != NULL && i < owners[g]->count; i++) {
            const struct pci_address *own = &owners[g]->functions[i].facts.address;

            if (own->segment == at->segment && pci_requester(*own) == pci_requester(*at)) {
                *function = &owners[g]->functions[i];
                return owners[g];
            }
        }
    }
    return NULL;
}

/* Of functions that nothing can tell apart all that guests have are one guest's. Before the hand-over the same was
 * looked at without the capabilities that only memory reaches. */
static void check_group(struct owner *owner, const struct assigned *function)
{
    const struct pci_topology *topology = iommu_topology();
    const struct pci_node *node = pci_topology_find(topology, function->facts.address);

    for (uint32_t i = 0; i < topology->count; i++) {
        const struct pci_node *other = &topology->nodes[i];
        const struct assigned *of_other = NULL;
        const struct owner *has = owner_of(&other->function.address, &of_other);

        if (other->group == node->group && has != NULL && has != owner) {
            refuse(owner, &function->facts.address,
                   "%04x:%02x:%02x.%x of another guest cannot be told apart from it by the IOMMU",
                   other->function.address.segment, other->function.address.bus, other->function.address.device,
                   other->function.address.function);
        }
    }
}

/* ---- interrupt lines ---- */

/* The device that has the pin already. NULL: none has. */
static const struct assigned *with_pin(const struct owner *except, const struct assigned *function)
{
    for (uint32_t g = 0; g < CONFIG_GUESTS_MAX; g++) {
        for (uint32_t i = 0; owners[g] != NULL && owners[g] != except && i < owners[g]->count; i++) {
            const struct assigned *other = &owners[g]->functions[i];

            if (other->line > LINE_NONE && other->pin.gsi == function->pin.gsi && other->line >= function->line) {
                return other;
            }
        }
    }
    return NULL;
}

/* A line that leads to two guests would let each hold up the other: it is the one's that cannot do without, or no
 * guest's. */
static void visit_line(struct owner *owner, struct assigned *function)
{
    const struct assigned *other = function->line != LINE_NONE ? with_pin(owner, function) : NULL;

    if (other != NULL && function->line == LINE_BESIDE) {
        function->shared = true;
    } else if (other != NULL) {
        refuse(owner, &function->facts.address,
               "its interrupt line (GSI %u) is also that of %04x:%02x:%02x.%x of another guest", function->pin.gsi,
               other->facts.address.segment, other->facts.address.bus, other->facts.address.device,
               other->facts.address.function);
    }
}

static void visit_shared(struct owner *owner, struct assigned *function)
{
    (void)owner;
    function->line = function->shared ? LINE_NONE : function->line;
}

/* Functions that no guest has keep their lines still: a guest's may be the same. */
static void quiet_lines(void)
{
    const struct pci_topology *topology = iommu_topology();
    const struct pci_access *access = host_devices_access();
    const struct assigned *function;

    for (uint32_t i = 0; i < topology->count; i++) {
        const struct pci_node *node = &topology->nodes[i];
        uint32_t command = access->read(access->context, node->function.address, PCI_COMMAND) & UINT16_MAX;

        if (!node->is_bridge && owner_of(&node->function.address, &function) == NULL) {
            access->write(access->context, node->function.address, PCI_COMMAND, 2, command | PCI_COMMAND_INTX_OFF);
        }
    }
}

/* The pin's vector; devices of one guest may share it. NULL, or why it cannot be. */
static const char *open_line(struct guest *guest, struct owner *owner, struct assigned *function)
{
    uint32_t index = (uint32_t)(function - owner->functions);

    function->line_source = GUEST_SOURCE_IRQS + index;
    for (uint32_t i = 0; i < index; i++) {
        const struct assigned *other = &owner->functions[i];

        if (other->line_vector != 0 && other->pin.gsi == function->pin.gsi) {
            function->line_vector = other->line_vector;
            function->line_source = other->line_source;
            return NULL;
        }
    }
    return guest_device_irq(guest, function->line_source, function->pin, &function->line_vector);
}

static void take_line(struct guest *guest, struct owner *owner, struct assigned *function)
{
    const struct pci_address *at = &function->facts.address;
    const char *why = function->line != LINE_NONE ? open_line(guest, owner, function) : NULL;

    if (why != NULL && function->line != LINE_BESIDE) {
        refuse(owner, at, "its interrupt line (GSI %u) does not reach the guest: %s", function->pin.gsi, why);
    }
    if (why != NULL) {
        function->line_vector = 0;
    }
}

typedef void visit(struct owner *owner, struct assigned *function);

static bool each_function(visit *visit)
{
    bool any = false;

    for (uint32_t g = 0; g < CONFIG_GUESTS_MAX; g++) {
        for (uint32_t i = 0; owners[g] != NULL && i < owners[g]->count; i++) {
            visit(owners[g], &owners[g]->functions[i]);
            any = true;
        }
    }
    return any;
}

static bool is_of_owner(const void *context, const struct pci_node *node)
{
    const struct assigned *function;

    return owner_of(&node->function.address, &function) == context;
}

/* Its own reset, else that of a bus where nothing is but what the same guest has. */
static void visit_reset_kind(struct owner *owner, struct assigned *function)
{
    const struct pci_address *at = &function->facts.address;
    const struct pci_topology *topology = iommu_topology();

    function->reset = pci_device_reset_kind(host_devices_access(), &function->facts);
    if (function->reset != PCI_RESET_NONE) {
        return;
    }
    function->bridge = pci_bridge_of(topology, pci_topology_find(topology, *at), is_of_owner, owner);
    if (function->bridge != NULL) {
        function->reset = PCI_RESET_BUS;
        log_info("device %04x:%02x:%02x.%x has no reset of its own: bus %02x is reset, where nothing else is",
                 at->segment, at->bus, at->device, at->function, at->bus);
    } else {
        log_warning("device %04x:%02x:%02x.%x has no reset of its own: each life of its guest finds it as the last one "
                    "left it",
                    at->segment, at->bus, at->device, at->function);
    }
}

/* What a guest does with its device, or a device that is pulled out, is no error of the machine. */
static void visit_errors(struct owner *owner, struct assigned *function)
{
    const struct pci_topology *topology = iommu_topology();
    const struct pci_node *node = pci_topology_find(topology, function->facts.address);

    (void)owner;
    for (uint32_t i = 0; i < PCI_NODES_MAX && node->parent != PCI_PARENT_NONE; i++) {
        node = &topology->nodes[node->parent];
        pci_bridge_mute(host_devices_access(), &node->function.address);
    }
}

static void visit_group(struct owner *owner, struct assigned *function)
{
    check_group(owner, function);
}

static void begin_reset(const struct assigned *function)
{
    if (function->reset == PCI_RESET_BUS) {
        pci_bridge_reset(host_devices_access(), &function->bridge->function.address, true);
    } else {
        pci_device_reset(host_devices_access(), &function->facts);
    }
}

static void end_reset(const struct assigned *function)
{
    if (function->reset == PCI_RESET_BUS) {
        pci_bridge_reset(host_devices_access(), &function->bridge->function.address, false);
    } else {
        pci_device_wake(host_devices_access(), &function->facts);
    }
}

static void visit_reset(struct owner *owner, struct assigned *function)
{
    (void)owner;
    begin_reset(function);
}

static void visit_wake(struct owner *owner, struct assigned *function)
{
    (void)owner;
    end_reset(function);
}

void guest_assigned_prepare(const struct boot_info *info)
{
    bool any = false;

    for (uint32_t g = 0; g < info->config.guest_count; g++) {
        any = any || info->config.guests[g].pci_count != 0;
    }
    if (!any) {
        return;
    }
    guest_virtual_make(info);
    pci_topology_isolate(iommu_topology(), host_devices_access());
    for (uint32_t g = 0; g < info->config.guest_count; g++) {
        const struct config_guest *guest = &info->config.guests[g];

        owners[g] = guest->pci_count != 0 ? pool_take(sizeof(struct owner)) : NULL;
        for (uint32_t i = 0; i < guest->pci_count; i++) {
            find_function(info, g, &guest->pci[i]);
        }
    }
    (void)each_function(visit_group);
    (void)each_function(visit_reset_kind);
    (void)each_function(visit_errors);
    (void)each_function(visit_line);
    (void)each_function(visit_shared);
    quiet_lines();
    if (each_function(visit_reset)) {
        tsc_wait_us(PCI_RESET_US);
        (void)each_function(visit_wake);
        tsc_wait_us(PCI_RESET_US);
    }
}

static struct owner *owner_of_guest(const struct guest *guest)
{
    return owners[guest->index];
}

const char *guest_assigned_problem(const struct guest *guest)
{
    const struct owner *owner = owner_of_guest(guest);

    return owner == NULL || owner->problem[0] == '\0' ? NULL : owner->problem;
}

/* ---- trees ---- */

/* From the windows' ends downwards, as shared memory lies there. False: there is no room. */
static bool find_place(struct guest_devices *devices, uint64_t high_start, struct pci_assigned_bar *bar)
{
    uint64_t bytes = bar->bar.bytes, at;

    if (bar->bar.kind == PCI_BAR_MEMORY64 && bytes > LOW_BAR_MAX && high_start != 0) {
        at = align_down(devices->assigned_high - bytes, bytes);
        if (at < high_start) {
            return false;
        }
        devices->assigned_high = at;
    } else {
        at = align_down(devices->assigned_low - bytes, bytes);
        if (bytes > GUEST_PCI_LOW_END - GUEST_PCI_LOW_START || at < GUEST_PCI_LOW_START + LOW_KEPT) {
            return false;
        }
        devices->assigned_low = at;
    }
    bar->place = at;
    return true;
}

static enum status map_run(struct owner *owner, struct page_table *nested, uint64_t start, uint64_t at, uint64_t bytes)
{
    static const struct page_attributes attributes = {.read = true, .write = true, .user = true, .cache = CACHE_UC};

    if (bytes == 0) {
        return STATUS_OK;
    }
    owner->registers[owner->register_count++] = (struct guest_range){gpa(start), hpa(at), bytes};
    return page_table_map(nested, start, hpa(at), bytes, attributes, nested->caps.largest_leaf, NULL);
}

static enum status map_bar(struct owner *owner, struct page_table *nested, const struct assigned *function,
                           unsigned index)
{
    const struct pci_assigned_bar *bar = &function->facts.bars[index];
    uint64_t start, end;
    enum status status;

    if (!pci_assigned_msix_pages(&function->facts, index, &start, &end)) {
        return map_run(owner, nested, bar->place, bar->at, bar->bar.bytes);
    }
    status = map_run(owner, nested, bar->place, bar->at, start);
    return status == STATUS_OK ? map_run(owner, nested, bar->place + end, bar->at + end, bar->bar.bytes - end) : status;
}

static enum status map_registers(struct guest *guest, struct owner *owner, struct page_table *nested,
                                 uint8_t physical_bits)
{
    struct guest_devices *devices = guest->devices;
    uint64_t high = guest_layout_pci_high(&guest->layout, physical_bits);
    enum status status = STATUS_OK;

    devices->assigned_low = GUEST_PCI_LOW_END - guest->config->share_count * GUEST_SHARE_SLOT;
    devices->assigned_high = high == 0 ? 0 : high + GUEST_PCI_HIGH_BYTES;
    for (uint32_t f = 0; f < owner->count; f++) {
        struct assigned *function = &owner->functions[f];

        for (unsigned i = 0; i < PCI_BARS && status == STATUS_OK; i++) {
            if (!function->facts.bars[i].mapped) {
                continue;
            }
            if (!find_place(devices, high, &function->facts.bars[i])) {
                refuse(owner, &function->facts.address, "a guest's PCI bus has no room for its registers (BAR %u)", i);
                return STATUS_OK;
            }
            status = map_bar(owner, nested, function, i);
        }
    }
    return status;
}

/* The guest's memory at the addresses that the guest has for it. */
static enum status make_tree(struct guest *guest, struct owner *owner, const struct guest_plan *plan)
{
    static const struct page_attributes attributes = {.read = true, .write = true, .execute = true, .cache = CACHE_WB};
    const struct page_table_format *format;
    struct page_table_caps caps;
    enum status status;

    owner->snooping = true;
    for (uint32_t i = 0; i < owner->count; i++) {
        owner->snooping = owner->snooping && iommu_can_snoop(&owner->functions[i].device);
    }
    iommu_tree_kind(&owner->functions[0].device, owner->snooping, &format, &caps);
    status = table_pool_init(&owner->pool, 0, hpa((uint64_t)(uintptr_t)pool_take(plan->device_tables * PAGE_BYTES)),
                             plan->device_tables);
    status = status == STATUS_OK ? page_table_init(&owner->tree, format, &caps, &owner->pool) : status;
    for (uint32_t i = 0; i < guest->memory.range_count && status == STATUS_OK; i++) {
        const struct guest_range *range = &guest->memory.ranges[i];

        status = page_table_map(&owner->tree, range->start.value, range->backing, range->bytes, attributes,
                                caps.largest_leaf, NULL);
    }
    if (status == STATUS_NO_MEMORY) {
        refuse(owner, &owner->functions[0].facts.address, "its IOMMU has no large pages (2 MiB)");
        return STATUS_OK;
    }
    iommu_tree_publish(&owner->pool);
    return status;
}

/* A tree serves all devices whose units read the same format. */
static void use_tree(struct guest *guest, struct owner *owner, struct assigned *function)
{
    const struct page_table_format *format;
    struct page_table_caps caps;

    iommu_tree_kind(&function->device, owner->snooping, &format, &caps);
    if (format != owner->tree.format || caps.largest_leaf < owner->tree.caps.largest_leaf) {
        refuse(owner, &function->facts.address,
               "its IOMMU has other page tables than that of the guest's first device");
        return;
    }
    if (!owner->snooping && pci_device_may_not_snoop(host_devices_access(), &function->facts)) {
        log_info(
            "device %04x:%02x:%02x.%x of guest %s has no switch for No Snoop, and its IOMMU forces no snoops: what "
            "the guest's caches hold it may not see",
            function->facts.address.segment, function->facts.address.bus, function->facts.address.device,
            function->facts.address.function, guest->name);
    }
    function->device.tree = &owner->tree;
    function->device.owner = guest->name;
    for (uint32_t i = 0; i < guest->memory.range_count; i++) {
        const struct guest_range *range = &guest->memory.ranges[i];

        if (!iommu_grant(&function->device, range->start.value, range->backing.value, range->bytes)) {
            refuse(owner, &function->facts.address, "there are too many devices of guests");
        }
    }
}

enum status guest_assigned_map(struct guest *guest, struct page_table *nested, const struct guest_plan *plan,
                               uint8_t physical_bits)
{
    struct owner *owner = owner_of_guest(guest);
    enum status status;

    if (owner == NULL || owner->problem[0] != '\0') {
        return STATUS_OK;
    }
    owner->guest = guest;
    status = map_registers(guest, owner, nested, physical_bits);
    status = status == STATUS_OK ? make_tree(guest, owner, plan) : status;
    for (uint32_t i = 0; i < owner->count && status == STATUS_OK && owner->problem[0] == '\0'; i++) {
        struct assigned *function = &owner->functions[i];

        use_tree(guest, owner, function);
        take_line(guest, owner, function);
        guest->devices->assigned[i] = (struct pci_assigned){.facts = &function->facts,
                                                            .io = &machine_io,
                                                            .vectors = function->device.vectors.count,
                                                            .line_source = function->line_source,
                                                            .line_vector = function->line_vector};
    }
    guest->devices->assigned_count = owner->problem[0] == '\0' ? owner->count : 0;
    return status;
}

uint32_t guest_assigned_registers(const struct guest *guest, const struct guest_range **ranges)
{
    const struct owner *owner = owner_of_guest(guest);

    *ranges = owner != NULL ? owner->registers : NULL;
    return owner != NULL ? owner->register_count : 0;
}

/* ---- a life ---- */

/* What the device writes for each message: the IOMMU knows it. Messages beyond them stay masked. */
static void write_messages(const struct assigned *function)
{
    const struct pci_assigned_facts *facts = &function->facts;
    const struct iommu_vectors *vectors = &function->device.vectors;
    uint64_t table = facts->bars[facts->msix_bar].at + facts->msix_table, address;
    uint32_t data;

    for (uint32_t n = 0; facts->msix != 0 && n < facts->msix_count; n++) {
        uint64_t entry = table + (uint64_t)n * MSIX_ENTRY_BYTES;
        bool known = n < vectors->count;

        iommu_message(&function->device, known ? n : 0, &address, &data);
        insn_mmio_write32(entry + 12, 1);
        insn_mmio_write32(entry, (uint32_t)address);
        insn_mmio_write32(entry + 4, (uint32_t)(address >> 32));
        insn_mmio_write32(entry + 8, data);
        insn_mmio_write32(entry + 12, known ? 0 : 1);
    }
    if (facts->msix == 0 && facts->msi != 0) {
        iommu_message(&function->device, 0, &address, &data);
        pci_device_set_msi(host_devices_access(), facts, address, data);
    }
}

void guest_assigned_start(struct guest *guest)
{
    struct owner *owner = owner_of_guest(guest);

    for (uint32_t i = 0; owner != NULL && i < guest->devices->assigned_count; i++) {
        struct assigned *function = &owner->functions[i];

        pci_assigned_look(&guest->devices->assigned[i]);
        if (guest->devices->assigned[i].gone) {
            continue; /* it stays blocked */
        }
        pci_device_restore(host_devices_access(), &function->facts, function->line_vector != 0);
        write_messages(function);
        if (iommu_device_let(&function->device) != STATUS_OK) {
            log_warning("device %04x:%02x:%02x.%x of guest %s stays blocked: the IOMMU does not answer",
                        function->facts.address.segment, function->facts.address.bus, function->facts.address.device,
                        function->facts.address.function, guest->name);
        }
    }
}

void guest_assigned_stop(struct guest *guest)
{
    struct owner *owner = owner_of_guest(guest);

    if (owner == NULL) {
        return;
    }
    for (uint32_t i = 0; i < guest->devices->assigned_count; i++) {
        struct assigned *function = &owner->functions[i];

        pci_device_stop(host_devices_access(), &function->facts);
        iommu_device_block(&function->device);
    }
    for (uint32_t i = 0; i < guest->devices->assigned_count; i++) {
        begin_reset(&owner->functions[i]); /* that of a bus is one of several functions */
    }
    owner->asleep = true;
    owner->ready_at = insn_rdtsc() + tsc_ticks_of_us(PCI_RESET_US);
}

/* The reset is over, but a device may take a second until it answers: "PCI Express Base Specification" 5.0, 6.6.1. */
static bool wait_for_answers(struct owner *owner, uint64_t now, uint64_t *again)
{
    for (uint32_t i = 0; i < owner->count && owner->waits < ANSWER_WAITS; i++) {
        if (!answers(&owner->functions[i].facts)) {
            owner->waits++;
            *again = owner->ready_at = now + tsc_ticks_of_us(PCI_RESET_US);
            return false;
        }
    }
    return true;
}

bool guest_assigned_is_ready(struct guest *guest, uint64_t now, uint64_t *again)
{
    struct owner *owner = owner_of_guest(guest);

    if (owner == NULL) {
        return true;
    }
    if (now >= owner->ready_at && !owner->asleep) {
        return wait_for_answers(owner, now, again);
    }
    if (now >= owner->ready_at) {
        for (uint32_t i = 0; i < guest->devices->assigned_count; i++) {
            end_reset(&owner->functions[i]);
        }
        owner->asleep = false;
        owner->waits = 0;
        owner->ready_at = now + tsc_ticks_of_us(PCI_RESET_US);
    }
    *again = owner->ready_at;
    return false;
}

/* ---- interrupts ---- */

void guest_assigned_interrupts(struct cpu *cpu)
{
    for (uint64_t left = cpu_take_devices(cpu); left != 0; left &= left - 1) {
        const struct slot *slot = &slots[cpu->index][__builtin_ctzll(left)];
        struct guest *guest = slot->used ? owners[slot->guest]->guest : NULL;

        if (guest != NULL && guest->devices != NULL && slot->function < guest->devices->assigned_count) {
            __atomic_fetch_or(&guest->devices->assigned[slot->function].incoming, 1u << slot->message,
                              __ATOMIC_RELEASE);
            (void)vcpu_kick_set(&guest->vcpus[0], VCPU_KICK_DEVICES);
        }
    }
}

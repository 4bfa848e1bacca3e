/* SPDX-License-Identifier: MIT */
#include "hv/guest/virtual.h"

#include "hv/base/log.h"
#include "hv/host/budget.h"
#include "hv/host/host_devices.h"
#include "hv/host/host_memory.h"
#include "hv/host/nvme_virtual.h"
#include "hv/host/pci_device.h"
#include "hv/host/pci_virtual.h"
#include "hv/host/pool.h"
#include "hv/host/tsc.h"
#include "hv/iommu/iommu.h"
#include "hv/x86/insn.h"

#define PHYSICAL_MAX 16u
#define ANSWER_WAITS 9u /* of PCI_RESET_US, after the first two: "PCI Express Base Specification" 5.0, 6.6.1 */
#define ADMIN_TABLES 5u /* three pages in a tree of at most five levels */
#define ADMIN_DOMAIN CONFIG_GUESTS_MAX

_Static_assert(sizeof(struct nvme_memory) + ADMIN_TABLES * PAGE_BYTES <= BUDGET_VIRTUAL_PAGES * PAGE_BYTES, "budget.h");

/* A function whose virtual functions guests have. */
struct physical {
    struct pci_virtual virtual;
    struct pci_assigned_facts facts;
    struct iommu_device device; /* an NVMe controller's */
    struct nvme_controller nvme;
    uint16_t wanted;
    const char *problem; /* NULL: none */
    char why[PCI_VIRTUAL_TEXT_MAX];
};

static struct physical physicals[PHYSICAL_MAX];
static uint32_t physical_count;

/* What NVMe controllers reach while they are told, one after the other. */
static struct {
    struct nvme_memory *memory; /* NULL: not made yet */
    struct table_pool pool;
    struct page_table tree;
} admin;

/* ---- the function itself ---- */

static bool is_same_place(const struct pci_address *at, const struct config_pci *pci)
{
    return at->segment == pci->segment && at->bus == pci->bus && at->device == pci->device &&
           at->function == pci->function;
}

static struct physical *find(const struct config_pci *pci)
{
    for (uint32_t i = 0; i < physical_count; i++) {
        if (is_same_place(&physicals[i].virtual.address, pci)) {
            return &physicals[i];
        }
    }
    return NULL;
}

static void want(const struct config_pci *pci)
{
    struct physical *physical = find(pci);

    if (physical == NULL && physical_count < PHYSICAL_MAX) {
        physical = &physicals[physical_count++];
        physical->virtual.address = (struct pci_address){pci->segment, pci->bus, pci->device, pci->function};
    }
    if (physical != NULL) {
        physical->wanted = (uint16_t)max_u64(physical->wanted, pci->vf);
    }
}

/* It is read and stopped, and has virtual functions. */
static const char *open(struct physical *physical)
{
    const struct pci_access *access = host_devices_access();
    const struct pci_address at = physical->virtual.address;

    if (pci_topology_find(iommu_topology(), at) == NULL) {
        return "there is no such function";
    }
    if (pci_device_read(access, at, &physical->facts) != STATUS_OK) {
        return "it is a bridge";
    }
    pci_device_stop(access, &physical->facts);
    if (!pci_virtual_read(access, at, &physical->virtual)) {
        return "it has no virtual functions (SR-IOV), or its configuration space beyond 256 bytes is out of reach";
    }
    return NULL;
}

/* As it was read, with bus mastering off: the reset that it has, and its registers back in their places. */
static const char *reset(struct physical *physical)
{
    const struct pci_access *access = host_devices_access();
    uint32_t waits = 0;

    pci_device_reset(access, &physical->facts);
    tsc_wait_us(PCI_RESET_US);
    pci_device_wake(access, &physical->facts);
    tsc_wait_us(PCI_RESET_US);
    while (!pci_device_answers(access, &physical->facts)) {
        if (waits == ANSWER_WAITS) {
            return "it does not answer after its reset";
        }
        waits++;
        tsc_wait_us(PCI_RESET_US);
    }
    pci_device_restore(access, &physical->facts, false);
    return NULL;
}

/* ---- NVMe ---- */

static uint32_t register_read(void *context, uint32_t offset)
{
    const struct physical *physical = context;

    return insn_mmio_read32(physical->facts.bars[0].at + offset);
}

static void register_write(void *context, uint32_t offset, uint32_t value)
{
    const struct physical *physical = context;

    insn_mmio_write32(physical->facts.bars[0].at + offset, value);
}

static void wait_us(void *context, uint32_t us)
{
    (void)context;
    tsc_wait_us(us);
}

static struct nvme_io io_of[PHYSICAL_MAX];

static bool is_nvme(const struct physical *physical)
{
    return physical->facts.identity.class_code == NVME_CLASS;
}

/* A tree of the three pages, at their own addresses. False: the unit cannot. */
static bool make_tree(const struct iommu_device *device)
{
    static const struct page_attributes attributes = {.read = true, .write = true, .execute = true, .cache = CACHE_WB};
    const struct page_table_format *format;
    struct page_table_caps caps;
    uint64_t at;

    iommu_tree_kind(device, iommu_can_snoop(device), &format, &caps);
    if (admin.memory != NULL) {
        return format == admin.tree.format;
    }
    admin.memory = pool_take(sizeof(*admin.memory));
    at = (uint64_t)(uintptr_t)admin.memory;
    if (table_pool_init(&admin.pool, 0, hpa((uint64_t)(uintptr_t)pool_take(ADMIN_TABLES * PAGE_BYTES)), ADMIN_TABLES) !=
            STATUS_OK ||
        page_table_init(&admin.tree, format, &caps, &admin.pool) != STATUS_OK ||
        page_table_map(&admin.tree, at, hpa(at), sizeof(*admin.memory), attributes, LEVEL_4K, NULL) != STATUS_OK) {
        return false;
    }
    iommu_tree_publish(&admin.pool);
    return true;
}

static const char *open_nvme(struct physical *physical)
{
    const struct pci_assigned_bar *bar = &physical->facts.bars[0];
    struct nvme_io *io = &io_of[physical - physicals];
    const char *problem;

    if (bar->bar.kind == PCI_BAR_NONE || bar->bar.kind == PCI_BAR_PORTS || bar->at == 0 ||
        bar->bar.bytes < NVME_REGISTERS || !host_memory_map_device(bar->at, bar->bar.bytes)) {
        return "the registers of its NVMe controller cannot be reached";
    }
    physical->device = (struct iommu_device){.address = physical->virtual.address, .domain = ADMIN_DOMAIN};
    problem = iommu_device_open(&physical->device);
    if (problem != NULL) {
        return problem;
    }
    if (!make_tree(&physical->device)) {
        return "its IOMMU has other page tables than that of another such function";
    }
    *io = (struct nvme_io){physical, register_read, register_write, wait_us};
    physical->device.tree = &admin.tree;
    physical->nvme =
        (struct nvme_controller){.io = io, .memory = admin.memory, .memory_at = (uint64_t)(uintptr_t)admin.memory};
    return NULL;
}

static void set_master(const struct physical *physical, bool on)
{
    const struct pci_access *access = host_devices_access();

    access->write(access->context, physical->virtual.address, PCI_COMMAND, 2,
                  pci_assigned_command(&physical->facts, false) | (on ? PCI_COMMAND_MASTER : 0));
}

/* The controller reaches the three pages from here to close_nvme(). */
static const char *let_nvme(struct physical *physical)
{
    if (iommu_device_let(&physical->device) != STATUS_OK) {
        return "the IOMMU does not answer";
    }
    set_master(physical, true);
    return NULL;
}

static void close_nvme(struct physical *physical)
{
    set_master(physical, false);
    iommu_device_block(&physical->device);
}

/* What it can give away it gives up, and a reset makes it so. */
static const char *release_nvme(struct physical *physical, bool *managed)
{
    const char *problem = open_nvme(physical);

    problem = problem == NULL ? let_nvme(physical) : problem;
    if (problem == NULL) {
        problem = nvme_virtual_release(&physical->nvme, managed);
        close_nvme(physical);
    }
    return problem == NULL ? reset(physical) : problem;
}

static const char *lend_nvme(struct physical *physical)
{
    const char *problem = let_nvme(physical);

    if (problem == NULL) {
        problem = nvme_virtual_lend(&physical->nvme, physical->wanted);
        close_nvme(physical);
    }
    return problem;
}

/* ---- its virtual functions ---- */

static const char *add_nodes(const struct physical *physical)
{
    const struct pci_node *node = pci_topology_find(iommu_topology(), physical->virtual.address);
    struct pci_assigned_facts facts;

    for (uint32_t n = 1; n <= physical->wanted; n++) {
        struct pci_function function = {.address = pci_virtual_address(&physical->virtual, n)};

        pci_virtual_device(host_devices_access(), &physical->virtual, n, &facts);
        if (facts.identity.class_code != physical->facts.identity.class_code) {
            return "its virtual functions do not answer";
        }
        function.vendor = facts.identity.vendor;
        function.product = facts.identity.device;
        function.class_code = facts.identity.class_code;
        if (host_devices_add_virtual(node, &function) != STATUS_OK) {
            return "the machine has too many functions";
        }
    }
    return NULL;
}

static const char *make(struct physical *physical)
{
    bool managed = false;
    const char *problem = open(physical);

    problem = problem == NULL ? reset(physical) : problem;
    problem = problem == NULL && is_nvme(physical) ? release_nvme(physical, &managed) : problem;
    problem = problem == NULL ? pci_virtual_make(host_devices_access(), iommu_topology(), &physical->virtual,
                                                 physical->wanted, physical->why)
                              : problem;
    if (problem != NULL) {
        return problem;
    }
    tsc_wait_us(PCI_VIRTUAL_US);
    problem = managed ? lend_nvme(physical) : NULL;
    return problem == NULL ? add_nodes(physical) : problem;
}

void guest_virtual_make(const struct boot_info *info)
{
    for (uint32_t g = 0; g < info->config.guest_count; g++) {
        for (uint32_t i = 0; i < info->config.guests[g].pci_count; i++) {
            if (info->config.guests[g].pci[i].vf != 0) {
                want(&info->config.guests[g].pci[i]);
            }
        }
    }
    for (uint32_t i = 0; i < physical_count; i++) {
        struct physical *physical = &physicals[i];
        const struct pci_address *at = &physical->virtual.address;

        physical->problem = make(physical);
        if (physical->problem == NULL) {
            log_info("device %04x:%02x:%02x.%x (%04x:%04x) has %u virtual %s, and no guest", at->segment, at->bus,
                     at->device, at->function, physical->facts.identity.vendor, physical->facts.identity.device,
                     physical->wanted, physical->wanted == 1 ? "function" : "functions");
        }
    }
}

const char *guest_virtual_read(const struct config_pci *pci, struct pci_assigned_facts *facts)
{
    const struct physical *physical = find(pci);

    if (physical == NULL) {
        return "too many functions of the machine are to have virtual ones";
    }
    if (physical->problem == NULL) {
        pci_virtual_device(host_devices_access(), &physical->virtual, pci->vf, facts);
    }
    return physical->problem;
}

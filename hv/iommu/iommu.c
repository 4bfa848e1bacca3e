/* SPDX-License-Identifier: MIT */
#include "hv/iommu/iommu.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/base/spinlock.h"
#include "hv/host/host_devices.h"
#include "hv/host/host_memory.h"
#include "hv/host/panic.h"
#include "hv/host/pool.h"
#include "hv/host/tsc.h"
#include "hv/iommu/iommu_regions.h"
#include "hv/iommu/iommu_unit.h"
#include "hv/plan/audit_devices.h"
#include "hv/x86/insn.h"

#define UNITS_MAX (DMAR_UNITS_MAX > IVRS_UNITS_MAX ? DMAR_UNITS_MAX : IVRS_UNITS_MAX)
#define AMDVI_REGISTERS 0x4000u
#define KEPT_MAX 32u     /* devices that go on using memory of the firmware */
#define TREE_PAGES 256u  /* of their trees */
#define CONTEXT_PAGES 8u /* VT-d, of each unit: buses with a device that is let through, or is not reported */
#define DEVICE_PAGES 32u /* for guests' devices: AMD-Vi, a table of interrupts for each; VT-d, further buses */
#define DOMAIN_FIRST 1u  /* 0 is of what is blocked. VT-d 9.3 "Context Entry": with caching mode it is reserved */

#define DOMAIN_GUESTS (DOMAIN_FIRST + KEPT_MAX)
#define GRANTS_MAX (IOMMU_REGIONS_MAX + IOMMU_DEVICES_MAX * GUEST_RANGES_MAX)

#define POLL_US 20000u
#define FAULTS_AT_ONCE 16u   /* of a unit */
#define DEVICES_TOLD_MAX 64u /* of each of these FAULTS_TOLD lines; a device is muted after FAULTS_MUTE */
#define FAULTS_TOLD 8u
#define FAULTS_MUTE 64u
#define DEVICE_TEXT_MAX 32u
#define OWNER_TEXT_MAX 32u

/* A device that goes on using memory of the firmware. */
struct kept {
    uint16_t segment, device_id;
    struct iommu_unit *unit;
    struct page_table tree;
};

struct told {
    uint16_t segment, device_id;
    uint32_t faults;
};

/* An I/O APIC of which pins are guests'. */
struct lines {
    uint8_t ioapic_id;
    struct iommu_unit *unit;
    struct iommu_vectors vectors;
};

static struct {
    const struct iommu_kind *kind; /* NULL: none that can be used */
    struct iommu_unit units[UNITS_MAX];
    uint32_t unit_count;
    struct iommu_pages pages;
    struct table_pool pool;
    struct kept kept[KEPT_MAX];
    uint32_t kept_count;
    struct audit_device_grant grants[GRANTS_MAX];
    uint32_t grant_count;
    struct iommu_device *devices[IOMMU_DEVICES_MAX]; /* of guests */
    uint32_t device_count;
    struct lines lines[ACPI_IOAPICS_MAX]; /* of I/O APICs of which a pin is a guest's */
    uint32_t lines_count;
    struct spinlock lock; /* once guests run: units, `told` */
    struct told told[DEVICES_TOLD_MAX];
    uint32_t told_count;
    bool protects;
    const struct boot_info *info;
} iommu;

static uint64_t next_look = UINT64_MAX; /* TSC. Not in the struct, which has nothing else that the image must hold */

static struct dmar dmar;
static struct ivrs ivrs;
static const struct pci_topology *topology;
static struct iommu_regions regions;

/* ---- what units are reached by ---- */

static uint32_t io_read32(void *context, uint64_t at)
{
    (void)context;
    return insn_mmio_read32(at);
}

/* A register of 64 bits may be read and written by halves: VT-d 11.2 "Software Access to Registers", AMD-Vi 3.4. */
static uint64_t io_read64(void *context, uint64_t at)
{
    (void)context;
    return *(volatile uint64_t *)(uintptr_t)at;
}

static void io_write32(void *context, uint64_t at, uint32_t value)
{
    (void)context;
    insn_mmio_write32(at, value);
}

static void io_write64(void *context, uint64_t at, uint64_t value)
{
    (void)context;
    *(volatile uint64_t *)(uintptr_t)at = value;
}

static void io_write_back(void *context, const void *from, uint64_t bytes)
{
    uint64_t line = align_down((uint64_t)(uintptr_t)from, CACHE_LINE_BYTES);

    (void)context;
    for (; line < (uint64_t)(uintptr_t)from + bytes; line += CACHE_LINE_BYTES) {
        insn_clflush((const void *)(uintptr_t)line);
    }
    insn_mfence();
}

static void io_wait_us(void *context, uint32_t us)
{
    (void)context;
    tsc_wait_us(us);
}

static const struct iommu_io machine_io = {NULL,       0,          io_read32,     io_read64,
                                           io_write32, io_write64, io_write_back, io_wait_us};

/* ---- the firmware's description ---- */

/* The first unit of its segment has the segment's memory. */
static bool is_first_of_segment(const struct iommu_unit *units, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (units[i].segment == units[index].segment) {
            return false;
        }
    }
    return true;
}

static void add_unit(uint64_t base, uint64_t bytes, uint16_t segment, uint8_t flags)
{
    iommu.units[iommu.unit_count++] = (struct iommu_unit){
        .io = &machine_io,
        .kind = iommu.kind,
        .pages = &iommu.pages,
        .base = base,
        .bytes = bytes,
        .segment = segment,
        .flags = flags,
    };
}

/* The units that the tables name. Returns a sentence of what is wrong with them, or NULL. */
static const char *find_units(const struct host_acpi *acpi)
{
    iommu.unit_count = 0;
    iommu.kind = NULL;
    if (acpi->dmar.base != NULL) {
        if (dmar_read(&dmar, acpi->dmar) != STATUS_OK) {
            return dmar.problem;
        }
        iommu.kind = &iommu_vtd;
        for (uint32_t i = 0; i < dmar.unit_count; i++) {
            add_unit(dmar.units[i].base, dmar.units[i].bytes, dmar.units[i].segment, 0);
        }
    } else if (acpi->ivrs.base != NULL) {
        if (ivrs_read(&ivrs, acpi->ivrs) != STATUS_OK) {
            return ivrs.problem;
        }
        iommu.kind = &iommu_amdvi;
        for (uint32_t i = 0; i < ivrs.unit_count; i++) {
            add_unit(ivrs.units[i].base, AMDVI_REGISTERS, ivrs.units[i].segment, ivrs.units[i].flags);
        }
    }
    return NULL;
}

static uint64_t pages_wanted(void)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < iommu.unit_count; i++) {
        pages += iommu.kind->unit_pages + CONTEXT_PAGES;
        pages += is_first_of_segment(iommu.units, i) ? iommu.kind->segment_pages : 0;
    }
    return iommu.unit_count == 0 ? 0 : pages + DEVICE_PAGES;
}

uint64_t iommu_bytes(const struct host_acpi *acpi)
{
    (void)find_units(acpi);
    return iommu.unit_count == 0 ? 0 : (pages_wanted() + TREE_PAGES) * PAGE_BYTES;
}

void iommu_read(const struct host_acpi *acpi)
{
    const char *problem = find_units(acpi);

    if (problem != NULL) {
        log_warning("%s: no IOMMU is used", problem);
    }
}

/* ---- the units ---- */

static bool open_units(bool x2apic)
{
    bool all = true;

    for (uint32_t i = 0; i < iommu.unit_count; i++) {
        struct iommu_unit *unit = &iommu.units[i];

        unit->x2apic = x2apic;
        if (!host_memory_map_device(unit->base, unit->bytes)) {
            format_text(unit->problem, sizeof(unit->problem), "its registers cannot be mapped");
            all = false;
        } else if (unit->kind->open(unit) != STATUS_OK) {
            all = false;
        }
        if (unit->problem[0] != '\0') {
            log_warning("the IOMMU at 0x%" PRIx64 " cannot be used: %s", unit->base, unit->problem);
        }
    }
    return all;
}

static bool prepare_units(void)
{
    uint64_t pages = pages_wanted();
    uint64_t at = (uint64_t)(uintptr_t)pool_take(pages * PAGE_BYTES);

    iommu.pages = (struct iommu_pages){at, at + pages * PAGE_BYTES};
    for (uint32_t i = 0; i < iommu.unit_count; i++) {
        struct iommu_unit *unit = &iommu.units[i];

        for (uint32_t k = 0; k < i && unit->kind->segment_pages != 0; k++) {
            if (iommu.units[k].segment == unit->segment) {
                unit->table = iommu.units[k].table;
                unit->blocked = iommu.units[k].blocked;
            }
        }
        if (unit->problem[0] == '\0' && unit->kind->prepare(unit) != STATUS_OK) {
            return false;
        }
    }
    return true;
}

static bool start_units(void)
{
    bool all = true;

    for (uint32_t i = 0; i < iommu.unit_count; i++) {
        struct iommu_unit *unit = &iommu.units[i];
        enum status status = unit->problem[0] == '\0' ? unit->kind->start(unit) : STATUS_UNSUPPORTED;

        if (unit->problem[0] == '\0' && status != STATUS_OK) {
            log_warning("the IOMMU at 0x%" PRIx64 " does not answer (%s)", unit->base, status_name(status));
        }
        all = all && status == STATUS_OK;
    }
    return all;
}

/* ---- memory that the firmware's devices go on using ---- */

static const char *describe(uint16_t segment, uint16_t device_id, char text[DEVICE_TEXT_MAX])
{
    const struct pci_address at = {segment, (uint8_t)(device_id >> 8), device_id >> 3 & 31, device_id & 7};
    const struct pci_node *node = pci_topology_find(topology, at);

    format_text(text, DEVICE_TEXT_MAX, "%04x:%02x:%02x.%x (%04x:%04x)", at.segment, at.bus, at.device, at.function,
                node != NULL ? node->function.vendor : PCI_ID_NONE,
                node != NULL ? node->function.product : PCI_ID_NONE);
    return text;
}

/* A virtual function is heard by the unit of its physical one: VT-d 8.3.1 "Device Scope Structure". */
static struct iommu_unit *unit_of(uint16_t segment, uint16_t device_id)
{
    struct pci_address at = {segment, (uint8_t)(device_id >> 8), device_id >> 3 & 31, device_id & 7};
    const struct pci_node *node = pci_topology_find(topology, at);
    uint32_t index = 0;

    if (node != NULL && node->physical != PCI_PARENT_NONE) {
        at = topology->nodes[node->physical].function.address;
    }
    if (iommu.kind == &iommu_vtd) {
        index = dmar_unit_of(&dmar, topology, host_devices_access(), &at);
        return index < iommu.unit_count ? &iommu.units[index] : NULL;
    }
    while (index < iommu.unit_count && iommu.units[index].segment != segment) {
        index++; /* the units of a segment share their table: any will do */
    }
    return index < iommu.unit_count ? &iommu.units[index] : NULL;
}

/* NULL: no unit hears it, or there is no room. */
static struct kept *kept_of(const struct iommu_region *region)
{
    struct kept *kept = &iommu.kept[iommu.kept_count];

    for (uint32_t i = 0; i < iommu.kept_count; i++) {
        if (iommu.kept[i].device_id == region->device_id && iommu.kept[i].segment == region->segment) {
            return &iommu.kept[i];
        }
    }
    if (iommu.kept_count == KEPT_MAX) {
        return NULL;
    }
    *kept = (struct kept){region->segment, region->device_id, unit_of(region->segment, region->device_id), {0}};
    if (kept->unit == NULL || kept->unit->problem[0] != '\0' ||
        page_table_init(&kept->tree, kept->unit->format, &kept->unit->caps, &iommu.pool) != STATUS_OK) {
        return NULL;
    }
    iommu.kept_count++;
    return kept;
}

static bool keep(const struct iommu_region *region)
{
    const struct page_attributes attributes = {
        .read = true, .write = region->write, .execute = true, .cache = CACHE_WB};
    uint64_t bytes = region->end - region->start;
    struct kept *kept = kept_of(region);

    if (kept == NULL || page_table_map(&kept->tree, region->start, hpa(region->start), bytes, attributes,
                                       kept->unit->caps.largest_leaf, NULL) != STATUS_OK) {
        return false;
    }
    iommu.grants[iommu.grant_count++] = (struct audit_device_grant){region->segment, region->device_id, region->write,
                                                                    region->start,   region->start,     bytes};
    return true;
}

static void keep_or_say(const struct iommu_region *region)
{
    char text[DEVICE_TEXT_MAX];

    (void)describe(region->segment, region->device_id, text);
    if (region->refused) {
        log_warning("the firmware wants device %s to use 0x%" PRIx64 " to 0x%" PRIx64
                    ", where its own memory map has free memory: the device is blocked there",
                    text, region->start, region->end - 1);
    } else if (!keep(region)) {
        log_warning("device %s cannot keep 0x%" PRIx64 " to 0x%" PRIx64 " of the firmware: it is blocked there", text,
                    region->start, region->end - 1);
    } else {
        log_debug("device %s keeps 0x%" PRIx64 " to 0x%" PRIx64 " of the firmware", text, region->start,
                  region->end - 1);
    }
}

/* A tree is whole, and in memory, before its device sees it. */
static void attach_kept(void)
{
    char text[DEVICE_TEXT_MAX];

    io_write_back(NULL, (const void *)(uintptr_t)iommu.pool.start.value, iommu.pool.fresh * PAGE_BYTES);
    for (uint32_t i = 0; i < iommu.kept_count; i++) {
        struct kept *kept = &iommu.kept[i];

        if (kept->unit->kind->attach(kept->unit, kept->device_id, &kept->tree, (uint16_t)(DOMAIN_FIRST + i)) !=
            STATUS_OK) {
            log_warning("device %s cannot keep its memory: it is blocked",
                        describe(kept->segment, kept->device_id, text));
        }
    }
}

static bool keep_regions(void)
{
    void *memory = pool_take(TREE_PAGES * PAGE_BYTES);

    if (table_pool_init(&iommu.pool, 0, hpa((uint64_t)(uintptr_t)memory), TREE_PAGES) != STATUS_OK) {
        return false;
    }
    if (iommu.kind == &iommu_vtd) {
        iommu_regions_of_dmar(&regions, &dmar, topology, host_devices_access(), &iommu.info->memory);
    } else {
        iommu_regions_of_ivrs(&regions, &ivrs, topology, &iommu.info->memory);
    }
    if (regions.full) {
        log_warning("the firmware's devices want more than %u ranges of memory: the others are blocked",
                    IOMMU_REGIONS_MAX);
    }
    for (uint32_t i = 0; i < regions.count; i++) {
        keep_or_say(&regions.rows[i]);
    }
    attach_kept();
    for (uint32_t i = 0; i < ivrs.special_count && iommu.kind == &iommu_amdvi; i++) {
        struct iommu_unit *unit = &iommu.units[ivrs.specials[i].unit];

        if (unit->problem[0] == '\0') {
            unit->kind->pass(unit, ivrs.specials[i].device_id, ivrs.specials[i].settings);
        }
    }
    return true;
}

/* ---- the start ---- */

static void report(void)
{
    uint32_t was_on = 0;
    bool interrupts = true;

    for (uint32_t i = 0; i < iommu.unit_count; i++) {
        was_on += iommu.units[i].was_on;
        interrupts = interrupts && iommu.units[i].interrupts;
    }
    log_info("IOMMU: %s, %u %s%s: every device is blocked, but for %u that the firmware goes on using; %s",
             iommu.kind->name, iommu.unit_count, iommu.unit_count == 1 ? "unit" : "units",
             was_on != 0 ? " (the firmware had it on)" : "", iommu.kept_count,
             interrupts ? "interrupts of devices are blocked" : "it cannot block interrupts of devices");
}

void iommu_start(const struct boot_info *info, bool x2apic)
{
    bool whole;

    iommu.info = info;
    topology = host_devices_topology(&whole);
    if (iommu.kind == NULL) {
        log_info("IOMMU: none. A device that writes to memory by itself can reach every guest and the hypervisor: "
                 "nothing is promised of devices");
        return;
    }
    if (!whole) {
        log_warning("this machine has more than %u PCI functions: what the firmware wants of the others is not done",
                    PCI_NODES_MAX);
    }
    iommu.protects = open_units(x2apic);
    iommu.protects = prepare_units() && keep_regions() && iommu.protects;
    iommu.protects = start_units() && iommu.protects;
    next_look = insn_rdtsc() + tsc_ticks_of_us(POLL_US);
    if (iommu.protects) {
        report();
    } else {
        log_warning("IOMMU: %s, not all of it is used: nothing is promised of devices", iommu.kind->name);
    }
}

bool iommu_protects(void)
{
    return iommu.protects;
}

/* ---- devices of guests ---- */

const struct pci_topology *iommu_topology(void)
{
    return topology;
}

/* The one ID by which the unit knows the device; AMD's tables may say another one. False: there are several. */
static bool id_of(const struct pci_node *node, uint16_t *id)
{
    uint16_t ids[PCI_REQUESTERS_MAX];

    if (node->phantom || pci_topology_requesters(topology, node, ids) != 1) {
        return false;
    }
    *id = ids[0];
    return iommu.kind != &iommu_amdvi || ivrs_alias_of(&ivrs, node->function.address.segment, *id) == *id;
}

static bool is_kept(uint16_t segment, uint16_t device_id)
{
    for (uint32_t i = 0; i < regions.count; i++) {
        if (regions.rows[i].segment == segment && regions.rows[i].device_id == device_id) {
            return true;
        }
    }
    return regions.full;
}

const char *iommu_device_open(struct iommu_device *device)
{
    const struct pci_node *node = pci_topology_find(topology, device->address);
    enum status status;

    if (!iommu.protects) {
        return "this machine's IOMMU cannot be used";
    }
    if (node == NULL || !id_of(node, &device->vectors.device_id)) {
        return "it shares its ID at the IOMMU with others: it is behind a bridge to conventional PCI, or has several";
    }
    device->unit = unit_of(device->address.segment, device->vectors.device_id);
    if (device->unit == NULL || !device->unit->started) {
        return "no IOMMU of the machine hears it";
    }
    if (!device->unit->interrupts) {
        return "its IOMMU cannot remap interrupts (interrupt remapping): the device could raise any";
    }
    if (is_kept(device->address.segment, device->vectors.device_id)) {
        return "the firmware goes on using it (RMRR, IVMD)";
    }
    device->domain = (uint16_t)(device->domain + DOMAIN_GUESTS);
    if (iommu.device_count == IOMMU_DEVICES_MAX || device->domain > device->unit->domains) {
        return "its IOMMU has no room for one more";
    }
    status = device->unit->kind->reserve(device->unit, &device->vectors);
    if (status != STATUS_OK) {
        return "its IOMMU has no room for its interrupts";
    }
    iommu.devices[iommu.device_count++] = device;
    return NULL;
}

/* On AMD's the units of a segment share the device table, and each has its own caches. */
static void flush_others(const struct iommu_unit *own)
{
    for (uint32_t i = 0; i < iommu.unit_count; i++) {
        struct iommu_unit *unit = &iommu.units[i];

        if (unit != own && unit->segment == own->segment && unit->table == own->table) {
            (void)unit->kind->flush(unit);
        }
    }
}

static struct told *told_of(uint16_t segment, uint16_t device_id);

enum status iommu_device_let(struct iommu_device *device)
{
    struct iommu_unit *unit = device->unit;
    struct told *told;
    enum status status;

    if (device->let) {
        return STATUS_OK;
    }
    spinlock_take(&iommu.lock);
    told = told_of(device->address.segment, device->vectors.device_id);
    if (told != NULL) {
        told->faults = 0; /* a new life */
    }
    status = unit->kind->set_vectors(unit, &device->vectors, true);
    status = status == STATUS_OK ? unit->kind->attach(unit, device->vectors.device_id, device->tree, device->domain)
                                 : status;
    flush_others(unit);
    device->let = status == STATUS_OK;
    spinlock_release(&iommu.lock);
    return status;
}

void iommu_device_block(struct iommu_device *device)
{
    struct iommu_unit *unit = device->unit;

    spinlock_take(&iommu.lock);
    device->let = false;
    if (unit->kind->block(unit, device->vectors.device_id) != STATUS_OK ||
        unit->kind->set_vectors(unit, &device->vectors, false) != STATUS_OK) {
        hv_panic(PANIC_IOMMU, "the IOMMU at 0x%" PRIx64 " does not answer: a device of %s%s may go on writing",
                 unit->base, device->owner != NULL ? "guest " : "no guest", device->owner != NULL ? device->owner : "");
    }
    flush_others(unit);
    spinlock_release(&iommu.lock);
}

void iommu_message(const struct iommu_device *device, uint32_t n, uint64_t *address, uint32_t *data)
{
    device->unit->kind->message(&device->vectors, n, address, data);
}

/* ---- lines of I/O APICs ---- */

/* As which requester the unit hears an I/O APIC. One behind no bridge may be in no configuration space. */
static bool find_dmar_ioapic(struct lines *lines)
{
    for (uint32_t u = 0; u < iommu.unit_count; u++) {
        const struct dmar_scopes *scopes = &dmar.units[u].scopes;

        for (uint32_t i = 0; i < scopes->count; i++) {
            const struct dmar_scope *scope = &dmar.scopes[scopes->first + i];
            struct pci_address at = {dmar.units[u].segment, scope->bus, scope->path[0].device, scope->path[0].function};

            if (scope->kind == DMAR_SCOPE_IOAPIC && scope->id == lines->ioapic_id &&
                (scope->path_count == 1 || dmar_scope_find(scope, at.segment, host_devices_access(), &at))) {
                lines->unit = &iommu.units[u];
                lines->vectors.device_id = pci_requester(at);
                return true;
            }
        }
    }
    return false;
}

static bool find_ivrs_ioapic(struct lines *lines)
{
    for (uint32_t i = 0; i < ivrs.special_count; i++) {
        const struct ivrs_special *special = &ivrs.specials[i];

        if (special->kind == IVRS_SPECIAL_IOAPIC && special->id == lines->ioapic_id) {
            lines->unit = &iommu.units[special->unit];
            lines->vectors.device_id = special->device_id;
            return true;
        }
    }
    return false;
}

/* With room in the unit's tables for all of its lines. NULL: there is none, or no unit hears it. */
static struct lines *lines_of(uint8_t ioapic_id)
{
    struct lines *lines = &iommu.lines[iommu.lines_count];

    for (uint32_t i = 0; i < iommu.lines_count; i++) {
        if (iommu.lines[i].ioapic_id == ioapic_id) {
            return &iommu.lines[i];
        }
    }
    *lines = (struct lines){.ioapic_id = ioapic_id, .vectors.count = IOMMU_VECTORS_MAX};
    if (!(iommu.kind == &iommu_vtd ? find_dmar_ioapic(lines) : find_ivrs_ioapic(lines))) {
        return NULL;
    }
    if (lines->unit->interrupts && lines->unit->kind->reserve(lines->unit, &lines->vectors) != STATUS_OK) {
        return NULL;
    }
    lines->vectors.count = 0;
    iommu.lines_count++;
    return lines;
}

const char *iommu_line_open(struct iommu_line *line)
{
    struct lines *lines;
    struct iommu_vectors *vectors;
    uint32_t n;

    line->remapped = false;
    if (!iommu.protects) {
        return NULL;
    }
    lines = lines_of(line->ioapic_id);
    if (lines == NULL) {
        return "no IOMMU of the machine hears its I/O APIC, or has room for it";
    }
    vectors = &lines->vectors;
    n = vectors->count;
    if (!lines->unit->interrupts) {
        return NULL;
    }
    if (n == IOMMU_VECTORS_MAX) {
        return "the IOMMU has no room for one more line of its I/O APIC";
    }
    vectors->to[n].apic_id = line->apic_id;
    vectors->to[n].vector = line->vector;
    vectors->to[n].level = line->level;
    vectors->count++;
    if (lines->unit->kind->set_vectors(lines->unit, vectors, true) != STATUS_OK) {
        vectors->count--;
        return "the IOMMU cannot lead it to this CPU";
    }
    flush_others(lines->unit);
    line->remapped = true;
    line->entry = lines->unit->kind->line(vectors, n);
    return NULL;
}

bool iommu_can_snoop(const struct iommu_device *device)
{
    return device->unit->snooping != NULL;
}

void iommu_tree_kind(const struct iommu_device *device, bool snooping, const struct page_table_format **format,
                     struct page_table_caps *caps)
{
    *format = snooping ? device->unit->snooping : device->unit->format;
    *caps = device->unit->caps;
}

void iommu_tree_publish(const struct table_pool *pool)
{
    io_write_back(NULL, (const void *)(uintptr_t)pool->start.value, pool->fresh * PAGE_BYTES);
}

bool iommu_grant(const struct iommu_device *device, uint64_t start, uint64_t backing, uint64_t bytes)
{
    if (iommu.grant_count == GRANTS_MAX) {
        return false;
    }
    iommu.grants[iommu.grant_count++] =
        (struct audit_device_grant){device->address.segment, device->vectors.device_id, true, start, backing, bytes};
    return true;
}

/* " of guest NAME": whose the device is. */
static const char *owner_of(uint16_t segment, uint16_t device_id, char text[OWNER_TEXT_MAX])
{
    text[0] = '\0';
    for (uint32_t i = 0; i < iommu.device_count; i++) {
        const struct iommu_device *device = iommu.devices[i];

        if (device->address.segment == segment && device->vectors.device_id == device_id && device->owner != NULL) {
            format_text(text, OWNER_TEXT_MAX, " of guest %s", device->owner);
        }
    }
    return text;
}

/* ---- the audit ---- */

static struct audit_device_vectors audited(const struct iommu_unit *unit, const struct iommu_vectors *vectors, bool let)
{
    struct audit_device_vectors row = {.segment = unit->segment,
                                       .device_id = vectors->device_id,
                                       .first = vectors->first,
                                       .count = let ? vectors->count : 0,
                                       .table = vectors->table,
                                       .x2apic = unit->x2apic};

    for (uint32_t n = 0; n < vectors->count; n++) {
        row.to[n].apic_id = vectors->to[n].apic_id;
        row.to[n].vector = vectors->to[n].vector;
        row.to[n].level = vectors->to[n].level;
    }
    return row;
}

/* What the audit is told of the interrupts of guests' devices and lines. Returns how many rows there are. */
static uint32_t audited_vectors(struct audit_device_vectors rows[IOMMU_DEVICES_MAX + ACPI_IOAPICS_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < iommu.device_count; i++) {
        rows[count++] = audited(iommu.devices[i]->unit, &iommu.devices[i]->vectors, iommu.devices[i]->let);
    }
    for (uint32_t i = 0; i < iommu.lines_count; i++) {
        rows[count++] = audited(iommu.lines[i].unit, &iommu.lines[i].vectors, true);
    }
    return count;
}

void iommu_audit(const struct boot_info *info)
{
    static struct audit_unit units[UNITS_MAX];
    static struct audit_devices_finding finding;
    const struct audit_span ours = {info->pool_start, info->pool_start + info->pool_bytes};
    static struct audit_device_vectors let[IOMMU_DEVICES_MAX + ACPI_IOAPICS_MAX];
    uint32_t let_count = audited_vectors(let);
    struct audit_devices_request request = {.units = units, .hypervisor = &ours, .hypervisor_count = 1};

    for (uint32_t i = 0; i < iommu.unit_count; i++) {
        const struct iommu_unit *unit = &iommu.units[i];

        if (unit->started && (unit->kind != &iommu_amdvi || is_first_of_segment(iommu.units, i))) {
            units[request.unit_count++] = (struct audit_unit){
                .kind = unit->kind == &iommu_vtd ? AUDIT_VTD : AUDIT_AMDVI,
                .segment = unit->segment,
                .table = unit->table,
                .vectors = unit->interrupts ? unit->vectors : 0,
                .grants = iommu.grants,
                .grant_count = iommu.grant_count,
                .let = let,
                .let_count = let_count,
            };
        }
    }
    if (audit_devices(&request, &finding) != STATUS_OK) {
        hv_panic(PANIC_AUDIT, "the audit of the IOMMUs refuses to start the guests: %s", finding.sentence);
    }
    if (request.unit_count != 0) {
        log_info("audit: no device reaches anything but what it was granted (%" PRIu64 " tables, %u let through)",
                 finding.tables, finding.let_through);
    }
}

/* ---- faults ---- */

/* NULL: there are too many devices that misbehave. */
static struct told *told_of(uint16_t segment, uint16_t device_id)
{
    for (uint32_t i = 0; i < iommu.told_count; i++) {
        if (iommu.told[i].segment == segment && iommu.told[i].device_id == device_id) {
            return &iommu.told[i];
        }
    }
    if (iommu.told_count == DEVICES_TOLD_MAX) {
        return NULL;
    }
    iommu.told[iommu.told_count] = (struct told){segment, device_id, 0};
    return &iommu.told[iommu.told_count++];
}

static void tell(struct iommu_unit *unit, const struct iommu_fault *fault)
{
    struct told *told = told_of(unit->segment, fault->device_id);
    char text[DEVICE_TEXT_MAX], owner[OWNER_TEXT_MAX];

    if (told == NULL || ++told->faults > FAULTS_MUTE) {
        return;
    }
    (void)describe(unit->segment, fault->device_id, text);
    if (told->faults <= FAULTS_TOLD) {
        log_warning("device %s%s may not %s 0x%" PRIx64 ": the IOMMU has blocked it (reason 0x%x)", text,
                    owner_of(unit->segment, fault->device_id, owner),
                    fault->interrupt ? "raise interrupt"
                    : fault->write   ? "write to"
                                     : "read",
                    fault->address, fault->reason);
    }
    if (told->faults == FAULTS_MUTE) {
        (void)unit->kind->mute(unit, fault->device_id);
        flush_others(unit);
        log_warning("device %s was blocked %u times: it stays blocked, and no more is said of it", text, FAULTS_MUTE);
    }
}

void iommu_poll(uint64_t now)
{
    struct iommu_fault fault;

    if (now < next_look || !spinlock_try(&iommu.lock)) {
        return;
    }
    for (uint32_t i = 0; i < iommu.unit_count; i++) {
        struct iommu_unit *unit = &iommu.units[i];

        for (uint32_t k = 0; k < FAULTS_AT_ONCE && unit->started && unit->kind->take_fault(unit, &fault); k++) {
            tell(unit, &fault);
        }
    }
    next_look = now + tsc_ticks_of_us(POLL_US);
    spinlock_release(&iommu.lock);
}

uint64_t iommu_deadline(void)
{
    return next_look;
}

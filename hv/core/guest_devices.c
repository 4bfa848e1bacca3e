/* SPDX-License-Identifier: MIT */
/* A guest's devices. See guest_devices.h. */
#include "hv/core/guest_devices.h"

#include "hv/base/check.h"
#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/base/text.h"
#include "hv/core/guest_irq.h"
#include "hv/core/platform_lock.h"
#include "hv/mm/guest_layout.h"

/* What is left of a piece of work waits for as long as the longest one takes: the guest runs half of the time. */
#define PAUSE_NS 30000u
#define CONSOLE_PAUSE_NS 500000u /* and a console whose ring is full, for as long as a few lines take */

#define FAULTS_TOLD_MAX 16u /* of a guest, from start to end */
#define FIRST_PCI_DEVICE 1u
#define NAME_TEXT_MAX (CONFIG_PATH_MAX + 1u)

/* ---- making them ---- */

static void add_function(struct guest_devices *devices, struct virtio_pci *function, struct virtio_device *device)
{
    devices->functions[devices->count] = function;
    devices->virtio[devices->count++] = device;
}

/* The name of the file without its folders: what the guest sees as the serial number. */
static void file_name(struct text path, char to[NAME_TEXT_MAX])
{
    size_t start = 0;

    for (size_t i = 0; i < path.length; i++) {
        if (path.start[i] == '/' || path.start[i] == '\\') {
            start = i + 1;
        }
    }
    text_copy((struct text){path.start + start, path.length - start}, to, NAME_TEXT_MAX);
}

static void create_disk(struct guest *guest, struct guest_disk *disk, const struct config_disk *config,
                        const struct boot_disk *boot)
{
    const struct disk_stored stored = {
        .pages =
            (uint8_t *)(uintptr_t)boot->image.base, /* changed only where no other guest has it: config_disk_plan() */
        .places = (const uint32_t *)(uintptr_t)boot->places,
        .count = boot->stored_pages,
        .bytes = boot->image.bytes,
    };
    char name[NAME_TEXT_MAX];

    disk_image_init(&disk->image, &stored, (uint32_t *)(uintptr_t)boot->map, (uint8_t *)(uintptr_t)boot->changes,
                    boot->change_pages, boot->in_place);
    disk->forget = config->forget;
    file_name(config->path, name);
    virtio_block_init(&disk->state.block, &guest->memory, &disk->image, config->read_only, name);
}

/* `section`: what the config says of the network; NULL: nothing. */
static void create_card(struct guest *guest, struct guest_card *card, const struct config_net *config,
                        const struct config_network *section, struct guest_network *network)
{
    bool isolated = section != NULL && section->isolated;
    uint16_t mtu = section != NULL ? (uint16_t)section->mtu : 0;

    virtio_net_init(&card->state.net, &guest->memory, config->mac, mtu);
    network->net_switch.isolated = isolated;
    card->network = network;
    card->port = net_switch_add(&network->net_switch, &card->state.net,
                                isolated && text_equal(section->router, guest->config->name));
    CHECK_OP(card->port, <, NET_PORTS_MAX);
    network->guests[card->port] = guest;
}

static void create_share(struct guest *guest, struct guest_share *share, const struct config_guest_share *config,
                         uint32_t index, struct guest_shared *shared)
{
    share->shared = shared;
    share->device.memory = shared->memory;
    share->device.bytes = shared->bytes;
    share->device.place = GUEST_SHARE_START(index);
    share->device.read_only = config->read_only;
    CHECK(shared_memory_add(&shared->shared_memory, &share->device));
    shared->guests[share->device.number] = guest;
}

/* The struct, and behind it what guest_devices_places() says. */
static struct guest_devices *lay_out(const struct config_guest *own, void *memory, bool has_key)
{
    struct guest_devices_places places = guest_devices_places(own);
    struct guest_devices *devices = memory;
    uint8_t *start = memory;

    devices->disks = (struct guest_disk *)(void *)(start + places.disks);
    devices->cards = (struct guest_card *)(void *)(start + places.cards);
    devices->shares = (struct guest_share *)(void *)(start + places.shares);
    devices->assigned = (struct pci_assigned *)(void *)(start + places.assigned);
    devices->console = own->console_virtio ? (struct virtio_console_pci *)(void *)(start + places.console) : NULL;
    devices->entropy = own->rng && has_key ? (struct virtio_entropy_pci *)(void *)(start + places.entropy) : NULL;
    devices->deadline = UINT64_MAX;
    return devices;
}

void guest_devices_create(struct guest *guest, void *memory, const struct config *config, const struct boot_guest *boot,
                          struct guest_network *networks, struct guest_shared *shared,
                          const uint8_t key[RANDOM_KEY_BYTES])
{
    const struct config_guest *own = guest->config;
    struct guest_devices *devices = lay_out(own, memory, key != NULL);

    for (uint32_t i = 0; i < own->disk_count; i++) {
        create_disk(guest, &devices->disks[i], &own->disks[i], &boot->disks[i]);
        add_function(devices, &devices->disks[i].state.pci, &devices->disks[i].state.block.device);
    }
    for (uint32_t i = 0; i < own->net_count; i++) {
        create_card(guest, &devices->cards[i], &own->nets[i], config_network_named(config, own->nets[i].network),
                    &networks[config_network_index(config, own->nets[i].network)]);
        add_function(devices, &devices->cards[i].state.pci, &devices->cards[i].state.net.device);
    }
    for (uint32_t i = 0; i < own->share_count; i++) {
        create_share(guest, &devices->shares[i], &own->shares[i], i,
                     &shared[config_share_named(config, own->shares[i].name) - config->shares]);
    }
    if (devices->console != NULL) {
        virtio_console_init(&devices->console->console, &guest->memory, &guest->platform.console_out,
                            &guest->platform.console_in);
        add_function(devices, &devices->console->pci, &devices->console->console.device);
    }
    if (devices->entropy != NULL) {
        virtio_entropy_init(&devices->entropy->entropy, &guest->memory, key);
        add_function(devices, &devices->entropy->pci, &devices->entropy->entropy.device);
    }
    guest->devices = devices;
}

/* ---- the guest's life ---- */

void guest_devices_close(struct guest *guest)
{
    for (uint32_t i = 0; guest->devices != NULL && i < guest->devices->count; i++) {
        virtio_reset(guest->devices->virtio[i]);
    }
    for (uint32_t i = 0; i < guest->config->share_count; i++) {
        __atomic_store_n(&guest->devices->shares[i].device.open, false, __ATOMIC_RELEASE);
    }
}

static struct pci_windows windows_of(const struct guest *guest, unsigned physical_bits)
{
    uint64_t high = guest_layout_pci_high(&guest->layout, physical_bits);
    uint64_t low_end = GUEST_PCI_LOW_END - guest->config->share_count * GUEST_SHARE_SLOT;
    uint64_t high_end = high == 0 ? 0 : high + GUEST_PCI_HIGH_BYTES;

    low_end = guest->devices->assigned_low != 0 ? guest->devices->assigned_low : low_end;
    high_end = guest->devices->assigned_high != 0 ? guest->devices->assigned_high : high_end;
    return (struct pci_windows){
        .ports_start = GUEST_PCI_PORTS_START,
        .ports_end = GUEST_PCI_PORTS_END,
        .low_start = GUEST_PCI_LOW_START,
        .low_end = low_end,
        .high_start = high,
        .high_end = high_end,
    };
}

static bool on_mmio(const struct guest *guest)
{
    return guest->config->virtio == VIRTIO_MMIO;
}

static enum status attach_shares(struct guest *guest)
{
    struct guest_devices *devices = guest->devices;
    enum status status = STATUS_OK;

    for (uint32_t i = 0; i < guest->config->share_count && status == STATUS_OK; i++) {
        struct ivshmem *device = &devices->shares[i].device;

        ivshmem_init(device);
        status = pci_host_add(&guest->platform.pci_host, &ivshmem_row, &device->function,
                              PCI_DEVFN(FIRST_PCI_DEVICE + (on_mmio(guest) ? 0 : devices->count) + i, 0));
        __atomic_store_n(&device->open, true, __ATOMIC_RELEASE);
    }
    return status;
}

static enum status attach_assigned(struct guest *guest)
{
    struct guest_devices *devices = guest->devices;
    uint32_t first = FIRST_PCI_DEVICE + (on_mmio(guest) ? 0 : devices->count) + guest->config->share_count;
    enum status status = STATUS_OK;

    for (uint32_t i = 0; i < devices->assigned_count && status == STATUS_OK; i++) {
        pci_assigned_init(&devices->assigned[i]);
        status = pci_host_add(&guest->platform.pci_host, &pci_assigned_row, &devices->assigned[i].function,
                              PCI_DEVFN(first + i, 0));
    }
    return status;
}

static enum status attach_watchdog(struct guest *guest)
{
    struct i6300esb *watchdog = &guest->devices->watchdog;

    i6300esb_init(watchdog, &guest->host->clock);
    guest->platform.pci_watchdog = watchdog;
    return pci_host_add(&guest->platform.pci_host, &i6300esb_row, &watchdog->function,
                        PCI_DEVFN(GUEST_WATCHDOG_DEVICE, 0));
}

/* Device n has the n-th page, and the n-th of the interrupts. */
static enum status attach_mmio(struct guest *guest)
{
    static const uint8_t irqs[GUEST_VIRTIO_MMIO_MAX] = GUEST_VIRTIO_MMIO_IRQS;
    struct guest_devices *devices = guest->devices;
    struct bus *bus = &guest->platform.bus;
    enum status status = STATUS_OK;

    CHECK_OP(devices->count, <=, GUEST_VIRTIO_MMIO_MAX);
    for (uint32_t i = 0; i < devices->count && status == STATUS_OK; i++) {
        const struct bus_range place =
            BUS_MMIO(GUEST_VIRTIO_MMIO_START + i * GUEST_VIRTIO_MMIO_BYTES, GUEST_VIRTIO_MMIO_BYTES);

        virtio_mmio_init(&devices->mmio[i], devices->virtio[i]);
        status = bus_add(bus, &virtio_mmio_row, &devices->mmio[i], &devices->mmio_bus[i]);
        status = status == STATUS_OK ? bus_place(bus, devices->mmio_bus[i], 0, &place) : status;
        if (status == STATUS_OK) {
            bus_wire(bus, devices->mmio_bus[i], 0, irqs[i]);
        }
    }
    return status;
}

static enum status attach_functions(struct guest *guest)
{
    struct guest_devices *devices = guest->devices;
    enum status status = STATUS_OK;

    for (uint32_t i = 0; i < devices->count && status == STATUS_OK; i++) {
        virtio_pci_init(devices->functions[i], devices->virtio[i], guest->config->virtio);
        status = pci_host_add(&guest->platform.pci_host, &virtio_pci_row, &devices->functions[i]->function,
                              PCI_DEVFN(FIRST_PCI_DEVICE + i, 0));
    }
    return status;
}

enum status guest_devices_attach(struct guest *guest, unsigned physical_bits)
{
    struct guest_devices *devices = guest->devices;
    struct pci_windows windows;
    enum status status;

    if (devices == NULL) {
        return STATUS_OK;
    }
    windows = windows_of(guest, physical_bits);
    for (uint32_t i = 0; i < guest->config->net_count; i++) {
        virtio_net_set_link(&devices->cards[i].state.net, true);
    }
    guest_devices_close(guest);
    devices->faults_told = 0;
    __atomic_store_n(&devices->deadline, UINT64_MAX, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < guest->config->disk_count; i++) {
        if (devices->disks[i].forget) {
            disk_image_forget(&devices->disks[i].image);
        }
    }
    status = on_mmio(guest) ? attach_mmio(guest) : attach_functions(guest);
    status = status == STATUS_OK ? attach_shares(guest) : status;
    status = status == STATUS_OK ? attach_assigned(guest) : status;
    status = status == STATUS_OK ? attach_watchdog(guest) : status;
    return status == STATUS_OK ? platform_attach_pci(&guest->platform, &windows) : status;
}

uint32_t guest_devices_mmio(const struct guest *guest)
{
    return guest->devices != NULL && on_mmio(guest) ? guest->devices->count : 0;
}

uint32_t guest_devices_pci(const struct guest *guest)
{
    const struct guest_devices *devices = guest->devices;
    uint32_t functions = devices == NULL || on_mmio(guest) ? 0 : devices->count;
    uint32_t pins = ((1u << functions) - 1) << FIRST_PCI_DEVICE;

    for (uint32_t i = 0; devices != NULL && i < devices->assigned_count; i++) {
        uint32_t device = FIRST_PCI_DEVICE + functions + guest->config->share_count + i;

        pins |= (devices->assigned[i].line_vector != 0 ? 1u : 0) << device;
    }
    return pins;
}

/* ---- work ---- */

#define PLACE_TEXT_MAX 16u

/* Where the guest has the device: as lspci says it, or its registers' address. */
static const char *place_of(const struct guest *guest, uint32_t index, char text[PLACE_TEXT_MAX])
{
    if (on_mmio(guest)) {
        uint64_t address = GUEST_VIRTIO_MMIO_START + index * GUEST_VIRTIO_MMIO_BYTES;

        format_text(text, PLACE_TEXT_MAX, "0x%" PRIx64, address);
    } else {
        format_text(text, PLACE_TEXT_MAX, "00:%02x.0", FIRST_PCI_DEVICE + index);
    }
    return text;
}

/* The log has a line when a driver breaks a rule, once until it resets the device, and not without end. */
static void tell_fault(struct guest *guest, struct virtio_device *device, uint32_t index)
{
    const struct virtq *broken = virtio_broken_queue(device);
    char place[PLACE_TEXT_MAX];

    if (broken == NULL || device->fault_told || guest->devices->faults_told == FAULTS_TOLD_MAX) {
        return;
    }
    device->fault_told = true;
    guest->devices->faults_told++;
    log_info("guest %s, %s at %s: queue %u: %s; the device waits for its driver to reset it", guest->name,
             device->kind->name, place_of(guest, index, place), (uint32_t)(broken - device->queues),
             virtq_fault_sentence((enum virtq_fault)broken->fault));
}

/* Messages go straight to the local APICs, where none waits for them in the PC; lines go by its wires. */
static void carry_function(struct vcpu *vcpu, struct virtio_pci *function)
{
    struct platform *platform = &vcpu->guest->platform;
    struct apic_message message;

    virtio_pci_raise(function);
    while (function->function.pending != 0 && platform->outbox_count == 0 &&
           pci_take_message(&function->function, &message)) {
        guest_send_message(vcpu, &message);
    }
    virtio_pci_signal(function);
    platform_function_changed(platform, &function->function);
}

static void carry_signals(struct vcpu *vcpu, uint32_t index)
{
    struct guest_devices *devices = vcpu->guest->devices;

    if (on_mmio(vcpu->guest)) {
        virtio_mmio_carry_signals(&devices->mmio[index]);
        platform_device_changed(&vcpu->guest->platform, devices->mmio_bus[index]);
    } else {
        carry_function(vcpu, devices->functions[index]);
    }
}

void guest_devices_told(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;
    struct guest_devices *devices = guest->devices;

    if (devices == NULL) {
        return;
    }
    if (!guest_hold_in_pass(vcpu)) {
        guest_notify(vcpu, &guest->vcpus[0], VCPU_KICK_DEVICES); /* again, then */
        return;
    }
    for (uint32_t i = 0; i < devices->count; i++) {
        struct virtio_device *device = devices->virtio[i];

        if (__atomic_load_n(&device->signals, __ATOMIC_ACQUIRE) != 0) {
            tell_fault(guest, device, i);
            carry_signals(vcpu, i);
        }
    }
    for (uint32_t i = 0; i < guest->config->share_count; i++) {
        struct ivshmem *device = &devices->shares[i].device;

        if (__atomic_load_n(&device->incoming, __ATOMIC_ACQUIRE) != 0) {
            ivshmem_carry(device);
            platform_function_changed(&guest->platform, &device->function);
        }
    }
    for (uint32_t i = 0; i < devices->assigned_count; i++) {
        struct pci_assigned *device = &devices->assigned[i];

        if (__atomic_load_n(&device->incoming, __ATOMIC_ACQUIRE) != 0) {
            pci_assigned_carry(device);
            platform_function_changed(&guest->platform, &device->function);
        }
    }
    guest_collect(vcpu, now);
    if (platform_deadline_moved(&guest->platform)) {
        guest_deadline_changed(vcpu);
    }
    guest_release(vcpu);
}

void guest_devices_toggle_link(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;

    for (uint32_t i = 0; i < guest->config->net_count; i++) {
        struct virtio_net *net = &guest->devices->cards[i].state.net;

        virtio_net_set_link(net, !virtio_net_link(net));
    }
    guest_devices_told(vcpu, now);
}

/* Guests whose cards have received something. */
static void wake_others(struct vcpu *vcpu, const struct guest_network *network, const struct net_wakes *wakes)
{
    for (uint32_t word = 0; word < NET_PORTS_MAX / 64; word++) {
        for (uint64_t left = wakes->words[word]; left != 0; left &= left - 1) {
            struct guest *other = network->guests[64 * word + (uint32_t)__builtin_ctzll(left)];

            guest_notify(vcpu, &other->vcpus[0], VCPU_KICK_DEVICES);
        }
    }
}

static bool work_on_card(struct vcpu *vcpu, struct guest_card *card, struct virtio_budget *budget)
{
    struct net_wakes wakes = {{0}};
    bool more = net_switch_service(&card->network->net_switch, card->port, budget, &wakes);

    wake_others(vcpu, card->network, &wakes);
    return more;
}

static void ring_peers(struct vcpu *vcpu, struct guest_share *share)
{
    for (uint32_t left = shared_memory_ring(&share->shared->shared_memory, &share->device); left != 0;
         left &= left - 1) {
        struct guest *other = share->shared->guests[__builtin_ctz(left)];

        guest_notify(vcpu, &other->vcpus[0], VCPU_KICK_DEVICES);
    }
}

/* The rings to the console are the PC's. */
static bool work_on_console(struct vcpu *vcpu, struct virtio_budget *budget)
{
    struct virtio_device *device = &vcpu->guest->devices->console->console.device;
    bool more = false;

    if (virtio_has_work(device)) {
        more = true; /* where the PC cannot be had now */
        if (guest_hold_in_pass(vcpu)) {
            more = virtio_service(device, budget);
            guest_release(vcpu);
        }
    }
    return more;
}

/* How long what is left has to wait; 0: nothing is left. */
static uint64_t work_on_all(struct vcpu *vcpu, struct virtio_budget *budget)
{
    struct guest *guest = vcpu->guest;
    struct guest_devices *devices = guest->devices;
    bool more = false;

    for (uint32_t i = 0; i < guest->config->disk_count; i++) {
        struct virtio_device *disk = &devices->disks[i].state.block.device;

        more |= virtio_has_work(disk) && virtio_service(disk, budget);
    }
    for (uint32_t i = 0; i < guest->config->net_count; i++) {
        struct guest_card *card = &devices->cards[i];

        more |= virtio_has_work(&card->state.net.device) && work_on_card(vcpu, card, budget);
    }
    for (uint32_t i = 0; i < guest->config->share_count; i++) {
        ring_peers(vcpu, &devices->shares[i]);
    }
    if (devices->entropy != NULL) {
        more |= virtio_service(&devices->entropy->entropy.device, budget);
    }
    if (guest->config->console_virtio && work_on_console(vcpu, budget) && !more) {
        return CONSOLE_PAUSE_NS;
    }
    return more ? PAUSE_NS : 0;
}

/* The deadline is vCPU 0's CPU's. */
static void set_deadline(struct vcpu *vcpu, uint64_t deadline)
{
    struct guest_devices *devices = vcpu->guest->devices;

    if (__atomic_exchange_n(&devices->deadline, deadline, __ATOMIC_ACQ_REL) == deadline) {
        return;
    }
    vcpu->requests |= VCPU_TIMER;
    if (vcpu->index != 0) {
        guest_notify(vcpu, &vcpu->guest->vcpus[0], VCPU_KICK_INTERRUPT);
    }
}

void guest_devices_work(struct vcpu *vcpu, uint64_t now, uint64_t until)
{
    struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, until, NULL};
    uint64_t pause_ns;

    /* Before the bits in `kicked` are looked at: another vCPU that sets one from now on sets this, too. */
    __atomic_store_n(&vcpu->guest->platform.device_work, false, __ATOMIC_SEQ_CST);
    pause_ns = work_on_all(vcpu, &budget);
    guest_devices_told(vcpu, now);
    if (pause_ns != 0) {
        set_deadline(vcpu, now + 2 * clock_ns_to_ticks(&vcpu->guest->host->clock, pause_ns));
    }
}

void guest_devices_run(struct vcpu *vcpu, uint64_t now)
{
    if (guest_devices_deadline(vcpu->guest) <= now) {
        __atomic_store_n(&vcpu->guest->devices->deadline, UINT64_MAX, __ATOMIC_RELEASE);
        guest_devices_work(vcpu, now, vcpu->pass_end);
    }
}

/*
 * A kernel has a driver for the virtio console built in, and its shell may be on the serial port all the same: what is
 * typed goes where something is printed, and where nothing is yet, to the one whose receiver is not switched on.
 */
static bool virtio_console_listens(const struct guest *guest)
{
    const struct virtio_console *console = &guest->devices->console->console;

    return virtio_runs(&console->device) && (console->printed || !uart_receives(&guest->platform.uart));
}

bool guest_devices_typed(struct vcpu *vcpu)
{
    struct guest *guest = vcpu->guest;
    bool takes = guest->config->console_virtio && virtio_console_listens(guest);

    guest->platform.uart.in = takes || !guest->config->console ? NULL : &guest->platform.console_in;
    if (takes) {
        struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, UINT64_MAX, NULL}; /* what is typed is little */

        virtio_notify(&guest->devices->console->console.device, CONSOLE_RECEIVE);
        (void)virtio_service(&guest->devices->console->console.device, &budget);
    }
    return takes;
}

/* ---- reports ---- */

#define REPORT_TEXT_MAX 200u

/* Adds "; 3 reads" or ", 3 reads"; what did not happen is no word. Returns the new length. */
static size_t add_count(char text[REPORT_TEXT_MAX], size_t length, uint64_t count, const char *what)
{
    if (count == 0) {
        return length;
    }
    return length + format_text(text + length, REPORT_TEXT_MAX - length, "%s%" PRIu64 " %s", length == 0 ? "; " : ", ",
                                count, what);
}

static void disk_counts(const struct virtio_block_counters *counters, char text[REPORT_TEXT_MAX])
{
    size_t length = add_count(text, 0, counters->reads, "reads");

    length = add_count(text, length, counters->bytes_read >> 10, "KiB read");
    length = add_count(text, length, counters->writes, "writes");
    length = add_count(text, length, counters->bytes_written >> 10, "KiB written");
    length = add_count(text, length, counters->errors, "errors");
    (void)add_count(text, length, counters->full, "of them without memory for changes");
}

static void card_counts(const struct net_counters *counters, char text[REPORT_TEXT_MAX])
{
    size_t length = add_count(text, 0, counters->sent_packets, "packets sent");

    length = add_count(text, length, counters->sent_bytes >> 10, "KiB sent");
    length = add_count(text, length, counters->received_packets, "packets received");
    length = add_count(text, length, counters->received_bytes >> 10, "KiB received");
    length = add_count(text, length, counters->lost_full, "lost without a buffer");
    length = add_count(text, length, counters->lost_unfit, "lost as too large");
    (void)add_count(text, length, counters->bad, "bad ones sent");
}

/* Why a device has done nothing: no driver was ever ready. */
static const char *driver_note(const struct virtio_device *device, bool with_counters)
{
    bool driven = (device->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) != 0;

    return with_counters && !driven ? ", without a driver" : "";
}

static const char *remedy_for_unused(enum config_virtio form)
{
    switch (form) {
    case VIRTIO_TRANSITIONAL:
        return ": has its kernel a driver? One that maps memory alone needs `virtio = qemu`, one without PCI `virtio = "
               "mmio`";
    case VIRTIO_MODERN:
        return ": has its kernel a driver? One for the old layout needs `virtio = qemu`";
    case VIRTIO_QEMU:
    case VIRTIO_MMIO:
        break;
    }
    return ": has its kernel a driver?";
}

void guest_devices_tell_unused(const struct guest *guest)
{
    const struct guest_devices *devices = guest->devices;
    uint32_t disks = 0, cards = 0;

    for (uint32_t i = 0; i < guest->config->disk_count; i++) {
        disks += devices->disks[i].state.block.device.driven ? 0 : 1;
    }
    for (uint32_t i = 0; i < guest->config->net_count; i++) {
        cards += devices->cards[i].state.net.device.driven ? 0 : 1;
    }
    if (disks + cards != 0) {
        log_info("no driver took %u of guest %s's disks and %u of its network cards%s", disks, guest->name, cards,
                 remedy_for_unused(guest->config->virtio));
    }
}

static void report_disk(const struct guest *guest, uint32_t index, bool with_counters)
{
    const struct guest_disk *disk = &guest->devices->disks[index];
    struct text path = guest->config->disks[index].path;
    char bytes[FORMAT_BYTES_MAX], text[REPORT_TEXT_MAX] = "";

    if (with_counters) {
        disk_counts(&disk->state.block.counters, text);
    }
    log_info("  disk %u of guest %s: %.*s, %s%s%s%s", index, guest->name, (int)path.length, path.start,
             format_bytes(bytes, disk->image.bytes), disk->state.block.read_only ? ", read-only" : "",
             driver_note(&disk->state.block.device, with_counters), text);
}

static void report_card(const struct guest *guest, uint32_t index, bool with_counters)
{
    const struct config_net *config = &guest->config->nets[index];
    const uint8_t *mac = config->mac;
    char text[REPORT_TEXT_MAX] = "";

    if (with_counters) {
        card_counts(&guest->devices->cards[index].state.net.counters, text);
    }
    log_info("  network card %u of guest %s: %02x:%02x:%02x:%02x:%02x:%02x on %.*s%s%s", index, guest->name, mac[0],
             mac[1], mac[2], mac[3], mac[4], mac[5], (int)config->network.length, config->network.start,
             driver_note(&guest->devices->cards[index].state.net.device, with_counters), text);
}

static void report_others(const struct guest *guest, bool with_counters)
{
    const struct virtio_entropy_pci *entropy = guest->devices->entropy;

    for (uint32_t i = 0; i < guest->config->share_count; i++) {
        const struct ivshmem *device = &guest->devices->shares[i].device;
        struct text name = guest->config->shares[i].name;
        char bytes[FORMAT_BYTES_MAX], text[REPORT_TEXT_MAX] = "";
        size_t length = add_count(text, 0, device->sent, "doorbells sent");

        (void)add_count(text, length, device->received, "doorbells received");
        log_info("  shared memory %.*s of guest %s: %s%s, peer %u%s", (int)name.length, name.start, guest->name,
                 format_bytes(bytes, device->bytes), device->read_only ? ", read-only" : "", device->number, text);
    }
    for (uint32_t i = 0; i < guest->devices->assigned_count; i++) {
        const struct pci_assigned *device = &guest->devices->assigned[i];
        const struct pci_address *at = &device->facts->address;
        char text[REPORT_TEXT_MAX] = "";

        (void)add_count(text, 0, with_counters ? device->interrupts : 0, "interrupts");
        log_info("  device %04x:%02x:%02x.%x of guest %s: %04x:%04x, at its 00:%02x.0%s", at->segment, at->bus,
                 at->device, at->function, guest->name, device->facts->identity.vendor, device->facts->identity.device,
                 device->function.devfn >> 3, text);
    }
    if (guest->config->console_virtio) {
        log_info("  virtio console of guest %s", guest->name);
    }
    if (guest->config->rng && entropy == NULL) {
        log_info("  guest %s has no virtio-rng: neither CPU nor firmware have random numbers", guest->name);
    } else if (guest->config->rng && with_counters) {
        log_info("  virtio-rng of guest %s: %" PRIu64 " bytes", guest->name, entropy->entropy.given);
    }
}

void guest_devices_report(const struct guest *guest, bool with_counters)
{
    for (uint32_t i = 0; i < guest->config->disk_count; i++) {
        report_disk(guest, i, with_counters);
    }
    for (uint32_t i = 0; i < guest->config->net_count; i++) {
        report_card(guest, i, with_counters);
    }
    if (guest->devices != NULL) {
        report_others(guest, with_counters);
    }
}

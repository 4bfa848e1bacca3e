/* SPDX-License-Identifier: MIT */
/*
 * A guest's disks, network cards, console, random numbers and shared memory: on its PCI bus, at work, and in touch
 * with other guests. And the watchdog that every PCI bus has.
 *
 *   the guest notifies a queue -> BUS_WORK -> platform.device_work -> guest_devices_work()
 *     disks: hv/dev/virtio/block.h       cards: hv/share/net_switch.h, which may fill other guests' receive queues
 *     -> interrupts for this guest; VCPU_KICK_DEVICES for vCPU 0 of others, whose CPU calls guest_devices_told()
 *
 * Work is done after the lock of the guest's PC has been let go, with one budget per exit (VIRTIO_BUDGET_BYTES).
 * What is left goes on at `deadline`, after the guest has run for as long as the work took, on the CPU of vCPU 0.
 *
 * Which CPU touches what: docs/decisions/0007. In short, devices have locks of their own, below the PC's; another
 * guest's CPU only ever takes a card's receive_lock, and only tries it.
 */
#ifndef HV_CORE_GUEST_DEVICES_H
#define HV_CORE_GUEST_DEVICES_H

#include "config/parse.h"
#include "hv/boot_info.h"
#include "hv/core/guest.h"
#include "hv/dev/i6300esb.h"
#include "hv/dev/pci/assigned.h"
#include "hv/dev/virtio/block.h"
#include "hv/dev/virtio/console.h"
#include "hv/dev/virtio/entropy.h"
#include "hv/dev/virtio/mmio.h"
#include "hv/dev/virtio/net.h"
#include "hv/share/net_switch.h"
#include "hv/share/shared_memory.h"

#define GUEST_VIRTIO_MAX (CONFIG_DISKS_MAX + CONFIG_NETS_MAX + 2)
_Static_assert(IVSHMEM_PEERS_MAX >= CONFIG_GUESTS_MAX, "shared memory has a number for every guest");
_Static_assert(NET_PORTS_MAX >= CONFIG_GUESTS_MAX * CONFIG_NETS_MAX,
               "a network has a port for every card of all guests");
#define GUEST_WATCHDOG_DEVICE 29u /* its number on the PCI bus, as in the chip that it comes from */
_Static_assert(GUEST_VIRTIO_MAX + CONFIG_GUEST_SHARES_MAX + CONFIG_PCI_MAX < GUEST_WATCHDOG_DEVICE &&
                   GUEST_VIRTIO_MAX + CONFIG_GUEST_SHARES_MAX + CONFIG_PCI_MAX + 1 <= PCI_FUNCTIONS_MAX,
               "every device of a guest fits on its PCI bus");

struct guest_card {
    struct virtio_net_pci state;
    struct guest_network *network;
    uint32_t port;
};

struct guest_disk {
    struct virtio_block_pci state;
    struct disk_image image;
    bool forget; /* at a restart of the guest */
};

struct guest_share {
    struct ivshmem device; /* first */
    struct guest_shared *shared;
};

/* As many of each kind as the config asks for follow the struct: guest_devices_bytes(). */
struct guest_devices {
    struct guest_disk *disks;
    struct guest_card *cards;
    struct guest_share *shares;                     /* on the PCI bus behind the others */
    struct pci_assigned *assigned;                  /* of the machine, behind those; hv/guest/assigned.c makes them */
    struct virtio_console_pci *console;             /* NULL: none */
    struct virtio_entropy_pci *entropy;             /* NULL: none */
    struct virtio_pci *functions[GUEST_VIRTIO_MAX]; /* all of them, in the order of their PCI device numbers */
    struct virtio_device *virtio[GUEST_VIRTIO_MAX];
    struct virtio_mmio mmio[GUEST_VIRTIO_MMIO_MAX]; /* in the same order, with `virtio = mmio` */
    unsigned mmio_bus[GUEST_VIRTIO_MMIO_MAX];       /* their numbers on the device bus */
    uint32_t count;
    uint32_t faults_told;
    uint32_t assigned_count;
    uint64_t assigned_low, assigned_high; /* where their registers begin, at the windows' ends; 0: there are none */
    struct i6300esb watchdog;
    uint64_t deadline; /* host TSC: when what a budget left goes on; UINT64_MAX; atomic */
};

/* A network and the guests at its ports. */
struct guest_network {
    struct net_switch net_switch;
    struct guest *guests[NET_PORTS_MAX];
};

/* A [shared] of the config and the guests that have it, by their numbers there. */
struct guest_shared {
    struct shared_memory shared_memory;
    uint8_t *memory;
    uint64_t bytes;
    struct guest *guests[IVSHMEM_PEERS_MAX];
};

/* Does the guest have any? */
static inline bool guest_devices_wanted(const struct config_guest *config)
{
    return config->disk_count + config->net_count + config->share_count + config->pci_count != 0 ||
           config->console_virtio || config->rng;
}

/* Where each kind begins in a guest's memory for devices, and the end. Sizes are multiples of 8. */
struct guest_devices_places {
    uint64_t disks, cards, shares, assigned, console, entropy, end;
};
_Static_assert(_Alignof(struct guest_disk) <= 8 && _Alignof(struct guest_card) <= 8 &&
                   _Alignof(struct guest_share) <= 8 && _Alignof(struct pci_assigned) <= 8 &&
                   _Alignof(struct virtio_console_pci) <= 8 && _Alignof(struct virtio_entropy_pci) <= 8,
               "each kind follows the one before");

static inline struct guest_devices_places guest_devices_places(const struct config_guest *config)
{
    struct guest_devices_places places = {.disks = sizeof(struct guest_devices)};

    places.cards = places.disks + config->disk_count * sizeof(struct guest_disk);
    places.shares = places.cards + config->net_count * sizeof(struct guest_card);
    places.assigned = places.shares + config->share_count * sizeof(struct guest_share);
    places.console = places.assigned + config->pci_count * sizeof(struct pci_assigned);
    places.entropy = places.console + config->console_virtio * sizeof(struct virtio_console_pci);
    places.end = places.entropy + config->rng * sizeof(struct virtio_entropy_pci);
    return places;
}

/* What guest_devices_create() needs for this guest; 0: nothing. */
static inline uint64_t guest_devices_bytes(const struct config_guest *config)
{
    return guest_devices_wanted(config) ? guest_devices_places(config).end : 0;
}

/*
 * Makes the devices that the config names, once, in `memory` of guest_devices_bytes(), zeroed. `guest->memory` is
 * there. Networks are those of all guests, by config_network_index(); `shared` are all of the config, in its order.
 * `key` is for the entropy device alone; NULL: there are no random numbers for one.
 */
void guest_devices_create(struct guest *guest, void *memory, const struct config *config, const struct boot_guest *boot,
                          struct guest_network *networks, struct guest_shared *shared,
                          const uint8_t key[RANDOM_KEY_BYTES]);

/* Nothing of the guest's memory is touched by its devices any more, nor by another guest's packets. */
void guest_devices_close(struct guest *guest);

/* Puts them on the PCI bus of a PC that has been reset, as firmware would. */
enum status guest_devices_attach(struct guest *guest, unsigned physical_bits);

/* Bit n: PCI device n has an interrupt pin. For the ACPI tables. */
uint32_t guest_devices_pci(const struct guest *guest);

/* How many devices of virtio-mmio there are. For the ACPI tables. */
uint32_t guest_devices_mmio(const struct guest *guest);

/* The console has put bytes into the guest's ring. True: its virtio console takes what is typed, and not the serial
 * port. The lock of the guest's PC is held. */
bool guest_devices_typed(struct vcpu *vcpu);

/* Works on what was notified, within a budget and until the host TSC `until`. No lock is held. */
void guest_devices_work(struct vcpu *vcpu, uint64_t now, uint64_t until);

/* Pulls the cable of the guest's network cards, or plugs it in again: their drivers are told, and no packet passes. At
 * each start of the guest it is plugged in. vCPU 0's CPU. */
void guest_devices_toggle_link(struct vcpu *vcpu, uint64_t now);

/* Another guest's CPU has put something into this one's queues: tells the drivers. */
void guest_devices_told(struct vcpu *vcpu, uint64_t now);

/* Goes on with what is left, where its time has come. vCPU 0's CPU. */
void guest_devices_run(struct vcpu *vcpu, uint64_t now);

/* A line for each: what it is, and (for the status) what it has done. */
void guest_devices_report(const struct guest *guest, bool with_counters);

/* After a guest's end: a line where it has had disks or cards that no driver has ever taken, and what to write for
 * kernels that cannot see them. */
void guest_devices_tell_unused(const struct guest *guest);

static inline uint64_t guest_devices_deadline(const struct guest *guest)
{
    return guest->devices == NULL ? UINT64_MAX : __atomic_load_n(&guest->devices->deadline, __ATOMIC_ACQUIRE);
}

#endif

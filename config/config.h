/* SPDX-License-Identifier: MIT */
/*
 * plinth.conf as data: what the user wrote, after parse.h has read and checked it.
 *
 * An INI-like text: `#` comments, `[hypervisor]`, one `[guest NAME]` per guest, `key = value`. docs/config.md lists the
 * keys. Texts point into the file's bytes, which therefore stay in memory as long as the result is used.
 *
 * This folder has plinth.conf: data, parser, rules. Pure: no file is read here, and nothing of the machine is known
 * but what the caller says.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "hv/base/limits.h"
#include "hv/base/text.h"
#include "hv/base/types.h"

#define CONFIG_GUESTS_MAX GUESTS_MAX
#define CONFIG_GUEST_CPUS_MAX 16u
#define CONFIG_CPU_VCPUS_MAX GUESTS_MAX /* of all guests, on one CPU of the machine */
_Static_assert(CONFIG_CPU_VCPUS_MAX >= CONFIG_GUESTS_MAX, "lists, which name a CPU once per guest, cannot pass it");
#define CONFIG_MODULES_MAX 16u
#define CONFIG_DISKS_MAX 8u
#define CONFIG_NETS_MAX 4u      /* network cards of a guest */
#define CONFIG_NETWORKS_MAX 16u /* of all guests */
#define CONFIG_SHARES_MAX 8u    /* [shared NAME] sections */
#define CONFIG_GUEST_SHARES_MAX 4u
#define CONFIG_SHARE_BYTES_MAX (64 * MIB)
#define CONFIG_PCI_MAX 8u   /* functions of the machine that a guest has */
#define CONFIG_PORTS_MAX 8u /* `ports` lines of a guest */
#define CONFIG_MMIO_MAX 8u  /* `mmio` lines of a guest */
#define CONFIG_NAME_MAX 15u
#define CONFIG_PATH_MAX 255u
/* Of a file that is named: one byte less than FAT32's most, which a cut copy has. */
#define CONFIG_FILE_BYTES_MAX 0xfffffffeULL
#define CONFIG_BYTES_MAX (256 * KIB) /* of the file: a config that is written by hand is far smaller */
#define CONFIG_CPU_ANY 0xffffffffu   /* a vCPU that the planner places */
#define CONFIG_NODE_ANY 0xffffffffu  /* all memory of the machine is equally near */

/* Lines and columns count from 1. Line 0: the key was not written and the value is the default. */
struct config_position {
    uint32_t line;
    uint32_t column;
};

enum config_protocol {
    PROTOCOL_AUTO,
    PROTOCOL_LINUX,
    PROTOCOL_MULTIBOOT,
    PROTOCOL_MULTIBOOT2,
    PROTOCOL_PVH,
    PROTOCOL_ELF,
    PROTOCOL_FLAT,
};

enum config_action {
    ACTION_STAY,
    ACTION_RESTART,
    ACTION_POWEROFF, /* of the whole machine */
    ACTION_CRASH,    /* a reset only: `on_crash` decides */
};

enum config_final {
    FINAL_POWEROFF,
    FINAL_REBOOT,
    FINAL_HALT,
};

/* How a flat binary is entered. */
enum config_mode {
    MODE_REAL16,
    MODE_PROTECTED32,
    MODE_LONG64,
};

struct config_module {
    struct text path;
    struct text arguments; /* what follows the path on the line: a multiboot module's string */
    struct config_position position;
};

struct config_disk {
    struct text path;
    struct config_position position;
    bool read_only;
    bool forget;            /* keep=no: a restart of the guest finds the image as it was */
    uint64_t changes_bytes; /* memory for what the guest changes; 0: as much as the disk has */
};

#define CONFIG_MAC_BYTES 6u
#define CONFIG_MAC_GROUP 0x01u /* of the first byte: broadcast and multicast. IEEE 802, 8.2.2 */
#define CONFIG_MAC_LOCAL 0x02u /* no manufacturer's */

struct config_net {
    struct text network;
    struct config_position position;
    uint8_t mac[CONFIG_MAC_BYTES];
};

/* [network NAME], which only a network needs that is not plain. */
struct config_network {
    struct text name;
    struct config_position position;
    bool isolated; /* its guests reach `router` alone, and the router all of them */
    uint64_t mtu;  /* 0: not said */
    struct config_position mtu_position;
    struct text router; /* a guest; empty: none */
    struct config_position router_position;
};

/* [shared NAME]: memory that several guests reach. */
struct config_share {
    struct text name;
    struct config_position position;
    uint64_t bytes; /* a power of two */
    struct config_position bytes_position;
};

struct config_guest_share {
    struct text name;
    struct config_position position;
    bool read_only;
};

/* A PCI function of the machine that a guest has: `pci`. */
enum config_pci_kind {
    CONFIG_PCI_ADDRESS, /* 02:00.0 */
    CONFIG_PCI_ID,      /* 8086:10d3 */
    CONFIG_PCI_CLASS,   /* nvme, usb, net 2 */
};

struct config_pci {
    struct text text; /* as it was written */
    struct config_position position;
    enum config_pci_kind kind;
    uint16_t segment; /* the place; for the other kinds config_check_machine() says it */
    uint8_t bus, device, function;
    uint16_t vendor, product;        /* CONFIG_PCI_ID */
    uint32_t class_code, class_mask; /* CONFIG_PCI_CLASS */
    bool has_gsi;                    /* `gsi N` behind it: */
    uint32_t gsi;                    /* the input of the I/O APICs that its interrupt line leads to */
    uint32_t which;                  /* of several that fit the first, second, ...: from 1 on */
    uint8_t vf;                      /* the virtual function of that number, from 1 on; 0: the function itself */
};

/* Devices of the machine that a guest has for itself, without an exit: docs/devices.md, "Devices of the machine". */
struct config_ports {
    uint16_t first, last; /* both included */
    struct config_position position;
};

struct config_mmio {
    uint64_t start, bytes; /* in the machine; whole pages */
    uint64_t guest_start;  /* where the guest has it */
    struct config_position position;
};

/* What counts as progress. */
enum config_watchdog {
    WATCHDOG_OFF,
    WATCHDOG_CONSOLE,   /* a byte on its console */
    WATCHDOG_HYPERCALL, /* VMCALL, VMMCALL, whatever its number: a heartbeat */
    WATCHDOG_HALT,      /* a CPU that halts, or is halted */
    WATCHDOG_EXIT,      /* any exit of its own doing, or a CPU that is halted */
};

/* How the guest's addresses are translated. */
enum config_paging {
    PAGING_AUTO, /* nested where the CPU can */
    PAGING_NESTED,
    PAGING_SHADOW,
};

/* How the guest finds its virtio devices. */
enum config_virtio {
    VIRTIO_TRANSITIONAL, /* on the PCI bus, for drivers of the legacy and of the modern layout */
    VIRTIO_QEMU,         /* the same as QEMU has it: modern drivers notify by memory alone */
    VIRTIO_MODERN,       /* on the PCI bus, for modern drivers alone */
    VIRTIO_MMIO,         /* at fixed addresses */
};

/* What becomes of periods of a timer that passed while another guest had the CPU. */
enum config_ticks {
    TICKS_ALL,   /* an interrupt each, later */
    TICKS_MERGE, /* one interrupt */
};

/* CPUs of some machines are of two kinds: cores for speed, and smaller ones that need less power. */
enum config_cpu_kind {
    CPU_KIND_ANY,
    CPU_KIND_PERFORMANCE,
    CPU_KIND_EFFICIENT,
};

struct config_guest {
    struct text name;
    struct config_position position;
    uint32_t cpus[CONFIG_GUEST_CPUS_MAX]; /* host CPU numbers in vCPU order, or CONFIG_CPU_ANY */
    uint32_t cpu_count;
    enum config_cpu_kind cpu_kind; /* of all of them; a list has CPU_KIND_ANY */
    uint32_t node;                 /* of the machine, that of most of its CPUs; config_check_machine() says it */
    struct config_position cpus_position;
    uint64_t memory_bytes;
    struct config_position memory_position;
    uint64_t memory_at; /* host address where its memory is to begin; 0: anywhere */
    struct config_position memory_at_position;
    struct text kernel;
    struct config_position kernel_position;
    enum config_protocol protocol;
    struct config_position protocol_position;
    struct config_module modules[CONFIG_MODULES_MAX]; /* `initrd` and `module`, in file order */
    uint32_t module_count;
    struct config_disk disks[CONFIG_DISKS_MAX]; /* in file order */
    uint32_t disk_count;
    struct config_net nets[CONFIG_NETS_MAX];
    uint32_t net_count;
    struct config_guest_share shares[CONFIG_GUEST_SHARES_MAX]; /* in file order */
    uint32_t share_count;
    struct config_pci pci[CONFIG_PCI_MAX]; /* in file order */
    uint32_t pci_count;
    struct text cmdline;
    struct config_position cmdline_position;
    bool console;              /* takes part in the console; default yes */
    bool console_virtio;       /* and has a virtio console beside the serial port */
    enum config_virtio virtio; /* default transitional */
    struct config_position virtio_position;
    struct config_ports ports[CONFIG_PORTS_MAX]; /* in file order */
    uint32_t ports_count;
    struct config_mmio mmio[CONFIG_MMIO_MAX]; /* in file order */
    uint32_t mmio_count;
    bool serial_com2; /* `serial = com2`: the machine's COM2, with its interrupt */
    struct config_position serial_position;
    bool keyboard; /* `keyboard = ps2`: the machine's 8042, with the keyboard and the mouse behind it */
    struct config_position keyboard_position;
    bool framebuffer; /* the screen that the firmware has set up */
    struct config_position framebuffer_position;
    bool rng;  /* has a virtio entropy device; default: where it has another PCI device */
    bool com2; /* has a second serial port; default no */
    bool hpet; /* its ACPI tables name the HPET; default no */
    enum config_action on_stop;
    enum config_action on_crash;
    enum config_action on_reset; /* default restart */
    uint32_t stop_us;            /* how long it has after its power button was pressed */
    bool debug_ports;            /* 0xe9 prints, 0xf4 ends the guest */
    uint64_t debug_exit_ok;      /* which value, written to 0xf4, ends it well; default 0 */
    uint64_t load_address;       /* flat binaries: guest-physical */
    uint64_t entry_address;
    enum config_mode mode;
    uint32_t slice_us;             /* share of a CPU that several guests use */
    bool share_idle;               /* while it halts, the others on its CPU get the rest of its slice; default yes */
    enum config_ticks ticks;       /* default all */
    enum config_watchdog watchdog; /* default off */
    uint32_t watchdog_us;          /* how long without progress is a crash */
    bool virtual_apic;             /* let the CPU serve the local APIC where it can; default yes */
    enum config_paging paging;     /* default auto */
    struct config_position paging_position;
    uint64_t shadow_bytes; /* for the shadow tables of all its vCPUs; 0: by its memory */
};

/* What is done about attacks by speculation: hv/host/cpu_speculation.h. */
enum config_speculation {
    SPECULATION_AUTO, /* what the CPU needs */
    SPECULATION_ALL,  /* whatever it has */
    SPECULATION_NONE,
};

/* What the machine's clock shows. */
enum config_rtc {
    RTC_UTC,        /* UTC, unless the firmware names a zone */
    RTC_LOCAL,      /* local time of the firmware's zone */
    RTC_LOCAL_ZONE, /* local time of the config's */
};

#define CONFIG_ZONE_MAX_MINUTES (14u * 60u) /* east or west of Greenwich */

struct config {
    uint32_t guest_count; /* of `guests`, which come last: the rest is then near the start, where a key's row reaches */
    uint32_t network_count;                              /* that guests name */
    struct config_network networks[CONFIG_NETWORKS_MAX]; /* in file order */
    uint32_t network_section_count;
    struct config_share shares[CONFIG_SHARES_MAX];
    uint32_t share_count;
    enum config_final when_all_stopped;
    bool log_debug;     /* `log = debug` */
    bool quiet_devices; /* default yes: USB controllers and bus mastering are taken from the firmware's devices */
    bool inventory;     /* write \plinth\machine.txt at the start */
    bool quirks;        /* repairs for emulators where one is found; default yes */
    enum config_speculation speculation;
    bool allow_siblings; /* two guests may have threads of one core; default no */
    enum config_rtc rtc;
    int32_t rtc_east_minutes; /* RTC_LOCAL_ZONE: local time is UTC and so many minutes */
    bool console_serial;
    bool console_screen;
    struct config_guest guests[CONFIG_GUESTS_MAX];
};

#endif

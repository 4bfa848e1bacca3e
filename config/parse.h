/* SPDX-License-Identifier: MIT */
/*
 * plinth.conf: parsed and checked. Pure: the same object files serve the target and plinth-check.
 */
#ifndef CONFIG_PARSE_H
#define CONFIG_PARSE_H

#include "config/config.h"
#include "hv/plan/memory_map.h"

#define CONFIG_ERRORS_MAX 32u
#define CONFIG_SENTENCE_BYTES 480u /* with the list of all keys */

struct config_error {
    struct config_position position;
    const char *rule; /* a stable name: "unknown-key" */
    char sentence[CONFIG_SENTENCE_BYTES];
};

struct config_errors {
    struct config_error list[CONFIG_ERRORS_MAX];
    uint32_t count;   /* at most CONFIG_ERRORS_MAX */
    uint32_t dropped; /* and so many more, later in the file */
};

/* Parses and checks what can be checked without the machine. True where errors->count is 0. */
bool config_parse(struct text file, struct config *config, struct config_errors *errors);

/* A PCI function of the machine. */
#define CONFIG_PCI_NO_GROUP UINT32_MAX

struct config_pci_function {
    uint16_t segment;
    uint8_t bus, device, function;
    uint16_t vendor, product;
    uint32_t class_code; /* class, subclass, interface */
    uint32_t group;      /* functions that nothing can tell apart have the same; CONFIG_PCI_NO_GROUP: not known */
    bool messages_known;
    bool messages; /* it has MSI-X or MSI */
    bool console;  /* the hypervisor writes its console there */
    bool line;     /* the firmware says where its interrupt line leads to */
    bool vfs_known;
    uint16_t vfs; /* virtual functions that it can have (SR-IOV) */
};

/* What of a machine belongs to the hypervisor, or is no device that a guest could have. */
enum config_taken_kind {
    TAKEN_PM,     /* ACPI's power management */
    TAKEN_RESET,  /* the reset register */
    TAKEN_SERIAL, /* a serial port of the console */
    TAKEN_IOAPIC, /* an I/O APIC */
    TAKEN_ECAM,   /* PCI's configuration space */
    TAKEN_IOMMU,  /* an IOMMU's registers */
    TAKEN_SCREEN, /* the framebuffer */
    TAKEN_KINDS,
};

struct config_taken {
    enum config_taken_kind kind;
    bool ports;
    uint64_t start, end; /* half-open */
};

#define CONFIG_TAKEN_MAX 64u

struct config_screen {
    uint64_t start, bytes;
};

/* "io-apic": as machine.txt has it. */
const char *config_taken_word(enum config_taken_kind kind);

/* The range of ports with this number of those that a guest has, `serial` included. False: it has fewer. */
bool config_guest_ports(const struct config_guest *guest, uint32_t index, struct config_ports *ports);

/* Whether any guest has one of the ports [first, last]. */
bool config_ports_given(const struct config *config, uint16_t first, uint16_t last);

/* The guest that has the framebuffer. NULL: none. */
const struct config_guest *config_framebuffer_guest(const struct config *config);
const struct config_guest *config_keyboard_guest(const struct config *config);

/* What the machine has, for the second half of the rules: CPUs that are there. */
struct config_machine {
    uint32_t cpu_count;
    uint64_t memory_bytes;                /* usable by guests */
    uint32_t cores[CPUS_MAX];             /* of each CPU the first one on its core; threads share a core */
    bool cores_known;                     /* false: each CPU is a core of its own */
    bool kinds_known;                     /* there are CPUs of two kinds: */
    enum config_cpu_kind kinds[CPUS_MAX]; /* of each CPU. Where all are alike, each is of every kind */
    uint32_t node_count;                  /* 0 or 1: all memory is equally near */
    uint32_t nodes[CPUS_MAX];             /* of each CPU its node, below node_count */
    uint64_t node_bytes[NUMA_NODES_MAX];  /* usable by guests */
    bool no_nested_paging;                /* the CPU has none */
    bool is_virtual;                      /* an emulator's: threads of a core do not show data of each other */
    const struct config_pci_function *pci;
    uint32_t pci_count;
    bool pci_known;               /* false: whatever `pci` says may be there */
    bool has_iommu;               /* where pci_known */
    const struct memory_map *map; /* NULL: not known */
    struct config_taken taken[CONFIG_TAKEN_MAX];
    uint32_t taken_count;
    bool devices_known;          /* what follows is: */
    bool has_com2;               /* a UART at 0x2f8 */
    struct config_screen screen; /* bytes 0: there is none */
    bool keyboard_known;         /* files of older versions do not say it: */
    bool has_keyboard;           /* an 8042, as far as ACPI says */
};

/*
 * Checks a parsed config against a machine and gives every CONFIG_CPU_ANY vCPU its CPU: the one with the fewest vCPUs;
 * among equals one on a core that no other guest has, and on the node of the guest's other vCPUs. Each guest gets its
 * node. True where it added no error.
 */
bool config_check_machine(struct config *config, const struct config_machine *machine, struct config_errors *errors);

/* Whether a guest that wants this kind may have the CPU. */
bool config_cpu_is_of_kind(const struct config_machine *machine, uint32_t cpu, enum config_cpu_kind kind);

/* "performance" */
const char *config_cpu_kind_name(enum config_cpu_kind kind);

/* Two guests on two CPUs of one core, by their vCPUs' CPUs. */
struct config_neighbours {
    uint32_t guests[2];
    uint32_t cpus[2];
};

/* The next such pair of guests, from *from on, which begins with 0: each pair of guests once. False: there is none. */
bool config_next_neighbours(const struct config *config, const struct config_machine *machine, uint32_t *from,
                            struct config_neighbours *found);

/*
 * The order in which guests get their memory: those with `memory-at` first, then the largest, because large aligned
 * pieces are rare, and among equals the first in the file. `order` has guest_count indices.
 */
void config_plan_order(const struct config *config, uint32_t order[CONFIG_GUESTS_MAX]);

/* What a disk needs beside its image. */
struct config_disk_plan {
    uint64_t map_pages;    /* pages of the image: a word of 32 bits for each */
    uint64_t change_pages; /* memory for what the guest changes */
    bool in_place;         /* the image's own memory takes the changes */
};

#define CONFIG_DISK_MAP_BYTES 4u

/* `stored_pages`: those of the image that are in memory; all, where config_disk_has_holes() is false. */
struct config_disk_plan config_disk_plan(const struct config *config, const struct config_disk *disk,
                                         uint64_t image_bytes, uint64_t stored_pages);

/* Whether pages of the disk's image that are all zeroes take no memory. The same for all disks that have the image. */
bool config_disk_has_holes(const struct config *config, const struct config_disk *disk);

/* Shadow tables for each vCPU of a guest; 0: it has nested paging. `nested_paging`: the CPU can. */
uint32_t config_shadow_tables(const struct config_guest *guest, bool nested_paging);

/* The section of a share; NULL: there is none. */
const struct config_share *config_share_named(const struct config *config, struct text name);

/* Pages to be had for one in one piece, so that it can be mapped by large pages. */
uint64_t config_share_pages(const struct config_share *share);

/* Where in such a piece, which begins at a page, the share begins: all of it lies within. */
uint64_t config_share_start(const struct config_share *share, uint64_t piece);

/* The section of a network; NULL: it has none. */
const struct config_network *config_network_named(const struct config *config, struct text name);

/* Networks are numbered in the order in which the file names them. One that it does not name: their number. */
uint32_t config_network_index(const struct config *config, struct text network);

/*
 * Where a file that the config names lies on the boot volume: under \plinth\, with leading slashes, `.` and `..`
 * components taken out and `/` turned into `\`. mkusb writes to the same path that the loader reads.
 */
void config_volume_path(struct text path, char to[CONFIG_PATH_MAX + 1]);

/* True where two paths of a config are one file on the boot volume, which knows no case. */
bool config_path_same(struct text one, struct text other);

/* Letters of FAT names in any case. */
bool config_path_alike(struct text one, struct text other);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * plinth-check: what its parts share. The steps are check_steps.c, the files that the config names check_files.c, the
 * machine's description check_machine.c, and what is printed check_text.c, check_json.c, check_svg.c and
 * check_manual.c.
 */
#ifndef TOOLS_CHECK_CHECK_H
#define TOOLS_CHECK_CHECK_H

#include "config/config_internal.h"
#include "config/parse.h"
#include "guest-loader/loader.h"
#include "hv/base/cpu_set.h"
#include "hv/base/span.h"
#include "hv/plan/planner.h"

#include <stdio.h>

/* What the hypervisor keeps of a machine whose file does not say it, with a few CPUs: not less than hv/host/budget.c
 * counts (test_planner). */
#define CHECK_OWN_FIXED_BYTES (2304 * KIB)
#define CHECK_OWN_GUEST_BYTES (320 * KIB)
#define CHECK_OWN_VCPU_BYTES (48 * KIB)

#define HOST_PATH_MAX 4096u
#define MACHINE_DEVICES_MAX 256u
#define MACHINE_PCI_MAX 512u

enum output {
    OUTPUT_TEXT,
    OUTPUT_JSON,
    OUTPUT_FILES,
    OUTPUT_NEEDS,
};

struct options {
    const char *config;
    const char *machine;
    const char *svg;
    const char *beside; /* a folder for files that are not beside the config; NULL: there is none */
    enum output output;
};

struct machine_cpu {
    uint32_t apic_id, package, core, thread, node;
    enum config_cpu_kind kind;
    bool described;
};

/* The machine that is planned for: from --machine, or one that has what the config needs. */
struct check_machine {
    struct text file;
    struct memory_map map;
    uint32_t cpu_count; /* that guests may use */
    struct machine_cpu cpus[CPUS_MAX];
    struct numa_map numa;
    struct config_taken taken[CONFIG_TAKEN_MAX];
    uint32_t taken_count;
    bool has_com2;
    bool keyboard_known; /* the file says it: */
    bool has_keyboard;
    struct config_screen screen;
    struct text cpu_name;
    struct text devices[MACHINE_DEVICES_MAX]; /* consoles and PCI functions, as the file says them */
    uint32_t device_count;
    const struct page_table_format *format; /* of nested tables */
    unsigned largest_leaf;
    bool nested_paging;
    bool is_virtual;                /* an emulator */
    bool code_erratum;              /* its CPU stops at code whose page changes its size */
    bool vmx_locked_off;            /* by the firmware's set-up; of the boot CPU */
    bool svm_locked_off;            /* AMD's of the same kind */
    struct cpu_set differ;          /* from the boot CPU, in CPUID or a register of VMX or SVM */
    struct cpu_set other_microcode; /* than the boot CPU's */
    struct cpu_set other_mtrrs;     /* memory types */
    struct cpu_set locked_off;      /* CPUs whose VMX or SVM the firmware has locked off */
    uint32_t cpus_asked;            /* 0: the file does not say */
    uint32_t iommu_units, iommus_on, iommus_refused;
    bool iommus_told;       /* the file says what there is of them, even if it is none */
    uint32_t usb_firmware;  /* USB controllers that the firmware serves */
    struct planner_own own; /* what the hypervisor takes for itself */
    struct config_pci_function pci[MACHINE_PCI_MAX];
    uint32_t pci_count;
};

/* A file on the boot volume, and which one of this host it is. */
struct check_file {
    struct text path;
    struct config_position position;
    uint64_t device, inode;
};

/* What a disk's image is. */
struct check_disk {
    bool is_read;            /* what follows is known of it */
    uint64_t bytes;          /* of the disk */
    uint64_t stored_pages;   /* of its image */
    uint64_t expanded_bytes; /* where it is compressed with gzip; 0: it is not */
    uint64_t stored_bytes;   /* where its zeroes take no memory, and there are some: of all else; else UINT64_MAX */
    uint64_t zero_bytes;     /* that take memory, because all of it must be there */
    const char *foreign;     /* foreign_disk() */
};

/* Everything about one run. */
struct check {
    struct options options;
    struct text file;
    struct config config;
    struct config_errors errors;         /* in the config */
    struct config_errors machine_errors; /* in the machine's description */
    struct check_machine machine;
    struct memory_map without_files; /* the machine's map when the files were read */
    struct memory_map planned;       /* and with the guests in it */
    /* Of the boot volume, each once. */
    struct check_file files[CONFIG_GUESTS_MAX * (1 + CONFIG_MODULES_MAX + CONFIG_DISKS_MAX)];
    uint32_t file_count;
    uint64_t trial_bytes;       /* plan for an ordinary machine of so much memory; 0: for one that has what is needed */
    const struct check *before; /* a run with the same config and files, whose disks are known; NULL: there is none */
    uint64_t own_start, own_bytes; /* the hypervisor's */
    struct guest_plan plans[CONFIG_GUESTS_MAX];
    struct load_plan images[CONFIG_GUESTS_MAX];
    struct check_disk disks[CONFIG_GUESTS_MAX][CONFIG_DISKS_MAX];
};

/* ---- check_machine.c ---- */

/* Reads the description; errors are in check->machine_errors. */
void check_machine_read(struct check *check);

/*
 * The machine that is not described: as many CPUs as the config speaks of, and memory enough from 4 GiB up, or
 * check->trial_bytes as an ordinary PC has them.
 */
void check_machine_assume(struct check *check);

/* ---- check_files.c ---- */

/* A whole file in memory, zero-terminated; "-" is the standard input. False: it cannot be read or is larger than
 * `limit`; then *why says it, a part of a sentence. */
bool check_read_file(const char *path, uint64_t limit, struct span *result, const char **why);

/* Says of a config that cannot be read why, and which file is probably meant. */
void check_report_config(struct check *check, const char *why);

/*
 * A path of the config on this host: relative to the config file's folder, whatever slashes it has. Where a name is not
 * there, but one that differs in case only, it is that one: the boot volume knows no case.
 */
void check_host_path(const struct check *check, struct text path, char to[HOST_PATH_MAX]);

/*
 * A file that the config names, as the boot volume will have it: false where that volume cannot, or it is not there,
 * and the error was reported. *first: nothing before it was the same file there. The bytes can be read, but are only
 * mapped: an initrd of some GiB costs nothing.
 */
bool check_file_read(struct check *check, struct text path, struct config_position position, struct span *bytes,
                     bool *first);
void check_file_free(struct span bytes);

/* ---- check_steps.c ---- */

/* The steps in order; each runs only where the ones before it found nothing. */
void check_run(struct check *check);

bool check_is_good(const struct check *check);

/* The machine as the config's rules want it: its CPUs, their cores, its memory. */
struct config_machine check_machine_of(const struct check *check);

/* ---- check_needs.c ---- */

struct check_needs {
    uint32_t cpus;
    uint64_t memory_bytes; /* of an ordinary PC: from 0 on, with the usual hole below 4 GiB */
};

/* The smallest machine that a good config runs on, to a sixteenth. False: no ordinary one has memory at its places. */
bool check_needs(const struct check *check, struct check_needs *needs);

/* The same as a machine's description, for mkusb. */
void check_print_needs(const struct check *check);

/* ---- output ---- */

/* A piece of host memory and whose it is. */
struct check_piece {
    uint64_t start, end;
    enum memory_type type;
    uint32_t guest; /* or HOST_PIECE_NOBODYS, HOST_PIECE_OWN */
};

#define HOST_PIECE_NOBODYS CONFIG_GUESTS_MAX
#define HOST_PIECE_OWN (CONFIG_GUESTS_MAX + 1u) /* the hypervisor's */

#define HOST_PIECES_MAX (MEMORY_REGIONS_MAX + 2u * (CONFIG_GUESTS_MAX * GUEST_RANGES_MAX + 1u))

/* The machine's memory in order, with the guests in it. */
uint32_t check_host_pieces(const struct check *check, struct check_piece pieces[HOST_PIECES_MAX]);

const char *check_type_name(enum memory_type type); /* "free" */

/* Words of the config, as a user writes them. */
const char *check_action_word(enum config_action action);
const char *check_final_word(enum config_final final);
const char *check_speculation_word(const struct config *config);
#define CHECK_RTC_MAX 24u
const char *check_rtc_text(const struct config *config, char to[CHECK_RTC_MAX]);
const char *check_watchdog_word(enum config_watchdog watchdog);
const char *check_virtio_word(enum config_virtio virtio);
const char *check_mode_word(enum config_mode mode);
const char *check_outputs_word(const struct config *config);

#define CHECK_TIME_MAX 24u

/* "10ms": a time as the config has it. */
const char *check_time(char to[CHECK_TIME_MAX], uint32_t us);

/* The comment that ends the line of the guest's command line, from its # on; empty: there is none. */
struct text check_cmdline_comment(const struct check *check, const struct config_guest *guest);

void check_print_text(const struct check *check);
void check_print_json(const struct check *check);
void check_print_svg(const struct check *check, FILE *out);
void check_print_manual(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The UEFI stage: everything that may speak UEFI. It reads plinth.conf and the images, looks at the machine, takes the
 * memory, and crosses to hv_main() with one struct boot_info. Nothing of it runs after that.
 *
 * Every step is a function `bool efi_...(struct efi_stage *)`. True: go on. False: the step has printed a sentence with
 * a stable code (efi_fail), and efi_main gives everything back and returns to the firmware. Codes: docs/boot.md.
 *
 * Memory, the open volume and what else must be given back is recorded in struct efi_stage, never in a step.
 *
 * This folder has everything before the hand-over, and is the only one that may include UEFI's headers; nothing of it
 * runs afterwards.
 */
#ifndef EFI_STAGE_H
#define EFI_STAGE_H

#include "hv/boot_info.h"
#include "hv/console/console_ram.h"
#include "hv/dev/virtio/disk_store.h"
#include "hv/host/host_acpi.h"
#include "hv/virt/virt.h"
#include "hv/x86/insn.h"

/* Last: after the #pragma pack() in GNU-EFI's headers, clang ignores the packed attribute on this target. */
#include <efi.h>

/* The volume's path of the file that says everything. */
#define EFI_CONFIG_PATH "\\plinth\\plinth.conf"

/* What we write there. */
#define EFI_MACHINE_PATH "\\plinth\\machine.txt"
#define EFI_LAST_BOOT_PATH "\\plinth\\last-boot.txt"

/* Each image is read once, however many guests name it. */
#define EFI_FILES_MAX (CONFIG_GUESTS_MAX * (CONFIG_MODULES_MAX + CONFIG_DISKS_MAX + 1u))

/* Every image, every expanded kernel, every disk's places, map and changes, every range of every guest, and a few
 * more; one for all ROMs of devices is among them. */
#define EFI_PAGES_MAX (EFI_FILES_MAX + CONFIG_GUESTS_MAX * (1u + 4u * CONFIG_DISKS_MAX + GUEST_RANGES_MAX) + 16u)

struct efi_pages {
    uint64_t start;
    uint64_t count;
};

/* Places that the firmware's map calls free and that it does not give: EDK2 has one for each of some six types. */
#define EFI_REFUSED_MAX 64u

struct efi_refused {
    uint64_t start, end;
};

/* A disk's image without its holes: hv/dev/virtio/disk_store.h. All 0: it was not read so. */
struct efi_holes {
    uint64_t places;
    uint64_t stored_pages;
};

struct efi_file {
    struct text path; /* as the config writes it */
    struct span bytes;
    struct span expanded;   /* of a kernel or a disk that was compressed with gzip */
    struct efi_holes holes; /* of `expanded` where there is one, or of `bytes` */
};

struct efi_stage {
    EFI_HANDLE image;
    EFI_SYSTEM_TABLE *system;
    EFI_BOOT_SERVICES *boot;
    uint64_t tsc_start;
    EFI_STATUS status;        /* of the first failure: what efi_main returns */
    EFI_LOADED_IMAGE *loaded; /* of ourselves */
    EFI_FILE_HANDLE volume;   /* root folder of the volume that we were started from; NULL when closed */
    bool console_uart;        /* our messages are copied to COM1; else the firmware does that, or there is no COM1 */
    struct boot_info *info;   /* what crosses */
    struct virt_support support;
    struct host_acpi acpi; /* what the firmware's tables say */
    struct efi_file files[EFI_FILES_MAX];
    uint32_t file_count;
    struct efi_pages pages[EFI_PAGES_MAX]; /* taken from the firmware: given back on failure */
    uint32_t page_count;
    struct efi_refused refused[EFI_REFUSED_MAX];
    uint32_t refused_count;
    bool has_com2;   /* a UART answers at 0x2f8 */
    void *map_bytes; /* a buffer for the firmware's memory map, large enough for the last one */
    uint64_t map_capacity;
    struct memory_map map;   /* the firmware's map as it is while we plan */
    uint64_t uncached_bytes; /* of memory that the map calls free and an MTRR does not let be write-back */
};

/* ---- efi_console.c: sentences for the user, while the firmware has the console ---- */

void efi_console_start(struct efi_stage *stage);

/* One line. */
__attribute__((format(printf, 2, 3))) void efi_say(struct efi_stage *stage, const char *form, ...);

/* The same line again, from its first column: for progress. efi_say ends it. */
__attribute__((format(printf, 2, 3))) void efi_say_again(struct efi_stage *stage, const char *form, ...);

/* A failure: says "P0xyz: sentence. Remedy.", keeps the first status for the firmware, returns false. */
__attribute__((format(printf, 3, 4))) bool efi_fail(struct efi_stage *stage, EFI_STATUS status, const char *form, ...);

/* The last words of a failed start, and time to read them before the firmware's menu covers them. */
void efi_console_returned(struct efi_stage *stage);

/* The name of a status in words: "not found". */
const char *efi_status_name(EFI_STATUS status);

/* ---- efi_direct.c: devices of the machine that guests may have ---- */

/* Looks for them among what efi_machine_read() found. */
void efi_direct_find(struct efi_stage *stage);

/* What of the machine belongs to the hypervisor, and what there is to be given away. */
void efi_direct_machine(const struct efi_stage *stage, struct config_machine *machine);

/* Once the config is good: takes what a guest has from the console, and says so. */
void efi_direct_let_go(struct efi_stage *stage);

/* ---- efi_uart.c: 16550s ---- */

extern const struct boot_uart efi_com1;

bool efi_uart_answers(const struct boot_uart *port);
void efi_uart_set_up(const struct boot_uart *port);
void efi_uart_write(const struct boot_uart *port, const char *string);

/* ---- efi_volume.c: the volume that we were started from ---- */

bool efi_volume_open(struct efi_stage *stage);
void efi_volume_close(struct efi_stage *stage);

/* Whether the volume has a file of this path; says nothing. */
bool efi_volume_has(struct efi_stage *stage, const char *path);

/* What a file is for: it makes the difference between two sentences. */
struct efi_want {
    const char *path;  /* on the volume */
    const char *where; /* "plinth.conf:7:10: ", or empty */
    uint64_t bytes_max;
    bool progress;
    /* It is an image whose holes take no memory; it has them unless gzip made it. NULL: it is not. */
    struct efi_holes *holes;
};

/* Reads a whole file into pages that stay. With holes `bytes` are the file's, and their pages fewer. */
bool efi_volume_read(struct efi_stage *stage, const struct efi_want *want, struct span *bytes);

/* Writes a whole file, in place of one that is there. False: a sentence said why; the start goes on. */
bool efi_volume_write(struct efi_stage *stage, const char *path, struct text bytes);

/* ---- efi_config.c, efi_images.c ---- */

bool efi_config_read(struct efi_stage *stage);

/* An emulator's or a virtual machine's: its threads are no hardware's. Wants stage->support. */
bool efi_machine_is_virtual(const struct efi_stage *stage);
bool efi_images_read(struct efi_stage *stage);
bool efi_images_check(struct efi_stage *stage);

/* ---- efi_disks.c: the memory that disks' changes take ---- */

bool efi_disks_take(struct efi_stage *stage);

/* And the memory that guests share. */
bool efi_shares_take(struct efi_stage *stage);

/* Copies of the expansion ROMs of guests' devices; where there is no memory they are not shown, and a line says so. */
bool efi_roms_take(struct efi_stage *stage);

/* ---- efi_store.c: images whose holes take no memory ---- */

/* An image on its way into memory: a part of the largest piece that the firmware has. */
struct efi_store {
    struct disk_store store;
    uint64_t start; /* of the piece */
    uint64_t pages; /* of it */
    uint64_t places;
};

/* Takes memory for an image of so many bytes, at most all that it could need. An error is the firmware's. */
EFI_STATUS efi_store_begin(struct efi_stage *stage, uint64_t bytes, struct efi_store *store);

/* After the last byte: gives back what was not needed. False: there was too little memory. */
bool efi_store_end(struct efi_stage *stage, struct efi_store *store, uint64_t *start, struct efi_holes *holes);

/* ---- efi_machine.c, efi_cpus.c, efi_sections.c: what there is ---- */

bool efi_virt_check(struct efi_stage *stage);

/* The boot CPU stops at code whose page changes its size: hv/host/cpu_errata.h. Wants stage->support. */
bool efi_machine_has_code_erratum(const struct efi_stage *stage);
bool efi_machine_read(struct efi_stage *stage);

/* The firmware's random numbers, where a guest wants some and there are any. */
bool efi_machine_random(struct efi_stage *stage);
void efi_machine_time(struct efi_stage *stage);

/* Fills info->stall_hz; takes 4 ms. */
void efi_machine_stalls(struct efi_stage *stage);
bool efi_cpus_list(struct efi_stage *stage);

/* Lets a CPU that is not the boot CPU, of info->cpus, run a few instructions. False: the firmware does not, or it took
 * longer than 100 ms: then it may still be running. */
bool efi_cpus_run(struct efi_stage *stage, uint32_t cpu, void(EFIAPI *procedure)(void *argument), void *argument);
bool efi_machine_sections(struct efi_stage *stage);

/* ---- efi_screen.c: the display that is ours ---- */

/* Into info->framebuffer, where any display's picture lies in memory. Wants stage->map. */
void efi_screen_find(struct efi_stage *stage);

/* ---- efi_memory.c: what is taken ---- */

/* Takes pages as EfiLoaderData, recorded; `address` is an input for AllocateMaxAddress and AllocateAddress. */
EFI_STATUS efi_pages_take(struct efi_stage *stage, EFI_ALLOCATE_TYPE how, uint64_t pages, uint64_t *address);
void efi_pages_return(struct efi_stage *stage, uint64_t address);

/* The first pages of a range that was taken; where the firmware does not take a part back, they stay taken. */
void efi_pages_return_first(struct efi_stage *stage, uint64_t address, uint64_t pages);
void efi_pages_return_all(struct efi_stage *stage);

/* The firmware's map of this moment into stage->map_bytes, and its key. */
EFI_STATUS efi_map_read(struct efi_stage *stage, uint64_t *bytes, uint64_t *stride, uint64_t *key);

/* stage->map of this moment, in which only what guests may have is MEMORY_FREE: without the first MiB, what the
 * firmware has refused, and what an MTRR makes uncached. */
bool efi_map_snapshot(struct efi_stage *stage);

bool efi_memory_start(struct efi_stage *stage);
bool efi_memory_guests(struct efi_stage *stage);
bool efi_memory_pool(struct efi_stage *stage);

/* The page where other CPUs start, into info->trampoline. Left 0 where the firmware gives none now but has one that is
 * free after the hand-over: efi_handover() takes it. */
bool efi_memory_trampoline(struct efi_stage *stage);

/* A page below 640 KiB, and not page 0, that nothing uses once boot services are gone; 0 where there is none. */
uint64_t efi_memory_low_page(const struct memory_map *map);

/* ---- efi_pci.c: PCI functions ---- */

#define EFI_PCI_BARS 2u

/* A function of a PCI device; the first two base address registers as they stand. */
struct efi_pci_function {
    uint32_t bus, device, function;
    uint32_t vendor, product;
    uint32_t class_code; /* class, subclass, interface: 0x070002 is a 16550 */
    uint32_t bars[EFI_PCI_BARS];
};

typedef void efi_pci_visit(void *context, const struct efi_pci_function *function);

/* Every function of segment 0, in order. */
void efi_pci_each(efi_pci_visit *visit, void *context);

/* Looks for them, once; with interrupts off, for a firmware's interrupt handler may use the same pair of ports. */
void efi_pci_find(struct efi_stage *stage);

/* Lets a function answer at its base address registers. */
/* What config_check_machine() is told of them. */
void efi_pci_machine(struct efi_stage *stage, struct config_machine *machine);

void efi_pci_open(const struct efi_pci_function *function);

/* ---- efi_last_boot.c: what the last run said ---- */

/* Also finds the place where this run keeps its own last words. */
bool efi_last_boot_print(struct efi_stage *stage);

/* ---- efi_inventory.c: \plinth\machine.txt, where the config asks for it ---- */

bool efi_inventory_write(struct efi_stage *stage);

/* ---- efi_handover.c ---- */

bool efi_handover(struct efi_stage *stage);

#endif

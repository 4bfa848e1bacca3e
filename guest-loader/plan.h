/* SPDX-License-Identifier: MIT */
/*
 * What every boot protocol needs to make its plan: copies that never overlap, room for what has no fixed place, and
 * the blob, which is everything that the loader writes itself (boot information, strings, GDT, page tables).
 *
 * The order that a protocol keeps:
 *   1. plan_copy() and plan_reserve() for what has a fixed place: the kernel;
 *   2. plan_modules() or plan_find() for what may lie anywhere: modules, an initrd;
 *   3. plan_blob_open(), which finds a place for the blob; plan_blob_*(), plan_stack() and plan_enter_*() fill it;
 *   4. plan_blob_close().
 *
 * Where the blob lies:
 *
 *   0      0x1000        0x10000                  0x90000          0x9fc00
 *   | page 0 | kernels at 0x8000, CPU start-up code | Linux's blob ^ | blob ^ | EBDA
 *
 * Many kernels overwrite page 0 and the pages above it, and load at 0x8000 or at 1 MiB and use what follows as their
 * heap. So the blob lies just below the EBDA; for Linux below 0x90000, because its decompressor uses the last 8 KiB of
 * low memory for its own paging trampoline while the loader's page tables are still live. Where a kernel occupies that
 * area, the top of the RAM below 4 GiB is taken.
 */
#ifndef GUEST_LOADER_PLAN_H
#define GUEST_LOADER_PLAN_H

#include "guest-loader/load_plan.h"
#include "hv/base/status.h"

#define PLAN_RESERVED_MAX 2u
#define PLAN_NOT_IN_FILE UINT64_MAX

/* The lowest address that is given to anything without a fixed place. */
#define PLAN_LOWEST_FREE 0x10000ULL
#define PLAN_BLOB_LINUX_END 0x90000ULL
/* The stack of ELF and flat guests: enough to call C at once. */
#define PLAN_STACK_BYTES 0x4000ULL

/* Indices of entry_state's gpr: the order of the instruction encoding, as in enum gpr of the layer above. */
enum entry_gpr {
    ENTRY_RAX,
    ENTRY_RCX,
    ENTRY_RDX,
    ENTRY_RBX,
    ENTRY_RSP,
    ENTRY_RBP,
    ENTRY_RSI,
    ENTRY_RDI,
};

struct plan_reserved {
    uint64_t start;
    uint64_t end;
};

/* One loader_plan() in progress. */
struct loader {
    const struct load_request *request;
    struct load_plan *plan;
    struct load_error *error;
    const char *copy_names[LOADER_COPIES_MAX]; /* for messages */
    struct plan_reserved reserved[PLAN_RESERVED_MAX];
    uint32_t reserved_count;
    uint64_t blob_address;
    uint32_t blob_copy;
    uint64_t module_addresses[CONFIG_MODULES_MAX]; /* after plan_modules() */
};

enum plan_end {
    PLAN_LOWEST,
    PLAN_HIGHEST,
};

/* Fills the error and returns `status`, so that a check is one return statement. */
__attribute__((format(printf, 4, 5))) enum status loader_fail(struct loader *loader, enum status status,
                                                              uint64_t offset, const char *form, ...);

/* One piece of memory with a fixed place. `what` is a literal that names it; `offset` is where the file says so. */
enum status plan_copy(struct loader *loader, const char *what, uint64_t offset, struct load_copy copy);

/* [start, start + bytes) is RAM of the guest, or the display's memory; plan_copy() asks this itself. */
enum status plan_require_ram(struct loader *loader, const char *what, uint64_t offset, uint64_t start, uint64_t bytes);

/* Keeps RAM free of everything planned later, without writing to it. At most PLAN_RESERVED_MAX times per plan. */
void plan_reserve(struct loader *loader, uint64_t start, uint64_t bytes);

/* Room of `bytes` at a multiple of `alignment` (a power of two) in RAM within [low, high) that nothing occupies. */
bool plan_find(const struct loader *loader, uint64_t bytes, uint64_t alignment, uint64_t low, uint64_t high,
               enum plan_end end, uint64_t *start);

/* Where what was planned until now ends; at least 1 MiB. */
uint64_t plan_occupied_end(const struct loader *loader);

/* Places every module page-aligned, in order, above the kernel (and above 1 MiB), as low as it goes. */
enum status plan_modules(struct loader *loader);

/*
 * A zeroed stack as if the entry were called by C with `argument`; the blob must be open. *pointer is where the stack
 * pointer goes: a null return address is there, and in 32-bit code `argument` above it.
 */
enum status plan_stack(struct loader *loader, uint32_t argument, enum config_mode mode, uint64_t *pointer);

/* The blob: opened within [PLAN_LOWEST_FREE, high) where it fits, else at the top of the RAM below 4 GiB. */
enum status plan_blob_open(struct loader *loader, uint64_t high);
enum status plan_blob_take(struct loader *loader, uint64_t bytes, uint64_t alignment, void **memory, uint64_t *address);
enum status plan_blob_string(struct loader *loader, struct text text, uint64_t *address);
/* "first second", or the one that is not empty. */
enum status plan_blob_two_strings(struct loader *loader, struct text first, struct text second, uint64_t *address);
/* Gives the blob its final size, and page 0 a BIOS data area where the kernel left it free. */
enum status plan_blob_close(struct loader *loader);

/*
 * The entry modes. Each sets mode, rip, rflags and selectors, and puts into the blob a GDT in which the selectors mean
 * what they mean at entry; code is `code_selector`, data is the next one.
 */
enum status plan_enter_protected(struct loader *loader, uint64_t rip, uint16_t code_selector);
/* With the identity map of the first 4 GiB in 2 MiB pages. */
enum status plan_enter_long(struct loader *loader, uint64_t rip, uint16_t code_selector);

/* KiB of RAM below 640 KiB, and from 1 MiB up to the first hole: what multiboot calls lower and upper memory. */
uint32_t plan_memory_lower_kib(const struct loader *loader);
uint32_t plan_memory_upper_kib(const struct loader *loader);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What the guests entry-* check of their entry state and boot information. Their config has the command line
 * "alpha beta=1" and one module with the text below and the arguments "one two".
 */
#ifndef TESTS_GUESTS_LIB_ENTRY_H
#define TESTS_GUESTS_LIB_ENTRY_H

#include "tests/guests/lib/guest.h"

#define ENTRY_CMDLINE "alpha beta=1"
#define ENTRY_MODULE_TEXT "plinth module\n"
#define ENTRY_MODULE_ARGUMENTS "one two"

#define CR0_PE 0x1u
#define CR0_PG 0x80000000u
#define CR4_PAE 0x20u
#define EFER_LMA 0x400u
#define FLAGS_TF 0x100u
#define FLAGS_IF 0x200u
#define FLAGS_DF 0x400u
#define FLAGS_VM 0x20000u

void entry_dump(void);

/* Protected mode without paging, interrupts off, flat segments that hold all of memory, A20 on. */
void entry_check_protected(void);

/* Long mode with the boot information, this code and the first 4 GiB mapped one to one. */
void entry_check_long(void);

/* Where the GDT at entry covers the selectors, they are flat code (32 or 64 bits) and flat data in it. */
void entry_check_gdt(bool required);

/* The text ends with `end` and what is before it is empty or ends with a space. */
void entry_check_text(const char *what, const char *text, const char *end);
void entry_check_module(uint64_t start, uint64_t bytes);
void entry_check_rsdp(uint64_t address);

/* Boot information in page 0 would be lost to kernels that write there, and below 1 MiB or in RAM it must be. */
void entry_check_place(const char *what, uint64_t address);

/*
 * The memory map, entry by entry and then as a whole: as on a PC the EBDA and the BIOS are reserved, no entry covers
 * the display's memory and the adapters' ROMs, the entries ascend, and this code is in RAM.
 */
void entry_check_memory(uint64_t start, uint64_t bytes, uint32_t type);
void entry_check_memory_end(void);

/* PVH's boot information: magic, memory map, command line, module, RSDP. */
void entry_check_start_info(uint64_t address, const char *cmdline_end);

#endif

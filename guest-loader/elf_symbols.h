/* SPDX-License-Identifier: MIT */
/*
 * Names of a kernel's functions, from the symbol table of its ELF file: for crash reports, which say where a guest was.
 * Only read: the file's bytes stay as the loader has them, and nothing of them is copied. What a damaged file says is
 * checked at each step; at the worst there is no name. gABI 4.1, chapter 4 "Sections" and "Symbol Table".
 */
#ifndef GUEST_LOADER_ELF_SYMBOLS_H
#define GUEST_LOADER_ELF_SYMBOLS_H

#include "hv/base/span.h"
#include "hv/base/text.h"

#define ELF_SYMBOLS_MAX 1000000u    /* that are looked at: some ten milliseconds */
#define ELF_SYMBOL_NAME_MAX 64u     /* characters of a name that are shown */
#define ELF_SYMBOL_REACH (64 * KIB) /* a symbol without a size names what is so near behind it */

struct elf_symbols {
    struct span file;
    struct span table, names;
    bool is_64;
    uint32_t count; /* 0: there are none */
};

/* The symbol table of the file; without one, or where the file is no ELF, `count` is 0. */
void elf_symbols_open(struct span file, struct elf_symbols *symbols);

/*
 * The function that holds the address, as its code is linked, or as it is loaded where it does not run at the address
 * that it is linked for. False: no symbol does.
 */
bool elf_symbols_find(const struct elf_symbols *symbols, uint64_t address, struct text *name, uint64_t *offset);

#endif

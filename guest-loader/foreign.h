/* SPDX-License-Identifier: MIT */
/*
 * What a file is that a boot protocol cannot enter, by its first bytes and magic numbers, so that an error says what
 * was found and what to do, and not what was missing.
 */
#ifndef GUEST_LOADER_FOREIGN_H
#define GUEST_LOADER_FOREIGN_H

#include "guest-loader/plan.h"

/* One kind of file: "a file compressed with xz", "unpack it first (unxz)". */
struct foreign_kind {
    const char *what;
    const char *remedy;
};

/* The kind of a file, the most specific one; NULL where its bytes say nothing. Kernels that can be entered count, too:
 * their remedy is the protocol to write. */
const struct foreign_kind *foreign_recognize(struct span file);

/* What a disk's image is where it is no raw disk but a file that contains one, "a disk image (qcow2)"; NULL: raw, as
 * far as its bytes say. One compressed with gzip is expanded before. */
const char *foreign_disk(struct span image);

/* "`asked`; it is a file compressed with xz: unpack it first (unxz)", or "`asked` `otherwise`" where the bytes say
 * nothing. STATUS_NOT_FOUND, at the file's start. */
enum status foreign_fail(struct loader *loader, const char *asked, const char *otherwise);

/* "arm64" for ELF machine 183; NULL for a number without a name. gABI 4.1, "e_machine", and its registry. */
const char *foreign_elf_machine(uint32_t machine);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The first class of failure: a status; the caller decides. (The other two are guest_fail() in hv/core and
 * hv_panic(); see docs/architecture.md.)
 */
#ifndef HV_BASE_STATUS_H
#define HV_BASE_STATUS_H

enum status {
    STATUS_OK = 0,
    STATUS_INVALID,     /* an argument breaks the function's rules */
    STATUS_MISALIGNED,  /* an address or size is not a multiple of what it must be */
    STATUS_OVERFLOW,    /* a sum passes the end of the address space or of a format */
    STATUS_UNSUPPORTED, /* well-formed, but this CPU or this version has no such thing */
    STATUS_NO_MEMORY,   /* a pool or a memory map has not enough left; nothing was changed */
    STATUS_NO_SPACE,    /* a fixed-size result array is full */
    STATUS_NOT_FOUND,
    STATUS_BUSY,      /* another CPU did it first */
    STATUS_MALFORMED, /* bytes from outside do not have the form they claim */
    STATUS_DENIED,
};

/* The name without its prefix, in lower case: "no-memory". */
const char *status_name(enum status status);

#endif

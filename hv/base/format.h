/* SPDX-License-Identifier: MIT */
/*
 * Formatting without a libc: the subset of printf that the hypervisor's sentences need.
 *
 * %d %i %u %x %X %c %s %p %% with the length letters hh h l ll z, the flags 0 - and #, a width (number or *), and a
 * precision for %s (number or *). Anything else is printed as it stands.
 */
#ifndef HV_BASE_FORMAT_H
#define HV_BASE_FORMAT_H

#include "hv/base/types.h"

#include <stdarg.h>

/* Writes at most capacity - 1 characters and a zero; returns the length that was written. capacity is at least 1. */
__attribute__((format(printf, 3, 0))) size_t format_list(char *to, size_t capacity, const char *form, va_list list);
__attribute__((format(printf, 3, 4))) size_t format_text(char *to, size_t capacity, const char *form, ...);

/* A size as people say it, exact where it can be: "1 GiB", "51.5 MiB", "640 KiB", "12 bytes". Returns `to`. */
#define FORMAT_BYTES_MAX 24
const char *format_bytes(char to[FORMAT_BYTES_MAX], uint64_t bytes);

#endif

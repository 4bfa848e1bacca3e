/* SPDX-License-Identifier: MIT */
/* The four memory functions that the compiler may call by itself. In the image they are hv/x86/memory.S; natively
 * libc's. */
#ifndef HV_BASE_MEMORY_H
#define HV_BASE_MEMORY_H

#include "hv/base/types.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *left, const void *right, size_t bytes);

#endif

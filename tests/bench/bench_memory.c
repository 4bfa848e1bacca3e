/*
 * memset as the hypervisor has it: string stores, no vector registers. Linked before libc's, so that a benchmark of
 * code that fills tables measures what the hypervisor runs.
 */
#include "hv/base/memory.h"

void *memset(void *to, int value, size_t bytes)
{
    void *at = to;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
    return to;
}

/* SPDX-License-Identifier: MIT */
/* What pure code needs from its surroundings, for native programs: the log on stderr, and a failed check aborts. */
#include "hv/base/check.h"
#include "hv/base/clock.h"
#include "hv/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/support.h"

uint64_t support_now;
uint64_t support_tick;

uint64_t clock_now(void)
{
    return __atomic_add_fetch(&support_now, support_tick, __ATOMIC_RELAXED);
}

void log_line(enum log_level level, const char *form, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    va_list list;

    if (getenv("PLINTH_TEST_LOG") == NULL) {
        return;
    }
    fprintf(stderr, "[%s] ", names[level]);
    va_start(list, form);
    vfprintf(stderr, form, list);
    va_end(list);
    fputc('\n', stderr);
}

_Noreturn void check_failed(const char *file, uint32_t line, const char *condition, uint64_t left, uint64_t right)
{
    fprintf(stderr, "%s:%u: check failed: %s (left %#llx, right %#llx)\n", file, (unsigned)line, condition,
            (unsigned long long)left, (unsigned long long)right);
    abort();
}

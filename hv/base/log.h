/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own voice: sentences with values and units, to every console there is (hv/console/console.c in the
 * image; stderr in native tests). Pure code seldom logs: it returns a status and fills an error text.
 */
#ifndef HV_BASE_LOG_H
#define HV_BASE_LOG_H

#include "hv/base/types.h"

enum log_level {
    LOG_ERROR,
    LOG_WARNING,
    LOG_INFO,
    LOG_DEBUG,
};

/* One line; the newline is added. Lines over LOG_LINE_MAX characters are cut. */
#define LOG_LINE_MAX 480
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *form, ...);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif

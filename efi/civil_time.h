/* SPDX-License-Identifier: MIT */
/* From a date and a time of day to Unix time. Pure, so that it is tested on the host. */
#ifndef EFI_CIVIL_TIME_H
#define EFI_CIVIL_TIME_H

#include "config/config.h"
#include "hv/base/types.h"

struct civil_time {
    uint32_t year, month, day, hour, minute, second; /* month and day count from 1 */
    int32_t zone_minutes;                            /* UTC = this time + zone_minutes, as UEFI defines it */
};

/* The zone of the machine's clock, by the config and the firmware, as zone_minutes. `known`: the firmware names one.
 * *guessed: it is said to show local time, and nothing says of which zone: it is taken as UTC. */
int32_t civil_zone(const struct config *config, bool known, int32_t firmware_minutes, bool *guessed);

/* Seconds since 1970-01-01 00:00 UTC; 0 for what lies before or is no date. */
uint64_t civil_to_unix(const struct civil_time *time);

#endif

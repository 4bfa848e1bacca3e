/* SPDX-License-Identifier: MIT */
#include "efi/civil_time.h"

#define SECONDS_PER_DAY 86400u

/* From 0000-03-01, where the count of days_of() starts, to 1970-01-01. */
#define DAYS_TO_1970 719468u

/* Days since 1970-01-01 of a date of the Gregorian calendar. Years are counted from March, so that the leap day is the
 * last one of a year, and month lengths are those of (153 m + 2) / 5. */
static uint64_t days_of(uint64_t year, uint64_t month, uint64_t day)
{
    uint64_t years = month <= 2 ? year - 1 : year;
    uint64_t months = month <= 2 ? month + 9 : month - 3;

    return years * 365 + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 1 - DAYS_TO_1970;
}

static bool is_date(const struct civil_time *time)
{
    return time->year >= 1970 && time->month >= 1 && time->month <= 12 && time->day >= 1 && time->day <= 31 &&
           time->hour < 24 && time->minute < 60 && time->second < 60;
}

uint64_t civil_to_unix(const struct civil_time *time)
{
    int64_t seconds = 0;

    if (!is_date(time)) {
        return 0;
    }
    seconds = (int64_t)(days_of(time->year, time->month, time->day) * SECONDS_PER_DAY + time->hour * 3600u +
                        time->minute * 60u + time->second);
    seconds += (int64_t)time->zone_minutes * 60;
    return seconds < 0 ? 0 : (uint64_t)seconds;
}

int32_t civil_zone(const struct config *config, bool known, int32_t firmware_minutes, bool *guessed)
{
    *guessed = config->rtc == RTC_LOCAL && !known;
    if (config->rtc == RTC_LOCAL_ZONE) {
        return -config->rtc_east_minutes;
    }
    return known ? firmware_minutes : 0;
}

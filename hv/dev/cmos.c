/* SPDX-License-Identifier: MIT */
/*
 * The real-time clock and its RAM. See cmos.h.
 *
 * The guest's time is the wall clock plus `offset_ns`. While the guest holds the clock (SET in register B, or the
 * divider in reset) the time registers are plain RAM; when it lets go, the offset is what makes them true. Otherwise
 * they are computed at each read, from one second to the next, with UIP set for the 2.2 ms before the next second, as
 * long as the real part needs for its update.
 */
#include "hv/dev/cmos.h"

#include "hv/base/memory.h"
#include "hv/dev/platform_config.h"

/* MC146818A, "Address Map". */
#define RTC_SECONDS 0x00u
#define RTC_SECONDS_ALARM 0x01u
#define RTC_MINUTES 0x02u
#define RTC_MINUTES_ALARM 0x03u
#define RTC_HOURS 0x04u
#define RTC_HOURS_ALARM 0x05u
#define RTC_WEEKDAY 0x06u
#define RTC_DAY 0x07u
#define RTC_MONTH 0x08u
#define RTC_YEAR 0x09u
#define INDEX_BITS 0x7fu /* bit 7 masks NMIs, which nothing here raises */
#define RTC_A 0x0au
#define RTC_B 0x0bu
#define RTC_C 0x0cu
#define RTC_D 0x0du
#define RTC_CENTURY 0x32u /* where the FADT says it is */

#define A_UIP 0x80u
#define A_DIVIDER_RESET 0x60u
#define A_RATE 0x0fu
#define B_SET 0x80u
#define B_PIE 0x40u
#define B_AIE 0x20u
#define B_UIE 0x10u
#define B_BINARY 0x04u
#define B_24_HOURS 0x02u
#define C_IRQF 0x80u
#define C_PF 0x40u
#define C_AF 0x20u
#define C_UF 0x10u
#define D_VALID 0x80u
#define HOURS_PM 0x80u
#define ALARM_ANY 0xc0u /* both top bits: matches always */

/* MC146818A, "Update Cycle": UIP rises 244 us before an update of 1984 us. */
#define UPDATE_NS 2228000
#define TIME_BASE_HZ 32768u
#define HALF_SECOND_NS 500000000
#define SECOND_NS 1000000000
#define DAY_SECONDS 86400
#define YEAR_MIN 1970u
#define YEAR_MAX 2199u

struct rtc_time {
    uint32_t second, minute, hour, weekday, day, month, year;
};

/* --- Calendar --- */

/* Days are counted in 400-year eras that begin on 1 March, so that the leap day is the last of a year. */
static int64_t days_from_date(uint32_t year, uint32_t month, uint32_t day)
{
    uint32_t y = month <= 2 ? year - 1 : year;
    uint32_t m = month <= 2 ? month + 9 : month - 3;
    uint32_t day_of_year = (153 * m + 2) / 5 + day - 1;

    return (int64_t)y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468; /* 1970-01-01 is day 0 */
}

static struct rtc_time time_of(int64_t unix_s)
{
    uint32_t days = (uint32_t)(unix_s / DAY_SECONDS) + 719468;
    uint32_t rest = (uint32_t)(unix_s % DAY_SECONDS);
    uint32_t era = days / 146097;
    uint32_t doe = days % 146097;
    uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint32_t m = (5 * doy + 2) / 153;

    return (struct rtc_time){
        .second = rest % 60,
        .minute = rest / 60 % 60,
        .hour = rest / 3600,
        .weekday = (days + 3) % 7 + 1, /* day 0 of the era was a Wednesday; Sunday is 1 */
        .day = doy - (153 * m + 2) / 5 + 1,
        .month = m < 10 ? m + 3 : m - 9,
        .year = era * 400 + yoe + (m < 10 ? 0 : 1),
    };
}

static int64_t unix_of(const struct rtc_time *time)
{
    return days_from_date(time->year, time->month, time->day) * DAY_SECONDS + time->hour * 3600 + time->minute * 60 +
           time->second;
}

/* --- Register formats: BCD or binary, 12 or 24 hours --- */

static uint8_t encode(const struct cmos *cmos, uint32_t value)
{
    if ((cmos->ram[RTC_B] & B_BINARY) != 0) {
        return (uint8_t)value;
    }
    return (uint8_t)(value / 10 << 4 | value % 10);
}

static uint32_t decode(const struct cmos *cmos, uint8_t value)
{
    return (cmos->ram[RTC_B] & B_BINARY) != 0 ? value : (value >> 4) * 10u + (value & 15u);
}

static uint8_t encode_hour(const struct cmos *cmos, uint32_t hour)
{
    uint32_t twelve = hour % 12 == 0 ? 12 : hour % 12;

    if ((cmos->ram[RTC_B] & B_24_HOURS) != 0) {
        return encode(cmos, hour);
    }
    return (uint8_t)(encode(cmos, twelve) | (hour >= 12 ? HOURS_PM : 0));
}

static uint32_t decode_hour(const struct cmos *cmos, uint8_t value)
{
    uint32_t hour;

    if ((cmos->ram[RTC_B] & B_24_HOURS) != 0) {
        return decode(cmos, value);
    }
    hour = decode(cmos, value & (uint8_t)~HOURS_PM) % 12;
    return (value & HOURS_PM) != 0 ? hour + 12 : hour;
}

static void time_to_registers(struct cmos *cmos, int64_t unix_s)
{
    struct rtc_time time = time_of(unix_s);

    cmos->ram[RTC_SECONDS] = encode(cmos, time.second);
    cmos->ram[RTC_MINUTES] = encode(cmos, time.minute);
    cmos->ram[RTC_HOURS] = encode_hour(cmos, time.hour);
    cmos->ram[RTC_WEEKDAY] = encode(cmos, time.weekday);
    cmos->ram[RTC_DAY] = encode(cmos, time.day);
    cmos->ram[RTC_MONTH] = encode(cmos, time.month);
    cmos->ram[RTC_YEAR] = encode(cmos, time.year % 100);
    cmos->ram[RTC_CENTURY] = encode(cmos, time.year / 100);
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Nonsense in a register is pulled into its range: the clock always shows a time. */
static int64_t time_from_registers(const struct cmos *cmos)
{
    const uint8_t *ram = cmos->ram;
    uint32_t year = decode(cmos, ram[RTC_CENTURY]) * 100 + decode(cmos, ram[RTC_YEAR]);
    struct rtc_time time = {
        .second = clamp(decode(cmos, ram[RTC_SECONDS]), 0, 59),
        .minute = clamp(decode(cmos, ram[RTC_MINUTES]), 0, 59),
        .hour = clamp(decode_hour(cmos, ram[RTC_HOURS]), 0, 23),
        .day = clamp(decode(cmos, ram[RTC_DAY]), 1, 31),
        .month = clamp(decode(cmos, ram[RTC_MONTH]), 1, 12),
        .year = clamp(year, YEAR_MIN, YEAR_MAX),
    };

    return unix_of(&time);
}

static bool is_time_register(uint8_t index)
{
    return index == RTC_CENTURY || index == RTC_SECONDS || index == RTC_MINUTES || index == RTC_HOURS ||
           (index >= RTC_WEEKDAY && index <= RTC_YEAR);
}

/* --- The guest's clock --- */

static int64_t guest_ns(const struct cmos *cmos, uint64_t now)
{
    uint64_t passed = clock_ticks_to_ns(cmos->config.clock, now - cmos->config.wall_clock_tsc);

    return (int64_t)(cmos->config.wall_clock_ns + passed) + cmos->offset_ns;
}

static bool divider_held(const struct cmos *cmos)
{
    return (cmos->ram[RTC_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

static bool is_held(const struct cmos *cmos)
{
    return (cmos->ram[RTC_B] & B_SET) != 0 || divider_held(cmos);
}

/* Makes the registers' time the present one, at `fraction_ns` within the second. */
static void set_time(struct cmos *cmos, int64_t fraction_ns, uint64_t now)
{
    int64_t time_s = time_from_registers(cmos);

    cmos->offset_ns += time_s * SECOND_NS + fraction_ns - guest_ns(cmos, now);
    cmos->seen_s = time_s;
}

/* --- Flags --- */

/* An alarm's register: a number, or ALARM_ANY. Numbers that no clock shows are never reached. */
#define ANY UINT32_MAX
#define HOURS_A_DAY 24u
#define MINUTES_AN_HOUR 60u
#define SECONDS_A_MINUTE 60u
#define ALARM_JUMPS 8u /* seconds, minutes, hours, and once more each after a carry */

static uint32_t alarm_register(const struct cmos *cmos, uint8_t index)
{
    uint8_t alarm = cmos->ram[index];

    if ((alarm & ALARM_ANY) == ALARM_ANY) {
        return ANY;
    }
    return index == RTC_HOURS_ALARM ? decode_hour(cmos, alarm) : decode(cmos, alarm);
}

/* How many units lie between what the clock shows and what the alarm wants, in a cycle of `cycle` units. */
static uint32_t units_ahead(uint32_t shown, uint32_t wanted, uint32_t cycle)
{
    if (wanted == ANY || wanted == shown) {
        return 0;
    }
    return wanted > shown ? wanted - shown : wanted + cycle - shown;
}

/*
 * The first second after `after` at which the alarm matches, or INT64_MAX for an impossible time. Each jump goes to the
 * beginning of the unit that the alarm wants, so a handful reach it wherever it is.
 */
static int64_t next_alarm(const struct cmos *cmos, int64_t after)
{
    uint32_t hour = alarm_register(cmos, RTC_HOURS_ALARM);
    uint32_t minute = alarm_register(cmos, RTC_MINUTES_ALARM);
    uint32_t second = alarm_register(cmos, RTC_SECONDS_ALARM);
    int64_t time = after + 1;

    if ((hour != ANY && hour >= HOURS_A_DAY) || (minute != ANY && minute >= MINUTES_AN_HOUR) ||
        (second != ANY && second >= SECONDS_A_MINUTE)) {
        return INT64_MAX;
    }
    for (unsigned jumps = 0; jumps < ALARM_JUMPS; jumps++) {
        uint32_t of_day = (uint32_t)(time % DAY_SECONDS);
        uint32_t hours = units_ahead(of_day / 3600, hour, HOURS_A_DAY);
        uint32_t minutes = units_ahead(of_day / 60 % 60, minute, MINUTES_AN_HOUR);
        uint32_t seconds = units_ahead(of_day % 60, second, SECONDS_A_MINUTE);

        if (hours != 0) {
            time += hours * 3600 - of_day % 3600;
        } else if (minutes != 0) {
            time += minutes * 60 - of_day % 60;
        } else if (seconds != 0) {
            time += seconds;
        } else {
            return time;
        }
    }
    return INT64_MAX;
}

/*
 * MC146818A, "Register A", rate selection: the period is 2^(rate-1) of the 32.768 kHz time base, so 3 is 8192 Hz and
 * 15 is 2 Hz; 1 and 2 are 256 and 128 Hz. Returns the exponent; call it only when periodic_on().
 */
static unsigned period_shift(const struct cmos *cmos)
{
    unsigned rate = cmos->ram[RTC_A] & A_RATE;

    return (rate <= 2 ? rate + 7 : rate) - 1;
}

static bool periodic_on(const struct cmos *cmos)
{
    return (cmos->ram[RTC_A] & A_RATE) != 0 && !divider_held(cmos);
}

static void restart_periodic(struct cmos *cmos, uint64_t now)
{
    cmos->periods = 0;
    ticks_forget(&cmos->ticks);
    cmos->periodic = timebase_of(cmos->config.clock, TIME_BASE_HZ, now);
}

/* A tick is taken by the read of register C. Without its interrupt none is owed. */
static void run_periodic(struct cmos *cmos, uint64_t now)
{
    uint64_t gap = clock_ns_to_ticks(cmos->config.clock, TICKS_GAP_NS);
    bool waits = (cmos->ram[RTC_C] & C_PF) != 0;
    uint64_t periods;

    if (!periodic_on(cmos)) {
        return;
    }
    periods = timebase_ticks(&cmos->periodic, now) >> period_shift(cmos);
    if (periods != cmos->periods) {
        ticks_miss(&cmos->ticks, periods - cmos->periods - (waits ? 0 : 1));
        ticks_made(&cmos->ticks, now, gap);
        cmos->ram[RTC_C] |= C_PF;
    } else if (ticks_due(&cmos->ticks, now) && ticks_repeat(&cmos->ticks, waits, now, gap)) {
        cmos->ram[RTC_C] |= C_PF;
    }
    if ((cmos->ram[RTC_B] & B_PIE) == 0) {
        ticks_forget(&cmos->ticks);
    }
    cmos->periods = periods;
}

static void run_seconds(struct cmos *cmos, uint64_t now)
{
    int64_t second = guest_ns(cmos, now) / SECOND_NS;

    if (is_held(cmos) || second <= cmos->seen_s) {
        return;
    }
    cmos->ram[RTC_C] |= C_UF;
    if ((cmos->ram[RTC_C] & C_AF) == 0 && next_alarm(cmos, cmos->seen_s) <= second) {
        cmos->ram[RTC_C] |= C_AF;
    }
    cmos->seen_s = second;
}

/* The host TSC at which the guest's clock shows `second`. Counted from now, so the clock's rounding does not
 * matter. */
static uint64_t tsc_of_second(const struct cmos *cmos, int64_t second, uint64_t now)
{
    int64_t wait_ns = second * SECOND_NS - guest_ns(cmos, now);

    return now + clock_ns_to_ticks(cmos->config.clock, wait_ns > 0 ? (uint64_t)wait_ns : 0) + 1;
}

static uint64_t next_deadline(const struct cmos *cmos, uint64_t now)
{
    uint8_t enabled = cmos->ram[RTC_B];
    uint64_t deadline = DEADLINE_NONE;

    if (cmos->signals.lines != 0) {
        return DEADLINE_NONE; /* the line is high until register C is read */
    }
    if ((enabled & B_PIE) != 0 && periodic_on(cmos)) {
        deadline = timebase_tsc(&cmos->periodic, (cmos->periods + 1) << period_shift(cmos));
        deadline = min_u64(deadline, ticks_deadline(&cmos->ticks));
    }
    if ((enabled & B_UIE) != 0 && !is_held(cmos)) {
        deadline = min_u64(deadline, tsc_of_second(cmos, cmos->seen_s + 1, now));
    }
    if ((enabled & B_AIE) != 0 && !is_held(cmos)) {
        int64_t alarm = next_alarm(cmos, cmos->seen_s);

        deadline = alarm == INT64_MAX ? deadline : min_u64(deadline, tsc_of_second(cmos, alarm, now));
    }
    return deadline;
}

/* PF, AF and UF stand at the same bits of C as their enables in B. */
static void update(struct cmos *cmos, uint64_t now)
{
    uint8_t due = cmos->ram[RTC_C] & cmos->ram[RTC_B] & (C_PF | C_AF | C_UF);

    cmos->signals.lines = due != 0;
    cmos->ram[RTC_C] = (uint8_t)((cmos->ram[RTC_C] & ~C_IRQF) | (due != 0 ? C_IRQF : 0));
    cmos->signals.deadline = next_deadline(cmos, now);
}

void cmos_run(struct cmos *cmos, uint64_t now)
{
    run_periodic(cmos, now);
    run_seconds(cmos, now);
    update(cmos, now);
}

/* --- Ports --- */

static uint8_t read_c(struct cmos *cmos, uint64_t now)
{
    uint8_t flags;

    cmos_run(cmos, now);
    flags = cmos->ram[RTC_C];
    cmos->ram[RTC_C] = 0;
    update(cmos, now);
    return flags;
}

static uint8_t read_a(const struct cmos *cmos, uint64_t now)
{
    bool updating = !is_held(cmos) && guest_ns(cmos, now) % SECOND_NS >= SECOND_NS - UPDATE_NS;

    return cmos->ram[RTC_A] | (updating ? A_UIP : 0);
}

uint8_t cmos_read(struct cmos *cmos, uint16_t port, uint64_t now)
{
    if (port == CMOS_INDEX_PORT) {
        return 0xff; /* write-only */
    }
    if (cmos->index == RTC_A) {
        return read_a(cmos, now);
    }
    if (cmos->index == RTC_C) {
        return read_c(cmos, now);
    }
    if (is_time_register(cmos->index) && !is_held(cmos)) {
        time_to_registers(cmos, guest_ns(cmos, now) / SECOND_NS);
    }
    return cmos->ram[cmos->index];
}

/* A clock that was let go starts its second where the divider says: in the middle after a divider reset. */
static void write_control(struct cmos *cmos, uint8_t index, uint8_t value, uint64_t now)
{
    bool was_held = is_held(cmos);
    bool divider_was_held = divider_held(cmos);
    uint8_t old = cmos->ram[index];

    if (!was_held) {
        time_to_registers(cmos, guest_ns(cmos, now) / SECOND_NS);
    }
    cmos->ram[index] = index == RTC_A ? value & (uint8_t)~A_UIP : value;
    if (index == RTC_B && (value & B_SET) != 0) {
        cmos->ram[RTC_B] &= (uint8_t)~B_UIE; /* SET clears UIE */
    }
    if (was_held && !is_held(cmos)) {
        set_time(cmos, divider_was_held ? HALF_SECOND_NS : guest_ns(cmos, now) % SECOND_NS, now);
    }
    if (index == RTC_A && ((old ^ value) & (A_RATE | A_DIVIDER_RESET)) != 0) {
        restart_periodic(cmos, now);
    }
}

static void write_time(struct cmos *cmos, uint8_t index, uint8_t value, uint64_t now)
{
    int64_t present_ns = guest_ns(cmos, now);

    if (is_held(cmos)) {
        cmos->ram[index] = value;
        return;
    }
    time_to_registers(cmos, present_ns / SECOND_NS);
    cmos->ram[index] = value;
    set_time(cmos, present_ns % SECOND_NS, now);
}

static void write_data(struct cmos *cmos, uint8_t value, uint64_t now)
{
    uint8_t index = cmos->index;

    cmos_run(cmos, now);
    if (index == RTC_A || index == RTC_B) {
        write_control(cmos, index, value, now);
    } else if (is_time_register(index)) {
        write_time(cmos, index, value, now);
    } else if (index != RTC_C && index != RTC_D) {
        cmos->ram[index] = value;
    }
    update(cmos, now);
}

void cmos_write(struct cmos *cmos, uint16_t port, uint8_t value, uint64_t now)
{
    if (port == CMOS_INDEX_PORT) {
        cmos->index = value & INDEX_BITS;
    } else {
        write_data(cmos, value, now);
    }
}

/* --- Reset --- */

static void put_word(struct cmos *cmos, unsigned index, uint64_t value)
{
    cmos->ram[index] = (uint8_t)value;
    cmos->ram[index + 1] = (uint8_t)(value >> 8);
}

/* Memory sizes where a PC's firmware leaves them, and the checksum of bytes 0x10..0x2d. */
static void fill_ram(struct cmos *cmos)
{
    uint64_t low = cmos->config.ram_low_bytes;
    uint64_t extended_kib = min_u64(low > MIB ? (low - MIB) / KIB : 0, 0xffff);
    uint64_t above_16m = min_u64(low > 16 * MIB ? (low - 16 * MIB) / (64 * KIB) : 0, 0xffff);
    uint64_t high = cmos->config.ram_high_bytes / (64 * KIB);
    uint32_t sum = 0;

    cmos->ram[0x14] = 0x02; /* equipment: FPU, no display, no drives */
    put_word(cmos, 0x15, 640);
    put_word(cmos, 0x17, extended_kib);
    for (unsigned i = 0x10; i <= 0x2d; i++) {
        sum += cmos->ram[i];
    }
    cmos->ram[0x2e] = (uint8_t)(sum >> 8);
    cmos->ram[0x2f] = (uint8_t)sum;
    put_word(cmos, 0x30, extended_kib);
    put_word(cmos, 0x34, above_16m);
    put_word(cmos, 0x5b, high);
    cmos->ram[0x5d] = (uint8_t)(high >> 16);
}

void cmos_reset(struct cmos *cmos, const struct cmos_config *config, uint64_t now)
{
    memset(cmos, 0, sizeof(*cmos));
    cmos->config = *config;
    cmos->ram[RTC_A] = 0x26; /* 32.768 kHz time base, 1024 Hz */
    cmos->ram[RTC_B] = B_24_HOURS;
    cmos->ram[RTC_D] = D_VALID;
    fill_ram(cmos);
    restart_periodic(cmos, now);
    cmos->seen_s = guest_ns(cmos, now) / SECOND_NS;
    update(cmos, now);
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    access->value = cmos_read(state, (uint16_t)access->at, access->now);
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    cmos_write(state, (uint16_t)access->at, (uint8_t)access->value, access->now);
    return true;
}

/* The index, which nothing happens by. */
static bool quick_write_at(void *state, uint64_t at, uint8_t value)
{
    struct cmos *cmos = state;

    if (at != CMOS_INDEX_PORT) {
        return false;
    }
    cmos->index = value & INDEX_BITS;
    return true;
}

static void run(void *state, uint64_t now)
{
    cmos_run(state, now);
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    const struct platform_config *config = environment->config;
    const struct cmos_config own = {
        .clock = config->clock,
        .wall_clock_ns = config->wall_clock_ns,
        .wall_clock_tsc = config->wall_clock_tsc,
        .ram_low_bytes = config->ram_low_bytes,
        .ram_high_bytes = config->ram_high_bytes,
    };

    cmos_reset(state, &own, now);
}

const struct bus_row cmos_row = {
    .name = "RTC",
    BUS_RANGES(BUS_PORTS(CMOS_INDEX_PORT, 2)),
    .read = read_at,
    .write = write_at,
    .quick_write = quick_write_at,
    .run = run,
    .reset = reset,
    .lines = {CMOS_IRQ},
    .line_count = 1,
    .asleep_unheard = true,
    BUS_STATE(struct cmos, signals),
};

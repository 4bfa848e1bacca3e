/* SPDX-License-Identifier: MIT */
/*
 * The config's values as words, for the plan.
 */
#include "tools/check/check.h"

#include "hv/base/format.h"

const char *check_action_word(enum config_action action)
{
    switch (action) {
    case ACTION_STAY:
        return "stay";
    case ACTION_RESTART:
        return "restart";
    case ACTION_POWEROFF:
        return "poweroff";
    case ACTION_CRASH:
        return "crash";
    }
    return "";
}

const char *check_speculation_word(const struct config *config)
{
    switch (config->speculation) {
    case SPECULATION_AUTO:
        return "auto";
    case SPECULATION_ALL:
        return "all";
    case SPECULATION_NONE:
        return "none";
    }
    return "";
}

const char *check_rtc_text(const struct config *config, char to[CHECK_RTC_MAX])
{
    uint32_t minutes = (uint32_t)(config->rtc_east_minutes < 0 ? -config->rtc_east_minutes : config->rtc_east_minutes);

    switch (config->rtc) {
    case RTC_UTC:
        return "utc";
    case RTC_LOCAL:
        return "local";
    case RTC_LOCAL_ZONE:
        format_text(to, CHECK_RTC_MAX, "local %c%02u:%02u", config->rtc_east_minutes < 0 ? '-' : '+', minutes / 60,
                    minutes % 60);
        return to;
    }
    return "";
}

const char *check_final_word(enum config_final final)
{
    switch (final) {
    case FINAL_POWEROFF:
        return "poweroff";
    case FINAL_REBOOT:
        return "reboot";
    case FINAL_HALT:
        return "halt";
    }
    return "";
}

const char *check_watchdog_word(enum config_watchdog watchdog)
{
    switch (watchdog) {
    case WATCHDOG_OFF:
        return "none";
    case WATCHDOG_CONSOLE:
        return "console";
    case WATCHDOG_HYPERCALL:
        return "hypercall";
    case WATCHDOG_HALT:
        return "halt";
    case WATCHDOG_EXIT:
        return "exit";
    }
    return "";
}

const char *check_virtio_word(enum config_virtio virtio)
{
    switch (virtio) {
    case VIRTIO_TRANSITIONAL:
        return "pci";
    case VIRTIO_QEMU:
        return "qemu";
    case VIRTIO_MODERN:
        return "modern";
    case VIRTIO_MMIO:
        return "mmio";
    }
    return "";
}

const char *check_mode_word(enum config_mode mode)
{
    switch (mode) {
    case MODE_REAL16:
        return "real";
    case MODE_PROTECTED32:
        return "protected";
    case MODE_LONG64:
        return "long";
    }
    return "";
}

const char *check_outputs_word(const struct config *config)
{
    if (config->console_serial && config->console_screen) {
        return "both";
    }
    return config->console_serial ? "serial" : "screen";
}

const char *check_time(char to[CHECK_TIME_MAX], uint32_t us)
{
    if (us % 1000000 == 0) {
        snprintf(to, CHECK_TIME_MAX, "%us", us / 1000000);
    } else if (us % 1000 == 0) {
        snprintf(to, CHECK_TIME_MAX, "%ums", us / 1000);
    } else {
        snprintf(to, CHECK_TIME_MAX, "%uus", us);
    }
    return to;
}

struct text check_cmdline_comment(const struct check *check, const struct config_guest *guest)
{
    const char *end = check->file.start + check->file.length;
    const char *at = guest->cmdline_position.line != 0 ? guest->cmdline.start + guest->cmdline.length : end;
    struct text comment = {end, 0};

    while (at < end && *at != '\n' && *at != '\r' && *at != '#') {
        at++;
    }
    if (at < end && *at == '#') {
        comment.start = at;
        while (at < end && *at != '\n' && *at != '\r') {
            at++;
        }
        comment.length = (size_t)(at - comment.start);
    }
    return comment;
}

/* SPDX-License-Identifier: MIT */
/*
 * The keys: one table row each, with where the value goes and how it is read.
 *
 * A row of kind KIND_CHOICE or KIND_FLAG lists the words that may stand there; kinds that need more than a conversion
 * (CPU lists, modules, console outputs) have a reader of their own, chosen in one switch.
 */
#include "config/config_internal.h"

#include "hv/base/memory.h"

#define NO_POSITION UINT16_MAX

enum value_kind {
    KIND_CHOICE,   /* an enum of 4 bytes */
    KIND_FLAG,     /* a bool */
    KIND_SIZE,     /* uint64_t bytes */
    KIND_ADDRESS,  /* uint64_t */
    KIND_PLACE,    /* the same, not 0 */
    KIND_NUMBER,   /* uint64_t below 2^32 */
    KIND_DURATION, /* uint32_t microseconds */
    KIND_PATIENCE, /* the same, longer */
    KIND_CONSOLE,  /* a flag, and which kind */
    KIND_WATCHDOG, /* a choice, then uint32_t microseconds */
    KIND_PATH,
    KIND_TEXT, /* may be empty */
    KIND_CPUS,
    KIND_MODULE,
    KIND_DISK,
    KIND_NET,
    KIND_SHARED,
    KIND_PCI,
    KIND_PORTS,
    KIND_MMIO,
    KIND_OUTPUTS,
    KIND_RTC, /* a choice, then a zone */
};

struct choice {
    const char *word;
    uint32_t value;
};

static const struct choice yes_no[] = {{"yes", 1},  {"no", 0},    {"on", 1}, {"off", 0},
                                       {"true", 1}, {"false", 0}, {NULL, 0}};
#define CONSOLE_VIRTIO 2u
static const struct choice guest_consoles[] = {{"yes", 1},  {"no", 0},   {"serial", 1},
                                               {"uart", 1}, {"com1", 1}, {"on", 1},
                                               {"off", 0},  {"none", 0}, {"virtio", CONSOLE_VIRTIO},
                                               {NULL, 0}};
static const struct choice protocols[] = {{"auto", PROTOCOL_AUTO},
                                          {"linux", PROTOCOL_LINUX},
                                          {"multiboot", PROTOCOL_MULTIBOOT},
                                          {"multiboot2", PROTOCOL_MULTIBOOT2},
                                          {"pvh", PROTOCOL_PVH},
                                          {"elf", PROTOCOL_ELF},
                                          {"flat", PROTOCOL_FLAT},
                                          {NULL, 0}};
static const struct choice actions[] = {
    {"stay", ACTION_STAY}, {"restart", ACTION_RESTART}, {"poweroff", ACTION_POWEROFF}, {NULL, 0}};
static const struct choice reset_actions[] = {{"restart", ACTION_RESTART},
                                              {"stay", ACTION_STAY},
                                              {"crash", ACTION_CRASH},
                                              {"poweroff", ACTION_POWEROFF},
                                              {NULL, 0}};
static const struct choice finals[] = {
    {"poweroff", FINAL_POWEROFF}, {"reboot", FINAL_REBOOT}, {"halt", FINAL_HALT}, {NULL, 0}};
static const struct choice modes[] = {{"real", MODE_REAL16},
                                      {"protected", MODE_PROTECTED32},
                                      {"long", MODE_LONG64},
                                      {"16", MODE_REAL16},
                                      {"32", MODE_PROTECTED32},
                                      {"64", MODE_LONG64},
                                      {NULL, 0}};
static const struct choice watchdogs[] = {{"console", WATCHDOG_CONSOLE},
                                          {"hypercall", WATCHDOG_HYPERCALL},
                                          {"halt", WATCHDOG_HALT},
                                          {"exit", WATCHDOG_EXIT},
                                          {NULL, 0}};
static const struct choice pagings[] = {
    {"auto", PAGING_AUTO}, {"nested", PAGING_NESTED}, {"shadow", PAGING_SHADOW}, {NULL, 0}};
static const struct choice virtios[] = {
    {"pci", VIRTIO_TRANSITIONAL}, {"qemu", VIRTIO_QEMU}, {"modern", VIRTIO_MODERN}, {"mmio", VIRTIO_MMIO}, {NULL, 0}};
static const struct choice ticks[] = {{"all", TICKS_ALL}, {"merge", TICKS_MERGE}, {NULL, 0}};
static const struct choice quirks[] = {{"auto", 1}, {"none", 0}, {NULL, 0}};
static const struct choice speculations[] = {
    {"auto", SPECULATION_AUTO}, {"all", SPECULATION_ALL}, {"none", SPECULATION_NONE}, {NULL, 0}};
static const struct choice clocks[] = {{"utc", RTC_UTC}, {"local", RTC_LOCAL}, {NULL, 0}};
static const struct choice serials[] = {{"com2", 1}, {"no", 0}, {"none", 0}, {NULL, 0}};
static const struct choice keyboards[] = {{"ps2", 1}, {"no", 0}, {"none", 0}, {NULL, 0}};
static const struct choice levels[] = {{"info", 0}, {"debug", 1}, {NULL, 0}};

#define OUTPUT_SERIAL 1u
#define OUTPUT_SCREEN 2u
static const struct choice outputs[] = {{"serial", OUTPUT_SERIAL},
                                        {"screen", OUTPUT_SCREEN},
                                        {"both", OUTPUT_SERIAL | OUTPUT_SCREEN},
                                        {"all", OUTPUT_SERIAL | OUTPUT_SCREEN},
                                        {NULL, 0}};

struct key {
    const char *name;
    uint8_t section;          /* enum config_section */
    uint8_t kind;             /* enum value_kind */
    uint16_t offset;          /* of the value in struct config_guest or struct config */
    uint16_t position_offset; /* of its struct config_position, or NO_POSITION */
    const struct choice *choices;
    const char *elsewhere; /* what the same is called in other places, or NULL */
};

_Static_assert(sizeof(enum config_protocol) == 4 && sizeof(enum config_action) == 4 && sizeof(enum config_final) == 4 &&
                   sizeof(enum config_mode) == 4 && sizeof(enum config_watchdog) == 4 &&
                   sizeof(enum config_ticks) == 4 && sizeof(enum config_virtio) == 4 &&
                   sizeof(enum config_paging) == 4 && sizeof(enum config_speculation) == 4,
               "KIND_CHOICE writes four bytes");

#define NETWORK_AT(member) offsetof(struct config_network, member)
#define SHARE_AT(member) offsetof(struct config_share, member)
#define GUEST_AT(member) offsetof(struct config_guest, member)
#define CONFIG_AT(member) offsetof(struct config, member)
static const struct key keys[] = {
    {"kernel", SECTION_GUEST, KIND_PATH, GUEST_AT(kernel), GUEST_AT(kernel_position), NULL,
     "image file bzimage vmlinuz kernel-image kernel-image-path boot-source"},
    {"memory", SECTION_GUEST, KIND_SIZE, GUEST_AT(memory_bytes), GUEST_AT(memory_position), NULL,
     "mem ram m maxmem max-memory currentmemory mem-size mem-size-mib memory-mb memory-mib"},
    {"memory-at", SECTION_GUEST, KIND_PLACE, GUEST_AT(memory_at), GUEST_AT(memory_at_position), NULL, NULL},
    {"cpus", SECTION_GUEST, KIND_CPUS, GUEST_AT(cpus), GUEST_AT(cpus_position), NULL,
     "smp cores vcpu vcpus maxvcpus max-vcpus vcpu-count cpuset cpu-pin vcpupin affinity"},
    {"protocol", SECTION_GUEST, KIND_CHOICE, GUEST_AT(protocol), GUEST_AT(protocol_position), protocols,
     "type format builder boot-protocol"},
    {"initrd", SECTION_GUEST, KIND_MODULE, 0, NO_POSITION, NULL, "initramfs ramdisk initrd-path"},
    {"module", SECTION_GUEST, KIND_MODULE, 0, NO_POSITION, NULL, NULL},
    {"disk", SECTION_GUEST, KIND_DISK, 0, NO_POSITION, NULL,
     "drive drives hda hdb hdc hdd vda vdb sda block blockdev storage hd disks rootfs path-on-host"},
    {"net", SECTION_GUEST, KIND_NET, 0, NO_POSITION, NULL,
     "network networks nic vif netdev bridge interface interfaces ethernet network-interfaces iface"},
    {"shared", SECTION_GUEST, KIND_SHARED, 0, NO_POSITION, NULL, "ivshmem shmem"},
    {"pci", SECTION_GUEST, KIND_PCI, 0, NO_POSITION, NULL,
     "pcidevs pci-devices hostdev passthrough vfio vfio-pci pci-passthrough vf vfs sriov sr-iov sriov-numvfs num-vfs"},
    {"cmdline", SECTION_GUEST, KIND_TEXT, GUEST_AT(cmdline), GUEST_AT(cmdline_position), NULL,
     "append args bootargs boot-args cmd command-line options extra kernel-args kernel-params root"},
    {"console", SECTION_GUEST, KIND_CONSOLE, GUEST_AT(console), NO_POSITION, guest_consoles, NULL},
    {"rng", SECTION_GUEST, KIND_FLAG, GUEST_AT(rng), NO_POSITION, yes_no, "entropy random virtio-rng"},
    {"virtio", SECTION_GUEST, KIND_CHOICE, GUEST_AT(virtio), GUEST_AT(virtio_position), virtios,
     "transport virtio-transport"},
    {"com2", SECTION_GUEST, KIND_FLAG, GUEST_AT(com2), NO_POSITION, yes_no, "serial2 ttys1"},
    {"hpet", SECTION_GUEST, KIND_FLAG, GUEST_AT(hpet), NO_POSITION, yes_no, NULL},
    {"ports", SECTION_GUEST, KIND_PORTS, 0, NO_POSITION, NULL, "ioports io-ports ioport"},
    {"serial", SECTION_GUEST, KIND_FLAG, GUEST_AT(serial_com2), GUEST_AT(serial_position), serials, NULL},
    {"keyboard", SECTION_GUEST, KIND_FLAG, GUEST_AT(keyboard), GUEST_AT(keyboard_position), keyboards,
     "kbd mouse ps2 i8042 8042"},
    {"mmio", SECTION_GUEST, KIND_MMIO, 0, NO_POSITION, NULL, "iomem mem-regions"},
    {"framebuffer", SECTION_GUEST, KIND_FLAG, GUEST_AT(framebuffer), GUEST_AT(framebuffer_position), yes_no, NULL},
    {"on-stop", SECTION_GUEST, KIND_CHOICE, GUEST_AT(on_stop), NO_POSITION, actions, "on-poweroff on-shutdown on-halt"},
    {"on-crash", SECTION_GUEST, KIND_CHOICE, GUEST_AT(on_crash), NO_POSITION, actions,
     "on-panic on-failure on-error panic"},
    {"on-reset", SECTION_GUEST, KIND_CHOICE, GUEST_AT(on_reset), NO_POSITION, reset_actions, "on-reboot"},
    {"stop-time", SECTION_GUEST, KIND_PATIENCE, GUEST_AT(stop_us), NO_POSITION, NULL, "stop-timeout shutdown-timeout"},
    {"debug-ports", SECTION_GUEST, KIND_FLAG, GUEST_AT(debug_ports), NO_POSITION, yes_no,
     "debugcon isa-debugcon isa-debug-exit"},
    {"debug-exit-ok", SECTION_GUEST, KIND_NUMBER, GUEST_AT(debug_exit_ok), NO_POSITION, NULL, NULL},
    {"load-address", SECTION_GUEST, KIND_ADDRESS, GUEST_AT(load_address), NO_POSITION, NULL, NULL},
    {"entry", SECTION_GUEST, KIND_ADDRESS, GUEST_AT(entry_address), NO_POSITION, NULL, NULL},
    {"mode", SECTION_GUEST, KIND_CHOICE, GUEST_AT(mode), NO_POSITION, modes, NULL},
    {"share-idle", SECTION_GUEST, KIND_FLAG, GUEST_AT(share_idle), NO_POSITION, yes_no, NULL},
    {"virtual-apic", SECTION_GUEST, KIND_FLAG, GUEST_AT(virtual_apic), NO_POSITION, yes_no, NULL},
    {"paging", SECTION_GUEST, KIND_CHOICE, GUEST_AT(paging), GUEST_AT(paging_position), pagings, "npt ept hap"},
    {"shadow-memory", SECTION_GUEST, KIND_SIZE, GUEST_AT(shadow_bytes), NO_POSITION, NULL, "shadow_memory"},
    {"slice", SECTION_GUEST, KIND_DURATION, GUEST_AT(slice_us), NO_POSITION, NULL,
     "timeslice time-slice tslice quantum"},
    {"ticks", SECTION_GUEST, KIND_CHOICE, GUEST_AT(ticks), NO_POSITION, ticks, "lost-ticks tickpolicy driftfix"},
    {"watchdog", SECTION_GUEST, KIND_WATCHDOG, GUEST_AT(watchdog), NO_POSITION, watchdogs, "on-watchdog i6300esb"},
    {"console", SECTION_HYPERVISOR, KIND_OUTPUTS, 0, NO_POSITION, outputs, NULL},
    {"log", SECTION_HYPERVISOR, KIND_FLAG, CONFIG_AT(log_debug), NO_POSITION, levels, NULL},
    {"quiet-devices", SECTION_HYPERVISOR, KIND_FLAG, CONFIG_AT(quiet_devices), NO_POSITION, yes_no, NULL},
    {"inventory", SECTION_HYPERVISOR, KIND_FLAG, CONFIG_AT(inventory), NO_POSITION, yes_no, NULL},
    {"quirks", SECTION_HYPERVISOR, KIND_FLAG, CONFIG_AT(quirks), NO_POSITION, quirks, NULL},
    {"speculation", SECTION_HYPERVISOR, KIND_CHOICE, CONFIG_AT(speculation), NO_POSITION, speculations,
     "mitigations spec-ctrl"},
    {"allow-siblings", SECTION_HYPERVISOR, KIND_FLAG, CONFIG_AT(allow_siblings), NO_POSITION, yes_no, "smt"},
    {"rtc", SECTION_HYPERVISOR, KIND_RTC, CONFIG_AT(rtc), NO_POSITION, clocks, "clock localtime timezone"},
    {"when-all-stopped", SECTION_HYPERVISOR, KIND_CHOICE, CONFIG_AT(when_all_stopped), NO_POSITION, finals, NULL},
    {"isolated", SECTION_NETWORK, KIND_FLAG, NETWORK_AT(isolated), NO_POSITION, yes_no, "private"},
    {"mtu", SECTION_NETWORK, KIND_NUMBER, NETWORK_AT(mtu), NETWORK_AT(mtu_position), NULL, NULL},
    {"router", SECTION_NETWORK, KIND_TEXT, NETWORK_AT(router), NETWORK_AT(router_position), NULL, "gateway"},
    {"size", SECTION_SHARED, KIND_SIZE, SHARE_AT(bytes), SHARE_AT(bytes_position), NULL, "memory bytes"},
};
_Static_assert(offsetof(struct config, guests) < NO_POSITION && sizeof(struct config_guest) < NO_POSITION,
               "offsets fit into 16 bits");
_Static_assert(ARRAY_COUNT(keys) <= CONFIG_KEYS_MAX, "struct config_seen has room for every key");

/* Suggest another key only where at most one letter of three differs. */
#define SUGGEST_LETTERS 3u
#define SUGGEST_MAX 3u

#define SHOWN_KEY_MAX 24u
#define SENTENCE_LIST_MAX 400u /* every key of a section */
#define NUMBER_MAX 0xffffffffu /* of an I/O port */

#define SLICE_MIN_US 100u
#define SLICE_MAX_US 1000000u
#define WATCHDOG_MIN_US 100000u
#define WATCHDOG_MAX_US 3600000000u

/* One setting on its way in. */
struct setting {
    const struct key *key;
    struct config_piece value;
    struct config *config;
    void *target;               /* the section's struct; NULL: [hypervisor], whose is `config` */
    struct config_guest *guest; /* the same; only for keys of a guest */
    struct config_errors *errors;
};

static void *target_of(const struct setting *setting)
{
    uint8_t *base = setting->target != NULL ? setting->target : (uint8_t *)setting->config;

    return base + setting->key->offset;
}

/* The word's value. False: an error that lists the words was reported. */
static bool read_choice(const struct setting *setting, uint32_t *value)
{
    char words[96];
    size_t used = 0;

    for (const struct choice *choice = setting->key->choices; choice->word != NULL; choice++) {
        if (config_text_alike(setting->value.text, choice->word)) {
            *value = choice->value;
            return true;
        }
        if (used != 0) {
            used += text_copy(text_of(", "), words + used, sizeof(words) - used);
        }
        used += text_copy(text_of(choice->word), words + used, sizeof(words) - used);
    }
    config_report(setting->errors, setting->value.position, "bad-value",
                  "\"%.*s\" is not a value of `%s`; write one of: %s%s.", TEXT_ARGS(setting->value.text),
                  setting->key->name, words,
                  setting->key->kind == KIND_WATCHDOG ? ", and then a time: console 30s" : "");
    return false;
}

static void read_size(const struct setting *setting, const char *rule, const char *wanted, uint64_t max)
{
    uint64_t number = 0;

    if (!config_value_size(setting->value.text, &number) || number > max) {
        config_report(setting->errors, setting->value.position, rule, "\"%.*s\" is not %s.",
                      TEXT_ARGS(setting->value.text), wanted);
        return;
    }
    memcpy(target_of(setting), &number, sizeof(number));
}

/* 0 would count as not written. */
static void check_place_read(const struct setting *setting)
{
    uint64_t number = 1;

    if (config_value_size(setting->value.text, &number) && number == 0) {
        config_report(setting->errors, setting->value.position, "bad-address",
                      "`%s` 0 cannot be had: the first 1M of the machine is its firmware's; write another place, or "
                      "take the line out.",
                      setting->key->name);
    }
}

struct durations {
    uint32_t min_us, max_us;
    const char *sentence;
};

static const struct durations slices = {SLICE_MIN_US, SLICE_MAX_US,
                                        "a time from 100us to 1s with its unit; 10ms suits most guests"};
static const struct durations watchdog_times = {WATCHDOG_MIN_US, WATCHDOG_MAX_US,
                                                "a kind and a time from 100ms to 3600s, such as console 30s"};

static const struct durations stop_times = {WATCHDOG_MIN_US, WATCHDOG_MAX_US,
                                            "a time from 100ms to 3600s, such as 30s"};

static void read_duration(const struct setting *setting, struct config_piece value, const struct durations *allowed,
                          uint32_t *us)
{
    uint32_t number = 0;

    if (!config_value_duration(value.text, &number)) {
        config_report(setting->errors, value.position, "bad-duration",
                      "\"%.*s\" is not a duration (a whole number with us, ms or s); `%s` takes %s.",
                      TEXT_ARGS(value.text), setting->key->name, allowed->sentence);
    } else if (number < allowed->min_us || number > allowed->max_us) {
        config_report(setting->errors, value.position, "bad-duration", "%.*s is too short or too long; `%s` takes %s.",
                      TEXT_ARGS(value.text), setting->key->name, allowed->sentence);
    } else {
        *us = number;
    }
}

static void read_watchdog(const struct setting *setting)
{
    struct setting kind = *setting;
    struct config_piece time = setting->value;
    uint32_t number = 0;

    if (config_take_word(&time, &kind.value) && read_choice(&kind, &number)) {
        read_duration(setting, time, &watchdog_times, &setting->guest->watchdog_us);
        memcpy(target_of(setting), &number, sizeof(number));
    }
}

static void read_rtc(const struct setting *setting)
{
    struct setting kind = *setting;
    struct config_piece zone = setting->value;
    struct config *config = setting->config;
    uint32_t number = 0;

    if (!config_take_word(&zone, &kind.value) || !read_choice(&kind, &number)) {
        return;
    }
    config->rtc = (enum config_rtc)number;
    if (zone.text.length == 0) {
        return;
    }
    if (config->rtc != RTC_LOCAL || !config_value_zone(zone.text, &config->rtc_east_minutes)) {
        config_report(setting->errors, zone.position, "bad-zone",
                      "\"%.*s\" is no zone of local time; write how far it is ahead of UTC, up to 14 hours: "
                      "`rtc = local +01:00`, or `local -5`.",
                      TEXT_ARGS(zone.text));
        return;
    }
    config->rtc = RTC_LOCAL_ZONE;
}

static void read_text(const struct setting *setting)
{
    struct config_piece value = setting->value;

    if (!config_unquote(&value)) {
        config_report(setting->errors, value.position, "bad-quote",
                      "The quotes of `%s` must open before the first character and close after the last; put the whole "
                      "value into one pair of double quotes, or none.",
                      setting->key->name);
        return;
    }
    memcpy(target_of(setting), &value.text, sizeof(value.text));
}

/* The path in front of the value; *rest is what follows it. */
static bool read_path_word(const struct setting *setting, struct config_piece *path, struct config_piece *rest)
{
    *rest = setting->value;
    if (!config_take_word(rest, path)) {
        config_report(setting->errors, setting->value.position, "bad-quote",
                      "The double quote in front of the path is not closed; put one behind the path.");
        return false;
    }
    return config_path_check(*path, setting->errors);
}

static bool nothing_follows(const struct setting *setting, struct config_piece rest)
{
    if (rest.text.length != 0) {
        config_report(setting->errors, rest.position, "bad-path",
                      "\"%.*s\" follows the path; `%s` takes one path, in double quotes if there are blanks in it.",
                      TEXT_ARGS(rest.text), setting->key->name);
    }
    return rest.text.length == 0;
}

static void read_path(const struct setting *setting)
{
    struct config_piece path;
    struct config_piece rest;

    if (read_path_word(setting, &path, &rest) && nothing_follows(setting, rest)) {
        memcpy(target_of(setting), &path.text, sizeof(path.text));
    }
}

static void read_module(const struct setting *setting)
{
    struct config_guest *guest = setting->guest;
    bool is_initrd = text_is(text_of(setting->key->name), "initrd");
    struct config_piece path;
    struct config_piece arguments;

    if (!read_path_word(setting, &path, &arguments) || (is_initrd && !nothing_follows(setting, arguments))) {
        return;
    }
    if (guest->module_count == CONFIG_MODULES_MAX) {
        config_report(setting->errors, setting->value.position, "too-many-modules",
                      "A guest has at most %u modules and initrds; pack some of them into one file.",
                      CONFIG_MODULES_MAX);
        return;
    }
    if (!config_unquote(&arguments)) {
        config_report(setting->errors, arguments.position, "bad-quote",
                      "The quotes around the module's arguments do not match; put all of them into one pair, or none.");
        return;
    }
    guest->modules[guest->module_count++] = (struct config_module){path.text, arguments.text, path.position};
}

static void read_disk(const struct setting *setting)
{
    struct config_piece path;
    struct config_piece options;

    if (!config_device_cut(setting->value, &path, &options)) {
        config_report(setting->errors, setting->value.position, "bad-quote",
                      "The double quote in front of the path is not closed; put one behind the path.");
    } else if (config_path_check(path, setting->errors)) {
        config_read_disk(path, options, setting->guest, setting->errors);
    }
}

static void read_named(const struct setting *setting)
{
    struct config_piece name;
    struct config_piece options;

    if (setting->key->kind == KIND_PCI) {
        config_read_pci(setting->value, setting->guest, setting->errors);
    } else if (!config_device_cut(setting->value, &name, &options)) {
        config_report(setting->errors, setting->value.position, "bad-quote",
                      "The double quote in front of the name is not closed; put one behind it.");
    } else if (setting->key->kind == KIND_NET) {
        config_read_net(name, options, setting->guest, setting->errors);
    } else {
        config_read_shared(name, options, setting->guest, setting->errors);
    }
}

static void read_cpus(const struct setting *setting)
{
    switch (config_value_cpus(setting->value.text, setting->guest)) {
    case CPUS_OK:
        return;
    case CPUS_BAD:
        config_report(setting->errors, setting->value.position, "bad-cpus",
                      "\"%.*s\" is neither a number of CPUs (2, 2 performance or 2 efficient) nor a list of host CPUs "
                      "(1,2 or 0-3 or 2,).",
                      TEXT_ARGS(setting->value.text));
        break;
    case CPUS_NONE:
        config_report(setting->errors, setting->value.position, "bad-cpus",
                      "A guest has at least one CPU; write 1, or `cpus = 0,` (with the comma) for host CPU 0.");
        break;
    case CPUS_TWICE:
        config_report(setting->errors, setting->value.position, "cpu-twice",
                      "The list \"%.*s\" names a CPU twice; each virtual CPU needs a CPU of its own.",
                      TEXT_ARGS(setting->value.text));
        break;
    case CPUS_TOO_MANY:
        config_report(setting->errors, setting->value.position, "too-many-cpus",
                      "A guest has at most %u CPUs; ask for fewer.", CONFIG_GUEST_CPUS_MAX);
        break;
    }
    /* One CPU anywhere, so that later rules do not complain about what was never said. */
    config_value_cpus(text_of("1"), setting->guest);
}

static void read_console(const struct setting *setting)
{
    uint32_t number = 0;

    if (read_choice(setting, &number)) {
        setting->guest->console = number != 0;
        setting->guest->console_virtio = number == CONSOLE_VIRTIO;
    }
}

static void read_outputs(const struct setting *setting)
{
    uint32_t number = 0;

    if (read_choice(setting, &number)) {
        setting->config->console_serial = (number & OUTPUT_SERIAL) != 0;
        setting->config->console_screen = (number & OUTPUT_SCREEN) != 0;
    }
}

/* A range of the machine. */
static void read_direct(const struct setting *setting)
{
    if (setting->key->kind == KIND_PORTS) {
        config_read_ports(setting->value, setting->guest, setting->errors);
    } else {
        config_read_mmio(setting->value, setting->guest, setting->errors);
    }
}

/* Two kinds of words. */
static void read_word(const struct setting *setting)
{
    uint32_t number = 0;
    bool flag;

    if (!read_choice(setting, &number)) {
        return;
    }
    if (setting->key->kind == KIND_CHOICE) {
        memcpy(target_of(setting), &number, sizeof(number));
    } else {
        flag = number != 0;
        memcpy(target_of(setting), &flag, sizeof(flag));
    }
}

static void read_value(const struct setting *setting)
{
    switch ((enum value_kind)setting->key->kind) {
    case KIND_CHOICE:
    case KIND_FLAG:
        read_word(setting);
        break;
    case KIND_CONSOLE:
        read_console(setting);
        break;
    case KIND_SIZE:
        read_size(setting, "bad-size", "a size; write a number with K, M or G behind it (512M, 1.5G), or plain bytes",
                  UINT64_MAX);
        break;
    case KIND_ADDRESS:
        read_size(setting, "bad-address", "an address; write it with 0x in front (0x7c00), or like a size (1M)",
                  UINT64_MAX);
        break;
    case KIND_PLACE:
        read_size(setting, "bad-address", "an address; write it with 0x in front (0x140000000), or like a size (5G)",
                  UINT64_MAX);
        check_place_read(setting);
        break;
    case KIND_NUMBER:
        read_size(setting, "bad-number", "a number up to 0xffffffff; write digits, or 0x and hexadecimal digits (0x10)",
                  NUMBER_MAX);
        break;
    case KIND_DURATION:
        read_duration(setting, setting->value, &slices, target_of(setting));
        break;
    case KIND_PATIENCE:
        read_duration(setting, setting->value, &stop_times, target_of(setting));
        break;
    case KIND_WATCHDOG:
        read_watchdog(setting);
        break;
    case KIND_PATH:
        read_path(setting);
        break;
    case KIND_TEXT:
        read_text(setting);
        break;
    case KIND_CPUS:
        read_cpus(setting);
        break;
    case KIND_MODULE:
        read_module(setting);
        break;
    case KIND_DISK:
        read_disk(setting);
        break;
    case KIND_NET:
    case KIND_SHARED:
    case KIND_PCI:
        read_named(setting);
        break;
    case KIND_PORTS:
    case KIND_MMIO:
        read_direct(setting);
        break;
    case KIND_OUTPUTS:
        read_outputs(setting);
        break;
    case KIND_RTC:
        read_rtc(setting);
        break;
    }
}

static const struct key *key_of(enum config_section section, struct text name)
{
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        if (keys[i].section == section && config_text_alike(name, keys[i].name)) {
            return &keys[i];
        }
    }
    return NULL;
}

/* The key that the file probably means by this, or NULL. */
static const struct key *meant_by(enum config_section section, struct text name)
{
    const struct key *nearest = NULL;
    uint32_t least = (uint32_t)min_u64(max_u64(name.length / SUGGEST_LETTERS, 1), SUGGEST_MAX) + 1;

    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        uint32_t distance = config_text_distance(name, keys[i].name);

        if (keys[i].section != section) {
            continue;
        }
        if (keys[i].elsewhere != NULL && config_text_one_of(name, keys[i].elsewhere)) {
            return &keys[i];
        }
        if (distance < least && distance < name.length) {
            least = distance;
            nearest = &keys[i];
        }
    }
    return nearest;
}

/* There is nothing near: all keys of the section, once in a file. */
static void report_no_key(enum config_section section, struct config_piece name, struct config_told *told,
                          struct config_errors *errors)
{
    uint32_t *line = &told->keys[section];
    char list[SENTENCE_LIST_MAX];
    size_t used = 0;

    if (*line != 0) {
        config_report(errors, name.position, "unknown-key",
                      "There is no key `%.*s`, either; take it out. Line %u lists the keys.",
                      (int)min_u64(name.text.length, SHOWN_KEY_MAX), name.text.start, *line);
        return;
    }
    *line = name.position.line;
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        if (keys[i].section == section) {
            used += text_copy(text_of(used == 0 ? "" : " "), list + used, sizeof(list) - used);
            used += text_copy(text_of(keys[i].name), list + used, sizeof(list) - used);
        }
    }
    config_report(errors, name.position, "unknown-key", "There is no key `%.*s`; take it out. There are: %s.",
                  (int)min_u64(name.text.length, SHOWN_KEY_MAX), name.text.start, list);
}

/* Another program's word, with what to do; once in a file. False: it is unknown, too. */
static bool report_foreign(struct config_piece name, struct config_told *told, struct config_errors *errors)
{
    uint32_t index = 0;
    const char *sentence = config_word_elsewhere(name.text, &index);

    if (sentence == NULL) {
        return false;
    }
    if (told->foreign[index] != 0) {
        config_report(errors, name.position, "unknown-key", "`%.*s`: as line %u says.", TEXT_ARGS(name.text),
                      told->foreign[index]);
        return true;
    }
    told->foreign[index] = name.position.line;
    config_report(errors, name.position, "unknown-key", "`%.*s`: %s", TEXT_ARGS(name.text), sentence);
    return true;
}

static void report_unknown(enum config_section section, struct config_piece name, struct config_seen *seen,
                           struct config_errors *errors)
{
    static const char *const titles[] = {[SECTION_HYPERVISOR] = "[hypervisor]",
                                         [SECTION_GUEST] = "a [guest NAME] section",
                                         [SECTION_NETWORK] = "a [network NAME] section",
                                         [SECTION_SHARED] = "a [shared NAME] section"};
    const struct key *other = NULL;
    const struct key *meant;

    for (unsigned i = SECTION_HYPERVISOR; i <= SECTION_SHARED && other == NULL; i++) {
        other = key_of((enum config_section)i, name.text);
    }
    if (other != NULL) {
        config_report(errors, name.position, "unknown-key", "`%.*s` belongs into %s; move the line there.",
                      TEXT_ARGS(name.text), titles[other->section]);
        return;
    }
    meant = meant_by(section, name.text);
    /* A key's name elsewhere comes first, then a word of other programs, then a key that is written much like this. */
    if ((meant == NULL || meant->elsewhere == NULL || !config_text_one_of(name.text, meant->elsewhere)) &&
        report_foreign(name, &seen->told, errors)) {
        return;
    }
    if (meant != NULL) {
        seen->kernel_meant = seen->kernel_meant || meant->kind == KIND_PATH;
        config_report(errors, name.position, "unknown-key", "There is no key `%.*s`; did you mean `%s`?",
                      TEXT_ARGS(name.text), meant->name);
    } else {
        report_no_key(section, name, &seen->told, errors);
    }
}

bool config_key_begins(enum config_section section, struct config_piece line, struct config_seen *seen,
                       struct text *name)
{
    size_t length = 0;
    const struct key *key;

    while (length < line.text.length && ((line.text.start[length] | 0x20) >= 'a' || line.text.start[length] == '-') &&
           (line.text.start[length] | 0x20) <= 'z') {
        length++;
    }
    *name = (struct text){line.text.start, length};
    key = key_of(section, *name);
    seen->kernel_meant = seen->kernel_meant || (key != NULL && key->kind == KIND_PATH);
    return key != NULL;
}

/* What separates settings elsewhere. In a value that is no text it is a second setting or another file's comment. */
static bool has_separator(struct text value, size_t *at)
{
    for (*at = 0; *at < value.length; ++*at) {
        char c = value.start[*at];

        if (c == ';' || c == '=' || c == '/') {
            return true;
        }
    }
    return false;
}

/* The value begins with a quote that is none here: ' or one that a word processor makes. */
static bool has_foreign_quote(const struct setting *setting)
{
    static const char *const quotes[] = {"\xe2\x80\x98",
                                         "\xe2\x80\x99",
                                         "\xe2\x80\x9a",
                                         "\xe2\x80\x9c",
                                         "\xe2\x80\x9d",
                                         "\xe2\x80\x9e",
                                         "\xc2\xab",
                                         "`",
                                         "'"};
    struct text value = setting->value.text;

    for (size_t i = 0; i < ARRAY_COUNT(quotes); i++) {
        struct text quote = text_of(quotes[i]);

        if (value.length > quote.length && text_equal((struct text){value.start, quote.length}, quote)) {
            config_report(setting->errors, setting->value.position, "bad-quote",
                          "The value of `%s` begins with a quote that is none here; write plain double quotes (\"), or "
                          "none.",
                          setting->key->name);
            return true;
        }
    }
    return false;
}

/* Values that are not texts: a pair of quotes is taken off, and nothing else stands behind them. */
static bool take_plain(struct setting *setting)
{
    struct text value = setting->value.text;
    size_t at;

    if (!config_unquote(&setting->value)) {
        config_report(setting->errors, setting->value.position, "bad-quote",
                      "The quotes around the value of `%s` do not match; close them or take them off.",
                      setting->key->name);
        return false;
    }
    if (has_separator(value, &at)) {
        value = (struct text){value.start + at, value.length - at};
        config_report(setting->errors, setting->value.position, "bad-value",
                      "\"%.*s\" is no part of the value of `%s`; a line holds one `key = value`, and comments start "
                      "with #.",
                      TEXT_ARGS(value), setting->key->name);
        return false;
    }
    return true;
}

static bool is_repeatable(const struct key *key)
{
    return key->kind == KIND_MODULE || key->kind == KIND_DISK || key->kind == KIND_NET || key->kind == KIND_SHARED ||
           key->kind == KIND_PCI || key->kind == KIND_PORTS || key->kind == KIND_MMIO;
}

void config_key_read(enum config_section section, const struct config_line *line, struct config_seen *seen,
                     struct config *config, void *target, struct config_errors *errors)
{
    const struct key *key = key_of(section, line->name.text);
    /* As a guest it is used by the rows of SECTION_GUEST only. */
    struct setting setting = {key, line->value, config, target, target, errors};
    struct config_position *first;

    if (key == NULL) {
        report_unknown(section, line->name, seen, errors);
        return;
    }
    first = &seen->keys[key - keys];
    if (first->line != 0 && !is_repeatable(key)) {
        config_report(errors, line->name.position, "duplicate-key",
                      "`%s` was already written in line %u; take one of the two out.", key->name, first->line);
        return;
    }
    *first = line->value.position;
    if (key->position_offset != NO_POSITION) {
        memcpy((uint8_t *)target + key->position_offset, &line->value.position, sizeof(line->value.position));
    }
    if (line->value.text.length == 0 && key->kind != KIND_TEXT) {
        config_report(errors, line->value.position, "empty-value",
                      "`%s` has no value; write one behind the =, or take the line out.", key->name);
        return;
    }
    if (has_foreign_quote(&setting)) {
        return;
    }
    if (key->kind != KIND_TEXT && key->kind != KIND_PATH && !is_repeatable(key) && !take_plain(&setting)) {
        return;
    }
    read_value(&setting);
}

bool config_key_was_seen(const struct config_seen *seen, const char *name, struct config_position *position)
{
    const struct key *key = key_of(SECTION_GUEST, text_of(name));

    if (key == NULL || seen->keys[key - keys].line == 0) {
        return false;
    }
    *position = seen->keys[key - keys];
    return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * The config's promises: what a user writes is understood or named with its place; every rule of the manual has an
 * example that breaks it and one that keeps it, and both are run here.
 */
#include "config/config_internal.h"
#include "config/parse.h"
#include "tools/config_manual.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/base/format.h"
static struct config config;
static struct config_errors errors;

static bool parse(const char *text)
{
    return config_parse(text_of(text), &config, &errors);
}

/* As the manual lists them. */
static const struct config_pci_function manual_functions[] = {
    {0, 0x00, 0x02, 0, 0x8086, 0x3e92, 0x030000, CONFIG_PCI_NO_GROUP, true, true, true, false, true, 0},
    {0, 0x00, 0x1c, 0, 0x8086, 0xa338, 0x060400, CONFIG_PCI_NO_GROUP, true, true, false, false, true, 0},
    {0, 0x00, 0x1f, 3, 0x8086, 0xa348, 0x040300, 3, true, true, false, false, true, 0},
    {0, 0x00, 0x1f, 6, 0x8086, 0x15bb, 0x020000, 3, true, true, false, false, true, 0},
    {0, 0x01, 0x00, 0, 0x144d, 0xa808, 0x010802, CONFIG_PCI_NO_GROUP, true, true, false, false, true, 4},
    {0, 0x02, 0x00, 0, 0x8086, 0x10d3, 0x020000, CONFIG_PCI_NO_GROUP, true, true, false, false, true, 0},
    {0, 0x03, 0x00, 0, 0x10ec, 0x8139, 0x020000, CONFIG_PCI_NO_GROUP, true, false, false, false, true, 0},
};

/* Parses and, for the example of a machine rule, checks against a machine of so many CPUs and 4 GiB. */
static bool verdict(const char *text, unsigned cpus)
{
    struct config_machine machine = {.cpu_count = cpus & MANUAL_CPUS,
                                     .memory_bytes = 4 * GIB,
                                     .cores_known = (cpus & MANUAL_THREADS) != 0,
                                     .kinds_known = (cpus & MANUAL_LITTLE_CORES) != 0,
                                     .kinds = {CPU_KIND_EFFICIENT},
                                     .no_nested_paging = (cpus & MANUAL_NO_NESTED_PAGING) != 0,
                                     .pci = manual_functions,
                                     .pci_count = ARRAY_COUNT(manual_functions),
                                     .pci_known = (cpus & MANUAL_PCI) != 0,
                                     .has_iommu = (cpus & MANUAL_NO_IOMMU) == 0,
                                     .devices_known = (cpus & MANUAL_NO_COM2) != 0};

    for (uint32_t cpu = 0; cpu < machine.cpu_count; cpu++) {
        machine.cores[cpu] = cpu & ~1u;
    }
    return parse(text) && (cpus == 0 || config_check_machine(&config, &machine, &errors));
}

static void expect_error(uint32_t index, const char *rule, uint32_t line, uint32_t column)
{
    assert_true(index < errors.count);
    assert_string_equal(errors.list[index].rule, rule);
    assert_int_equal(errors.list[index].position.line, line);
    assert_int_equal(errors.list[index].position.column, column);
}

static void expect_text(struct text text, const char *expected)
{
    char buffer[256];

    text_copy(text, buffer, sizeof(buffer));
    assert_string_equal(buffer, expected);
}

static void every_rule_of_the_manual_is_broken_and_kept_by_its_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(manual_rules); i++) {
        const struct manual_rule *rule = &manual_rules[i];

        assert_false(verdict(rule->wrong, rule->cpus));
        if (errors.count != 1) {
            print_message("%s: %u errors, the first %s\n", rule->name, errors.count, errors.list[0].rule);
        }
        assert_int_equal(errors.count, 1);
        assert_string_equal(errors.list[0].rule, rule->name);
        assert_true(strlen(errors.list[0].sentence) > 20);
        if (!verdict(rule->right, rule->cpus)) {
            print_message("%s: %s\n", rule->name, errors.list[0].sentence);
        }
        assert_int_equal(errors.count, 0);
    }
}

static void shared_memory_needs_nested_paging(void **state)
{
    static const char shared[] = "[shared s]\nsize = 1M\n[guest a]\nkernel = k\nshared = s\n";
    static const char shadow[] = "[shared s]\nsize = 1M\n[guest a]\nkernel = k\nshared = s\npaging = shadow\n";

    (void)state;
    assert_true(verdict(shared, 1));
    assert_false(verdict(shared, 1 | MANUAL_NO_NESTED_PAGING));
    expect_error(0, "no-such-paging", 3, 8);
    assert_false(verdict(shadow, 1));
    expect_error(0, "no-such-paging", 6, 10);
}

/* What a machine says of itself is as good as the tables that hold on every PC. */
static void devices_of_a_machine_are_given_where_they_are_free(void **state)
{
    static struct memory_map map = {
        {{MIB, GIB, MEMORY_FREE}, {GIB, GIB + MIB, MEMORY_RESERVED}, {0xfed40000, 0xfed45000, MEMORY_RESERVED}}, 3};
    static const struct {
        const char *line, *rule, *piece;
    } rows[] = {
        {"ports = 0x378-0x37f", NULL, NULL},
        {"ports = 0x1800", "ports-taken", "ACPI's power management"},
        {"ports = 0x1880", NULL, NULL},
        {"mmio = 0xfed40000 20K", NULL, NULL},
        {"mmio = 0xfed44000 8K", NULL, NULL},
        {"mmio = 0x30000000 4K", "mmio-taken", "there is memory (RAM)"},
        {"mmio = 0x40000000 4K", "mmio-taken", "memory that the firmware keeps"},
        {"mmio = 0x40100000 4K", NULL, NULL},
        {"mmio = 0xfec10000 4K 0xf8000000", "mmio-taken", "an I/O APIC"},
        {"mmio = 0x80000000 4K", "mmio-taken", "`framebuffer = yes` gives it"},
        {"serial = com2", "no-such-device", "no serial port answers"},
        {"framebuffer = yes", NULL, NULL},
        {"keyboard = ps2", "no-such-device", "that it has no 8042 controller"},
        {"keyboard = no", NULL, NULL},
    };
    struct config_machine machine = {
        .cpu_count = 1, .memory_bytes = GIB, .map = &map, .devices_known = true, .keyboard_known = true};
    char text[128];

    (void)state;
    machine.screen = (struct config_screen){0x80000000, 0x300000};
    machine.taken[0] = (struct config_taken){TAKEN_PM, true, 0x1800, 0x1880};
    machine.taken[1] = (struct config_taken){TAKEN_IOAPIC, false, 0xfec10000, 0xfec11000};
    machine.taken[2] = (struct config_taken){TAKEN_SCREEN, false, 0x80000000, 0x80300000};
    machine.taken_count = 3;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        snprintf(text, sizeof(text), "[guest a]\nkernel = k\nmemory = 16M\n%s\n", rows[i].line);
        assert_true(parse(text));
        assert_int_equal(config_check_machine(&config, &machine, &errors), rows[i].rule == NULL);
        assert_int_equal(errors.count, rows[i].rule != NULL);
        if (rows[i].rule != NULL) {
            assert_string_equal(errors.list[0].rule, rows[i].rule);
            assert_non_null(strstr(errors.list[0].sentence, rows[i].piece));
        }
    }
    machine.has_com2 = true;
    machine.has_keyboard = true;
    assert_true(parse("[guest a]\nkernel = k\nkeyboard = ps2\n") && config_check_machine(&config, &machine, &errors));
    assert_ptr_equal(config_keyboard_guest(&config), &config.guests[0]);
    machine.screen.bytes = 0;
    assert_true(parse("[guest a]\nkernel = k\nserial = com2\n") && config_check_machine(&config, &machine, &errors));
    assert_true(parse("[guest a]\nkernel = k\nframebuffer = yes\n"));
    assert_false(config_check_machine(&config, &machine, &errors));
    expect_error(0, "no-such-device", 3, 15);
}

static void devices_of_the_machine_are_read(void **state)
{
    struct config_ports ports;

    (void)state;
    assert_true(parse("[guest a]\nkernel = k\nports = 0x378 - 0x37f\nports = 640\nserial = COM2\n"
                      "mmio = 0xfed40000 4K\nmmio = 0x90000000 1M 0xf8000000\nframebuffer = yes\n"));
    assert_int_equal(config.guests[0].ports_count, 2);
    assert_true(config_guest_ports(&config.guests[0], 0, &ports) && ports.first == 0x378 && ports.last == 0x37f);
    assert_true(config_guest_ports(&config.guests[0], 1, &ports) && ports.first == 640 && ports.last == 640);
    assert_true(config_guest_ports(&config.guests[0], 2, &ports) && ports.first == 0x2f8 && ports.last == 0x2ff);
    assert_false(config_guest_ports(&config.guests[0], 3, &ports));
    assert_true(config_ports_given(&config, 0x2ff, 0x300));
    assert_false(config_ports_given(&config, 0x300, 0x377));
    assert_int_equal(config.guests[0].mmio[0].guest_start, 0xfed40000);
    assert_int_equal(config.guests[0].mmio[1].bytes, MIB);
    assert_int_equal(config.guests[0].mmio[1].guest_start, 0xf8000000);
    assert_ptr_equal(config_framebuffer_guest(&config), &config.guests[0]);
}

static void every_key_of_the_manual_exists(void **state)
{
    char text[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(manual_keys); i++) {
        bool named = strcmp(manual_keys[i].section, "hypervisor") != 0;

        snprintf(text, sizeof(text), "[%s%s]\n%s =\n", manual_keys[i].section, named ? " g" : "", manual_keys[i].name);
        parse(text);
        for (uint32_t e = 0; e < errors.count; e++) {
            assert_string_not_equal(errors.list[e].rule, "unknown-key");
        }
    }
}

static void defaults_are_those_of_the_manual(void **state)
{
    (void)state;
    assert_true(parse("[guest a]\nkernel = vmlinuz\n"));
    assert_int_equal(config.guest_count, 1);
    assert_int_equal(config.guests[0].memory_bytes, 256 * MIB);
    assert_int_equal(config.guests[0].cpu_count, 1);
    assert_int_equal(config.guests[0].cpus[0], CONFIG_CPU_ANY);
    assert_int_equal(config.guests[0].protocol, PROTOCOL_AUTO);
    assert_int_equal(config.guests[0].on_stop, ACTION_STAY);
    assert_int_equal(config.guests[0].on_crash, ACTION_STAY);
    assert_int_equal(config.guests[0].on_reset, ACTION_RESTART);
    assert_int_equal(config.guests[0].stop_us, 30000000);
    assert_int_equal(config.guests[0].load_address, MIB);
    assert_int_equal(config.guests[0].entry_address, MIB);
    assert_int_equal(config.guests[0].mode, MODE_PROTECTED32);
    assert_int_equal(config.guests[0].slice_us, 0);
    assert_int_equal(config.guests[0].watchdog, WATCHDOG_OFF);
    assert_true(config.guests[0].console && !config.guests[0].debug_ports && config.guests[0].virtual_apic);
    assert_true(config.guests[0].share_idle);
    assert_int_equal(config.guests[0].ticks, TICKS_ALL);
    assert_false(config.guests[0].com2);
    assert_int_equal(config.guests[0].memory_position.line, 0);
    assert_int_equal(config.when_all_stopped, FINAL_POWEROFF);
    assert_true(config.console_serial && config.console_screen && !config.log_debug);
}

static void disks_and_cards_keep_their_options(void **state)
{
    const struct config_guest *guest = &config.guests[0];
    static const uint8_t mac[] = {0x52, 0x54, 0, 0x12, 0x34, 0xab};

    (void)state;
    assert_true(parse("[guest a]\nkernel = k\ndisk = a.img\ndisk = \"my disk, old.img\" , ro\n"
                      "disk = c.img,keep=no,changes=64M\ndisk = d.img, keep=restart\n"
                      "net = lan\nnet = dmz,mac=52:54:00:12:34:AB\nnet = lan\n"
                      "[guest b]\nkernel = k\nnet = dmz\nnet = lan\n"));
    assert_int_equal(guest->disk_count, 4);
    expect_text(guest->disks[0].path, "a.img");
    assert_false(guest->disks[0].read_only || guest->disks[0].forget);
    expect_text(guest->disks[1].path, "my disk, old.img");
    assert_true(guest->disks[1].read_only);
    assert_true(guest->disks[2].forget);
    assert_int_equal(guest->disks[2].changes_bytes, 64 * MIB);
    assert_false(guest->disks[3].forget);
    assert_int_equal(guest->net_count, 3);
    expect_text(guest->nets[1].network, "dmz");
    assert_memory_equal(guest->nets[1].mac, mac, sizeof(mac));
    assert_int_equal(guest->nets[0].mac[0] & 3, 2); /* locally administered, of one card */
    assert_memory_not_equal(guest->nets[0].mac, guest->nets[2].mac, sizeof(mac));
    assert_memory_not_equal(guest->nets[0].mac, config.guests[1].nets[1].mac, sizeof(mac));
    assert_int_equal(config_network_index(&config, text_of("lan")), 0);
    assert_int_equal(config_network_index(&config, text_of("dmz")), 1);
    assert_int_equal(config_network_index(&config, text_of("wan")), 2);
}

static void networks_and_shared_memory_have_sections(void **state)
{
    (void)state;
    assert_true(parse("[network lan]\nisolated = yes\nrouter = gate\nmtu = 9000\n[shared \"board\"]\nsize = 16M\n"
                      "[guest gate]\nkernel = k\nnet = lan\nshared = board\n"
                      "[guest b]\nkernel = k\nnet = lan\nshared = board , ro\n[shared log]\nsize=4K\n"
                      "[guest c]\nkernel = k\nshared = log\nshared = board\n"));
    assert_int_equal(config.network_section_count, 1);
    assert_true(config.networks[0].isolated);
    assert_int_equal(config.networks[0].mtu, 9000);
    expect_text(config.networks[0].router, "gate");
    assert_ptr_equal(config_network_named(&config, text_of("lan")), &config.networks[0]);
    assert_null(config_network_named(&config, text_of("LAN")));
    assert_int_equal(config.share_count, 2);
    assert_int_equal(config.shares[0].bytes, 16 * MIB);
    assert_ptr_equal(config_share_named(&config, text_of("log")), &config.shares[1]);
    assert_false(config.guests[0].shares[0].read_only);
    assert_true(config.guests[1].shares[0].read_only);
    assert_int_equal(config.guests[2].share_count, 2);
    assert_true(config.guests[2].memory_bytes == 256 * MIB && !config.guests[2].rng);
    assert_int_equal(config_share_pages(&config.shares[1]), 1);
    assert_int_equal(config_share_pages(&config.shares[0]), 16 * MIB / PAGE_BYTES + 511);
    assert_true(parse("[guest a]\nkernel = k\n")); /* nothing of the file before is left */
    assert_int_equal(config.network_section_count + config.share_count + config.network_count, 0);
}

static void a_virtio_console_and_random_numbers_are_asked_for_or_come_along(void **state)
{
    static const struct {
        const char *keys;
        bool console, console_virtio, rng;
    } cases[] = {
        {"", true, false, false},
        {"console = virtio\n", true, true, true},
        {"console = no\n", false, false, false},
        {"console = virtio\nrng = no\n", true, true, false},
        {"rng = yes\n", true, false, true},
        {"disk = a.img\n", true, false, true},
        {"net = lan\nconsole = serial\n", true, false, true},
        {"rng = no\nnet = lan\n", true, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char file[128];

        snprintf(file, sizeof(file), "[guest a]\nkernel = k\n%s", cases[i].keys);
        assert_true(parse(file));
        assert_int_equal(config.guests[0].console, cases[i].console);
        assert_int_equal(config.guests[0].console_virtio, cases[i].console_virtio);
        assert_int_equal(config.guests[0].rng, cases[i].rng);
    }
}

static void the_clock_has_a_zone(void **state)
{
    static const struct {
        const char *value;
        enum config_rtc rtc;
        int32_t east;
    } rows[] = {
        {"utc", RTC_UTC, 0},
        {"Local", RTC_LOCAL, 0},
        {"local +1", RTC_LOCAL_ZONE, 60},
        {"local +05:30", RTC_LOCAL_ZONE, 330},
        {"local -8", RTC_LOCAL_ZONE, -480},
        {"local -3:30", RTC_LOCAL_ZONE, -210},
        {"local +14:00", RTC_LOCAL_ZONE, 840},
        {"local +0", RTC_LOCAL_ZONE, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char file[80];

        format_text(file, sizeof(file), "[hypervisor]\nrtc = %s\n[guest a]\nkernel = k\n", rows[i].value);
        assert_true(parse(file));
        assert_int_equal(config.rtc, rows[i].rtc);
        assert_int_equal(config.rtc_east_minutes, rows[i].east);
    }
}

static void every_key_reaches_its_field(void **state)
{
    const struct config_guest *guest = &config.guests[0];

    (void)state;
    assert_true(
        parse("[hypervisor]\nconsole = serial\nlog = debug\nwhen-all-stopped = halt\n"
              "[guest flat]\nkernel = a/b\nmemory = 1.5G\ncpus = 3,1\nprotocol = flat\ninitrd = i1\n"
              "module = m1 some arguments\ninitrd = \"i 2\"\nmodule = \"m 2\" \"quoted # args\"\ncmdline = x=y\n"
              "console = none\non-stop = restart\non-crash = poweroff\ndebug-ports = yes\ndebug-exit-ok = 0x10\n"
              "on-reset = crash\nstop-time = 90s\n"
              "slice = 5ms\nvirtual-apic = no\nshare-idle = no\nwatchdog = Halt 30 s\nticks = merge\ncom2 = yes\n"
              "hpet = yes\nload-address = 0x7c00\nentry = 0x7c10\nmode = 16\n"));
    assert_true(config.console_serial && !config.console_screen && config.log_debug);
    assert_int_equal(config.when_all_stopped, FINAL_HALT);
    expect_text(guest->name, "flat");
    expect_text(guest->kernel, "a/b");
    assert_int_equal(guest->memory_bytes, 1536 * MIB);
    assert_int_equal(guest->cpu_count, 2);
    assert_true(guest->cpus[0] == 3 && guest->cpus[1] == 1);
    assert_int_equal(guest->protocol, PROTOCOL_FLAT);
    assert_int_equal(guest->module_count, 4);
    expect_text(guest->modules[0].path, "i1");
    expect_text(guest->modules[1].path, "m1");
    expect_text(guest->modules[1].arguments, "some arguments");
    expect_text(guest->modules[2].path, "i 2");
    expect_text(guest->modules[3].path, "m 2");
    expect_text(guest->modules[3].arguments, "quoted # args");
    expect_text(guest->cmdline, "x=y");
    assert_true(guest->com2 && guest->hpet);
    assert_true(!guest->console && guest->debug_ports && !guest->virtual_apic && !guest->share_idle);
    assert_int_equal(guest->debug_exit_ok, 0x10);
    assert_int_equal(guest->ticks, TICKS_MERGE);
    assert_true(guest->com2);
    assert_int_equal(guest->on_stop, ACTION_RESTART);
    assert_int_equal(guest->on_crash, ACTION_POWEROFF);
    assert_int_equal(guest->on_reset, ACTION_CRASH);
    assert_int_equal(guest->stop_us, 90000000);
    assert_int_equal(guest->slice_us, 5000);
    assert_int_equal(guest->watchdog, WATCHDOG_HALT);
    assert_int_equal(guest->watchdog_us, 30000000);
    assert_int_equal(guest->load_address, 0x7c00);
    assert_int_equal(guest->entry_address, 0x7c10);
    assert_int_equal(guest->mode, MODE_REAL16);
    assert_int_equal(guest->cpus_position.line, 8);
    assert_int_equal(guest->cpus_position.column, 8);
}

static void line_ends_marks_tabs_and_comments_are_forgiven(void **state)
{
    static const char *const files[] = {
        "[guest a]\nkernel = k # c\nmemory=1G",
        "[guest a]\r\nkernel = k\r\nmemory = 1G\r\n",
        "[guest a]\rkernel = k\rmemory = 1G\r",
        "\xef\xbb\xbf# first\n\n \t[ GUEST  a ] # second\n\tKernel\t=\tk\t# third\n\t\n  MEMORY = \"1G\"  ",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        assert_true(parse(files[i]));
        expect_text(config.guests[0].name, "a");
        expect_text(config.guests[0].kernel, "k");
        assert_int_equal(config.guests[0].memory_bytes, GIB);
    }
}

static void command_lines_keep_what_they_hold(void **state)
{
    static const struct {
        const char *written;
        const char *meant;
    } lines[] = {
        {"console=ttyS0 root=/dev/vda", "console=ttyS0 root=/dev/vda"},
        {"\"a # b = c\" # comment", "a # b = c"},
        {"a=#b # comment", "a=#b"},
        {"dyndbg=\"file x # y +p\" quiet", "dyndbg=\"file x # y +p\" quiet"},
        {"", ""},
        {"\"\"", ""},
        {"\" blank kept \"", " blank kept "},
    };
    char text[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        snprintf(text, sizeof(text), "[guest a]\nkernel = k\ncmdline = %s\n", lines[i].written);
        assert_true(parse(text));
        expect_text(config.guests[0].cmdline, lines[i].meant);
    }
}

static void several_errors_are_told_at_once_in_file_order(void **state)
{
    (void)state;
    assert_false(parse("[guest a]\nmemroy = 1G\nmemory = many\n[guest b]\nkernel = k\ncpus = 0-\nfoo\n[guset c]\n"
                       "kernel = k\n"));
    assert_int_equal(errors.count, 6);
    expect_error(0, "missing-kernel", 1, 8);
    expect_error(1, "unknown-key", 2, 1);
    assert_non_null(strstr(errors.list[1].sentence, "`memory`"));
    expect_error(2, "bad-size", 3, 10);
    expect_error(3, "bad-cpus", 6, 8);
    expect_error(4, "bad-line", 7, 1);
    expect_error(5, "unknown-section", 8, 2);
}

/* One mistake each, with the place that must be named. */
static const struct {
    const char *text;
    const char *rule;
    uint32_t line, column;
} mistakes[] = {
    {"\xff\xfe[", "bad-character", 1, 1},
    {"\xfe\xff[", "bad-character", 1, 1},
    {"[guest a]\r\nkernel = k\r\nx\x7f", "bad-character", 3, 2},
    {"[guest a]\rkernel\x01", "bad-character", 2, 7},
    {"[guest a\nkernel = k\n", "bad-line", 1, 1},
    {"[guest a]\nkernel = k\n= 3\n", "bad-line", 3, 1},
    {"[guest ]\nkernel = k\n", "bad-name", 1, 7},
    {"[guest -a]\nkernel = k\n", "bad-name", 1, 8},
    {"[guest abcdefghijklmnop]\nkernel = k\n", "bad-name", 1, 8},
    {"[hypervisor x]\n[guest a]\nkernel = k\n", "unknown-section", 1, 13},
    {"[]\n[guest a]\nkernel = k\n", "unknown-section", 1, 2},
    {"[\"guest]\n[guest b]\nkernel = k\n", "unknown-section", 1, 2},
    {"[guest a]\nkernel = k\nlog = debug\n", "unknown-key", 3, 1},
    {"[hypervisor]\nmemory = 1G\n[guest a]\nkernel = k\n", "unknown-key", 2, 1},
    {"[guest a]\nkernel = k\na-key-that-is-far-longer-than-any = 1\n", "unknown-key", 3, 1},
    {"[guest a]\nkernel = \"k\n", "bad-quote", 2, 10},
    {"[guest a]\nkernel = k\nmodule = m \"x\" y\n", "bad-quote", 3, 12},
    {"[guest a]\nkernel = k\nmemory = \"1G\n", "bad-quote", 3, 10},
    {"[guest a]\nkernel = k\ncmdline = \"\n", "bad-quote", 3, 11},
    {"[guest a]\nkernel = a:b\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = a\tb\n", "bad-path", 2, 12},
    {"[guest a]\nkernel = ../\\.\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = k\ninitrd = i arguments\n", "bad-path", 3, 12},
    {"[guest a]\nkernel = k\nmodule = a|b\n", "bad-path", 3, 10},
    {"[guest a]\nkernel = hello.\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = a./hello\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = ...\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = \"hello \"\n", "bad-path", 2, 11},
    {"[guest a]\nkernel = \" hello\"\n", "bad-path", 2, 11},
    {"[guest a]\nkernel = \"a /hello\"\n", "bad-path", 2, 11},
    {"[guest a]\nkernel = hello/\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = hello/.\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = CON\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = nul.elf\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = lpt9/hello\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = Plinth.conf\n", "bad-path", 2, 10},
    {"[guest a]\nkernel = k\nmodule = ../machine.txt\n", "bad-path", 3, 10},
    {"[guest a]\nkernel = k\nslice = 99us\n", "bad-duration", 3, 9},
    {"[guest a]\nkernel = k\nslice = 1001 ms\n", "bad-duration", 3, 9},
    {"[guest a]\nkernel = k\nslice = ms\n", "bad-duration", 3, 9},
    {"[guest a]\nkernel = k\nstop-time = 99ms\n", "bad-duration", 3, 13},
    {"[guest a]\nkernel = k\non-reset = ignore\n", "bad-value", 3, 12},
    {"[guest a]\nkernel = k\non-stop = crash\n", "bad-value", 3, 11},
    {"[guest a]\nkernel = k\nslice = 5000000000us\n", "bad-duration", 3, 9},
    {"[hypervisor]\nrtc = gmt\n[guest a]\nkernel = k\n", "bad-value", 2, 7},
    {"[hypervisor]\nrtc = utc +1\n[guest a]\nkernel = k\n", "bad-zone", 2, 11},
    {"[hypervisor]\nrtc = local 1\n[guest a]\nkernel = k\n", "bad-zone", 2, 13},
    {"[hypervisor]\nrtc = local +15\n[guest a]\nkernel = k\n", "bad-zone", 2, 13},
    {"[hypervisor]\nrtc = local +14:01\n[guest a]\nkernel = k\n", "bad-zone", 2, 13},
    {"[hypervisor]\nrtc = local +1:60\n[guest a]\nkernel = k\n", "bad-zone", 2, 13},
    {"[hypervisor]\nrtc = local +1:\n[guest a]\nkernel = k\n", "bad-zone", 2, 13},
    {"[hypervisor]\nrtc = local -\n[guest a]\nkernel = k\n", "bad-zone", 2, 13},
    {"[guest a]\nkernel = k\nwatchdog = sleep 3s\n", "bad-value", 3, 12},
    {"[guest a]\nkernel = k\nwatchdog = halt\n", "bad-duration", 3, 16},
    {"[guest a]\nkernel = k\nwatchdog = halt 99ms\n", "bad-duration", 3, 17},
    {"[guest a]\nkernel = k\nwatchdog = halt 3601s\n", "bad-duration", 3, 17},
    {"[guest a]\nkernel = k\nwatchdog = \"halt 3s\n", "bad-quote", 3, 12},
    {"[guest a]\nkernel = k\nconsole = perhaps\n", "bad-value", 3, 11},
    {"[hypervisor]\nconsole = paper\n[guest a]\nkernel = k\n", "bad-value", 2, 11},
    {"[guest a]\nkernel = k\nmemory = 65T\n", "bad-memory", 3, 10},
    {"[guest a]\nkernel = k\nmemory = 2000001\n", "bad-memory", 3, 10},
    {"[guest a]\nkernel = k\nprotocol = flat\nmemory = 2M\nload-address = 2M\n", "bad-address", 5, 16},
    {"[guest a]\nkernel = k\nprotocol = flat\nentry = 4G\n", "bad-address", 4, 9},
    {"[guest a]\nkernel = k\ncpus = 0-2\n[guest b]\nkernel = k\ncpus = 3,2\nslice = 5ms\n", "cpu-two-owners", 6, 8},
};

#define A "[guest a]\nkernel = k\n"

/* As users of other programs write it, and a part of the sentence that they get. */
static const struct {
    const char *text;
    const char *rule;
    uint32_t line, column;
    const char *says;
} habits[] = {
    {"[guest a]\nkernel: k\n", "bad-line", 2, 1, "write kernel = "},
    {"[guest a]\nkernel k\n", "bad-line", 2, 1, "`kernel` needs a ="},
    {A "memory 1G\n", "bad-line", 3, 1, "write memory = "},
    {A "memory\xef\xbc\x9d 1G\n", "bad-line", 3, 1, "write memory = "},
    {"; comment\n" A, "bad-line", 1, 1, "Comments start with #"},
    {"// comment\n" A, "bad-line", 1, 1, "Comments start with #"},
    {"guest a {\nkernel = k\n", "bad-line", 1, 1, "[guest linux]"},
    {"guest a]\nkernel = k\n", "bad-line", 1, 1, "in brackets"},
    {"hypervisor:\nlog = debug\n" A, "bad-line", 1, 1, "[hypervisor]"},
    {"[guest a] ; mine\nkernel = k\n", "bad-line", 1, 1, "# in front"},
    {"[guest a] kernel = k\n", "bad-line", 1, 1, "a line of its own"},
    {A "memory = 1G ; one\n", "bad-value", 3, 10, "comments start with #"},
    {A "memory = 1G // one\n", "bad-value", 3, 10, "\"// one\""},
    {A "memory = 1G, cpus = 2\n", "bad-value", 3, 10, "a line holds one"},
    {A "memory == 1G\n", "bad-value", 3, 9, "\"= 1G\""},
    {"[guest]\nkernel = k\n", "bad-name", 1, 7, "has no name"},
    {"[guest \"my linux\"]\nkernel = k\n", "bad-name", 1, 9, "\"my linux\""},
    {"[linux]\nkernel = k\n", "unknown-section", 1, 2, "[guest linux]"},
    {"[hypervizor]\nlog = info\n" A, "unknown-section", 1, 2, "did you mean [hypervisor]?"},
    {"[guest.a]\nkernel = k\n", "unknown-section", 1, 2, "a blank before the name"},
    {"[[guest]]\nname = a\n", "unknown-section", 1, 2, "[guest NAME]"},
    {"[guest a]\nkernal = k\n", "unknown-key", 2, 1, "did you mean `kernel`?"},
    {"[guest a]\nimage = k\n", "unknown-key", 2, 1, "did you mean `kernel`?"},
    {A "mem = 1G\n", "unknown-key", 3, 1, "did you mean `memory`?"},
    {A "RAM = 1G\n", "unknown-key", 3, 1, "did you mean `memory`?"},
    {A "vcpus = 2\n", "unknown-key", 3, 1, "did you mean `cpus`?"},
    {A "cores = 2\n", "unknown-key", 3, 1, "did you mean `cpus`?"},
    {A "append = quiet\n", "unknown-key", 3, 1, "did you mean `cmdline`?"},
    {A "command_line = quiet\n", "unknown-key", 3, 1, "did you mean `cmdline`?"},
    {A "initramfs = i\n", "unknown-key", 3, 1, "did you mean `initrd`?"},
    {A "type = linux\n", "unknown-key", 3, 1, "did you mean `protocol`?"},
    {A "onstop = stay\n", "unknown-key", 3, 1, "did you mean `on-stop`?"},
    {A "on crash = stay\n", "unknown-key", 3, 1, "did you mean `on-crash`?"},
    {A "\"memory\" = 1G\n", "unknown-key", 3, 1, "did you mean `memory`?"},
    {A "drive = a.img\n", "unknown-key", 3, 1, "did you mean `disk`?"},
    {A "nic = lan\n", "unknown-key", 3, 1, "did you mean `net`?"},
    {A "soundcard = yes\n", "unknown-key", 3, 1, "There are: kernel memory memory-at cpus "},
    {A "disk = a.img,rw\n", "bad-disk", 3, 14, "\"rw\" is no option"},
    {A "disk = a.img,keep=yes\n", "bad-disk", 3, 14, "`keep=no`"},
    {A "disk = a.img,changes=lots\n", "bad-disk", 3, 14, "`changes=64M`"},
    {A "disk = a.img,ro,keep=no\n", "bad-disk", 3, 8, "no changes to keep"},
    {A "disk = \"a.img\n", "bad-quote", 3, 8, "put one behind the path"},
    {A "disk = ,ro\n", "bad-path", 3, 8, "names no file"},
    {A "disk = c:\\a.img\n", "bad-path", 3, 8, "without a drive"},
    {A "net = my lan\n", "bad-network", 3, 7, "1 to 15 letters"},
    {A "net = lan,model=e1000\n", "bad-network", 3, 11, "`mac=52:54:00:12:34:56`"},
    {A "net = lan,mac=ff:ff:ff:ff:ff:ff\n", "bad-network", 3, 11, "not a group's"},
    {A "net = lan,mac=52:54:00:12:34\n", "bad-network", 3, 11, "52:54:00:12:34:56"},
    {A "net = lan,mac=00:00:00:00:00:00\n", "bad-network", 3, 11, "52:54:00:12:34:56"},
    {A "shared = m\n", "no-share", 3, 10, "[shared m]"},
    {A "shared = m,rw\n[shared m]\nsize = 4K\n", "bad-shared", 3, 12, "there is `ro`"},
    {A "shared = m\nshared = m\n[shared m]\nsize = 4K\n", "bad-shared", 4, 10, "line 3"},
    {A "ports = 0x378-0x37f\nports = 0x37f\n", "ports-two-owners", 4, 9, "line 3"},
    {A "ports = 0x37f-0x378\n", "bad-ports", 3, 9, "ports = 0x378-0x37f"},
    {A "ports = 0x10000\n", "bad-ports", 3, 9, "up to 0xffff"},
    {A "ports = 888-895 896\n", "bad-ports", 3, 9, "no range of ports"},
    {A "ports = 0x2f8-0x2ff\n", "ports-taken", 3, 9, "write `serial = com2`"},
    {A "ports = 0x3f0-0x3f8\n", "ports-taken", 3, 9, "COM1, where the hypervisor has its console"},
    {A "ports = 0xcf8\n", "ports-taken", 3, 9, "PCI's configuration space and the reset port"},
    {A "ports = 0x3f-0x50\n", "ports-taken", 3, 9, "the timer (8254)"},
    {A "ports = 0-0xffff\n", "ports-taken", 3, 9, "the DMA controller"},
    {A "serial = com2\n[guest b]\nkernel = k\nserial = com2\n", "ports-two-owners", 6, 10,
     "guest `a` already (line 3)"},
    {A "serial = com1\n", "bad-value", 3, 10, "com2, no"},
    {A "com2 = yes\nserial = com2\n", "two-com2", 4, 10, "take one out"},
    {A "mmio = 0xfed40000\n", "bad-mmio", 3, 8, "its address and size"},
    {A "mmio = 0xfed40010 4K\n", "bad-mmio", 3, 8, "pages of 4K"},
    {A "mmio = 0xfed40000 0\n", "bad-mmio", 3, 8, "pages of 4K"},
    {A "mmio = 0xfed40000 4K 0xfed41000 5\n", "bad-mmio", 3, 8, "no device's memory"},
    {A "mmio = 0xfee00000 4K 0xf8000000\n", "mmio-taken", 3, 8, "the local APICs"},
    {A "mmio = 0xfebff000 8K\n", "mmio-taken", 3, 8, "the I/O APIC"},
    {A "mmio = 0xfed00000 4K 0xf8000000\n", "mmio-taken", 3, 8, "the timer (HPET)"},
    {A "mmio = 0xd0000000 4K\n", "mmio-place", 3, 8, "the guest's PCI bus already"},
    {A "mmio = 0x800000 4K\n", "mmio-place", 3, 8, "the guest's own memory"},
    {A "mmio = 0x600000000 4K\n", "mmio-place", 3, 8, "own memory and PCI bus"},
    {A "mmio = 0xe0000000 4K 0xf8000000\nmmio = 0xe1000000 4K 0xf8000000\n", "mmio-place", 4, 8, "another `mmio` line"},
    {A "framebuffer = yes\nmmio = 0xfa000000 4K 0xf0000000\n", "mmio-place", 4, 8, "framebuffer"},
    {A "mmio = 0xfed40000 8K\n[guest b]\nkernel = k\nmmio = 0xfed41000 4K\n", "mmio-two-owners", 6, 8, "line 3"},
    {A "framebuffer = yes\n[guest b]\nkernel = k\nframebuffer = yes\n", "screen-two-owners", 6, 15, "line 3"},
    {A "keyboard = ps2\n[guest b]\nkernel = k\nkeyboard = ps2\n", "keyboard-two-owners", 6, 12, "line 3"},
    {A "keyboard = usb\n", "bad-value", 3, 12, "ps2, no"},
    {A "ps2 = yes\n", "unknown-key", 3, 1, "did you mean `keyboard`?"},
    {A "ports = 0x60-0x64\n", "ports-taken", 3, 9, "write `keyboard = ps2`"},
    {A "ports = 0x64\n", "ports-taken", 3, 9, "write `keyboard = ps2`"},
    {A "size = 4K\n", "unknown-key", 3, 1, "belongs into a [shared NAME] section"},
    {A "router = a\n", "unknown-key", 3, 1, "belongs into a [network NAME] section"},
    {A "ivshmem = m\n", "unknown-key", 3, 1, "did you mean `shared`?"},
    {A "shared = m\n[shared m]\nsize = 4K\nkernel = k\n", "unknown-key", 6, 1, "belongs into a [guest NAME] section"},
    {A "shared = m\n[shared m]\nsize = 0\n", "bad-share-size", 5, 8, "powers of two"},
    {A "shared = m\n[shared m]\nsize = 128M\n", "bad-share-size", 5, 8, "up to 64M"},
    {A "[shared]\nsize = 4K\n", "bad-name", 3, 8, "[shared one]"},
    {A "[network lan wan]\nmtu = 9000\n", "bad-name", 3, 10, "[network one]"},
    {A "net = lan\n[network lan]\n[network lan]\n", "duplicate-name", 5, 10, "line 4"},
    {A "net = lan\n[network wan]\n", "unused-section", 4, 10, "No guest is on network `wan`"},
    {A "net = lan\n[network lan]\nrouter = a\n", "isolated", 5, 10, "belong together"},
    {A "net = lan\n[network lan]\nisolated = yes\nrouter = b\n", "no-router", 6, 10, "no guest on network"},
    {A "net = lan\n[network lan]\nmtu = 500\n", "bad-mtu", 5, 7, "from 576"},
    {A "virtio = mmio\nconsole = virtio\ndisk = a\ndisk = b\ndisk = c\nnet = d\nnet = e\nnet = f\n", "too-many-mmio", 3,
     10, "at most 7"},
    {A "net = lan,mac=52:54:00:00:00:01\nnet = lan,mac=52-54-00-00-00-01\n", "mac-twice", 4, 7, "(line 3)"},
    {A "name = linux\n", "unknown-key", 3, 1, "`name`: a guest has a name alone, in its section's line: [guest NAME]"},
    {A "memory-at = 0\n", "bad-address", 3, 13, "the first 1M of the machine is its firmware's"},
    {A "cmdline = 'console=ttyS0'\n", "bad-quote", 3, 11, "plain double quotes"},
    {A "memory = \xe2\x80\x9c"
       "1G\xe2\x80\x9d\n",
     "bad-quote", 3, 10, "plain double quotes"},
    {A "disk = 'root.img'\n", "bad-quote", 3, 8, "plain double quotes"},
    {"<domain type='kvm'>\n<name>a</name>\n", "bad-line", 1, 1, "looks like XML, as of libvirt"},
    {"\n\n  {\n\"boot-source\": {\n", "bad-line", 3, 3, "looks like JSON, as of Firecracker"},
    {"---\nguests:\n  - kernel: k\n", "bad-line", 1, 1, "looks like YAML"},
    {"#include <jailhouse/types.h>\nstruct {\n", "bad-line", 1, 1, "looks like C, as of Jailhouse"},
    {"/* a config */\nstruct {\n", "bad-line", 1, 1, "looks like C"},
    {"[hypervisor]\nverbose = yes\n" A, "unknown-key", 2, 1,
     "There are: console log quiet-devices inventory quirks speculation allow-siblings rtc when-all-stopped."},
    {"[hypervisor]\nmemory = 64M\n" A, "unknown-key", 2, 1, "a [guest NAME] section"},
    {A "memory = 1,5G\n", "bad-size", 3, 10, "1.5G"},
    {A "memory = 2 gigs\n", "bad-size", 3, 10, "K, M or G"},
    {A "memory = 512\n", "bad-memory", 3, 10, "512 bytes of memory"},
    {A "memory = 1.3G\n", "bad-memory", 3, 10, "write 1363152K"},
    {A "memory = 65T\n", "bad-memory", 3, 10, "65 TiB"},
    {A "cpus = 0\n", "bad-cpus", 3, 8, "`cpus = 0,`"},
    {A "cpus = 0..3\n", "bad-cpus", 3, 8, "0-3"},
    {A "cpus = all\n", "bad-cpus", 3, 8, "a number of CPUs"},
    {A "cpus = 1;2\n", "bad-value", 3, 8, "\";2\""},
    {A "cpus = 0\xe2\x80\x93"
       "3\n",
     "bad-cpus", 3, 8, "0-3"},
    {"[guest a]\nkernel = C:\\plinth\\k\n", "bad-path", 2, 10, "without a drive"},
    {"[guest a]\nkernel = k\"\n", "bad-path", 2, 10, "double quotes"},
    {"[guest a]\nkernel = \xe2\x80\x9ck\xe2\x80\x9d\n", "bad-quote", 2, 10, "plain double quotes"},
    {"[guest a]\nkernel = b\xfcro\n", "bad-path", 2, 10, "it is not UTF-8"},
    {"[guest a]\nkernel = \xf0\x9f\x90\xa7\n", "bad-path", 2, 10, "rename the file"},
    {"[guest a]\nkernel = a\xed\xa0\x80\n", "bad-path", 2, 10, "(its 2.)"},
    {"[guest a]\nkernel = vmlinuz-*\n", "bad-path", 2, 10, "FAT"},
    {"[guest a]\nkernel = my kernel\n", "bad-path", 2, 13, "in double quotes"},
    {A "debug-exit-ok = banana\n", "bad-number", 3, 17, "0x10"},
    {A "debug-exit-ok = 0x100000000\n", "bad-number", 3, 17, "up to 0xffffffff"},
    {A "protocol = flat\nload-address = 7c00\n", "bad-address", 4, 16, "0x7c00"},
    {A "protocol = flat\nmemory = 6G\nload-address = 0xfee00000\n", "bad-address", 5, 16, "below 3 GiB"},
    {A "protocol = flat\nmode = 16\n", "bad-address", 4, 8, "real mode"},
    {A "memory-at = 1234567\n", "bad-address", 3, 13, "a multiple of 4K"},
    {A "memory-at = 65T\n", "bad-address", 3, 13, "up to 64T"},
    {A "slice = 10\n", "bad-duration", 3, 9, "us, ms or s"},
    {A "slice = 5s\n", "bad-duration", 3, 9, "from 100us to 1s"},
    {A "watchdog = 30s\n", "bad-value", 3, 12, "console 30s"},
    {A "watchdog = console\n", "bad-duration", 3, 19, "such as console 30s"},
    {A "watchdog = console 2h\n", "bad-duration", 3, 20, "from 100ms to 3600s"},
    {A "on-stop = reboot\n", "bad-value", 3, 11, "stay, restart, poweroff"},
    {A "memory = \"1G\n", "bad-quote", 3, 10, "close them"},
    {"kernel = k\n", "key-outside-section", 1, 1, "[guest NAME]"},
};

static void habits_from_elsewhere_get_one_sentence_that_helps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(habits); i++) {
        assert_false(parse(habits[i].text));
        if (errors.count != 1 || strstr(errors.list[0].sentence, habits[i].says) == NULL) {
            print_message("%s-> %u errors: %s\n", habits[i].text, errors.count, errors.list[0].sentence);
        }
        assert_int_equal(errors.count, 1);
        expect_error(0, habits[i].rule, habits[i].line, habits[i].column);
        assert_non_null(strstr(errors.list[0].sentence, habits[i].says));
    }
}

/* ESC, bytes of other encodings, very long words: a sentence stays one line of printable size. */
static void sentences_are_whole_however_long_the_word_is(void **state)
{
    static char text[20000];
    static const char *const starts[] = {"",
                                         "[",
                                         "[guest ",
                                         A,
                                         A "memory = ",
                                         A "cpus = ",
                                         A "slice = ",
                                         "[guest a]\nkernel = ",
                                         A "protocol = ",
                                         A "watchdog = "};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(starts); i++) {
        size_t length = strlen(starts[i]);

        memcpy(text, starts[i], length);
        memset(text + length, 'x', sizeof(text) - length - 1);
        assert_false(parse(text));
        assert_int_equal(errors.count, 1);
        length = strlen(errors.list[0].sentence);
        assert_true(length > 20 && length < sizeof(errors.list[0].sentence) - 1);
        assert_non_null(strchr(".?", errors.list[0].sentence[length - 1]));
    }
}

static void errors_beyond_the_list_are_counted(void **state)
{
    char text[1024] = A;

    (void)state;
    for (uint32_t i = 0; i < CONFIG_ERRORS_MAX + 5; i++) {
        strcat(text, "x = 1\n");
    }
    assert_false(parse(text));
    assert_int_equal(errors.count, CONFIG_ERRORS_MAX);
    assert_int_equal(errors.dropped, 5);
    assert_false(parse("[guest a]\n"));
    assert_int_equal(errors.dropped, 0);
}

static void guests_with_a_place_of_their_own_are_planned_first(void **state)
{
    uint32_t order[CONFIG_GUESTS_MAX];

    (void)state;
    assert_true(parse("[guest a]\nkernel = k\nmemory = 4G\n[guest b]\nkernel = k\nmemory = 8G\n"
                      "[guest c]\nkernel = k\nmemory = 1M\nmemory-at = 4G\n"));
    assert_int_equal(config.guests[2].memory_at, 4 * GIB);
    config_plan_order(&config, order);
    assert_int_equal(order[0], 2);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 0);
}

static void each_mistake_is_named_at_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(mistakes); i++) {
        assert_false(parse(mistakes[i].text));
        if (errors.count != 1) {
            print_message("%s: %u errors\n", mistakes[i].text, errors.count);
        }
        assert_int_equal(errors.count, 1);
        expect_error(0, mistakes[i].rule, mistakes[i].line, mistakes[i].column);
    }
}

static void more_errors_than_fit_keep_the_first_ones(void **state)
{
    char text[4096] = "[guest a]\n";

    (void)state;
    for (int i = 0; i < 100; i++) {
        strcat(text, "foo = 1\n");
    }
    assert_false(parse(text));
    assert_int_equal(errors.count, CONFIG_ERRORS_MAX);
    expect_error(0, "missing-kernel", 1, 8);
    expect_error(CONFIG_ERRORS_MAX - 1, "unknown-key", CONFIG_ERRORS_MAX, 1);
}

static void sizes_are_exact_or_refused(void **state)
{
    static const struct {
        const char *written;
        uint64_t bytes;
    } good[] = {{"512M", 512 * MIB},
                {"1.5G", 1536 * MIB},
                {"64K", 64 * KIB},
                {"64 KiB", 64 * KIB},
                {"4096", 4096},
                {"0x100000", MIB},
                {"2gb", 2 * GIB},
                {"1T", 1024 * GIB},
                {"0.5K", 512},
                {"1.25M", 1280 * KIB},
                {"0", 0},
                {"4194304T", 1ULL << 62},
                {"0x10K", 16 * KIB},
                {"7 bytes", 7},
                {"1.3G", 1395864371}};
    static const char *const bad[] = {"",
                                      "M",
                                      "1.5",
                                      "-1M",
                                      "1,5G",
                                      "1.0000001G",
                                      "0.1K",
                                      "1.G",
                                      ".5G",
                                      "12MG",
                                      "4194305T",
                                      "0x",
                                      "1e9",
                                      "1M 2",
                                      "99999999999999999999",
                                      "0xfffffffffffffffff",
                                      "0xG"};
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        assert_true(config_value_size(text_of(good[i].written), &bytes));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_false(config_value_size(text_of(bad[i]), &bytes));
    }
}

static void a_number_of_cpus_is_a_count_and_a_list_names_them(void **state)
{
    static const struct {
        const char *written;
        enum config_cpus_result result;
        uint32_t count;
        uint32_t first, last;
    } cases[] = {
        {"2", CPUS_OK, 2, CONFIG_CPU_ANY, CONFIG_CPU_ANY},
        {"2,", CPUS_OK, 1, 2, 2},
        {"1,2", CPUS_OK, 2, 1, 2},
        {"0-3", CPUS_OK, 4, 0, 3},
        {" 5 , 0 - 1 ", CPUS_OK, 3, 5, 1},
        {"16", CPUS_OK, 16, CONFIG_CPU_ANY, CONFIG_CPU_ANY},
        {"0", CPUS_NONE, 0, 0, 0},
        {"3-1", CPUS_BAD, 0, 0, 0},
        {",", CPUS_BAD, 0, 0, 0},
        {"1,,2", CPUS_BAD, 0, 0, 0},
        {"1 2", CPUS_BAD, 0, 0, 0},
        {"-1", CPUS_BAD, 0, 0, 0},
        {"1-", CPUS_BAD, 0, 0, 0},
        {"4096,", CPUS_BAD, 0, 0, 0},
        {"1,0-2", CPUS_TWICE, 0, 0, 0},
        {"0-16", CPUS_TOO_MANY, 0, 0, 0},
        {"17", CPUS_TOO_MANY, 0, 0, 0},
    };
    struct config_guest guest;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(config_value_cpus(text_of(cases[i].written), &guest), cases[i].result);
        if (cases[i].result == CPUS_OK) {
            assert_int_equal(guest.cpu_count, cases[i].count);
            assert_int_equal(guest.cpus[0], cases[i].first);
            assert_int_equal(guest.cpus[guest.cpu_count - 1], cases[i].last);
        }
    }
}

static void placement_prefers_free_cpus_and_shares_only_when_it_must(void **state)
{
    (void)state;
    assert_true(
        verdict("[guest a]\nkernel = k\ncpus = 1,\n[guest b]\nkernel = k\ncpus = 2\n[guest c]\nkernel = k\n", 4));
    assert_int_equal(config.guests[0].cpus[0], 1);
    assert_int_equal(config.guests[1].cpus[0], 0);
    assert_int_equal(config.guests[1].cpus[1], 2);
    assert_int_equal(config.guests[2].cpus[0], 3);
    assert_true(config.guests[0].slice_us == 0 && config.guests[1].slice_us == 0 && config.guests[2].slice_us == 0);

    assert_true(verdict("[guest a]\nkernel = k\n[guest b]\nkernel = k\nslice = 2ms\n[guest c]\nkernel = k\n", 2));
    assert_int_equal(config.guests[0].cpus[0], 0);
    assert_int_equal(config.guests[1].cpus[0], 1);
    assert_int_equal(config.guests[2].cpus[0], 0);
    assert_int_equal(config.guests[0].slice_us, 10000);
    assert_int_equal(config.guests[1].slice_us, 2000);
    assert_int_equal(config.guests[2].slice_us, 10000);

    /* A CPU that a list gives to a guest without a slice stays its own, however crowded the others are. */
    assert_true(verdict("[guest a]\nkernel = k\ncpus = 0,\n[guest b]\nkernel = k\n[guest c]\nkernel = k\n", 2));
    assert_int_equal(config.guests[0].slice_us, 0);
    assert_true(config.guests[1].cpus[0] == 1 && config.guests[2].cpus[0] == 1);
}

static void a_guest_with_more_cpus_than_the_machine_spreads_over_all(void **state)
{
    (void)state;
    assert_true(verdict("[guest a]\nkernel = k\n[guest b.c_d]\nkernel = k\ncpus = 4\n", 3));
    assert_int_equal(config.guests[0].cpus[0], 0);
    assert_int_equal(config.guests[1].cpus[0], 1);
    assert_int_equal(config.guests[1].cpus[1], 2);
    /* All CPUs have one vCPU now; CPU 0 is the one that is not its own. */
    assert_int_equal(config.guests[1].cpus[2], 0);
    assert_int_equal(config.guests[1].slice_us, 10000);
}

/* The last one that fits, and one more: placed by number, and placed beside lists. */
static void no_cpu_gets_more_vcpus_than_a_turn_has_room_for(void **state)
{
#define SIXTEEN(name) "[guest " name "]\nkernel = k\ncpus = 16\n"
#define FOUR(name) SIXTEEN(name "1") SIXTEEN(name "2") SIXTEEN(name "3") SIXTEEN(name "4")
    static char text[8192];
    size_t length = 0;

    (void)state;
    assert_true(verdict(FOUR("a"), 1));
    assert_true(verdict(FOUR("a") FOUR("b"), 2));
    assert_false(verdict(FOUR("a") FOUR("b") "[guest e]\nkernel = k\n", 2));
    expect_error(0, "cpu-full", 25, 8);
    assert_false(verdict(FOUR("a") SIXTEEN("b"), 1));
    expect_error(0, "cpu-full", 15, 8);
    for (uint32_t i = 0; i < CONFIG_GUESTS_MAX; i++) {
        length += (size_t)snprintf(text + length, sizeof(text) - length,
                                   "[guest g%u]\nkernel = k\nmemory = 4M\ncpus = 0,\nslice = 5ms\n", i);
    }
    assert_true(verdict(text, 1)); /* a list names a CPU once, so lists alone never pass it */
    snprintf(text + length - strlen("cpus = 0,\nslice = 5ms\n"), 64, "cpus = 2\nslice = 5ms\n");
    assert_false(verdict(text, 1));
    expect_error(0, "cpu-full", 5 * CONFIG_GUESTS_MAX - 1, 8);
#undef FOUR
#undef SIXTEEN
}

static void a_failed_placement_reads_nothing_beyond_the_cpus(void **state)
{
    (void)state;
    assert_false(
        verdict("[guest a]\nkernel = k\ncpus = 63,\n[guest b]\nkernel = k\n[guest c]\nkernel = k\nmemory = 9G\n", 1));
    assert_int_equal(errors.count, 2);
    expect_error(0, "cpu-not-there", 3, 8);
    expect_error(1, "too-much-memory", 8, 10);
}

/* Cores with two threads, numbered as firmware does it: 0 and 1 are core 0, or 0 and n/2. */
static const struct {
    const char *config;
    uint32_t cpus, stride; /* of a core's threads */
    uint32_t expected[4];
    uint32_t neighbours;
} placements[] = {
#define TWO "[guest a]\nkernel = k\n[guest b]\nkernel = k\n"
    {TWO, 4, 1, {0, 2}, 0},
    {TWO, 4, 2, {0, 1}, 0},
    {TWO, 2, 1, {0, 0}, 0}, /* one core is all there is: they take turns on one of its threads */
    {"[hypervisor]\nallow-siblings = yes\n" TWO, 2, 1, {0, 1}, 1},
    {"[guest a]\nkernel = k\ncpus = 2\n", 4, 1, {0, 2}, 0},
    /* No core for each of four: each guest has one. */
    {"[guest a]\nkernel = k\ncpus = 2\n[guest b]\nkernel = k\ncpus = 2\n", 4, 1, {0, 1, 2, 3}, 0},
    {"[guest a]\nkernel = k\ncpus = 2\n[guest b]\nkernel = k\ncpus = 2\n", 4, 2, {0, 2, 1, 3}, 0},
    {"[guest a]\nkernel = k\ncpus = 0,\n[guest b]\nkernel = k\n", 4, 1, {0, 2}, 0},
    {"[guest a]\nkernel = k\n[guest b]\nkernel = k\n[guest c]\nkernel = k\n", 4, 1, {0, 2, 0}, 0},
    {"[hypervisor]\nallow-siblings = yes\n[guest a]\nkernel = k\n[guest b]\nkernel = k\n[guest c]\nkernel = k\n",
     4,
     1,
     {0, 2, 1},
     1},
    {"[hypervisor]\nallow-siblings = yes\n[guest a]\nkernel = k\ncpus = 0,\n[guest b]\nkernel = k\ncpus = 1,\n",
     4,
     1,
     {0, 1},
     1}, /* as the lists say */
};

static void guests_get_cores_of_their_own_while_there_are_some(void **state)
{
    struct config_neighbours found;

    (void)state;
    for (size_t p = 0; p < ARRAY_COUNT(placements); p++) {
        struct config_machine machine = {.cpu_count = placements[p].cpus, .memory_bytes = GIB, .cores_known = true};
        uint32_t count = 0;
        uint32_t from = 0;
        uint32_t pairs = 0;

        for (uint32_t i = 0; i < machine.cpu_count; i++) {
            machine.cores[i] = placements[p].stride == 1 ? i & ~1u : i % placements[p].stride;
        }
        assert_true(parse(placements[p].config));
        assert_true(config_check_machine(&config, &machine, &errors));
        for (uint32_t g = 0; g < config.guest_count; g++) {
            for (uint32_t i = 0; i < config.guests[g].cpu_count; i++) {
                if (config.guests[g].cpus[i] != placements[p].expected[count]) {
                    print_message("placement %zu: guest %u vCPU %u is on CPU %u\n", p, g, i, config.guests[g].cpus[i]);
                }
                assert_int_equal(config.guests[g].cpus[i], placements[p].expected[count++]);
            }
        }
        while (config_next_neighbours(&config, &machine, &from, &found)) {
            assert_true(found.guests[0] < found.guests[1]);
            assert_int_equal(machine.cores[found.cpus[0]], machine.cores[found.cpus[1]]);
            pairs++;
        }
        assert_int_equal(pairs, placements[p].neighbours);
    }
}

/* Two nodes of four CPUs and 8 GiB, and CPUs 2, 3, 6 and 7 are small. */
static struct config_machine two_nodes(void)
{
    struct config_machine machine = {
        .cpu_count = 8, .memory_bytes = 16 * GIB, .node_count = 2, .node_bytes = {8 * GIB, 8 * GIB}};

    for (uint32_t cpu = 0; cpu < machine.cpu_count; cpu++) {
        machine.nodes[cpu] = cpu / 4;
        machine.kinds[cpu] = cpu % 4 < 2 ? CPU_KIND_PERFORMANCE : CPU_KIND_EFFICIENT;
    }
    return machine;
}

static void expect_cpus(uint32_t guest, uint32_t node, uint32_t count, const uint32_t *cpus)
{
    assert_int_equal(config.guests[guest].cpu_count, count);
    assert_int_equal(config.guests[guest].node, node);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(config.guests[guest].cpus[i], cpus[i]);
    }
}

static void a_guest_stays_on_a_node_that_has_cpus_and_memory_for_it(void **state)
{
    struct config_machine machine = two_nodes();

    (void)state;
    assert_true(parse("[guest a]\nkernel = k\nmemory = 6G\n"              /* node 0 */
                      "[guest b]\nkernel = k\nmemory = 4G\ncpus = 2\n"    /* has CPUs there, but no memory */
                      "[guest c]\nkernel = k\nmemory = 1G\ncpus = 3\n")); /* fits in node 0 only */
    assert_true(config_check_machine(&config, &machine, &errors));
    expect_cpus(0, 0, 1, (const uint32_t[]){0});
    expect_cpus(1, 1, 2, (const uint32_t[]){4, 5});
    expect_cpus(2, 0, 3, (const uint32_t[]){1, 2, 3});

    /* More CPUs than a node has: the node of most of them. A list is taken as it is. */
    assert_true(
        parse("[guest a]\nkernel = k\nmemory = 1G\ncpus = 3,4-7\n[guest b]\nkernel = k\nmemory = 1G\ncpus = 3\n"));
    assert_true(config_check_machine(&config, &machine, &errors));
    assert_int_equal(config.guests[0].node, 1);
    expect_cpus(1, 0, 3, (const uint32_t[]){0, 1, 2});

    /* A list of as many here as there: the first one's node. */
    assert_true(parse("[guest a]\nkernel = k\nmemory = 1G\ncpus = 4,0\n"));
    assert_true(config_check_machine(&config, &machine, &errors));
    assert_int_equal(config.guests[0].node, 1);

    machine.node_count = 1;
    assert_true(parse("[guest a]\nkernel = k\nmemory = 1G\ncpus = 2\n"));
    assert_true(config_check_machine(&config, &machine, &errors));
    assert_int_equal(config.guests[0].node, CONFIG_NODE_ANY);
}

static void a_guest_gets_cpus_of_the_kind_that_it_names(void **state)
{
    struct config_machine machine = two_nodes();

    (void)state;
    machine.node_count = 0;
    machine.kinds_known = true;
    machine.kinds[7] = CPU_KIND_ANY; /* it did not say: a guest that names a kind does not get it */
    assert_true(parse("[guest a]\nkernel = k\nmemory = 1G\ncpus = 2 efficient\n"
                      "[guest b]\nkernel = k\nmemory = 1G\ncpus = 3 Performance\n"
                      "[guest c]\nkernel = k\nmemory = 1G\ncpus = 3\n"));
    assert_true(config_check_machine(&config, &machine, &errors));
    expect_cpus(0, CONFIG_NODE_ANY, 2, (const uint32_t[]){2, 3});
    expect_cpus(1, CONFIG_NODE_ANY, 3, (const uint32_t[]){0, 1, 4});
    expect_cpus(2, CONFIG_NODE_ANY, 3, (const uint32_t[]){5, 6, 7});

    /* More than there are share theirs, and never take others. */
    assert_true(parse("[guest a]\nkernel = k\nmemory = 1G\ncpus = 4 efficient\n"));
    assert_true(config_check_machine(&config, &machine, &errors));
    expect_cpus(0, CONFIG_NODE_ANY, 4, (const uint32_t[]){2, 3, 6, 2});

    /* Where all are alike, each is of any kind. */
    machine.kinds_known = false;
    assert_true(parse("[guest a]\nkernel = k\nmemory = 1G\ncpus = 2 efficient\n"));
    assert_true(config_check_machine(&config, &machine, &errors));
    expect_cpus(0, CONFIG_NODE_ANY, 2, (const uint32_t[]){0, 1});
    assert_false(parse("[guest a]\nkernel = k\nmemory = 1G\ncpus = 2 fast\n"));
    expect_error(0, "bad-cpus", 4, 8);
    assert_false(parse("[guest a]\nkernel = k\nmemory = 1G\ncpus = 0 efficient\n"));
    expect_error(0, "bad-cpus", 4, 8);
}

static void two_guests_on_one_core_are_refused(void **state)
{
    static const struct {
        const char *config;
        uint32_t cpus, line;
    } refused[] = {
        {"[guest a]\nkernel = k\ncpus = 0,\n[guest b]\nkernel = k\ncpus = 1,\n", 4, 6},
        {"[guest a]\nkernel = k\ncpus = 1,\n[guest b]\nkernel = k\ncpus = 2,3,0\n", 4, 6},
        {"[guest a]\nkernel = k\ncpus = 2\n[guest b]\nkernel = k\n", 2, 4}, /* both threads have a */
        {"[guest a]\nkernel = k\ncpus = 0,\n[guest b]\nkernel = k\n", 2, 4},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        struct config_machine machine = {.cpu_count = refused[i].cpus, .memory_bytes = GIB, .cores_known = true};
        char allowed[200];

        for (uint32_t cpu = 0; cpu < machine.cpu_count; cpu++) {
            machine.cores[cpu] = cpu & ~1u;
        }
        assert_true(parse(refused[i].config));
        assert_false(config_check_machine(&config, &machine, &errors));
        assert_int_equal(errors.count, 1);
        assert_string_equal(errors.list[0].rule, "shared-core");
        assert_int_equal(errors.list[0].position.line, refused[i].line);
        assert_non_null(strstr(errors.list[0].sentence, "`allow-siblings = yes` under [hypervisor]"));
        snprintf(allowed, sizeof(allowed), "[hypervisor]\nallow-siblings = yes\n%s", refused[i].config);
        assert_true(parse(allowed));
        assert_true(config_check_machine(&config, &machine, &errors));
        machine.is_virtual = true; /* an emulator's threads show nothing */
        assert_true(parse(refused[i].config));
        assert_true(config_check_machine(&config, &machine, &errors));
        machine.is_virtual = false;
        machine.cores_known = false;
        assert_true(parse(refused[i].config));
        assert_true(config_check_machine(&config, &machine, &errors));
    }
}

/* A FAT volume holds them, and the firmware opens them: efi_volume.c widens UTF-8. */
static void names_in_other_alphabets_are_names(void **state)
{
    static const char *const names[] = {"b\xc3\xbcro", "\xd1\x8f\xd0\xb4\xd1\x80\xd0\xbe.elf",
                                        "\xe6\xa0\xb8/\xe5\xbf\x83"};
    char text[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        snprintf(text, sizeof(text), "[guest a]\nkernel = %s\n", names[i]);
        assert_true(parse(text));
        expect_text(config.guests[0].kernel, names[i]);
    }
}

/* Other programs' words have each a sentence of its own, which is said once in a file; so is the list of keys. */
static void words_from_elsewhere_are_explained_once(void **state)
{
    (void)state;
    assert_false(parse("[guest a]\nkernel = k\nvnc = :1\nSpice = yes\nsoundcard = x\n"
                       "[guest b]\nkernel = k\nvnc = :2\ncolour = blue\nusb = yes\n[hypervisor]\ncolour = red\n"));
    assert_int_equal(errors.count, 7);
    assert_non_null(strstr(errors.list[0].sentence, "`vnc`: a guest has no screen but the machine's"));
    assert_string_equal(errors.list[1].sentence, "`Spice`: as line 3 says.");
    assert_non_null(
        strstr(errors.list[2].sentence, "There is no key `soundcard`; take it out. There are: kernel memory "));
    assert_non_null(strstr(errors.list[2].sentence, " watchdog."));
    assert_string_equal(errors.list[3].sentence, "`vnc`: as line 3 says.");
    assert_string_equal(errors.list[4].sentence,
                        "There is no key `colour`, either; take it out. Line 5 lists the keys.");
    assert_non_null(strstr(errors.list[5].sentence, "`usb`: a guest has no USB"));
    assert_non_null(strstr(errors.list[6].sentence, "There is no key `colour`; take it out. There are: console "));
}

/* What other programs' files say, word for word: none is met with a list of keys. */
static void every_known_word_has_a_sentence_or_a_key(void **state)
{
    static const char *const words[] = {
        /* libvirt */
        "vcpu", "currentMemory", "os", "boot", "loader", "nvram", "features", "clock", "on_poweroff", "on_reboot",
        "emulator", "interface", "graphics", "video", "serial", "channel", "hostdev", "memballoon", "rng", "tpm",
        "sound", "input", "filesystem", "cputune", "numatune", "memoryBacking", "title", "description", "metadata",
        "uuid", "sysinfo", "hub", "redirdev", "vsock", "shares", "autostart", "snapshot",
        /* QEMU */
        "smp", "m", "append", "drive", "hda", "cdrom", "fda", "netdev", "nic", "device", "chardev", "monitor", "vga",
        "display", "nographic", "usb", "bios", "rtc", "smbios", "numa", "fsdev", "virtfs", "machine", "accel",
        "enable-kvm", "daemonize", "blockdev", "pflash", "mem-path", "hugepages", "pidfile", "parallel", "spice",
        /* Xen */
        "ramdisk", "extra", "root", "vcpus", "maxvcpus", "maxmem", "cpu_weight", "cap", "vif", "pci", "vfb", "vnc",
        "sdl", "bootloader", "firmware", "hap", "nestedhvm", "viridian", "timer_mode", "tsc_mode", "localtime",
        "usbdevice", "soundhw", "videoram", "ioports", "iomem", "irqs", "cpuid", "p9", "vtpm", "type", "builder",
        /* Firecracker */
        "kernel_image_path", "boot_args", "initrd_path", "drives", "network-interfaces", "guest_mac", "machine-config",
        "vcpu_count", "mem_size_mib", "ht_enabled", "smt", "balloon", "entropy", "logger", "metrics", "path_on_host"};
    char text[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        snprintf(text, sizeof(text), "[guest a]\nkernel = k\n%s = x\n", words[i]);
        parse(text);
        if (errors.count != 0 && strstr(errors.list[0].sentence, "There are: ") != NULL) {
            print_message("%s has no sentence of its own\n", words[i]);
            fail();
        }
    }
}

static void volume_paths_stay_under_plinth(void **state)
{
    static const struct {
        const char *path;
        const char *volume;
    } cases[] = {
        {"vmlinuz", "\\plinth\\vmlinuz"},    {"/boot/vmlinuz", "\\plinth\\boot\\vmlinuz"},
        {"./a//b/./c", "\\plinth\\a\\b\\c"}, {"../../x", "\\plinth\\x"},
        {"a\\b/..\\c", "\\plinth\\a\\b\\c"}, {".config", "\\plinth\\.config"},
    };
    char volume[CONFIG_PATH_MAX + 1];
    char longest[400];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        config_volume_path(text_of(cases[i].path), volume);
        assert_string_equal(volume, cases[i].volume);
    }
    memset(longest, 'a', sizeof(longest));
    config_volume_path((struct text){longest, sizeof(longest)}, volume);
    assert_int_equal(strlen(volume), CONFIG_PATH_MAX);
}

static void names_that_only_look_reserved_are_names(void **state)
{
    static const char *const names[] = {".hidden",    "console", "com",  "com0",          "com10",      "lpt",
                                        "nul-device", "a.con",   "aux_", "x/plinth.conf", "hello..elf", "a b"};
    char text[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        snprintf(text, sizeof(text), "[guest a]\nkernel = \"%s\"\n", names[i]);
        assert_true(parse(text));
    }
}

static void paths_that_differ_in_case_or_lead_to_one_place_are_the_same(void **state)
{
    (void)state;
    assert_true(config_path_same(text_of("a/Hello.elf"), text_of("\\A\\.\\HELLO.ELF")));
    assert_true(config_path_same(text_of("../x"), text_of("x")));
    assert_false(config_path_same(text_of("ax"), text_of("a/x")));
    assert_false(config_path_same(text_of("hello"), text_of("hello1")));
    assert_false(config_path_same(text_of("a@b"), text_of("a`b"))); /* bit 5 alone is no case */
}

static void the_longest_path_that_parses_fits_the_volume(void **state)
{
    char text[512];
    char volume[CONFIG_PATH_MAX + 1];

    (void)state;
    for (unsigned length = CONFIG_PATH_MAX - 10; length < CONFIG_PATH_MAX + 2; length++) {
        int prefix = snprintf(text, sizeof(text), "[guest a]\nkernel = ");

        memset(text + prefix, 'p', length);
        text[prefix + (int)length] = '\0';
        if (parse(text)) {
            config_volume_path(config.guests[0].kernel, volume);
            assert_int_equal(strlen(volume), length + 8);
        } else {
            assert_true(length + 8 > CONFIG_PATH_MAX);
            expect_error(0, "bad-path", 2, 10);
        }
    }
}

static void limits_are_named(void **state)
{
    static char text[8192];

    (void)state;
    text[0] = '\0';
    for (unsigned i = 0; i <= CONFIG_GUESTS_MAX; i++) {
        snprintf(text + strlen(text), 64, "[guest g%u]\nkernel = k\n", i);
    }
    assert_false(parse(text));
    assert_int_equal(errors.count, 1);
    expect_error(0, "too-many-guests", 2 * CONFIG_GUESTS_MAX + 1, 8);
    strcpy(text, "[guest a]\nkernel = k\n");
    for (unsigned i = 0; i <= CONFIG_MODULES_MAX; i++) {
        strcat(text, "module = m\n");
    }
    assert_false(parse(text));
    expect_error(0, "too-many-modules", CONFIG_MODULES_MAX + 3, 10);
}

/* Wherever the firmware's piece begins, the share lies in it, and where it is large it can be mapped by large pages. */
static void a_share_lies_within_its_piece(void **state)
{
    (void)state;
    for (uint64_t bytes = PAGE_BYTES; bytes <= CONFIG_SHARE_BYTES_MAX; bytes *= 2) {
        const struct config_share share = {.bytes = bytes};
        uint64_t size = config_share_pages(&share) * PAGE_BYTES;

        for (uint64_t piece = GIB; piece < GIB + 4 * MIB; piece += PAGE_BYTES) {
            uint64_t start = config_share_start(&share, piece);

            assert_true(start >= piece && start + bytes <= piece + size);
            assert_true(bytes < 2 * MIB || is_aligned(start, 2 * MIB));
        }
    }
}

static void a_function_is_named_by_place_by_id_and_by_kind(void **state)
{
    static const struct {
        const char *value;
        uint16_t segment;
        uint8_t bus, device, function;
    } rows[] = {{"02:00.0", 0, 2, 0, 0},      {"0000:01:00.0", 0, 1, 0, 0}, {"8086:10d3", 0, 2, 0, 0},
                {"8086:15BB", 0, 0, 31, 6},   {"nvme", 0, 1, 0, 0},         {"net", 0, 0, 31, 6},
                {"net 2", 0, 2, 0, 0},        {"\"net\" 2", 0, 2, 0, 0},    {"audio", 0, 0, 31, 3},
                {"disk 1", 0, 1, 0, 0},       {"00:1f.6", 0, 0, 0x1f, 6},   {"02:00.0 gsi 17", 0, 2, 0, 0},
                {"net 2 gsi 17", 0, 2, 0, 0}, {"nvme vf 4", 0, 1, 0, 0},    {"01:00.0 vf 1", 0, 1, 0, 0},
                {"nvme 1 VF 2", 0, 1, 0, 0}};
    static const char *const bad[] = {
        "2:0.0",        "02:00.8",         "02:20.0", "02:00.0 2",       "8086:10dg",     "net 0",
        "net 2 3",      "net x",           "nvme,1",  "02:00.0.0",       "00000:02:00.0", "net gsi",
        "net gsi 1024", "net gsi 5 2",     "gsi 5",   "net 2 gsi x",     "nvme vf",       "nvme vf 0",
        "nvme vf 256",  "nvme vf 1 gsi 5", "vf 1",    "nvme gsi 5 vf 1", "nvme vf 1 2"};
    char text[100];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct config_pci *pci = &config.guests[0].pci[0];

        snprintf(text, sizeof(text), "[guest a]\nkernel = k\npci = %s\n", rows[i].value);
        assert_true(verdict(text, 1 | MANUAL_PCI));
        assert_int_equal(config.guests[0].pci_count, 1);
        assert_int_equal(pci->segment, rows[i].segment);
        assert_int_equal(pci->bus, rows[i].bus);
        assert_int_equal(pci->device, rows[i].device);
        assert_int_equal(pci->function, rows[i].function);
        assert_int_equal(pci->has_gsi, strstr(rows[i].value, "gsi") != NULL);
        assert_int_equal(pci->vf != 0, strchr(rows[i].value, 'v') != NULL && strlen(rows[i].value) > 4);
        assert_int_equal(pci->gsi, pci->has_gsi ? 17 : 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        snprintf(text, sizeof(text), "[guest a]\nkernel = k\npci = %s\n", bad[i]);
        assert_false(parse(text));
        expect_error(0, "bad-pci", 3, 7);
    }
}

static void a_virtual_function_has_one_owner_and_its_physical_one_none(void **state)
{
    static const struct {
        const char *first, *second, *rule; /* NULL: both can be had */
    } rows[] = {{"nvme vf 1", "nvme vf 2", NULL},
                {"nvme vf 1", "01:00.0 vf 2", NULL},
                {"nvme vf 1", "nvme vf 1", "pci-two-owners"},
                {"nvme vf 1", "01:00.0 vf 1", "pci-two-owners"},
                {"nvme", "nvme vf 1", "pci-physical"},
                {"nvme vf 1", "nvme", "pci-physical"},
                {"144d:a808 vf 1", "01:00.0", "pci-physical"},
                {"01:00.0", "disk vf 2", "pci-physical"},
                {"net 2", "nvme vf 5", "pci-vf"},
                {"nvme vf 1", "net 2 vf 1", "pci-vf"},
                {"nvme vf 1", "00:1c.0 vf 1", "pci-bridge"}};
    char text[160];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        snprintf(text, sizeof(text), "[guest a]\nkernel = k\npci = %s\n[guest b]\nkernel = k\npci = %s\n",
                 rows[i].first, rows[i].second);
        assert_int_equal(verdict(text, 2 | MANUAL_PCI), rows[i].rule == NULL);
        if (rows[i].rule != NULL) {
            expect_error(0, rows[i].rule, 6, 7);
        }
    }
}

/* Functions behind a bridge without ACS are one group, and so are their virtual ones. */
static void a_virtual_function_is_in_the_group_of_all_behind_a_bridge(void **state)
{
    static const struct config_pci_function functions[] = {
        {0, 0, 0x1c, 0, 0x8086, 0xa338, 0x060400, 7, true, true, false, false, true, 0},
        {0, 1, 0x00, 0, 0x144d, 0xa808, 0x010802, 7, true, true, false, false, true, 4},
        {0, 2, 0x00, 0, 0x8086, 0x1521, 0x020000, 9, true, true, false, false, true, 4},
        {0, 2, 0x00, 1, 0x8086, 0x1521, 0x020000, 9, true, true, false, false, true, 4},
    };
    const struct config_machine machine = {.cpu_count = 2,
                                           .memory_bytes = 4 * GIB,
                                           .pci = functions,
                                           .pci_count = ARRAY_COUNT(functions),
                                           .pci_known = true,
                                           .has_iommu = true};

    (void)state;
    assert_true(parse("[guest a]\nkernel = k\npci = nvme vf 1\n[guest b]\nkernel = k\npci = nvme vf 2\n"));
    assert_false(config_check_machine(&config, &machine, &errors));
    expect_error(0, "pci-group", 6, 7);
    assert_true(parse("[guest a]\nkernel = k\npci = net vf 1\n[guest b]\nkernel = k\npci = net 2\n"));
    assert_true(config_check_machine(&config, &machine, &errors));
}

static void a_function_that_two_guests_name_in_two_ways_has_one_owner(void **state)
{
    (void)state;
    assert_false(verdict("[guest a]\nkernel = k\npci = nvme\n[guest b]\nkernel = k\npci = 01:00.0\n", 2 | MANUAL_PCI));
    expect_error(0, "pci-two-owners", 6, 7);
    assert_non_null(strstr(errors.list[0].sentence, "guest `a` has by line 3"));
    assert_false(verdict("[guest a]\nkernel = k\npci = 00:1f.6\n[guest b]\nkernel = k\npci = audio\n", 2 | MANUAL_PCI));
    expect_error(0, "pci-group", 6, 7);
    assert_non_null(strstr(errors.list[0].sentence, "00:1f.3 and 00:1f.6 of guest `a` (line 3)"));
    assert_false(verdict("[guest a]\nkernel = k\npci = nvme\n", 1 | MANUAL_PCI | MANUAL_NO_NESTED_PAGING));
    expect_error(0, "pci-paging", 3, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_lies_within_its_piece),
        cmocka_unit_test(every_rule_of_the_manual_is_broken_and_kept_by_its_examples),
        cmocka_unit_test(shared_memory_needs_nested_paging),
        cmocka_unit_test(devices_of_the_machine_are_read),
        cmocka_unit_test(devices_of_a_machine_are_given_where_they_are_free),
        cmocka_unit_test(every_key_of_the_manual_exists),
        cmocka_unit_test(a_function_is_named_by_place_by_id_and_by_kind),
        cmocka_unit_test(a_function_that_two_guests_name_in_two_ways_has_one_owner),
        cmocka_unit_test(a_virtual_function_has_one_owner_and_its_physical_one_none),
        cmocka_unit_test(a_virtual_function_is_in_the_group_of_all_behind_a_bridge),
        cmocka_unit_test(defaults_are_those_of_the_manual),
        cmocka_unit_test(the_clock_has_a_zone),
        cmocka_unit_test(every_key_reaches_its_field),
        cmocka_unit_test(disks_and_cards_keep_their_options),
        cmocka_unit_test(networks_and_shared_memory_have_sections),
        cmocka_unit_test(a_virtio_console_and_random_numbers_are_asked_for_or_come_along),
        cmocka_unit_test(line_ends_marks_tabs_and_comments_are_forgiven),
        cmocka_unit_test(command_lines_keep_what_they_hold),
        cmocka_unit_test(several_errors_are_told_at_once_in_file_order),
        cmocka_unit_test(each_mistake_is_named_at_its_place),
        cmocka_unit_test(habits_from_elsewhere_get_one_sentence_that_helps),
        cmocka_unit_test(sentences_are_whole_however_long_the_word_is),
        cmocka_unit_test(errors_beyond_the_list_are_counted),
        cmocka_unit_test(guests_with_a_place_of_their_own_are_planned_first),
        cmocka_unit_test(more_errors_than_fit_keep_the_first_ones),
        cmocka_unit_test(sizes_are_exact_or_refused),
        cmocka_unit_test(a_number_of_cpus_is_a_count_and_a_list_names_them),
        cmocka_unit_test(placement_prefers_free_cpus_and_shares_only_when_it_must),
        cmocka_unit_test(a_guest_with_more_cpus_than_the_machine_spreads_over_all),
        cmocka_unit_test(no_cpu_gets_more_vcpus_than_a_turn_has_room_for),
        cmocka_unit_test(a_failed_placement_reads_nothing_beyond_the_cpus),
        cmocka_unit_test(guests_get_cores_of_their_own_while_there_are_some),
        cmocka_unit_test(a_guest_stays_on_a_node_that_has_cpus_and_memory_for_it),
        cmocka_unit_test(a_guest_gets_cpus_of_the_kind_that_it_names),
        cmocka_unit_test(two_guests_on_one_core_are_refused),
        cmocka_unit_test(words_from_elsewhere_are_explained_once),
        cmocka_unit_test(every_known_word_has_a_sentence_or_a_key),
        cmocka_unit_test(names_in_other_alphabets_are_names),
        cmocka_unit_test(volume_paths_stay_under_plinth),
        cmocka_unit_test(names_that_only_look_reserved_are_names),
        cmocka_unit_test(paths_that_differ_in_case_or_lead_to_one_place_are_the_same),
        cmocka_unit_test(the_longest_path_that_parses_fits_the_volume),
        cmocka_unit_test(limits_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

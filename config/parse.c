/* SPDX-License-Identifier: MIT */
/*
 * plinth.conf: the parser's frame. A line is read (config_text.c), opens a section (here) or sets a key (config_key.c),
 * and when a section or the file ends the rules between keys are checked (config_rules.c). The second half of the
 * rules, which needs the machine, is config_machine.c.
 *
 * Errors do not stop the parse: each is noted with its position and the next line is read, so that a user sees all of
 * them at once. A section that is refused is skipped with its keys, so that one mistake gives one error. The only thing
 * that stops it is a file that is not text at all.
 */
#include "config/parse.h"

#include "config/config_internal.h"

#include "hv/base/format.h"

#define SECTION_DISTANCE_MAX 3u /* letters that differ */
#define DEFAULT_MEMORY (256 * MIB)
#define DEFAULT_STOP_US 30000000u
#define DEFAULT_LOAD_ADDRESS (1 * MIB)

struct parser {
    struct config *config;
    struct config_errors *errors;
    enum config_section section;
    void *target; /* the struct of a [guest], [network] or [shared] section */
    struct config_seen seen;
    struct config_position hypervisor; /* where [hypervisor] stands; line 0: not yet */
};

static bool is_name_char(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

    return letter || (!first && (c == '-' || c == '_' || c == '.'));
}

bool config_is_name(struct text name)
{
    if (name.length == 0 || name.length > CONFIG_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.length; i++) {
        if (!is_name_char(name.start[i], i == 0)) {
            return false;
        }
    }
    return true;
}

static const struct config_guest *guest_named(const struct config *config, struct text name)
{
    for (uint32_t i = 0; i < config->guest_count; i++) {
        if (text_equal(config->guests[i].name, name)) {
            return &config->guests[i];
        }
    }
    return NULL;
}

static void open_guest(struct parser *parser, struct config_piece name)
{
    const struct config_guest *same = guest_named(parser->config, name.text);

    parser->section = SECTION_SKIPPED;
    if (name.text.length == 0) {
        config_report(parser->errors, name.position, "bad-name",
                      "This guest has no name; write one behind a blank: [guest linux].");
    } else if (!config_unquote(&name) || !config_is_name(name.text)) {
        config_report(parser->errors, name.position, "bad-name",
                      "\"%.*s\" cannot be a guest's name; use 1 to %u letters, digits, '-', '_' or '.', a letter or "
                      "digit first: [guest linux].",
                      TEXT_ARGS(name.text), CONFIG_NAME_MAX);
    } else if (same != NULL) {
        config_report(parser->errors, name.position, "duplicate-name",
                      "A guest `%.*s` is already in line %u; give this one another name.", TEXT_ARGS(name.text),
                      same->position.line);
    } else if (parser->config->guest_count == CONFIG_GUESTS_MAX) {
        config_report(parser->errors, name.position, "too-many-guests",
                      "At most %u guests run on one machine; take some out.", CONFIG_GUESTS_MAX);
    } else {
        parser->section = SECTION_GUEST;
        parser->target = &parser->config->guests[parser->config->guest_count];
        parser->config->guests[parser->config->guest_count++] = (struct config_guest){
            .name = name.text,
            .position = name.position,
            .cpus = {CONFIG_CPU_ANY},
            .cpu_count = 1,
            .memory_bytes = DEFAULT_MEMORY,
            .console = true,
            .virtual_apic = true,
            .share_idle = true,
            .on_reset = ACTION_RESTART,
            .stop_us = DEFAULT_STOP_US,
            .load_address = DEFAULT_LOAD_ADDRESS,
            .entry_address = DEFAULT_LOAD_ADDRESS,
            .mode = MODE_PROTECTED32,
        };
    }
}

static void open_hypervisor(struct parser *parser, struct config_piece rest, struct config_position position)
{
    parser->section = SECTION_SKIPPED;
    if (rest.text.length != 0) {
        config_report(parser->errors, rest.position, "unknown-section", "[hypervisor] has no name; take \"%.*s\" out.",
                      TEXT_ARGS(rest.text));
    } else if (parser->hypervisor.line != 0) {
        config_report(parser->errors, position, "duplicate-section",
                      "[hypervisor] is already in line %u; move these keys there.", parser->hypervisor.line);
    } else {
        parser->section = SECTION_HYPERVISOR;
        parser->hypervisor = position;
    }
}

/* A name that may be used. False: it was reported. */
static bool take_name(struct parser *parser, struct config_piece *name, const char *kind,
                      const struct config_position *same)
{
    if (!config_unquote(name) || !config_is_name(name->text)) {
        config_report(
            parser->errors, name->position, "bad-name",
            "\"%.*s\" cannot be a name; use 1 to %u letters, digits, '-', '_' or '.', a letter or digit first: "
            "[%s one].",
            TEXT_ARGS(name->text), CONFIG_NAME_MAX, kind);
        return false;
    }
    if (same != NULL) {
        config_report(parser->errors, name->position, "duplicate-name",
                      "[%s %.*s] is already in line %u; move these keys there.", kind, TEXT_ARGS(name->text),
                      same->line);
        return false;
    }
    return true;
}

static void open_network(struct parser *parser, struct config_piece name)
{
    struct config *config = parser->config;
    const struct config_network *same = config_network_named(config, name.text);

    parser->section = SECTION_SKIPPED;
    if (!take_name(parser, &name, "network", same == NULL ? NULL : &same->position)) {
        return;
    }
    if (config->network_section_count == CONFIG_NETWORKS_MAX) {
        config_report(parser->errors, name.position, "too-many-networks",
                      "At most %u networks are there; let guests share some.", CONFIG_NETWORKS_MAX);
        return;
    }
    parser->section = SECTION_NETWORK;
    parser->target = &config->networks[config->network_section_count];
    config->networks[config->network_section_count++] =
        (struct config_network){.name = name.text, .position = name.position};
}

static void open_share(struct parser *parser, struct config_piece name)
{
    struct config *config = parser->config;
    const struct config_share *same = config_share_named(config, name.text);

    parser->section = SECTION_SKIPPED;
    if (!take_name(parser, &name, "shared", same == NULL ? NULL : &same->position)) {
        return;
    }
    if (config->share_count == CONFIG_SHARES_MAX) {
        config_report(parser->errors, name.position, "too-many-shares",
                      "At most %u pieces of shared memory are there; take one out.", CONFIG_SHARES_MAX);
        return;
    }
    parser->section = SECTION_SHARED;
    parser->target = &config->shares[config->share_count];
    config->shares[config->share_count++] = (struct config_share){.name = name.text, .position = name.position};
}

static void close_section(struct parser *parser)
{
    if (parser->section == SECTION_GUEST) {
        config_rules_guest(parser->target, &parser->seen, parser->errors);
    } else if (parser->section == SECTION_SHARED) {
        config_rules_share(parser->target, parser->errors);
    } else if (parser->section == SECTION_NETWORK) {
        config_rules_network(parser->target, parser->errors);
    }
    parser->target = NULL;
    parser->seen = (struct config_seen){.told = parser->seen.told};
    parser->section = SECTION_NONE;
}

/* [hypervizor], or [linux] for [guest linux]. */
static void report_section(struct parser *parser, struct config_piece name)
{
    char meant[CONFIG_NAME_MAX + 16];

    if (config_text_distance(name.text, "hypervisor") <= SECTION_DISTANCE_MAX) {
        format_text(meant, sizeof(meant), "hypervisor");
    } else if (config_is_name(name.text) && config_text_distance(name.text, "guest") > SECTION_DISTANCE_MAX) {
        format_text(meant, sizeof(meant), "guest %.*s", TEXT_ARGS(name.text));
    } else {
        config_report(
            parser->errors, name.position, "unknown-section",
            "There is no section [%.*s]; write [hypervisor], [network NAME], [shared NAME], or [guest NAME] with a "
            "blank before the name.",
            TEXT_ARGS(name.text));
        return;
    }
    config_report(parser->errors, name.position, "unknown-section", "There is no section [%.*s]; did you mean [%s]?",
                  TEXT_ARGS(name.text), meant);
}

static void open_section(struct parser *parser, struct config_piece name)
{
    struct config_piece rest = name;
    struct config_piece word = name;
    bool closed = config_take_word(&rest, &word);

    close_section(parser);
    if (closed && config_text_alike(word.text, "guest")) {
        open_guest(parser, rest);
    } else if (closed && config_text_alike(word.text, "network")) {
        open_network(parser, rest);
    } else if (closed && config_text_alike(word.text, "shared")) {
        open_share(parser, rest);
    } else if (closed && config_text_alike(word.text, "hypervisor")) {
        open_hypervisor(parser, rest, name.position);
    } else {
        parser->section = SECTION_SKIPPED;
        report_section(parser, name);
    }
}

static void set_key(struct parser *parser, const struct config_line *line)
{
    switch (parser->section) {
    case SECTION_NONE:
        config_report(parser->errors, line->name.position, "key-outside-section",
                      "`%.*s` stands before any section; write [hypervisor] or [guest NAME] above it.",
                      TEXT_ARGS(line->name.text));
        parser->section = SECTION_SKIPPED;
        break;
    case SECTION_HYPERVISOR:
    case SECTION_GUEST:
    case SECTION_NETWORK:
    case SECTION_SHARED:
        config_key_read(parser->section, line, &parser->seen, parser->config, parser->target, parser->errors);
        break;
    case SECTION_SKIPPED:
        break;
    }
}

static bool begins_with(struct text text, const char *start)
{
    struct text wanted = text_of(start);

    return text.length >= wanted.length && config_text_alike((struct text){text.start, wanted.length}, start);
}

/* A line that is nothing, by what it was probably meant to be. */
static void report_line(struct parser *parser, struct config_piece line)
{
    struct text key;

    if (config_key_begins(parser->section, line, &parser->seen, &key)) {
        config_report(parser->errors, line.position, "bad-line",
                      "`%.*s` needs a = in front of its value; write %.*s = ...", TEXT_ARGS(key), TEXT_ARGS(key));
    } else if (begins_with(line.text, "guest") || begins_with(line.text, "hypervisor")) {
        close_section(parser);
        parser->section = SECTION_SKIPPED;
        config_report(parser->errors, line.position, "bad-line",
                      "\"%.*s\" is no setting; a section stands in brackets: [hypervisor], [guest linux].",
                      TEXT_ARGS(line.text));
    } else if (begins_with(line.text, ";") || begins_with(line.text, "//")) {
        config_report(parser->errors, line.position, "bad-line", "Comments start with #; write it before \"%.*s\".",
                      TEXT_ARGS(line.text));
    } else {
        config_report(parser->errors, line.position, "bad-line",
                      "\"%.*s\" is no `key = value`, section or comment; write one of these (comments start with #).",
                      TEXT_ARGS(line.text));
    }
}

/* A '[' at the start, and no ']' at the end. */
static void report_bracket(struct parser *parser, struct config_piece line)
{
    size_t bracket = 0;

    while (bracket < line.text.length && line.text.start[bracket] != ']') {
        bracket++;
    }
    config_report(parser->errors, line.position, "bad-line",
                  bracket == line.text.length
                      ? "The [ of this section is not closed; end the line with ], as in [guest linux]."
                      : "Something follows the ] of this section; give it a line of its own, or # in front.");
}

static void read_line(struct parser *parser, const struct config_line *line)
{
    switch (line->kind) {
    case LINE_BLANK:
        break;
    case LINE_SECTION:
        open_section(parser, line->name);
        break;
    case LINE_SETTING:
        set_key(parser, line);
        break;
    case LINE_NO_CLOSE:
        close_section(parser);
        parser->section = SECTION_SKIPPED;
        report_bracket(parser, line->name);
        break;
    case LINE_UNKNOWN:
        report_line(parser, line->name);
        break;
    }
}

/* Control characters mean that this is not the file the user thinks it is; a 16-bit encoding is the usual reason. */
bool config_is_text(struct text file, struct config_errors *errors)
{
    struct config_position position = {1, 1};

    for (size_t i = 0; i < file.length; i++) {
        uint8_t c = (uint8_t)file.start[i];
        bool wide_mark = i < 2 && (c == 0xff || c == 0xfe);

        if (wide_mark || (c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            config_report(errors, position, "bad-character",
                          "The byte 0x%02x is not text; take it out, or save the file as UTF-8 or plain ASCII (not as "
                          "\"Unicode\" or UTF-16).",
                          (unsigned)c);
            return false;
        }
        position.column++;
        if (c == '\n' || (c == '\r' && (i + 1 == file.length || file.start[i + 1] != '\n'))) {
            position = (struct config_position){position.line + 1, 1};
        }
    }
    return true;
}

/* One sentence for a file that is in another format altogether, by its first line that is not blank. */
static bool is_foreign(struct text file, struct config_errors *errors)
{
    struct config_reader reader = config_reader_of(file);
    struct config_piece line;
    const char *format = NULL;

    while (config_read_raw(&reader, &line)) {
        if (line.text.length != 0) {
            format = config_word_format(line.text);
            break;
        }
    }
    if (format != NULL) {
        config_report(errors, line.position, "bad-line",
                      "The file looks like %s. A plinth.conf has sections [guest NAME] with lines `key = value`; "
                      "docs/config.md begins with one.",
                      format);
    }
    return format != NULL;
}

bool config_parse(struct text file, struct config *config, struct config_errors *errors)
{
    struct parser parser = {.config = config, .errors = errors, .section = SECTION_NONE};
    struct config_reader reader = config_reader_of(file);
    struct config_line line;

    errors->count = 0;
    errors->dropped = 0;
    config->guest_count = 0;
    config->network_section_count = 0;
    config->share_count = 0;
    config->network_count = 0;
    config->when_all_stopped = FINAL_POWEROFF;
    config->log_debug = false;
    config->console_serial = true;
    config->console_screen = true;
    config->quiet_devices = true;
    config->quirks = true;
    config->speculation = SPECULATION_AUTO;
    config->allow_siblings = false;
    config->rtc = RTC_UTC;
    config->rtc_east_minutes = 0;
    if (!config_is_text(file, errors) || is_foreign(file, errors)) {
        return false;
    }
    while (config_read_line(&reader, &line)) {
        read_line(&parser, &line);
    }
    close_section(&parser);
    config_rules_file(config, file.length == 0, errors);
    return errors->count == 0;
}

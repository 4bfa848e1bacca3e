/* SPDX-License-Identifier: MIT */
/*
 * Paths of files that the config names, as the boot volume sees them. One check and one view for the target and the
 * tools on the host:
 *
 *   - a name is printable ASCII without the characters that FAT refuses, or UTF-8 of what a UEFI string holds (no
 *     character beyond 0xffff), and does not begin or end with what a FAT driver strips: blanks, and a dot at the end
 *     (Microsoft, FAT32 File System Specification 1.03, "Long Directory Entries": "leading and trailing spaces" and
 *     "trailing periods" are ignored). Such a name would be another one there;
 *   - it is none of the words that stand for devices, whatever follows a dot: Windows, where sticks are copied, refuses
 *     them;
 *   - it is no file that Plinth itself keeps on the volume;
 *   - two names that differ in case only are one file.
 *
 * `.` and `..` lead nowhere there: config_volume_path() leaves them out.
 */
#include "config/config_internal.h"

#define PREFIX "\\plinth\\"
#define PREFIX_LENGTH (sizeof(PREFIX) - 1)

static bool is_slash(char c)
{
    return c == '/' || c == '\\';
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

bool config_path_alike(struct text one, struct text other)
{
    if (one.length != other.length) {
        return false;
    }
    for (size_t i = 0; i < one.length; i++) {
        if (upper(one.start[i]) != upper(other.start[i])) {
            return false;
        }
    }
    return true;
}

/* The component that begins at *at, without its slashes; *at goes behind the one after it. False: there is none. */
static bool take_component(struct text path, size_t *at, struct text *component)
{
    size_t start = *at;
    size_t end = start;

    if (start > path.length) {
        return false;
    }
    while (end < path.length && !is_slash(path.start[end])) {
        end++;
    }
    *component = (struct text){start == 0 ? path.start : path.start + start, end - start};
    *at = end + 1;
    return true;
}

/* True for the parts of a path that lead nowhere: "", "." and "..". */
static bool is_empty_component(struct text component)
{
    return component.length == 0 || text_is(component, ".") || text_is(component, "..");
}

void config_volume_path(struct text path, char to[CONFIG_PATH_MAX + 1])
{
    size_t used = text_copy(text_of("\\plinth"), to, CONFIG_PATH_MAX + 1);
    size_t at = 0;
    struct text component;

    while (take_component(path, &at, &component)) {
        if (!is_empty_component(component)) {
            used += text_copy(text_of("\\"), to + used, CONFIG_PATH_MAX + 1 - used);
            used += text_copy(component, to + used, CONFIG_PATH_MAX + 1 - used);
        }
    }
}

bool config_path_same(struct text one, struct text other)
{
    char first[CONFIG_PATH_MAX + 1];
    char second[CONFIG_PATH_MAX + 1];

    config_volume_path(one, first);
    config_volume_path(other, second);
    return config_path_alike(text_of(first), text_of(second));
}

/* ---- the check ---- */

static bool char_allowed(char c)
{
    static const char refused[] = ":*?\"<>|";

    for (size_t i = 0; i < sizeof(refused) - 1; i++) {
        if (c == refused[i]) {
            return false;
        }
    }
    return c >= ' ' && c <= '~';
}

/* Bytes of the character at path[at], which a name may have; 0: it may not. RFC 3629, 4 "Syntax of UTF-8 Byte
 * Sequences"; a name that UEFI opens has 16 bits for each character. */
static size_t char_bytes(struct text path, size_t at)
{
    const uint8_t *from = (const uint8_t *)path.start + at;
    size_t left = path.length - at;

    if (from[0] < 0x80) {
        return char_allowed(path.start[at]) ? 1 : 0;
    }
    if (from[0] >= 0xc2 && from[0] < 0xe0 && left >= 2 && (from[1] & 0xc0) == 0x80) {
        return from[0] == 0xc2 && from[1] < 0xa0 ? 0 : 2; /* control characters */
    }
    if ((from[0] & 0xf0) == 0xe0 && left >= 3 && (from[1] & 0xc0) == 0x80 && (from[2] & 0xc0) == 0x80) {
        uint32_t code = (uint32_t)(from[0] & 0x0f) << 12 | (uint32_t)(from[1] & 0x3f) << 6 | (from[2] & 0x3f);

        return code >= 0x800 && (code < 0xd800 || code >= 0xe000) && code < 0xfffe ? 3 : 0;
    }
    return 0;
}

/* The characters that are seldom part of a file's name have a sentence of their own. */
static void report_char(struct config_piece path, size_t at, struct config_errors *errors)
{
    const char *why = "a FAT volume cannot hold it; rename the file (letters and digits, no *?<>|)";

    if (path.text.start[at] == ':') {
        why = "paths are relative to this config file, without a drive or host in front";
    } else if ((uint8_t)path.text.start[at] >= 0x80) {
        why = "it is not UTF-8, or none that a file's name there can hold; rename the file";
    } else if (path.text.start[at] == '"') {
        why = "double quotes stand in front of the path and behind it, or not at all";
    }
    config_report(errors, path.position, "bad-path", "The path \"%.*s\" has a wrong character (its %u.): %s.",
                  TEXT_ARGS(path.text), (unsigned)at + 1, why);
}

/* Microsoft, "Naming Files, Paths, and Namespaces": reserved also with an extension. */
static bool is_device_word(struct text component)
{
    static const char *const words[] = {"CON", "PRN", "AUX", "NUL"};
    static const char *const numbered[] = {"COM", "LPT"};
    size_t length = 0;

    while (length < component.length && component.start[length] != '.') {
        length++;
    }
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (config_path_alike((struct text){component.start, length}, text_of(words[i]))) {
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(numbered); i++) {
        if (length == 4 && component.start[3] >= '1' && component.start[3] <= '9' &&
            config_path_alike((struct text){component.start, 3}, text_of(numbered[i]))) {
            return true;
        }
    }
    return false;
}

/* Why the boot volume cannot have this name; NULL: it can. */
static const char *component_wrong(struct text component)
{
    char last = component.start[component.length - 1];

    if (component.start[0] == ' ' || last == ' ') {
        return "a FAT volume drops blanks at the ends of a name; rename it";
    }
    if (last == '.') {
        return "a FAT volume drops a dot at the end of a name; rename it";
    }
    if (is_device_word(component)) {
        return "Windows takes it for a device and copies no such file; rename it";
    }
    return NULL;
}

static bool is_own_file(struct text path)
{
    static const char *const own[] = {"plinth.conf", "machine.txt", "last-boot.txt", "needs.txt"};

    for (size_t i = 0; i < ARRAY_COUNT(own); i++) {
        if (config_path_same(path, text_of(own[i]))) {
            return true;
        }
    }
    return false;
}

/* Every component; *named: one of them leads somewhere. */
static bool check_components(struct config_piece path, bool *named, struct config_errors *errors)
{
    struct text component = {path.text.start, 0};
    size_t at = 0;

    *named = false;
    while (take_component(path.text, &at, &component)) {
        const char *wrong = is_empty_component(component) ? NULL : component_wrong(component);

        if (wrong != NULL) {
            config_report(errors, path.position, "bad-path", "\"%.*s\" cannot be the name of a file: %s.",
                          TEXT_ARGS(component), wrong);
            return false;
        }
        *named = *named || !is_empty_component(component);
    }
    if (*named && is_empty_component(component)) {
        config_report(errors, path.position, "bad-path", "\"%.*s\" names a folder; name a file in it.",
                      TEXT_ARGS(path.text));
        return false;
    }
    return true;
}

bool config_path_check(struct config_piece path, struct config_errors *errors)
{
    bool named = false;

    for (size_t i = 0; i < path.text.length;) {
        size_t bytes = char_bytes(path.text, i);

        if (bytes == 0) {
            report_char(path, i, errors);
            return false;
        }
        i += bytes;
    }
    if (!check_components(path, &named, errors)) {
        return false;
    }
    if (!named || path.text.length + PREFIX_LENGTH > CONFIG_PATH_MAX) {
        config_report(errors, path.position, "bad-path",
                      named ? "The path \"%.*s...\" is too long; %u characters are allowed."
                            : "\"%.*s\" names no file; write its path relative to this config file.",
                      TEXT_ARGS(path.text), (unsigned)(CONFIG_PATH_MAX - PREFIX_LENGTH));
        return false;
    }
    if (is_own_file(path.text)) {
        config_report(errors, path.position, "bad-path",
                      "\"%.*s\" is a file that Plinth itself keeps on the boot volume; rename yours.",
                      TEXT_ARGS(path.text));
        return false;
    }
    return true;
}

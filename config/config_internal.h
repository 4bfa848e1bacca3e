/* SPDX-License-Identifier: MIT */
/*
 * What the files of the config parser share: the reader of lines (config_text.c), the readers of values
 * (config_value.c), the table of keys (config_key.c), words from elsewhere (config_words.c), paths (config_path.c), the
 * rules between keys (config_rules.c), and errors.
 */
#ifndef CONFIG_CONFIG_INTERNAL_H
#define CONFIG_CONFIG_INTERNAL_H

#include "config/parse.h"

/* ---- errors: config_error.c ---- */

/* Adds an error in file order; beyond CONFIG_ERRORS_MAX the ones that come later in the file are only counted. */
__attribute__((format(printf, 4, 5))) void config_report(struct config_errors *errors, struct config_position position,
                                                         const char *rule, const char *form, ...);

/* A text as arguments of "%.*s", cut so that a sentence stays readable. */
#define CONFIG_SHOWN_MAX 48u
#define TEXT_ARGS(text) (int)min_u64((text).length, CONFIG_SHOWN_MAX), (text).start

/* ---- the frame: parse.c ---- */

/* False: an error was reported, and nothing else of the file is worth reading. */
bool config_is_text(struct text file, struct config_errors *errors);

/* ---- lines: config_text.c ---- */

/* A piece of the file that knows where it stands. */
struct config_piece {
    struct text text;
    struct config_position position;
};

enum config_line_kind {
    LINE_BLANK,
    LINE_SECTION,  /* name: what is between the brackets */
    LINE_SETTING,  /* name and value: what is left and right of the first '=' */
    LINE_NO_CLOSE, /* a '[' without ']' */
    LINE_UNKNOWN,  /* anything else */
};

struct config_line {
    enum config_line_kind kind;
    struct config_piece name;
    struct config_piece value;
};

struct config_reader {
    struct text file;
    size_t offset;
    uint32_t line;
};

/* Skips a byte-order mark. */
struct config_reader config_reader_of(struct text file);

/* The next line, comments and blanks around taken off. False at the end of the file. */
bool config_read_line(struct config_reader *reader, struct config_line *line);

/* The next line as it stands, blanks around taken off. False at the end of the file. */
bool config_read_raw(struct config_reader *reader, struct config_piece *line);

/* Takes the first word off a piece: up to a blank, or what a pair of double quotes holds. False: a quote stays open. */
bool config_take_word(struct config_piece *rest, struct config_piece *word);

/* Takes a pair of double quotes off that holds the whole text. False: a quote at the start, but none at the end. */
bool config_unquote(struct config_piece *piece);

bool config_text_alike(struct text left, const char *right); /* letters in any case, `_` like `-` */

/* True where the text is one of the words of a list with blanks between, letters in any case and `_` like `-`. */
bool config_text_one_of(struct text text, const char *words);

/* How many letters to change, add or remove to make one of the other; long texts give a large number. */
uint32_t config_text_distance(struct text left, const char *right);

struct config_piece config_trim(struct config_piece piece);

/* What guests and networks may be called. */
bool config_is_name(struct text name);

/* ---- values: config_value.c ---- */

/* "512M", "1.5G", "64 KiB", "0x100000", "4096". False where it is none of these or passes 2^63. */
bool config_value_size(struct text text, uint64_t *bytes);

/* "10ms", "500us", "1s" in microseconds. A number needs its unit. */
bool config_value_duration(struct text text, uint32_t *us);

/* "+1", "+05:30", "-8": minutes east of Greenwich, at most CONFIG_ZONE_MAX_MINUTES. */
bool config_value_zone(struct text text, int32_t *minutes);

bool config_value_number(struct text text, uint64_t *number); /* decimal */

enum config_cpus_result {
    CPUS_OK,
    CPUS_BAD,
    CPUS_NONE, /* 0 as a number */
    CPUS_TWICE,
    CPUS_TOO_MANY,
};

/* "2": two vCPUs anywhere. "1,2" "0-3" "2,": on these host CPUs. */
enum config_cpus_result config_value_cpus(struct text text, struct config_guest *guest);

/* ---- disks and network cards: config_device.c ---- */

/* Cuts a value into what stands in front of the first comma, quotes taken off, and the options behind it. False: a
 * quote stays open. */
bool config_device_cut(struct config_piece value, struct config_piece *first, struct config_piece *options);

void config_read_disk(struct config_piece path, struct config_piece options, struct config_guest *guest,
                      struct config_errors *errors);
void config_read_net(struct config_piece network, struct config_piece options, struct config_guest *guest,
                     struct config_errors *errors);

void config_read_shared(struct config_piece name, struct config_piece options, struct config_guest *guest,
                        struct config_errors *errors);

/* ---- functions of the machine: config_pci.c ---- */

void config_read_pci(struct config_piece value, struct config_guest *guest, struct config_errors *errors);

/* Within the file, and against the machine: each `pci` gets its place. */
void config_rules_pci(const struct config *config, struct config_errors *errors);
void config_check_pci(struct config *config, const struct config_machine *machine, struct config_errors *errors);

/* The rules between the devices of all guests. */
void config_rules_devices(struct config *config, struct config_errors *errors);

/* ---- devices of the machine: config_direct.c ---- */

void config_read_ports(struct config_piece value, struct config_guest *guest, struct config_errors *errors);
void config_read_mmio(struct config_piece value, struct config_guest *guest, struct config_errors *errors);

/* Inside a guest, when its section ends; between guests, when the file ends; and on a machine. */
void config_rules_direct_guest(const struct config_guest *guest, struct config_errors *errors);
void config_rules_direct(const struct config *config, struct config_errors *errors);
void config_rules_direct_machine(const struct config *config, const struct config_machine *machine,
                                 struct config_errors *errors);

/* "0x378" or a decimal number, at the start of a text; takes it off. */
bool config_take_number(struct text *text, uint64_t *number);

/* ---- words from elsewhere: config_words.c ---- */

#define CONFIG_FOREIGN_MAX 32u

/* What to do today where another program has this key, and which sentence of the table it is; NULL: it is unknown. */
const char *config_word_elsewhere(struct text word, uint32_t *index);

/* What a file is that begins with this line, where that is no plinth.conf; NULL: it may be one. */
const char *config_word_format(struct text line);

#define CONFIG_SECTIONS_MAX 8u /* enum config_section */

/* What was said in full in this file: it is said once. The line; 0: not yet. */
struct config_told {
    uint32_t keys[5]; /* the list of keys, by enum config_section */
    uint32_t foreign[CONFIG_FOREIGN_MAX];
};

/* ---- keys: config_key.c ---- */

enum config_section {
    SECTION_NONE,
    SECTION_HYPERVISOR,
    SECTION_GUEST,
    SECTION_NETWORK,
    SECTION_SHARED,
    SECTION_SKIPPED, /* one that was refused: its settings are not looked at */
};
_Static_assert(SECTION_SKIPPED < CONFIG_SECTIONS_MAX, "struct config_told has room for every section");

#define CONFIG_MTU_MIN 576u
#define CONFIG_MTU_MAX 65535u

#define CONFIG_KEYS_MAX 64u

/* Where each key of the present section was written, for "duplicate key"; line 0: not yet. */
struct config_seen {
    struct config_position keys[CONFIG_KEYS_MAX];
    bool kernel_meant;       /* a line that was refused was meant to be `kernel`: one mistake, one error */
    struct config_told told; /* of the whole file */
};

/* Reads one setting of a section into `config`, or into the section's struct, which is `target`. */
void config_key_read(enum config_section section, const struct config_line *line, struct config_seen *seen,
                     struct config *config, void *target, struct config_errors *errors);

/* True where a line begins with a key of the section, whatever follows; the line was refused. */
bool config_key_begins(enum config_section section, struct config_piece line, struct config_seen *seen,
                       struct text *name);

/* True where this key of a guest was written in the file. */
bool config_key_was_seen(const struct config_seen *seen, const char *name, struct config_position *position);

/* ---- paths: config_path.c ---- */

/* True where the path names a file that a FAT volume can hold under this name; else the error was reported. */
bool config_path_check(struct config_piece path, struct config_errors *errors);

/* ---- rules: config_rules.c ---- */

/* The rules inside one guest, when its section ends. */
void config_rules_guest(struct config_guest *guest, const struct config_seen *seen, struct config_errors *errors);

/* The rules inside a [shared] section, and a [network] section, when it ends. */
void config_rules_share(const struct config_share *share, struct config_errors *errors);
void config_rules_network(const struct config_network *network, struct config_errors *errors);

/* The rules between guests, when the file ends. */
void config_rules_file(struct config *config, bool is_empty, struct config_errors *errors);

#endif

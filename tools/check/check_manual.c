/* SPDX-License-Identifier: MIT */
/* docs/config.md, printed from tools/config_manual.h. */
#include "tools/check/check.h"

#include "tools/config_manual.h"

#include <string.h>

static void print_manual_keys(const char *section)
{
    printf("| key | values | when not written | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < ARRAY_COUNT(manual_keys); i++) {
        const struct manual_key *key = &manual_keys[i];

        if (strcmp(key->section, section) == 0) {
            printf("| `%s` | %s | %s | %s |\n", key->name, key->values, key->unwritten, key->meaning);
        }
    }
}

/* An example as an indented block; what cannot be printed is named. */
static void print_manual_example(const char *title, const char *text, unsigned times)
{
    bool line_start = true;

    printf(times != 0 ? "%s (%u times, from the line with the 1 on)\n\n" : "%s\n\n", title, times);
    for (const char *c = text; *c != '\0'; c++) {
        if (line_start) {
            printf("    ");
        }
        if (*c != '\n' && *c < ' ') {
            printf("<byte 0x%02x>", (unsigned)(uint8_t)*c);
        } else {
            putchar(*c);
        }
        line_start = *c == '\n';
    }
}

static void print_manual_rule(const struct manual_long_rule *rule)
{
    printf("\n### %s\n\n%s\n\n", rule->name, rule->meaning);
    if (rule->cpus != 0) {
        unsigned cpus = rule->cpus & MANUAL_CPUS;

        printf("On a machine with %u CPU%s and 4 GiB%s%s%s%s%s%s:\n\n", cpus, cpus == 1 ? "" : "s",
               (rule->cpus & MANUAL_NO_NESTED_PAGING) != 0 ? ", without nested paging" : "",
               (rule->cpus & MANUAL_THREADS) != 0 ? ", two CPUs of each core" : "",
               (rule->cpus & MANUAL_LITTLE_CORES) != 0 ? ", all of the efficient kind" : "",
               (rule->cpus & MANUAL_PCI) != 0 ? ", with the PCI functions above" : "",
               (rule->cpus & MANUAL_NO_IOMMU) != 0 ? " and without the IOMMU" : "",
               (rule->cpus & MANUAL_NO_COM2) != 0 ? ", without COM2" : "");
    }
    print_manual_example("Wrong:", rule->wrong, rule->wrong_times);
    printf("\n");
    print_manual_example("Right:", rule->right, rule->right_times);
}

void check_print_manual(void)
{
    fputs(manual_opening, stdout);
    printf("\n## Keys of `[hypervisor]`\n\n");
    print_manual_keys("hypervisor");
    printf("\n## Keys of `[guest NAME]`\n\n");
    print_manual_keys("guest");
    printf("\n## Keys of `[network NAME]`\n\nA network needs no section: `net = lan` in two guests is one. This is for "
           "those that "
           "are not plain.\n\n");
    print_manual_keys("network");
    printf("\n## Keys of `[shared NAME]`\n\n");
    print_manual_keys("shared");
    fputs(manual_details, stdout);
    printf("\n## Rules\n");
    for (size_t i = 0; i < ARRAY_COUNT(manual_rules); i++) {
        const struct manual_rule *rule = &manual_rules[i];

        print_manual_rule(
            &(struct manual_long_rule){rule->name, rule->meaning, rule->wrong, rule->right, 0, 0, rule->cpus});
    }
    printf("\n## Rules about files and numbers\n\nIn these examples `hello.elf` is a kernel, `HELLO.ELF` another one, "
           "`empty` "
           "an empty file, `huge` one of 4 GiB and `notes.txt` a text, all beside the config.\n");
    for (size_t i = 0; i < ARRAY_COUNT(manual_long_rules); i++) {
        print_manual_rule(&manual_long_rules[i]);
    }
}

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
static void print_manual_example(const char *title, const char *text)
{
    bool line_start = true;

    printf("%s\n\n", title);
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
    printf("\n");
}

void check_print_manual(void)
{
    fputs(manual_opening, stdout);
    printf("\n## Keys of `[hypervisor]`\n\n");
    print_manual_keys("hypervisor");
    printf("\n## Keys of `[guest NAME]`\n\n");
    print_manual_keys("guest");
    fputs(manual_details, stdout);
    printf("\n## Rules\n\n");
    for (size_t i = 0; i < ARRAY_COUNT(manual_rules); i++) {
        printf("### %s\n\n%s\n\n", manual_rules[i].name, manual_rules[i].meaning);
        if (manual_rules[i].cpus != 0) {
            printf("On a machine with %u CPU%s and 4 GiB:\n\n", manual_rules[i].cpus,
                   manual_rules[i].cpus == 1 ? "" : "s");
        }
        print_manual_example("Wrong:", manual_rules[i].wrong);
        print_manual_example("Right:", manual_rules[i].right);
    }
    for (size_t i = 0; i < ARRAY_COUNT(manual_long_rules); i++) {
        printf("### %s\n\n%s\n%s", manual_long_rules[i][0], manual_long_rules[i][1],
               i + 1 < ARRAY_COUNT(manual_long_rules) ? "\n" : "");
    }
}

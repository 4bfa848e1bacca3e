/* SPDX-License-Identifier: MIT */
/*
 * plinth-check: says what is wrong with a plinth.conf, or prints the plan that the hypervisor would make of it.
 *
 * The parser, checker, planner and loaders are the hypervisor's own object files, so the verdicts are the same as on
 * the machine. What is added is in tools/check: reading files, the machine's description, and printing.
 */
#include "hv/host/version.h"
#include "tools/check/check.h"

#include <string.h>

static const char help[] =
    "plinth-check [--machine FILE] [--json] [--svg FILE] [--files | --needs] plinth.conf\n"
    "\n"
    "Says what is wrong with a config, one line each:  file:line:column: rule: sentence\n"
    "or prints the plan: guests, CPUs, memory, leaves, bytes of tables. Exit status 0 or 1; 2: not understood.\n"
    "\n"
    "  --machine FILE  plan for this machine: \\plinth\\machine.txt as the hypervisor writes it with `inventory = "
    "yes`,\n"
    "                  or a few lines by hand:\n"
    "                    cpus = 4\n"
    "                    memory = 8G                          all of it, the usual hole below 4 GiB assumed\n"
    "                    region = 0x100000 0x80000000 free    or region by region: start, end, and free, boot,\n"
    "                                                         loader, acpi, reserved or mmio\n"
    "                    virtualization = vmx                 or svm\n"
    "                    largest-leaf = 1G                    or 2M\n"
    "                    hypervisor = fixed 1M guest 20K vcpu 48K   its own memory: as a whole, and for each\n"
    "                  and cpu-name, cpu, features, acpi, uart, screen, pci, which change nothing.\n"
    "                  Without --machine the machine has what the config needs.\n"
    "  --json          print verdicts and plan as one JSON object\n"
    "  --svg FILE      draw the plan: CPUs and memory of the machine, and the guests in them\n"
    "  --files         print each file that the config names: path on this host, a tab, path on the boot volume\n"
    "  --needs         print the smallest machine that the config runs on, as a description for --machine\n"
    "  --manual        print docs/config.md\n"
    "  --version       print the version, which is that of the hypervisor's first line\n"
    "  --help          this text\n";

static void print_file(const struct check *check, struct text path)
{
    char host[HOST_PATH_MAX];
    char volume[CONFIG_PATH_MAX + 1];

    check_host_path(check, path, host);
    config_volume_path(path, volume);
    printf("%s\t%s\n", host, volume);
}

static void print_files(const struct check *check)
{
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        const struct config_guest *guest = &check->config.guests[g];

        print_file(check, guest->kernel);
        for (uint32_t m = 0; m < guest->module_count; m++) {
            print_file(check, guest->modules[m].path);
        }
        for (uint32_t d = 0; d < guest->disk_count; d++) {
            print_file(check, guest->disks[d].path);
        }
    }
}

static void print_result(const struct check *check)
{
    switch (check->options.output) {
    case OUTPUT_JSON:
        check_print_json(check);
        break;
    case OUTPUT_FILES:
        if (check_is_good(check)) {
            print_files(check);
            break;
        }
        check_print_text(check);
        break;
    case OUTPUT_NEEDS:
        if (check_is_good(check)) {
            check_print_needs(check);
            break;
        }
        check_print_text(check);
        break;
    case OUTPUT_TEXT:
        check_print_text(check);
        break;
    }
}

/* False: the picture could not be written. */
static bool draw_result(const struct check *check)
{
    FILE *out;

    if (check->options.svg == NULL || !check_is_good(check)) {
        return true;
    }
    out = fopen(check->options.svg, "w");
    if (out != NULL) {
        check_print_svg(check, out);
    }
    if (out == NULL || ferror(out) != 0 || fclose(out) != 0) {
        fprintf(stderr, "plinth-check: %s cannot be written; name a file in a folder that you may write to.\n",
                check->options.svg);
        return false;
    }
    return true;
}

/* ---- the command line ---- */

/* True where the word is an option that prints something and ends. */
static bool is_question(const char *word)
{
    if (strcmp(word, "--help") == 0) {
        fputs(help, stdout);
        return true;
    }
    if (strcmp(word, "--manual") == 0) {
        check_print_manual();
        return true;
    }
    if (strcmp(word, "--version") == 0) {
        printf("plinth-check (Plinth) %s\n", plinth_version);
        return true;
    }
    return false;
}

/* False: a usage error was printed, or an answer (then *status is 0). */
static bool read_options(int count, char **words, struct options *options, int *status)
{
    *status = 2;
    for (int i = 1; i < count; i++) {
        if (is_question(words[i])) {
            *status = 0;
            return false;
        }
        if (strcmp(words[i], "--files") == 0) {
            options->output = OUTPUT_FILES;
        } else if (strcmp(words[i], "--needs") == 0) {
            options->output = OUTPUT_NEEDS;
        } else if (strcmp(words[i], "--json") == 0) {
            options->output = OUTPUT_JSON;
        } else if (strcmp(words[i], "--machine") == 0 && i + 1 < count) {
            options->machine = words[++i];
        } else if (strcmp(words[i], "--svg") == 0 && i + 1 < count) {
            options->svg = words[++i];
        } else if (words[i][0] != '-' && options->config == NULL) {
            options->config = words[i];
        } else {
            fprintf(stderr, "plinth-check: \"%s\" is not understood; see plinth-check --help.\n", words[i]);
            return false;
        }
    }
    if (options->config == NULL) {
        fprintf(stderr, "plinth-check: name a config file; see plinth-check --help.\n");
        return false;
    }
    return true;
}

int main(int count, char **words)
{
    static struct check check;
    struct span file;
    int status;

    if (!read_options(count, words, &check.options, &status)) {
        return status;
    }
    if (check_read_file(check.options.config, CONFIG_BYTES_MAX, &file)) {
        check.file = (struct text){(const char *)file.base, (size_t)file.bytes};
        check_run(&check);
    } else {
        config_report(&check.errors, (struct config_position){1, 1}, "missing-file",
                      "The config cannot be read; name a text file of at most 256 KiB.");
    }
    print_result(&check);
    return draw_result(&check) && check_is_good(&check) ? 0 : 1;
}

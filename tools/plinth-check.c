/* SPDX-License-Identifier: MIT */
/*
 * plinth-check: says what is wrong with a plinth.conf, or prints the plan that the hypervisor would make of it.
 *
 * The parser, checker, planner and loaders are the hypervisor's own object files, so the verdicts are the same as on
 * the machine. What is added is in tools/check: reading files, the machine's description, and printing.
 */
#include "hv/host/version.h"
#include "tools/check/check.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static const char help[] =
    "plinth-check [--machine FILE] [--json] [--svg FILE] [--beside FOLDER] [--files | --needs]\n"
    "             plinth.conf|-\n"
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
    "                  and cpu-name, cpu, features, acpi, uart, screen, which change nothing.\n"
    "                  Without --machine the machine has what the config needs.\n"
    "  --beside FOLDER look there for files that are not beside the config\n"
    "  --json          print verdicts and plan as one JSON object\n"
    "  --svg FILE      draw the plan: CPUs and memory of the machine, and the guests in them\n"
    "  --files         print each file that the config names: path on this host, a tab, path on the boot volume\n"
    "  --needs         print the smallest machine that the config runs on, as a description for --machine\n"
    "  --manual        print docs/config.md\n"
    "  --version       print the version, which is that of the hypervisor's first line\n"
    "  -h, --help      this text\n"
    "\n"
    "The config - is the standard input; paths in it are then relative to the current folder.\n";

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
        fprintf(stderr, "plinth-check: %s cannot be written: %s.\n", check->options.svg, strerror(errno));
        return false;
    }
    return true;
}

/* ---- the command line ---- */

enum {
    OPTION_JSON = 256,
    OPTION_BESIDE,
    OPTION_SVG,
    OPTION_FILES,
    OPTION_NEEDS,
    OPTION_MACHINE,
    OPTION_MANUAL,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"beside", required_argument, NULL, OPTION_BESIDE},
    {"svg", required_argument, NULL, OPTION_SVG},
    {"files", no_argument, NULL, OPTION_FILES},
    {"needs", no_argument, NULL, OPTION_NEEDS},
    {"machine", required_argument, NULL, OPTION_MACHINE},
    {"manual", no_argument, NULL, OPTION_MANUAL},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

enum command_line { COMMAND_CHECK, COMMAND_ANSWERED, COMMAND_WRONG };

/* One option that getopt_long understood. */
static enum command_line take_option(int option, struct options *options)
{
    switch (option) {
    case OPTION_JSON:
        options->output = OUTPUT_JSON;
        return COMMAND_CHECK;
    case OPTION_FILES:
        options->output = OUTPUT_FILES;
        return COMMAND_CHECK;
    case OPTION_NEEDS:
        options->output = OUTPUT_NEEDS;
        return COMMAND_CHECK;
    case OPTION_BESIDE:
        options->beside = optarg;
        return COMMAND_CHECK;
    case OPTION_SVG:
        options->svg = optarg;
        return COMMAND_CHECK;
    case OPTION_MACHINE:
        options->machine = optarg;
        return COMMAND_CHECK;
    case OPTION_MANUAL:
        check_print_manual();
        return COMMAND_ANSWERED;
    case OPTION_VERSION:
        printf("plinth-check (Plinth) %s\n", plinth_version);
        return COMMAND_ANSWERED;
    case 'h':
        fputs(help, stdout);
        return COMMAND_ANSWERED;
    default: /* getopt_long said what is wrong */
        fprintf(stderr, "See plinth-check --help.\n");
        return COMMAND_WRONG;
    }
}

static enum command_line read_options(int count, char **words, struct options *options)
{
    enum command_line command = COMMAND_CHECK;
    int option;

    while ((option = getopt_long(count, words, "h", long_options, NULL)) != -1) {
        command = take_option(option, options);
        if (command != COMMAND_CHECK) {
            return command;
        }
    }
    if (count - optind != 1) {
        fprintf(stderr, "plinth-check: %s; see plinth-check --help.\n",
                count == optind ? "name a config file, or - for the standard input" : "one config at a time");
        return COMMAND_WRONG;
    }
    options->config = words[optind];
    if (options->machine != NULL && strcmp(options->machine, "-") == 0 && strcmp(options->config, "-") == 0) {
        fprintf(stderr, "plinth-check: the standard input is the config or the machine, not both; see plinth-check "
                        "--help.\n");
        return COMMAND_WRONG;
    }
    return COMMAND_CHECK;
}

int main(int count, char **words)
{
    static struct check check;
    enum command_line command = read_options(count, words, &check.options);
    struct span file;
    const char *why;

    if (command != COMMAND_CHECK) {
        return command == COMMAND_ANSWERED ? 0 : 2;
    }
    if (check_read_file(check.options.config, CONFIG_BYTES_MAX, &file, &why)) {
        check.file = (struct text){(const char *)file.base, (size_t)file.bytes};
        check_run(&check);
    } else {
        check_report_config(&check, why);
    }
    print_result(&check);
    return draw_result(&check) && check_is_good(&check) ? 0 : 1;
}

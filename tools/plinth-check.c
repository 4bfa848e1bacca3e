/*
 * plinth-check: says what is wrong with a plinth.conf, or prints the plan that the hypervisor would make of it.
 *
 * The parser, checker, planner and loaders are the hypervisor's own object files, so the verdicts are the same as on
 * the machine. What is added here: reading files, the machine's description, and printing.
 *
 *   1. the config is parsed and checked (config/);
 *   2. it is checked against the machine: the one that --machine describes, or one that has what the config needs;
 *   3. the files it names must be there, and the guest-loader must accept each kernel;
 *   4. each guest's memory is planned, and the plan is printed.
 *
 * All errors of one step are printed together; a later step runs only when the earlier ones found none.
 */
#define _POSIX_C_SOURCE 200809L /* fileno, isatty */
#include "config/config.h"
#include "config/config_internal.h"
#include "guest-loader/loader.h"
#include "hv/base/format.h"
#include "hv/mm/planner.h"
#include "tools/config_manual.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_BYTES_MAX (1u << 20)
#define IMAGE_BYTES_MAX (4ULL << 30)
#define HOST_PATH_MAX 4096u

/* What firmware and hypervisor keep of a machine that is known by its memory size only. */
#define FIRMWARE_BYTES (64 * MIB)
#define LOW_MEMORY_END (2 * GIB)
#define HIGH_MEMORY_START (4 * GIB)

enum output {
    OUTPUT_TEXT,
    OUTPUT_JSON,
    OUTPUT_FILES,
};

struct options {
    const char *config;
    const char *machine;
    enum output output;
};

/* Everything about one run. Static: it is large, and there is one. */
struct check {
    struct options options;
    struct text file;
    struct config config;
    struct config_errors errors;
    struct config_machine machine;
    struct memory_map map;
    struct guest_plan plans[CONFIG_GUESTS_MAX];
    struct load_plan images[CONFIG_GUESTS_MAX];
};

static const char help[] =
    "plinth-check [--machine FILE] [--files] [--json] plinth.conf\n"
    "\n"
    "Says what is wrong with a config, one line each:  file:line:column: rule: sentence\n"
    "or prints the plan: guests, CPUs, memory, leaves, bytes of tables. Exit status 0 or 1.\n"
    "\n"
    "  --machine FILE  plan for this machine. Lines of FILE:\n"
    "                    cpus = 4\n"
    "                    memory = 8G                          all of it, the usual hole below 4 GiB assumed\n"
    "                    region = 0x100000 0x80000000 free    or region by region: start, end, and free, boot,\n"
    "                                                         loader, acpi, reserved or mmio\n"
    "                  Other keys are skipped. Without --machine the machine has what the config needs.\n"
    "  --files         print each file that the config names: path on this host, a tab, path on the boot volume\n"
    "  --json          print verdicts and plan as one JSON object\n"
    "  --manual        print docs/config.md\n"
    "  --help          this text\n";

/* ---- reading files ---- */

/* The whole file in memory, zero-terminated; false where it cannot be read or is larger than `limit`. */
static bool read_file(const char *path, uint64_t limit, struct span *result)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    uint8_t *bytes = NULL;
    bool read = false;

    if (file == NULL) {
        return false;
    }
    if (fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size <= limit) {
        bytes = malloc((size_t)info.st_size + 1);
    }
    if (bytes != NULL && fread(bytes, 1, (size_t)info.st_size, file) == (size_t)info.st_size) {
        bytes[info.st_size] = 0;
        *result = (struct span){bytes, (uint64_t)info.st_size};
        read = true;
    }
    fclose(file);
    if (!read) {
        free(bytes);
    }
    return read;
}

/* A path of the config on this host: relative to the config file's folder, whatever slashes it has. */
static void host_path(const struct check *check, struct text path, char to[HOST_PATH_MAX])
{
    const char *slash = strrchr(check->options.config, '/');
    int folder = slash == NULL ? 0 : (int)(slash - check->options.config) + 1;
    size_t skipped = 0;

    while (skipped < path.length && (path.start[skipped] == '/' || path.start[skipped] == '\\')) {
        skipped++;
    }
    snprintf(to, HOST_PATH_MAX, "%.*s%.*s", folder, check->options.config, (int)(path.length - skipped),
             path.start + skipped);
    for (char *c = to + folder; *c != '\0'; c++) {
        *c = *c == '\\' ? '/' : *c;
    }
}

/* ---- the machine ---- */

static const char *const region_types[] = {
    [MEMORY_FREE] = "free", [MEMORY_BOOT] = "boot",         [MEMORY_LOADER] = "loader",
    [MEMORY_ACPI] = "acpi", [MEMORY_RESERVED] = "reserved", [MEMORY_MMIO] = "mmio",
};

static void machine_error(const struct check *check, const struct config_line *line, const char *sentence)
{
    fprintf(stderr, "%s:%u:%u: bad-machine: %s\n", check->options.machine, line->value.position.line,
            line->value.position.column, sentence);
}

static bool machine_region(struct check *check, const struct config_line *line)
{
    struct config_piece rest = line->value;
    struct config_piece words[3];
    uint64_t start = 0;
    uint64_t end = 0;

    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        config_take_word(&rest, &words[i]);
    }
    for (size_t type = 0; type < ARRAY_COUNT(region_types); type++) {
        if (config_text_alike(words[2].text, region_types[type]) && config_value_size(words[0].text, &start) &&
            config_value_size(words[1].text, &end) &&
            memory_map_set(&check->map, start, end, (enum memory_type)type) == STATUS_OK) {
            return true;
        }
    }
    machine_error(check, line,
                  "write `region = START END TYPE` with page-aligned addresses, such as 0x100000 2G free.");
    return false;
}

/* A PC of this much memory: up to 2 GiB from 1 MiB, the rest from 4 GiB, and some kept by the firmware. */
static bool machine_memory(struct check *check, uint64_t bytes)
{
    uint64_t low = align_down(min_u64(bytes, LOW_MEMORY_END), PAGE_BYTES);
    uint64_t high = align_down(bytes, PAGE_BYTES) - low;

    if (low < FIRMWARE_BYTES + 2 * MIB) {
        return false;
    }
    return memory_map_set(&check->map, MIB, low - FIRMWARE_BYTES, MEMORY_FREE) == STATUS_OK &&
           memory_map_set(&check->map, low - FIRMWARE_BYTES, low, MEMORY_RESERVED) == STATUS_OK &&
           (high == 0 ||
            memory_map_set(&check->map, HIGH_MEMORY_START, HIGH_MEMORY_START + high, MEMORY_FREE) == STATUS_OK);
}

static bool machine_setting(struct check *check, const struct config_line *line)
{
    uint64_t number = 0;

    if (config_text_alike(line->name.text, "cpus")) {
        if (!config_value_number(line->value.text, &number) || number == 0 || number > UINT32_MAX) {
            machine_error(check, line, "write the number of CPUs, such as 4.");
            return false;
        }
        check->machine.cpu_count = (uint32_t)number;
    } else if (config_text_alike(line->name.text, "memory")) {
        if (!config_value_size(line->value.text, &number) || !machine_memory(check, number)) {
            machine_error(check, line, "write the memory as a size of at least 66M, such as 8G.");
            return false;
        }
    } else if (config_text_alike(line->name.text, "region")) {
        return machine_region(check, line);
    }
    return true;
}

static bool read_machine(struct check *check)
{
    struct config_reader reader;
    struct config_line line;
    struct span file;
    bool good = true;

    if (!read_file(check->options.machine, CONFIG_BYTES_MAX, &file)) {
        fprintf(stderr, "plinth-check: %s cannot be read; name a text file below 1 MiB.\n", check->options.machine);
        return false;
    }
    reader = config_reader_of((struct text){(const char *)file.base, (size_t)file.bytes});
    while (config_read_line(&reader, &line)) {
        good = (line.kind != LINE_SETTING || machine_setting(check, &line)) && good;
    }
    if (good && check->machine.cpu_count == 0) {
        fprintf(stderr, "%s: bad-machine: it does not say how many CPUs there are; add `cpus = N`.\n",
                check->options.machine);
        return false;
    }
    return good;
}

/* The machine that is not described: as many CPUs as the config speaks of, and memory enough from 4 GiB up. */
static void assume_machine(struct check *check)
{
    uint64_t memory = GIB;
    uint32_t cpus = 0;
    uint32_t highest = 0;

    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        const struct config_guest *guest = &check->config.guests[g];

        memory += align_up(guest->memory_bytes, GIB);
        for (uint32_t i = 0; i < guest->cpu_count; i++) {
            highest = guest->cpus[i] == CONFIG_CPU_ANY ? highest : (uint32_t)max_u64(highest, guest->cpus[i] + 1);
            cpus++;
        }
    }
    check->machine.cpu_count = (uint32_t)max_u64(cpus, highest);
    memory_map_set(&check->map, HIGH_MEMORY_START, HIGH_MEMORY_START + memory, MEMORY_FREE);
}

/* ---- the files ---- */

static void report_missing(struct check *check, struct text path, struct config_position position)
{
    char host[HOST_PATH_MAX];

    host_path(check, path, host);
    config_report(&check->errors, position, "missing-file",
                  "The file %.150s is not there or cannot be read; put it there or mend the path.", host);
}

static bool read_image(struct check *check, struct text path, struct config_position position, struct span *image)
{
    char host[HOST_PATH_MAX];

    host_path(check, path, host);
    if (!read_file(host, IMAGE_BYTES_MAX, image)) {
        report_missing(check, path, position);
        return false;
    }
    return true;
}

static void free_images(struct load_request *request)
{
    free((void *)(uintptr_t)request->kernel.base);
    for (uint32_t m = 0; m < CONFIG_MODULES_MAX; m++) {
        free((void *)(uintptr_t)request->modules[m].bytes.base);
    }
}

/* Asks the loader about one guest's images, as the hypervisor does before the point of no return. */
static void check_images(struct check *check, uint32_t index)
{
    const struct config_guest *guest = &check->config.guests[index];
    struct load_request request = {
        .protocol = guest->protocol,
        .module_count = guest->module_count,
        .cmdline = guest->cmdline,
        .name = guest->kernel,
        .rsdp = gpa(GUEST_ACPI_START),
        .flat_load = guest->load_address,
        .flat_entry = guest->entry_address,
        .flat_mode = guest->mode,
    };
    struct load_error error;
    bool there = read_image(check, guest->kernel, guest->kernel_position, &request.kernel);

    for (uint32_t m = 0; m < guest->module_count; m++) {
        const struct config_module *module = &guest->modules[m];

        request.modules[m].arguments = module->arguments;
        there = read_image(check, module->path, module->position, &request.modules[m].bytes) && there;
    }
    if (there && guest_layout_make(guest->memory_bytes, &request.layout) == STATUS_OK &&
        loader_plan(&request, &check->images[index], &error) != STATUS_OK) {
        bool in_file = error.offset != UINT64_MAX;
        char offset[48] = "";

        if (in_file) {
            format_text(offset, sizeof(offset), " (at offset 0x%" PRIx64 ")", error.offset);
        }
        config_report(&check->errors, guest->kernel_position, "bad-image", "%.*s: %s%s.", TEXT_ARGS(guest->kernel),
                      error.sentence, offset);
    }
    free_images(&request);
}

/* ---- the plan ---- */

static void plan_guest(struct check *check, uint32_t index)
{
    const struct config_guest *guest = &check->config.guests[index];
    uint64_t missing = 0;
    enum status status =
        planner_guest(&check->map, guest->memory_bytes, &page_table_npt4, LEVEL_1G, &check->plans[index], &missing);
    char missing_text[FORMAT_BYTES_MAX];

    if (status != STATUS_OK) {
        config_report(&check->errors, guest->memory_position.line != 0 ? guest->memory_position : guest->position,
                      "too-much-memory", "For guest `%.*s` %s are missing; give it or an earlier guest less.",
                      TEXT_ARGS(guest->name), format_bytes(missing_text, missing));
    }
}

/* The steps in order; each runs only where the ones before it found nothing. */
static void run_steps(struct check *check)
{
    if (!config_parse(check->file, &check->config, &check->errors)) {
        return;
    }
    if (check->options.machine == NULL) {
        assume_machine(check);
    }
    check->machine.memory_bytes = memory_map_bytes(&check->map, MEMORY_FREE);
    config_check_machine(&check->config, &check->machine, &check->errors);
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        check_images(check, g);
    }
    for (uint32_t g = 0; g < check->config.guest_count && check->errors.count == 0; g++) {
        plan_guest(check, g);
    }
}

/* ---- printing ---- */

static void print_errors(const struct check *check)
{
    bool colours = isatty(STDOUT_FILENO) != 0;

    for (uint32_t i = 0; i < check->errors.count; i++) {
        const struct config_error *error = &check->errors.list[i];

        printf("%s:%u:%u: %s%s%s: %s\n", check->options.config, error->position.line, error->position.column,
               colours ? "\x1b[1;31m" : "", error->rule, colours ? "\x1b[0m" : "", error->sentence);
    }
}

static void print_cpus(const struct config_guest *guest)
{
    printf("%u vCPU%s on CPU%s ", guest->cpu_count, guest->cpu_count == 1 ? "" : "s", guest->cpu_count == 1 ? "" : "s");
    for (uint32_t i = 0; i < guest->cpu_count; i++) {
        printf("%s%u", i == 0 ? "" : ",", guest->cpus[i]);
    }
    if (guest->slice_us != 0) {
        bool whole = guest->slice_us % 1000 == 0;

        printf(", slices of %u %s", whole ? guest->slice_us / 1000 : guest->slice_us, whole ? "ms" : "us");
    }
}

static void print_guest(const struct config_guest *guest, const struct guest_plan *plan, const struct load_plan *image)
{
    char memory_text[FORMAT_BYTES_MAX];
    char table_text[FORMAT_BYTES_MAX];

    printf("guest %.*s: ", TEXT_ARGS(guest->name));
    print_cpus(guest);
    printf(", %s of memory\n", format_bytes(memory_text, guest->memory_bytes));
    printf("    image   %s\n", image->description);
    for (uint32_t r = 0; r < plan->memory.range_count; r++) {
        const struct guest_range *range = &plan->memory.ranges[r];

        printf("    memory  guest 0x%" PRIx64 "..0x%" PRIx64 " is host 0x%" PRIx64 "..0x%" PRIx64 "\n",
               range->start.value, range->start.value + range->bytes, range->backing.value,
               range->backing.value + range->bytes);
    }
    printf("    leaves  %" PRIu64 " of 1 GiB, %" PRIu64 " of 2 MiB, %" PRIu64 " of 4 KiB; %" PRIu64 " tables, %s\n",
           plan->leaves[LEVEL_1G], plan->leaves[LEVEL_2M], plan->leaves[LEVEL_4K], plan->table_count,
           format_bytes(table_text, plan->table_count * PAGE_BYTES));
}

static void print_plan(const struct check *check)
{
    char memory_text[FORMAT_BYTES_MAX];

    printf("%s is good for %s: %u CPUs, %s for guests.\n", check->options.config,
           check->options.machine != NULL ? check->options.machine : "a machine that has what it needs",
           check->machine.cpu_count, format_bytes(memory_text, check->machine.memory_bytes));
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        print_guest(&check->config.guests[g], &check->plans[g], &check->images[g]);
    }
}

static void print_json_text(const char *key, struct text text)
{
    printf("\"%s\": \"", key);
    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = (uint8_t)text.start[i];

        if (c < ' ' || c >= 0x7f) {
            printf("\\u%04x", (unsigned)c);
        } else {
            printf(c == '"' || c == '\\' ? "\\%c" : "%c", c);
        }
    }
    printf("\"");
}

static void print_json_errors(const struct check *check)
{
    printf("\"errors\": [");
    for (uint32_t i = 0; i < check->errors.count; i++) {
        const struct config_error *error = &check->errors.list[i];

        printf("%s\n  {\"line\": %u, \"column\": %u, \"rule\": \"%s\", ", i == 0 ? "" : ",", error->position.line,
               error->position.column, error->rule);
        print_json_text("sentence", text_of(error->sentence));
        printf("}");
    }
    printf("]");
}

static void print_json_guest(const struct config_guest *guest, const struct guest_plan *plan,
                             const struct load_plan *image)
{
    printf("  {");
    print_json_text("name", guest->name);
    printf(", \"memory_bytes\": %" PRIu64 ", \"slice_us\": %u, ", guest->memory_bytes, guest->slice_us);
    print_json_text("image", text_of(image->description));
    printf(", \"cpus\": [");
    for (uint32_t i = 0; i < guest->cpu_count; i++) {
        printf("%s%u", i == 0 ? "" : ", ", guest->cpus[i]);
    }
    printf("], \"leaves_1g\": %" PRIu64 ", \"leaves_2m\": %" PRIu64 ", \"leaves_4k\": %" PRIu64
           ", \"table_bytes\": %" PRIu64 ", \"ranges\": [",
           plan->leaves[LEVEL_1G], plan->leaves[LEVEL_2M], plan->leaves[LEVEL_4K], plan->table_count * PAGE_BYTES);
    for (uint32_t r = 0; r < plan->memory.range_count; r++) {
        const struct guest_range *range = &plan->memory.ranges[r];

        printf("%s{\"gpa\": %" PRIu64 ", \"hpa\": %" PRIu64 ", \"bytes\": %" PRIu64 "}", r == 0 ? "" : ", ",
               range->start.value, range->backing.value, range->bytes);
    }
    printf("]}");
}

static void print_json(const struct check *check)
{
    bool good = check->errors.count == 0;

    printf("{");
    print_json_text("file", text_of(check->options.config));
    printf(", \"good\": %s,\n ", good ? "true" : "false");
    print_json_errors(check);
    printf(",\n \"guests\": [");
    for (uint32_t g = 0; g < check->config.guest_count && good; g++) {
        printf("%s\n", g == 0 ? "" : ",");
        print_json_guest(&check->config.guests[g], &check->plans[g], &check->images[g]);
    }
    printf("]}\n");
}

static void print_file(const struct check *check, struct text path)
{
    char host[HOST_PATH_MAX];
    char volume[CONFIG_PATH_MAX + 1];

    host_path(check, path, host);
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
    }
}

static void print_result(const struct check *check)
{
    switch (check->options.output) {
    case OUTPUT_JSON:
        print_json(check);
        break;
    case OUTPUT_TEXT:
    case OUTPUT_FILES:
        if (check->errors.count != 0) {
            print_errors(check);
        } else if (check->options.output == OUTPUT_FILES) {
            print_files(check);
        } else {
            print_plan(check);
        }
        break;
    }
}

/* ---- the manual ---- */

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

static void print_manual(void)
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

/* ---- the command line ---- */

/* False: a usage error was printed, or help (then *status is 0). */
static bool read_options(int count, char **words, struct options *options, int *status)
{
    *status = 1;
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--help") == 0) {
            fputs(help, stdout);
            *status = 0;
            return false;
        }
        if (strcmp(words[i], "--manual") == 0) {
            print_manual();
            *status = 0;
            return false;
        }
        if (strcmp(words[i], "--files") == 0) {
            options->output = OUTPUT_FILES;
        } else if (strcmp(words[i], "--json") == 0) {
            options->output = OUTPUT_JSON;
        } else if (strcmp(words[i], "--machine") == 0 && i + 1 < count) {
            options->machine = words[++i];
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
    if (!read_file(check.options.config, CONFIG_BYTES_MAX, &file)) {
        printf("%s:1:1: missing-file: The config cannot be read; name a text file below 1 MiB.\n",
               check.options.config);
        return 1;
    }
    check.file = (struct text){(const char *)file.base, (size_t)file.bytes};
    if (check.options.machine != NULL && !read_machine(&check)) {
        return 1;
    }
    run_steps(&check);
    print_result(&check);
    return check.errors.count == 0 ? 0 : 1;
}

/* SPDX-License-Identifier: MIT */
/*
 * The plan as a picture (SVG): the machine's CPUs with the vCPUs on them, its memory with the guests in it, and each
 * guest's own view of its memory. A guest has one colour everywhere.
 *
 *   CPU 0          CPU 1          ...              boxes, four in a row, or eight where there are many
 *   [linux 0]      [unikernel 0]
 *
 *   host memory                                    one bar per piece, from address 0 down; its height grows with the
 *   0x100000  | linux       256 MiB |              logarithm of its size: small pieces are seen beside large ones
 *
 * Neighbouring pieces that no guest has and that are of one kind, and small ones of the firmware, are drawn as one.
 */
#include "tools/check/check.h"

#include "hv/base/format.h"

#include <string.h>

#define MARGIN 24u
#define CPU_WIDTH 219u
#define CPU_GAP 12u
#define CPUS_PER_ROW 4u
#define FEW_CPUS 16u /* with more there are twice as many in a row */
#define CPU_HEAD 30u
#define CPU_PLACE_HEIGHT 16u /* of the line that says package, core and thread */
#define TITLE_MAX 30
#define CHIP_HEIGHT 24u
#define SLICE_WIDTH 54u /* room for "1000 ms" */
#define US_PER_MS 1000u
#define BAR_LEFT 190u
#define BAR_WIDTH 330u
#define BAR_HEIGHT 26u
#define GUEST_LEFT 580u
#define SMALL_BYTES (1 * MIB)
#define COLOURS 8u

/* Dark enough for white letters. */
static const char *const colours[COLOURS] = {"#3f6796", "#bf5b04", "#3f8036", "#94578a",
                                             "#c23c3e", "#33807a", "#85604d", "#8f6b0c"};
#define COLOUR_OWN "#444444"

static void text_at(FILE *out, uint32_t x, uint32_t y, const char *class, const char *text)
{
    fprintf(out, "<text class=\"%s\" x=\"%u\" y=\"%u\">", class, x, y);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '<' || *c == '>' || *c == '&' || *c == '"') {
            fprintf(out, "&#%u;", (unsigned)*c);
        } else {
            fputc(*c, out);
        }
    }
    fprintf(out, "</text>\n");
}

static void box(FILE *out, uint32_t x, uint32_t y, uint32_t width, uint32_t height, const char *fill)
{
    fprintf(out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"%s\"/>\n", x, y, width, height, fill);
}

static uint32_t chips_on(const struct config *config, uint32_t cpu)
{
    uint32_t count = 0;

    for (uint32_t g = 0; g < config->guest_count; g++) {
        for (uint32_t v = 0; v < config->guests[g].cpu_count; v++) {
            count += config->guests[g].cpus[v] == cpu;
        }
    }
    return count;
}

static bool places_are_known(const struct check *check)
{
    return check->machine.cpus[0].described;
}

static uint32_t head_height(const struct check *check)
{
    return CPU_HEAD + (places_are_known(check) ? CPU_PLACE_HEIGHT : 0);
}

static uint32_t cpus_per_row(const struct check *check)
{
    return check->machine.cpu_count > FEW_CPUS ? 2 * CPUS_PER_ROW : CPUS_PER_ROW;
}

/* As wide as a row of CPUs. */
static uint32_t picture_width(const struct check *check)
{
    return 2 * MARGIN + cpus_per_row(check) * (CPU_WIDTH + CPU_GAP) - CPU_GAP;
}

static void draw_place(const struct check *check, FILE *out, uint32_t cpu, uint32_t x, uint32_t y)
{
    const struct machine_cpu *known = &check->machine.cpus[cpu];
    char text[96];

    if (known->described) {
        format_text(text, sizeof(text), "package %u, core %u, thread %u", known->package, known->core, known->thread);
        text_at(out, x, y, "small", text);
    }
}

/* A vCPU on its CPU. */
static void draw_chip(const struct check *check, FILE *out, uint32_t index, uint32_t vcpu, uint32_t x, uint32_t y)
{
    const struct config_guest *guest = &check->config.guests[index];
    bool whole_ms = guest->slice_us % US_PER_MS == 0;
    char text[96];

    box(out, x, y, CPU_WIDTH - 12, CHIP_HEIGHT - 4, colours[index % COLOURS]);
    format_text(text, sizeof(text), "%.*s vCPU %u", TEXT_ARGS(guest->name), vcpu);
    text_at(out, x + 6, y + 15, "on", text);
    if (guest->slice_us != 0) {
        format_text(text, sizeof(text), "%u %s", guest->slice_us / (whole_ms ? US_PER_MS : 1), whole_ms ? "ms" : "us");
        text_at(out, x + CPU_WIDTH - SLICE_WIDTH - 6, y + 15, "on", text);
    }
}

static void draw_cpu(const struct check *check, FILE *out, uint32_t cpu, uint32_t x, uint32_t y, uint32_t height)
{
    uint32_t row = y + head_height(check);
    char text[96];

    box(out, x, y, CPU_WIDTH, height, "#e8e8e8");
    format_text(text, sizeof(text), "CPU %u", cpu);
    text_at(out, x + 8, y + 20, "head", text);
    draw_place(check, out, cpu, x + 8, y + 36);
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        for (uint32_t v = 0; v < check->config.guests[g].cpu_count; v++) {
            if (check->config.guests[g].cpus[v] == cpu) {
                draw_chip(check, out, g, v, x + 6, row);
                row += CHIP_HEIGHT;
            }
        }
    }
    if (chips_on(&check->config, cpu) == 0) {
        text_at(out, x + 12, row + 15, "small", "free");
    }
}

/* Returns the y below. */
static uint32_t draw_cpus(const struct check *check, FILE *out, uint32_t y)
{
    uint32_t count = (uint32_t)min_u64(check->machine.cpu_count, CPUS_MAX);
    uint32_t in_row = cpus_per_row(check);

    for (uint32_t first = 0; first < count; first += in_row) {
        uint32_t most = 1;
        uint32_t height;

        for (uint32_t i = first; i < count && i < first + in_row; i++) {
            most = (uint32_t)max_u64(most, chips_on(&check->config, i));
        }
        height = head_height(check) + most * CHIP_HEIGHT + 6;
        for (uint32_t i = first; i < count && i < first + in_row; i++) {
            draw_cpu(check, out, i, MARGIN + (i - first) * (CPU_WIDTH + CPU_GAP), y, height);
        }
        y += height + CPU_GAP;
    }
    return y;
}

/* A bar's height: one line, and more for every factor of 4 above 64 MiB. */
static uint32_t height_of(uint64_t bytes)
{
    uint32_t height = BAR_HEIGHT;

    for (uint64_t size = 64 * MIB; size < bytes; size *= 4) {
        height += BAR_HEIGHT / 2;
    }
    return height;
}

/* True where `next` is drawn into the bar of `piece`. */
static bool joins(const struct check_piece *piece, const struct check_piece *next)
{
    bool small = next->end - next->start < SMALL_BYTES && piece->end - piece->start < 64 * MIB &&
                 next->type != MEMORY_FREE && piece->type != MEMORY_FREE;

    return piece->guest == HOST_PIECE_NOBODYS && next->guest == HOST_PIECE_NOBODYS && piece->end == next->start &&
           (piece->type == next->type || small);
}

static uint32_t join_pieces(struct check_piece *pieces, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 1; i < count; i++) {
        if (joins(&pieces[kept], &pieces[i])) {
            pieces[kept].end = pieces[i].end;
        } else {
            pieces[++kept] = pieces[i];
        }
    }
    return count == 0 ? 0 : kept + 1;
}

static uint32_t draw_piece(const struct check *check, FILE *out, const struct check_piece *piece, uint32_t y)
{
    bool guest = piece->guest < CONFIG_GUESTS_MAX;
    bool own = piece->guest == HOST_PIECE_OWN;
    uint32_t height = height_of(piece->end - piece->start);
    char size[FORMAT_BYTES_MAX];
    char text[96];

    format_text(text, sizeof(text), "0x%" PRIx64, piece->start);
    text_at(out, MARGIN, y + 17, "address", text);
    box(out, BAR_LEFT, y, BAR_WIDTH, height - 2,
        guest                        ? colours[piece->guest % COLOURS]
        : own                        ? COLOUR_OWN
        : piece->type == MEMORY_FREE ? "#d9ead3"
                                     : "#bbbbbb");
    format_bytes(size, piece->end - piece->start);
    if (guest) {
        format_text(text, sizeof(text), "%.*s, %s", TEXT_ARGS(check->config.guests[piece->guest].name), size);
    } else {
        format_text(text, sizeof(text), "%s, %s", own ? "the hypervisor" : check_type_name(piece->type), size);
    }
    text_at(out, BAR_LEFT + 8, y + 17, guest || own ? "on" : "small", text);
    return y + height;
}

static uint32_t draw_host(const struct check *check, FILE *out, uint32_t y)
{
    static struct check_piece pieces[HOST_PIECES_MAX];
    uint32_t count = join_pieces(pieces, check_host_pieces(check, pieces));

    text_at(out, MARGIN, y + 16, "head", "Host memory (heights by orders of magnitude)");
    y += 30;
    for (uint32_t i = 0; i < count; i++) {
        if (i != 0 && pieces[i].start != pieces[i - 1].end) {
            text_at(out, BAR_LEFT + 8, y + 12, "small", "(nothing)");
            y += 18;
        }
        y = draw_piece(check, out, &pieces[i], y);
    }
    return y;
}

/* What it has in common with others: networks and shared memory. */
static uint32_t draw_links(const struct config_guest *guest, FILE *out, uint32_t y)
{
    char text[96];

    for (uint32_t i = 0; i < guest->net_count; i++) {
        format_text(text, sizeof(text), "network %.*s", TEXT_ARGS(guest->nets[i].network));
        text_at(out, GUEST_LEFT + 22, y, "small", text);
        y += 17;
    }
    for (uint32_t i = 0; i < guest->pci_count; i++) {
        const struct config_pci *pci = &guest->pci[i];

        format_text(text, sizeof(text), "device %.*s, the machine's %02x:%02x.%x", TEXT_ARGS(pci->text), pci->bus,
                    pci->device, pci->function);
        text_at(out, GUEST_LEFT + 22, y, "small", text);
        y += 17;
    }
    for (uint32_t i = 0; i < guest->share_count; i++) {
        format_text(text, sizeof(text), "shared %.*s at 0x%" PRIx64 "%s", TEXT_ARGS(guest->shares[i].name),
                    (uint64_t)GUEST_SHARE_START(i), guest->shares[i].read_only ? ", reads" : "");
        text_at(out, GUEST_LEFT + 22, y, "small", text);
        y += 17;
    }
    return y;
}

static uint32_t draw_guest(const struct check *check, FILE *out, uint32_t index, uint32_t y)
{
    const struct config_guest *guest = &check->config.guests[index];
    const struct guest_plan *plan = &check->plans[index];
    char bytes[FORMAT_BYTES_MAX];
    char text[160];

    box(out, GUEST_LEFT, y, 14, 14, colours[index % COLOURS]);
    format_text(text, sizeof(text), "%.*s: %s, %u vCPU%s", TEXT_ARGS(guest->name),
                format_bytes(bytes, guest->memory_bytes), guest->cpu_count, guest->cpu_count == 1 ? "" : "s");
    text_at(out, GUEST_LEFT + 22, y + 12, "head", text);
    y += 32;
    for (uint32_t r = 0; r < plan->memory.range_count; r++) {
        const struct guest_range *range = &plan->memory.ranges[r];

        format_text(text, sizeof(text), "0x%" PRIx64 " is host 0x%" PRIx64 ", %s", range->start.value,
                    range->backing.value, format_bytes(bytes, range->bytes));
        text_at(out, GUEST_LEFT + 22, y, "small", text);
        y += 17;
    }
    y = draw_links(guest, out, y);
    format_text(text, sizeof(text), "%" PRIu64 " x 1 GiB, %" PRIu64 " x 2 MiB, %" PRIu64 " x 4 KiB; tables %s",
                plan->leaves[LEVEL_1G], plan->leaves[LEVEL_2M], plan->leaves[LEVEL_4K],
                format_bytes(bytes, plan->table_count * PAGE_BYTES));
    text_at(out, GUEST_LEFT + 22, y, "small", text);
    return y + 26;
}

/* What is behind the last slash, cut at the front where it is long. */
static const char *short_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t length = strlen(name);

    return length > TITLE_MAX ? name + length - TITLE_MAX : name;
}

static void draw_title(const struct check *check, FILE *out)
{
    char text[160];
    char bytes[FORMAT_BYTES_MAX];

    format_text(text, sizeof(text), "%s on %s", short_name(check->options.config),
                check->options.machine != NULL ? short_name(check->options.machine)
                                               : "a machine that has what it needs");
    text_at(out, MARGIN, 34, "title", text);
    format_text(text, sizeof(text), "%.*s%s%u CPUs, %s free for guests",
                (int)min_u64(check->machine.cpu_name.length, 2 * TITLE_MAX), check->machine.cpu_name.start,
                check->machine.cpu_name.length != 0 ? ": " : "", check->machine.cpu_count,
                format_bytes(bytes, memory_map_bytes(&check->machine.map, MEMORY_FREE)));
    text_at(out, MARGIN, 54, "small", text);
}

static uint32_t draw(const struct check *check, FILE *out)
{
    uint32_t left;
    uint32_t right;
    uint32_t y;

    draw_title(check, out);
    y = draw_cpus(check, out, 68);
    left = draw_host(check, out, y);
    right = y + 30;
    for (uint32_t g = 0; g < check->config.guest_count; g++) {
        right = draw_guest(check, out, g, right);
    }
    return (uint32_t)max_u64(left, right) + MARGIN;
}

/* Drawn twice: the first time to learn the height, which stands in front. */
void check_print_svg(const struct check *check, FILE *out)
{
    FILE *nowhere = fopen("/dev/null", "w");
    uint32_t height = nowhere != NULL ? draw(check, nowhere) : 4096;
    uint32_t width = picture_width(check);

    if (nowhere != NULL) {
        fclose(nowhere);
    }
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\" "
            "font-family=\"sans-serif\" font-size=\"13\">\n"
            "<style>.title{font-size:18px;font-weight:bold}.head{font-weight:bold}.small{font-size:12px}"
            ".address{font-family:monospace;font-size:12px}.on{fill:#ffffff;font-size:12px}</style>\n",
            width, height, width, height);
    box(out, 0, 0, width, height, "#ffffff");
    (void)draw(check, out);
    fprintf(out, "</svg>\n");
}

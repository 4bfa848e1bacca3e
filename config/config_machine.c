/* SPDX-License-Identifier: MIT */
/*
 * The second half of the rules: the config against the machine it is to run on, and the placement of vCPUs.
 *
 * A list of CPUs in the config is taken as it stands. Everything else is placed: each vCPU goes to the CPU with the
 * fewest vCPUs, among equals first to one without a vCPU of the same guest, then by its core, then by its node, then to
 * the lowest number. So CPUs are shared only when there are more vCPUs than CPUs, and a CPU that a list gives to a
 * guest without `slice` is never shared. Where a CPU is shared every guest on it gets a slice: its own, or 10 ms.
 *
 * Threads of a core share its time and caches, and one can learn of the other by them. So a core with another guest
 * comes last. Where the machine has a core for every vCPU, each gets one; where not, a guest stays on cores it has.
 *
 * A guest's vCPUs stay on one node of the machine where they can: the first goes to a node that has free CPUs for all
 * of them and memory for the guest, the others follow it. The node that has most of them is the guest's: the planner
 * takes its memory there.
 *
 * Where the CPUs are of two kinds, a guest that names one gets CPUs of this kind only.
 *
 * To place a vCPU takes one look at each CPU.
 */
#include "config/config_internal.h"

#include "hv/base/format.h"

#define DEFAULT_SLICE_US 10000u

struct cpu_load {
    uint32_t vcpus;      /* at most CONFIG_CPU_VCPUS_MAX */
    uint32_t own;        /* of the guest that is placed now */
    uint32_t core_vcpus; /* of the first CPU of a core: vCPUs on all its threads, */
    uint32_t core_own;   /* and this guest's */
    bool exclusive;      /* pinned by a guest without `slice` */
};

struct node_load {
    uint64_t memory_left;
    uint32_t own;   /* vCPUs of the guest that is placed now */
    uint32_t score; /* for its first vCPU: 2: CPUs for all that it has; 1: memory for it */
};

struct placement {
    struct config *config;
    const struct config_machine *machine;
    struct config_errors *errors;
    struct cpu_load cpus[CPUS_MAX];
    struct node_load nodes[NUMA_NODES_MAX];
    uint32_t cpu_count;
    bool spread; /* there is a core for every vCPU */
    bool failed;
};

static uint32_t core_of(const struct config_machine *machine, uint32_t cpu)
{
    return machine->cores_known ? machine->cores[cpu] : cpu;
}

static struct node_load *node_of(struct placement *placement, uint32_t cpu)
{
    return placement->machine->node_count > 1 ? &placement->nodes[placement->machine->nodes[cpu]] : NULL;
}

static void take_cpu(struct placement *placement, uint32_t cpu)
{
    struct cpu_load *core = &placement->cpus[core_of(placement->machine, cpu)];
    struct node_load *node = node_of(placement, cpu);

    placement->cpus[cpu].vcpus++;
    placement->cpus[cpu].own++;
    core->core_vcpus++;
    core->core_own++;
    if (node != NULL) {
        node->own++;
    }
}

static const char *const kind_names[] = {
    [CPU_KIND_ANY] = "any", [CPU_KIND_PERFORMANCE] = "performance", [CPU_KIND_EFFICIENT] = "efficient"};

const char *config_cpu_kind_name(enum config_cpu_kind kind)
{
    return kind_names[kind];
}

bool config_cpu_is_of_kind(const struct config_machine *machine, uint32_t cpu, enum config_cpu_kind kind)
{
    return !machine->kinds_known || kind == CPU_KIND_ANY || machine->kinds[cpu] == kind;
}

/* Enters the CPUs that a list names, before anything is placed around them. */
static void place_pinned(struct placement *placement, uint32_t index)
{
    struct config_guest *guest = &placement->config->guests[index];

    for (uint32_t i = 0; i < guest->cpu_count; i++) {
        uint32_t cpu = guest->cpus[i];

        if (cpu == CONFIG_CPU_ANY) {
            continue;
        }
        if (cpu >= placement->cpu_count) {
            placement->failed = true;
            config_report(placement->errors, guest->cpus_position, "cpu-not-there",
                          "Guest `%.*s` wants CPU %u, but this machine has %u (0 to %u); choose one of these, or write "
                          "a number of CPUs instead of a list.",
                          TEXT_ARGS(guest->name), cpu, placement->cpu_count, placement->cpu_count - 1);
            return;
        }
        take_cpu(placement, cpu);
        placement->cpus[cpu].exclusive = placement->cpus[cpu].exclusive || guest->slice_us == 0;
    }
}

/* The next guest: what it has by its list counts as its own. */
static void begin_guest(struct placement *placement, const struct config_guest *guest)
{
    uint32_t free_cpus[NUMA_NODES_MAX] = {0};

    for (uint32_t cpu = 0; cpu < placement->cpu_count; cpu++) {
        placement->cpus[cpu].own = placement->cpus[cpu].core_own = 0;
        if (placement->machine->node_count > 1 && placement->cpus[cpu].vcpus == 0 &&
            config_cpu_is_of_kind(placement->machine, cpu, guest->cpu_kind)) {
            free_cpus[placement->machine->nodes[cpu]]++;
        }
    }
    for (uint32_t node = 0; node < placement->machine->node_count; node++) {
        placement->nodes[node].own = 0;
        placement->nodes[node].score = (free_cpus[node] >= guest->cpu_count ? 2u : 0u) +
                                       (placement->nodes[node].memory_left >= guest->memory_bytes ? 1u : 0u);
    }
}

/* Other guests' vCPUs on the core's other threads. */
static uint32_t foreign_beside(const struct placement *placement, uint32_t cpu)
{
    const struct cpu_load *core = &placement->cpus[core_of(placement->machine, cpu)];
    const struct cpu_load *here = &placement->cpus[cpu];

    return core->core_vcpus - core->core_own - (here->vcpus - here->own);
}

static bool is_better(struct placement *placement, uint32_t cpu, uint32_t than)
{
    const struct cpu_load *one = &placement->cpus[cpu];
    const struct cpu_load *other = &placement->cpus[than];
    const struct cpu_load *one_core = &placement->cpus[core_of(placement->machine, cpu)];
    const struct cpu_load *other_core = &placement->cpus[core_of(placement->machine, than)];
    const struct node_load *one_node = node_of(placement, cpu);
    const struct node_load *other_node = node_of(placement, than);
    uint32_t one_foreign = foreign_beside(placement, cpu);
    uint32_t other_foreign = foreign_beside(placement, than);
    /* The guest's own on the core's other threads. */
    uint32_t one_own = one_core->core_own - one->own;
    uint32_t other_own = other_core->core_own - other->own;

    if (one->vcpus != other->vcpus) {
        return one->vcpus < other->vcpus;
    }
    if ((one->own != 0) != (other->own != 0)) {
        return other->own != 0;
    }
    if (one_foreign != other_foreign) {
        return one_foreign < other_foreign;
    }
    if (one_node != other_node && one_node->own != other_node->own) {
        return one_node->own > other_node->own;
    }
    if (one_node != other_node && one_node->score != other_node->score) {
        return one_node->score > other_node->score;
    }
    return placement->spread ? one_own < other_own : one_own > other_own;
}

/* The CPU for the next vCPU of a guest, or CONFIG_CPU_ANY where every CPU is exclusive, of another kind, or beside
 * another guest's. */
static uint32_t best_cpu(struct placement *placement, const struct config_guest *guest, bool siblings)
{
    uint32_t best = CONFIG_CPU_ANY;

    for (uint32_t cpu = 0; cpu < placement->cpu_count; cpu++) {
        if (placement->cpus[cpu].exclusive || !config_cpu_is_of_kind(placement->machine, cpu, guest->cpu_kind) ||
            (!siblings && foreign_beside(placement, cpu) != 0)) {
            continue;
        }
        if (best == CONFIG_CPU_ANY || is_better(placement, cpu, best)) {
            best = cpu;
        }
    }
    return best;
}

/* The node with most of the guest's vCPUs is its own, among equals that of the first one. */
static void choose_node(struct placement *placement, struct config_guest *guest)
{
    uint32_t counts[NUMA_NODES_MAX] = {0};

    guest->node = CONFIG_NODE_ANY;
    for (uint32_t i = 0; placement->machine->node_count > 1 && i < guest->cpu_count; i++) {
        uint32_t node = placement->machine->nodes[guest->cpus[i]];

        counts[node]++;
        if (guest->node == CONFIG_NODE_ANY) {
            guest->node = node;
        }
    }
    for (uint32_t node = 0; guest->node != CONFIG_NODE_ANY && node < placement->machine->node_count; node++) {
        guest->node = counts[node] > counts[guest->node] ? node : guest->node;
    }
    if (guest->node != CONFIG_NODE_ANY) {
        struct node_load *load = &placement->nodes[guest->node];

        load->memory_left -= min_u64(load->memory_left, guest->memory_bytes);
    }
}

/* The best CPU is full, so each one is that the guest may have. */
static void report_full(struct placement *placement, const struct config_guest *guest)
{
    placement->failed = true;
    config_report(
        placement->errors, guest->cpus_position.line != 0 ? guest->cpus_position : guest->position, "cpu-full",
        "Guest `%.*s` has more vCPUs than fit: a CPU takes %u of all guests together, and this machine has %u "
        "CPU%s; give the guests fewer.",
        TEXT_ARGS(guest->name), CONFIG_CPU_VCPUS_MAX, placement->cpu_count, placement->cpu_count == 1 ? "" : "s");
}

static bool has_kind(const struct config_machine *machine, enum config_cpu_kind kind)
{
    for (uint32_t cpu = 0; cpu < machine->cpu_count && cpu < CPUS_MAX; cpu++) {
        if (config_cpu_is_of_kind(machine, cpu, kind)) {
            return true;
        }
    }
    return false;
}

static void report_none(struct placement *placement, const struct config_guest *guest)
{
    struct config_position position = guest->cpus_position.line != 0 ? guest->cpus_position : guest->position;

    placement->failed = true;
    if (!has_kind(placement->machine, guest->cpu_kind)) {
        config_report(placement->errors, position, "no-such-kind",
                      "Guest `%.*s` wants %s CPUs, and this machine has none of them; write `cpus = %u`.",
                      TEXT_ARGS(guest->name), config_cpu_kind_name(guest->cpu_kind), guest->cpu_count);
        return;
    }
    if (best_cpu(placement, guest, true) != CONFIG_CPU_ANY) {
        config_report(
            placement->errors, position, "shared-core",
            "Every core that is left for guest `%.*s` has a thread with another guest, which could see data of "
            "it; give the guests fewer `cpus`, or write `allow-siblings = yes` under [hypervisor].",
            TEXT_ARGS(guest->name));
        return;
    }
    config_report(placement->errors, position, "no-cpu-left",
                  "No CPU is left for guest `%.*s`: other guests own all %u by their lists; take a `cpus` line out, or "
                  "add `slice = 10ms` to a guest that may share.",
                  TEXT_ARGS(guest->name), placement->cpu_count);
}

/* Threads of one core do not have two guests. */
static bool keeps_cores_apart(const struct placement *placement)
{
    return !placement->config->allow_siblings && !placement->machine->is_virtual;
}

static void place_any(struct placement *placement, uint32_t index)
{
    struct config_guest *guest = &placement->config->guests[index];

    begin_guest(placement, guest);
    for (uint32_t i = 0; i < guest->cpu_count; i++) {
        if (guest->cpus[i] != CONFIG_CPU_ANY) {
            continue;
        }
        guest->cpus[i] = best_cpu(placement, guest, !keeps_cores_apart(placement));
        if (guest->cpus[i] == CONFIG_CPU_ANY) {
            report_none(placement, guest);
            return;
        }
        if (placement->cpus[guest->cpus[i]].vcpus == CONFIG_CPU_VCPUS_MAX) {
            report_full(placement, guest);
            return;
        }
        take_cpu(placement, guest->cpus[i]);
    }
}

static void set_slices(struct placement *placement)
{
    for (uint32_t g = 0; g < placement->config->guest_count; g++) {
        struct config_guest *guest = &placement->config->guests[g];

        for (uint32_t i = 0; i < guest->cpu_count && guest->slice_us == 0; i++) {
            if (placement->cpus[guest->cpus[i]].vcpus > 1) {
                guest->slice_us = DEFAULT_SLICE_US;
            }
        }
    }
}

/* Cores, and the vCPUs of all guests. */
static bool has_cores_for_all(const struct placement *placement)
{
    uint32_t cores = 0;
    uint32_t vcpus = 0;

    for (uint32_t cpu = 0; cpu < placement->cpu_count; cpu++) {
        cores += core_of(placement->machine, cpu) == cpu;
    }
    for (uint32_t g = 0; g < placement->config->guest_count; g++) {
        vcpus += placement->config->guests[g].cpu_count;
    }
    return vcpus <= cores;
}

bool config_next_neighbours(const struct config *config, const struct config_machine *machine, uint32_t *from,
                            struct config_neighbours *found)
{
    for (; machine->cores_known && *from < config->guest_count * config->guest_count; ++*from) {
        const struct config_guest *one = &config->guests[*from / config->guest_count];
        const struct config_guest *other = &config->guests[*from % config->guest_count];

        for (uint32_t i = 0; one < other && i < one->cpu_count; i++) {
            for (uint32_t k = 0; k < other->cpu_count; k++) {
                if (one->cpus[i] != other->cpus[k] && machine->cores[one->cpus[i]] == machine->cores[other->cpus[k]]) {
                    *found = (struct config_neighbours){{*from / config->guest_count, *from % config->guest_count},
                                                        {one->cpus[i], other->cpus[k]}};
                    ++*from;
                    return true;
                }
            }
        }
    }
    return false;
}

/* Lists may name threads of one core for two guests; the placement of the others does not. */
static void check_siblings(struct placement *placement)
{
    struct config_neighbours found;
    uint32_t from = 0;

    while (keeps_cores_apart(placement) &&
           config_next_neighbours(placement->config, placement->machine, &from, &found)) {
        const struct config_guest *one = &placement->config->guests[found.guests[0]];
        const struct config_guest *other = &placement->config->guests[found.guests[1]];

        placement->failed = true;
        config_report(
            placement->errors, other->cpus_position.line != 0 ? other->cpus_position : other->position, "shared-core",
            "Guests `%.*s` and `%.*s` would share a core: CPUs %u and %u are its threads, and each guest could "
            "see data of the other; give one of them another core, or write `allow-siblings = yes` under "
            "[hypervisor].",
            TEXT_ARGS(one->name), TEXT_ARGS(other->name), found.cpus[0], found.cpus[1]);
    }
}

static void check_memory(struct placement *placement)
{
    uint64_t available = placement->machine->memory_bytes;
    uint64_t used = 0;
    char wanted_text[FORMAT_BYTES_MAX];
    char left_text[FORMAT_BYTES_MAX];

    for (uint32_t i = 0; i < placement->config->guest_count; i++) {
        const struct config_guest *guest = &placement->config->guests[i];

        if (guest->memory_bytes > available - used) {
            placement->failed = true;
            config_report(placement->errors,
                          guest->memory_position.line != 0 ? guest->memory_position : guest->position,
                          "too-much-memory",
                          "Guest `%.*s` wants %s, but only %s of this machine's memory is left for it; give it or an "
                          "earlier guest less.",
                          TEXT_ARGS(guest->name), format_bytes(wanted_text, guest->memory_bytes),
                          format_bytes(left_text, available - used));
            return;
        }
        used += guest->memory_bytes;
    }
}

static void check_paging(struct placement *placement)
{
    const struct config_machine *machine = placement->machine;

    for (uint32_t i = 0; i < placement->config->guest_count; i++) {
        const struct config_guest *guest = &placement->config->guests[i];
        bool nested = config_shadow_tables(guest, !machine->no_nested_paging) == 0;

        if (nested && machine->no_nested_paging) {
            placement->failed = true;
            config_report(
                placement->errors, guest->paging_position.line != 0 ? guest->paging_position : guest->position,
                "no-such-paging",
                "Guest `%.*s` wants nested paging, which is not to be had on this CPU; write `paging = auto`.",
                TEXT_ARGS(guest->name));
        } else if (!nested && guest->share_count != 0) {
            placement->failed = true;
            config_report(
                placement->errors, guest->paging_position.line != 0 ? guest->paging_position : guest->position,
                "no-such-paging",
                "Guest `%.*s` has shared memory, which shadow paging does not map yet; take its `shared` out.",
                TEXT_ARGS(guest->name));
        } else if (!nested && (guest->mmio_count != 0 || guest->framebuffer)) {
            placement->failed = true;
            config_report(placement->errors,
                          guest->paging_position.line != 0 ? guest->paging_position : guest->position, "no-such-paging",
                          "Guest `%.*s` has memory of a device, which shadow paging does not map; take its `%s` out.",
                          TEXT_ARGS(guest->name), guest->mmio_count != 0 ? "mmio" : "framebuffer");
        }
    }
}

bool config_check_machine(struct config *config, const struct config_machine *machine, struct config_errors *errors)
{
    struct placement placement = {.config = config, .machine = machine, .errors = errors};
    uint32_t errors_before;

    placement.cpu_count = (uint32_t)min_u64(machine->cpu_count, CPUS_MAX);
    for (uint32_t node = 0; node < machine->node_count; node++) {
        placement.nodes[node].memory_left = machine->node_bytes[node];
    }
    placement.spread = has_cores_for_all(&placement);
    for (uint32_t i = 0; i < config->guest_count; i++) {
        place_pinned(&placement, i);
    }
    for (uint32_t i = 0; i < config->guest_count && !placement.failed; i++) {
        place_any(&placement, i);
        if (!placement.failed) {
            choose_node(&placement, &config->guests[i]);
        }
    }
    if (!placement.failed) {
        check_siblings(&placement);
        set_slices(&placement);
    }
    check_memory(&placement);
    check_paging(&placement);
    errors_before = errors->count + errors->dropped;
    config_rules_direct_machine(config, machine, errors);
    config_check_pci(config, machine, errors);
    return !placement.failed && errors->count + errors->dropped == errors_before;
}

static bool comes_before(const struct config_guest *one, const struct config_guest *other)
{
    bool one_placed = one->memory_at != 0;

    return one_placed != (other->memory_at != 0) ? one_placed : one->memory_bytes > other->memory_bytes;
}

void config_plan_order(const struct config *config, uint32_t order[CONFIG_GUESTS_MAX])
{
    for (uint32_t i = 0; i < config->guest_count; i++) {
        uint32_t at = i;

        while (at > 0 && comes_before(&config->guests[i], &config->guests[order[at - 1]])) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}

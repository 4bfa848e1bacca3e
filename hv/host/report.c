/* SPDX-License-Identifier: MIT */
#include "hv/host/report.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/core/guest_devices.h"
#include "hv/host/host_cpu.h"
#include "hv/plan/memory_map.h"
#include "hv/x86/insn.h"

void report_cpu(const struct virt_support *support, const struct quirks *quirks)
{
    char name[HOST_CPU_NAME_BYTES];
    char text[QUIRKS_TEXT_MAX];

    host_cpu_name(name);
    log_info("%s: %s", name, support->used);
    if (support->without[0] != '\0') {
        log_info("not there: %s", support->without);
    }
    log_info("%s", quirks_text(support->emulator, quirks, text));
}

void report_memory(const struct boot_info *info)
{
    char free[FORMAT_BYTES_MAX];
    char ours[FORMAT_BYTES_MAX];

    log_info("memory: %s free or given to guests, %s for the hypervisor",
             format_bytes(free, memory_map_bytes(&info->memory, MEMORY_FREE) +
                                    memory_map_bytes(&info->memory, MEMORY_BOOT) +
                                    memory_map_bytes(&info->memory, MEMORY_LOADER)),
             format_bytes(ours, info->pool_bytes + (info->image_end - info->image_start)));
}

void report_guest(const struct guest *guest, const struct boot_info *info)
{
    const struct boot_guest *boot = &info->guests[guest->index];
    char nodes[PLANNER_NODES_TEXT_MAX];
    char memory[FORMAT_BYTES_MAX];
    char list[CONFIG_GUEST_CPUS_MAX * 4 + 1];
    size_t length = 0;

    list[0] = '\0';
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        length +=
            format_text(list + length, sizeof(list) - length, "%s%u", i == 0 ? "" : ",", guest->vcpus[i].host_cpu);
    }
    log_info("guest %s: CPU %s, %s in %" PRIu64 " x 1 GiB, %" PRIu64 " x 2 MiB, %" PRIu64 " x 4 KiB, %" PRIu64
             " tables, costs %" PRIu64 " KiB beside its memory",
             guest->name, list, format_bytes(memory, guest->config->memory_bytes), boot->plan.leaves[LEVEL_1G],
             boot->plan.leaves[LEVEL_2M], boot->plan.leaves[LEVEL_4K], boot->plan.table_count, guest->cost_bytes / KIB);
    if (boot->plan.small_code) {
        log_info(
            "guest %s: what it executes is in pages of 4 KiB, so that it cannot stop this CPU by changing their size "
            "(CVE-2018-12207)",
            guest->name);
    }
    if (numa_is_known(&info->numa) && guest->config->node != CONFIG_NODE_ANY) {
        log_info("guest %s: its memory is %s", guest->name,
                 planner_nodes_text(&boot->plan.memory, &info->numa, guest->config->node, nodes));
    }
    guest_devices_report(guest, false);
}

void report_time(const struct boot_info *info, const struct clock *clock)
{
    uint64_t us =
        clock_ticks_to_ns(clock, clock_ticks_since(insn_rdtsc(), info->tsc_start + info->tsc_file_ticks)) / 1000;

    log_info("start took %" PRIu64 ".%03" PRIu64 " ms without file reads; Ctrl-] ? lists the console's keys", us / 1000,
             us % 1000);
}

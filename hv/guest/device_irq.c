/* SPDX-License-Identifier: MIT */
#include "hv/guest/device_irq.h"

#include "hv/host/cpu.h"
#include "hv/iommu/iommu.h"

const char *guest_device_irq(struct guest *guest, uint32_t source, struct host_irq_pin pin, uint8_t *vector)
{
    struct iommu_line line = {.apic_id = cpus[guest->config->cpus[0]].apic_id, .level = pin.level};
    const char *why;
    enum status status;

    if (!host_irq_ioapic(pin.gsi, &line.ioapic_id)) {
        return "no I/O APIC has it";
    }
    *vector = host_irq_vector(guest, source);
    if (*vector == 0) {
        return "no vector is left";
    }
    line.vector = *vector;
    pin.apic_id = line.apic_id;
    why = iommu_line_open(&line);
    if (why != NULL) {
        return why;
    }
    pin.remapped = line.remapped;
    pin.entry = line.entry;
    status = host_irq_route(*vector, &pin);
    if (status == STATUS_UNSUPPORTED) {
        return "the I/O APIC does not reach this CPU";
    }
    return status == STATUS_OK ? NULL : "another guest has it";
}

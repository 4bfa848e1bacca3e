/* SPDX-License-Identifier: MIT */
#include "hv/guest/typed.h"

#include "hv/console/console.h"
#include "hv/guest/create.h"

void guest_typed_serve(const struct cpu *here, uint64_t now)
{
    uint64_t got_input = console_service(guests, guest_count, now);

    for (uint32_t i = 0; i < guest_count && got_input != 0; i++) {
        struct vcpu *vcpu = &guests[i]->vcpus[0];

        if (((got_input >> i) & 1) == 0) {
            continue;
        }
        (void)vcpu_kick_set(vcpu, VCPU_KICK_CONSOLE);
        if (vcpu->host_cpu != here->index) {
            cpu_kick(&cpus[vcpu->host_cpu]);
        }
    }
}

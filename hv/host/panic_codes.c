/* SPDX-License-Identifier: MIT */
/* What to do about each code that the hypervisor prints: the hypervisor's own and those of guests. */
#include "hv/host/panic_codes.h"

#include "hv/core/guest_codes.h"

const char *code_remedy(uint32_t code)
{
    static const struct {
        uint32_t code;
        const char *remedy;
    } remedies[] = {
#define REMEDY_ROW(name, number, remedy) {number, remedy},
        HV_CODES(REMEDY_ROW) GUEST_CODES(REMEDY_ROW)
#undef REMEDY_ROW
    };

    for (size_t i = 0; i < ARRAY_COUNT(remedies); i++) {
        if (remedies[i].code == code) {
            return remedies[i].remedy;
        }
    }
    return "please report the lines above";
}

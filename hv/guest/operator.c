/* SPDX-License-Identifier: MIT */
#include "hv/guest/operator.h"

#include "hv/console/console.h"
#include "hv/guest/status.h"

static void carry_out(enum mux_command command, uint32_t guest)
{
    (void)guest;
    if (command == MUX_STATUS) {
        guest_status_print();
    }
}

void operator_init(void)
{
    console_set_command_hook(carry_out);
}

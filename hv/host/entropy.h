/* SPDX-License-Identifier: MIT */
/* Keys for guests' entropy devices, from the CPU's random numbers and the firmware's. */
#ifndef HV_HOST_ENTROPY_H
#define HV_HOST_ENTROPY_H

#include "hv/base/random.h"

/* Once, at the start. `firmware`: its random numbers, all 0 where it has none. */
void host_entropy_start(const uint8_t firmware[RANDOM_KEY_BYTES]);

/* A key that is given out once. False: neither the firmware nor the CPU has random numbers, and there is none. */
bool host_entropy_key(uint8_t key[RANDOM_KEY_BYTES]);

#endif

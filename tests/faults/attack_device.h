/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FAULTS_ATTACK_DEVICE_H
#define TESTS_FAULTS_ATTACK_DEVICE_H

#include "hv/boot_info.h"

/* Lets the edu device write to a page of each thing that it must not reach. BSP only, no other CPU runs. */
void attack_by_device(const struct boot_info *info, uint64_t nested_root);

/* And then on, so many times. */
void attack_without_end(uint32_t times);

#endif

/* SPDX-License-Identifier: MIT */
/* Why a table of the firmware (DMAR, IVRS) is not used: a sentence for its reader's `problem`. */
#ifndef HV_IOMMU_IOMMU_TABLE_H
#define HV_IOMMU_IOMMU_TABLE_H

#include "hv/base/status.h"
#include "hv/base/types.h"

#define IOMMU_TABLE_PROBLEM_BYTES 160u

/* Both return a status to return: the one given, and STATUS_NO_SPACE for "the DMAR has more than 32 units". */
__attribute__((format(printf, 3, 4))) enum status iommu_table_refuse(char problem[IOMMU_TABLE_PROBLEM_BYTES],
                                                                     enum status status, const char *form, ...);
enum status iommu_table_full(char problem[IOMMU_TABLE_PROBLEM_BYTES], const char *table, const char *what,
                             uint32_t most);

#endif

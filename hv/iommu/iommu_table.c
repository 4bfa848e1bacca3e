/* SPDX-License-Identifier: MIT */
#include "hv/iommu/iommu_table.h"

#include "hv/base/format.h"

enum status iommu_table_refuse(char problem[IOMMU_TABLE_PROBLEM_BYTES], enum status status, const char *form, ...)
{
    va_list list;

    va_start(list, form);
    (void)format_list(problem, IOMMU_TABLE_PROBLEM_BYTES, form, list);
    va_end(list);
    return status;
}

enum status iommu_table_full(char problem[IOMMU_TABLE_PROBLEM_BYTES], const char *table, const char *what,
                             uint32_t most)
{
    return iommu_table_refuse(problem, STATUS_NO_SPACE, "the %s has more than %u %s", table, most, what);
}

/* SPDX-License-Identifier: MIT */
/* Errors of the config: kept in file order, so that the first one printed is the first one to mend. */
#include "config/config_internal.h"

#include "hv/base/format.h"

static bool is_after(struct config_position left, struct config_position right)
{
    return left.line != right.line ? left.line > right.line : left.column > right.column;
}

void config_report(struct config_errors *errors, struct config_position position, const char *rule, const char *form,
                   ...)
{
    uint32_t place = errors->count;
    va_list list;

    while (place != 0 && is_after(errors->list[place - 1].position, position)) {
        place--;
    }
    errors->dropped += errors->count == CONFIG_ERRORS_MAX ? 1 : 0;
    if (place == CONFIG_ERRORS_MAX) {
        return;
    }
    if (errors->count < CONFIG_ERRORS_MAX) {
        errors->count++;
    }
    for (uint32_t i = errors->count - 1; i > place; i--) {
        errors->list[i] = errors->list[i - 1];
    }
    errors->list[place].position = position;
    errors->list[place].rule = rule;
    va_start(list, form);
    format_list(errors->list[place].sentence, sizeof(errors->list[place].sentence), form, list);
    va_end(list);
}

/* SPDX-License-Identifier: MIT */
/* tests/faults/faults_series.c's side of the firmware that tests/faults/faults_efi.c plays. */
#ifndef TESTS_FAULTS_FAULTS_SERIES_H
#define TESTS_FAULTS_FAULTS_SERIES_H

#include "efi/efi_stage.h"
#include "hv/base/format.h"

/* Says it on the firmware's console: 79 characters at most. */
__attribute__((format(printf, 2, 3))) void fault_say(EFI_SYSTEM_TABLE *system, const char *form, ...);

/* The start is one of many. */
bool series_run(void);

/* The config of this start, where `name` is plinth.conf; NULL: it is another file, or the stick's own config serves. */
EFI_FILE *series_open(const CHAR16 *name);

/* No key is waited for. */
void series_consoles(EFI_SYSTEM_TABLE *system);

#endif

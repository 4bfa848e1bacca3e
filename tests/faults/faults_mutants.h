/* tests/faults/faults_mutants.c's side of the firmware that tests/faults/faults_efi.c plays. */
#ifndef TESTS_FAULTS_FAULTS_MUTANTS_H
#define TESTS_FAULTS_FAULTS_MUTANTS_H

#include "efi/efi_stage.h"
#include "hv/base/format.h"

/* The start is one of many. */
bool mutants_run(void);

/* The config of this start, where `name` is plinth.conf; NULL: it is another file. */
EFI_FILE *mutants_open(const CHAR16 *name);

/* Nobody waits for a key. */
void mutants_consoles(EFI_SYSTEM_TABLE *system);

#endif

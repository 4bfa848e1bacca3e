/* SPDX-License-Identifier: MIT */
/*
 * Gives Bochs' debugger the command
 *
 *     save-state FOLDER
 *
 * Bochs can save its state (and goes on from it with -r FOLDER), but offers that in a window's menu only, and Debian's
 * Bochs has no window. Loaded into Bochs with LD_PRELOAD, this reads the debugger's command file in the place of the C
 * library, keeps that command from it, and calls the function that the menu would have called, by the name that Bochs
 * exports for its plugins. The debugger asks for a command between two instructions, where the machine's state is
 * whole.
 *
 * A file FOLDER/saved says that it was done.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define COMMAND "save-state "
#define PATH_MAX_BYTES 4096

/* bx_real_sim_c::save_state(const char *), and the one object of that class. */
#define SAVE_NAME "_ZN13bx_real_sim_c10save_stateEPKc"
#define OBJECT_NAME "SIM"

static void save_state(const char *folder)
{
    void **object = dlsym(RTLD_DEFAULT, OBJECT_NAME);
    bool (*save)(void *, const char *);
    char done[PATH_MAX_BYTES];
    FILE *out;

    *(void **)&save = dlsym(RTLD_DEFAULT, SAVE_NAME);
    if (!object || !*object || !save) {
        fprintf(stderr, "bochs_save: this Bochs does not export %s and %s\n", OBJECT_NAME, SAVE_NAME);
        return;
    }
    if (!save(*object, folder)) {
        fprintf(stderr, "bochs_save: Bochs cannot save its state in %s\n", folder);
        return;
    }
    snprintf(done, sizeof(done), "%s/saved", folder);
    out = fopen(done, "w");
    if (out) {
        fclose(out);
    }
}

/* As the C library's; a line that is our command is carried out, and the next one is returned. */
char *fgets(char *line, int bytes, FILE *file)
{
    char *(*next)(char *, int, FILE *);
    char *got;

    *(void **)&next = dlsym(RTLD_NEXT, "fgets");
    while ((got = next(line, bytes, file)) && strncmp(line, COMMAND, sizeof(COMMAND) - 1) == 0) {
        line[strcspn(line, "\r\n")] = 0;
        save_state(line + sizeof(COMMAND) - 1);
    }
    return got;
}

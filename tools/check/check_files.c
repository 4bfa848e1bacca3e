/* SPDX-License-Identifier: MIT */
/*
 * The files that the config names, on this host and as the boot volume will have them: a FAT volume, which knows no
 * case, holds no file of 4 GiB, and has one place for two paths that lead to the same one. What config/config_path.c
 * says of names alone is not repeated here.
 */
#define _POSIX_C_SOURCE 200809L /* fileno, mmap */
#include "tools/check/check.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEAR_NAME_MAX 256u
#define NEAR_DISTANCE_MAX 2u

/* Pipes have no size: what comes is read until the end, or one byte beyond the limit. NULL, or why not. */
static const char *read_stream(FILE *file, uint64_t limit, struct span *result)
{
    uint8_t *bytes = malloc((size_t)limit + 2);
    size_t count = bytes != NULL ? fread(bytes, 1, (size_t)limit + 1, file) : 0;

    if (bytes == NULL || ferror(file) != 0 || count > limit) {
        const char *why = bytes == NULL || ferror(file) != 0 ? strerror(errno) : "it is too large for one";

        free(bytes);
        return why;
    }
    bytes[count] = 0;
    *result = (struct span){bytes, count};
    return NULL;
}

bool check_read_file(const char *path, uint64_t limit, struct span *result, const char **why)
{
    bool is_input = strcmp(path, "-") == 0;
    FILE *file = is_input ? stdin : fopen(path, "rb");
    struct stat info;

    if (file == NULL) {
        *why = strerror(errno);
        return false;
    }
    if (fstat(fileno(file), &info) == 0 && S_ISDIR(info.st_mode)) {
        *why = "it is a folder";
    } else {
        *why = read_stream(file, limit, result);
    }
    if (!is_input) {
        fclose(file);
    }
    return *why == NULL;
}

/* What people have where a plinth.conf should be: NAME.txt, which Windows shows as NAME; a folder with one in it. */
static bool near_config(const char *path, char near[HOST_PATH_MAX])
{
    static const char *const endings[] = {".txt", ".conf", "/plinth.conf"};
    struct stat info;

    for (size_t i = 0; i < ARRAY_COUNT(endings); i++) {
        snprintf(near, HOST_PATH_MAX, "%s%s", path, endings[i]);
        if (stat(near, &info) == 0 && S_ISREG(info.st_mode)) {
            return true;
        }
    }
    return false;
}

void check_report_config(struct check *check, const char *why)
{
    char near[HOST_PATH_MAX];
    bool found = near_config(check->options.config, near);

    config_report(&check->errors, (struct config_position){1, 1}, "missing-file",
                  found ? "The config cannot be read: %s. Did you mean %.200s?"
                        : "The config cannot be read: %s. Name a text file of at most 256 KiB.",
                  why, near);
}

/* ---- paths ---- */

/* A name in the folder `to` that differs from `name` in case only, into its place at to[used]: the first by its bytes,
 * where there are several. */
static void find_alike(char to[HOST_PATH_MAX], size_t used, struct text name)
{
    char folder[HOST_PATH_MAX];
    char found[NEAR_NAME_MAX] = "";
    DIR *entries;

    snprintf(folder, sizeof(folder), "%.*s", used == 0 ? 1 : (int)used, used == 0 ? "." : to);
    entries = opendir(folder);
    for (struct dirent *entry = entries != NULL ? readdir(entries) : NULL; entry != NULL; entry = readdir(entries)) {
        if (config_path_alike(text_of(entry->d_name), name) && (found[0] == '\0' || strcmp(entry->d_name, found) < 0)) {
            snprintf(found, sizeof(found), "%s", entry->d_name);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
    memcpy(to + used, found, strlen(found));
}

static bool is_slash(char c)
{
    return c == '/' || c == '\\';
}

/* Adds a component at to[used]; the result is never longer than what it was made of. */
static size_t add_component(char to[HOST_PATH_MAX], size_t used, struct text name)
{
    struct stat info;

    memcpy(to + used, name.start, name.length);
    to[used + name.length] = '\0';
    if (name.length != 0 && stat(to, &info) != 0) {
        find_alike(to, used, name);
    }
    return used + name.length;
}

/* The path in a folder, whose name with its slash is in `to` and has `used` characters. */
static void add_path(struct text path, char to[HOST_PATH_MAX], size_t used)
{
    size_t at = 0;

    while (at < path.length && is_slash(path.start[at])) {
        at++;
    }
    while (at < path.length && used + path.length < HOST_PATH_MAX) {
        size_t end = at;

        while (end < path.length && !is_slash(path.start[end])) {
            end++;
        }
        used = add_component(to, used, (struct text){path.start + at, end - at});
        if (end < path.length) {
            to[used++] = '/';
            to[used] = '\0';
        }
        at = end + 1;
    }
}

static size_t begin_path(const char *folder, size_t length, char to[HOST_PATH_MAX])
{
    size_t used = min_u64(length, HOST_PATH_MAX / 2);

    memcpy(to, folder, used);
    to[used] = '\0';
    return used;
}

/* Where it is not beside the config, the file of --beside. */
void check_host_path(const struct check *check, struct text path, char to[HOST_PATH_MAX])
{
    const char *slash = strrchr(check->options.config, '/');
    const char *beside = check->options.beside;
    char other[HOST_PATH_MAX];
    size_t used;

    add_path(path, to,
             begin_path(check->options.config, slash == NULL ? 0 : (size_t)(slash - check->options.config) + 1, to));
    if (beside == NULL || access(to, F_OK) == 0) {
        return;
    }
    used = begin_path(beside, strlen(beside), other);
    other[used++] = '/';
    other[used] = '\0';
    add_path(path, other, used);
    if (access(other, F_OK) == 0) {
        memcpy(to, other, sizeof(other));
    }
}

/* ---- what is there ---- */

/* The name in the same folder that is nearest to a file's that is not there; false: none is near. */
static bool near_name(const char *host, char near[NEAR_NAME_MAX])
{
    const char *slash = strrchr(host, '/');
    const char *name = slash == NULL ? host : slash + 1;
    char folder[HOST_PATH_MAX];
    uint32_t least = NEAR_DISTANCE_MAX + 1;
    DIR *entries;

    snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - host) + 1, slash == NULL ? "." : host);
    entries = opendir(folder);
    for (struct dirent *entry = entries != NULL ? readdir(entries) : NULL; entry != NULL; entry = readdir(entries)) {
        uint32_t distance = config_text_distance(text_of(entry->d_name), name);

        if (distance < least && distance < strlen(name)) {
            least = distance;
            snprintf(near, NEAR_NAME_MAX, "%s", entry->d_name);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
    return least <= NEAR_DISTANCE_MAX;
}

/* The path begins at a root, of which neither the stick nor the config's folder knows. */
static bool is_absolute(struct text path)
{
    return path.length != 0 && is_slash(path.start[0]);
}

/* `error`: errno of what was tried. */
static void report_missing(struct check *check, struct text path, struct config_position position, int error)
{
    char host[HOST_PATH_MAX];
    char near[NEAR_NAME_MAX];
    char whole[CONFIG_PATH_MAX + 1];
    struct stat info;

    check_host_path(check, path, host);
    text_copy(path, whole, sizeof(whole));
    if (stat(host, &info) == 0 && S_ISDIR(info.st_mode)) {
        config_report(&check->errors, position, "missing-file", "%.150s is a folder; name a file in it.", host);
    } else if (error != ENOENT && error != ENOTDIR) {
        config_report(&check->errors, position, "missing-file", "The file %.150s cannot be read: %s.", host,
                      strerror(error));
    } else if (near_name(host, near)) {
        config_report(&check->errors, position, "missing-file",
                      "The file %.150s is not there (paths are relative to the config file); did you mean %.32s?", host,
                      near);
    } else if (is_absolute(path) && stat(whole, &info) == 0) {
        config_report(&check->errors, position, "missing-file",
                      "%.130s is a path on this computer, and the stick has only what lies beside its config; copy the "
                      "file there, or link it (ln -s), and name it without the folders.",
                      whole);
    } else {
        config_report(&check->errors, position, "missing-file",
                      "The file %.130s is not there; put it there or mend the path, which is relative to the config "
                      "file.",
                      host);
    }
}

/* ---- as the boot volume has them ---- */

/* False: another file of this host has the same place there. */
static bool enter_file(struct check *check, struct text path, struct config_position position, const struct stat *info,
                       bool *first)
{
    struct check_file *file = check->files;

    for (; file < check->files + check->file_count; file++) {
        if (config_path_same(file->path, path)) {
            *first = false;
            if (file->device == info->st_dev && file->inode == info->st_ino) {
                return true;
            }
            config_report(
                &check->errors, position, "file-twice",
                "%.*s and %.*s (line %u) are two files here, but one place on the boot volume, where case and "
                "`..` make no difference; rename one.",
                TEXT_ARGS(path), TEXT_ARGS(file->path), file->position.line);
            return false;
        }
    }
    *first = true;
    check->file_count++;
    *file = (struct check_file){path, position, info->st_dev, info->st_ino};
    return true;
}

static bool size_fits(struct check *check, const char *host, struct config_position position, uint64_t bytes)
{
    if (bytes == 0) {
        config_report(&check->errors, position, "empty-file", "The file %.150s is empty; copy it again.", host);
    } else if (bytes > CONFIG_FILE_BYTES_MAX) {
        config_report(
            &check->errors, position, "large-file",
            "The file %.60s has 4 GiB or more, which a FAT volume cannot hold; split an initrd (split -b 2G) and name "
            "the parts in order, each in an `initrd` line; a disk may be compressed (gzip), and is then below 4 GiB.",
            host);
    }
    return bytes != 0 && bytes <= CONFIG_FILE_BYTES_MAX;
}

static bool map_file(FILE *file, uint64_t bytes, struct span *result)
{
    void *mapped = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fileno(file), 0);

    *result = (struct span){mapped, bytes};
    return mapped != MAP_FAILED;
}

bool check_file_read(struct check *check, struct text path, struct config_position position, struct span *bytes,
                     bool *first)
{
    char host[HOST_PATH_MAX];
    struct stat info = {.st_size = 0};
    FILE *file;
    bool good = false;

    check_host_path(check, path, host);
    file = fopen(host, "rb");
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        report_missing(check, path, position, errno);
    } else if (!S_ISREG(info.st_mode)) {
        report_missing(check, path, position, ENODEV);
    } else if (size_fits(check, host, position, (uint64_t)info.st_size) &&
               enter_file(check, path, position, &info, first)) {
        good = map_file(file, (uint64_t)info.st_size, bytes);
        if (!good) {
            report_missing(check, path, position, errno);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return good;
}

void check_file_free(struct span bytes)
{
    if (bytes.base != NULL) {
        munmap((void *)(uintptr_t)bytes.base, (size_t)bytes.bytes);
    }
}

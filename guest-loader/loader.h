/* SPDX-License-Identifier: MIT */
/*
 * Image bytes -> load plan: what is copied where in a guest's memory, and in which state its first CPU starts.
 *
 * Pure. The plan is made twice from the same bytes: before the point of no return, so that a bad image is an error
 * message and the machine goes back to the firmware, and again when the guest is created (and at every restart).
 * One file per boot protocol: each recognizes its header, checks every field against the image and the guest's memory,
 * and writes copies and the entry state. Guest memory is not written here: hv/guest/create.c executes the plan.
 *
 * This folder has the boot protocols of guests. Pure: bytes in, a plan out; nothing is copied into a guest here.
 */
#ifndef GUEST_LOADER_LOADER_H
#define GUEST_LOADER_LOADER_H

#include "guest-loader/load_plan.h"
#include "hv/base/status.h"

/*
 * The whole plan, or the first error. The plan keeps pointers into the request's spans and into itself (do not move
 * it). Copies never overlap, and each lies in RAM of the guest, or in the display's memory.
 */
enum status loader_plan(const struct load_request *request, struct load_plan *plan, struct load_error *error);

#endif

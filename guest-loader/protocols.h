/* SPDX-License-Identifier: MIT */
/*
 * One recognizer and one planner per boot protocol. A recognizer looks only for the header's magic; the planner then
 * checks every field and names what is wrong.
 */
#ifndef GUEST_LOADER_PROTOCOLS_H
#define GUEST_LOADER_PROTOCOLS_H

#include "guest-loader/plan.h"

bool linux_recognize(struct span kernel);
bool multiboot_recognize(struct span kernel);
bool multiboot2_recognize(struct span kernel);
bool pvh_recognize(struct span kernel);
bool elf_recognize(struct span kernel);

enum status linux_plan(struct loader *loader);
enum status multiboot_plan(struct loader *loader);
enum status multiboot2_plan(struct loader *loader);
enum status pvh_plan(struct loader *loader);
enum status elf_plan(struct loader *loader);
enum status flat_plan(struct loader *loader);

#endif

/* SPDX-License-Identifier: MIT */
/* The only file that is compiled again when nothing but the version changes. */
#include "hv/host/version.h"

const char *const plinth_version = PLINTH_VERSION;

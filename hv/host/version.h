/* SPDX-License-Identifier: MIT */
#ifndef HV_HOST_VERSION_H
#define HV_HOST_VERSION_H

/* What `git describe` said when this was built: "v0.1-3-g0123abc". */
extern const char *const plinth_version;

#endif

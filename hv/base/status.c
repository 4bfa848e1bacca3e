/* SPDX-License-Identifier: MIT */
#include "hv/base/status.h"

const char *status_name(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return "ok";
    case STATUS_INVALID:
        return "invalid";
    case STATUS_MISALIGNED:
        return "misaligned";
    case STATUS_OVERFLOW:
        return "overflow";
    case STATUS_UNSUPPORTED:
        return "unsupported";
    case STATUS_NO_MEMORY:
        return "no-memory";
    case STATUS_NO_SPACE:
        return "no-space";
    case STATUS_NOT_FOUND:
        return "not-found";
    case STATUS_BUSY:
        return "busy";
    case STATUS_MALFORMED:
        return "malformed";
    case STATUS_DENIED:
        return "denied";
    }
    return "unknown";
}

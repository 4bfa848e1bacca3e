# SPDX-License-Identifier: MIT
"""Many starts of the hypervisor in one boot of the test build (tests/faults/faults_series.c), each with a fault after which
it returns to the firmware, and with a config of its own where it has one."""

import re
import struct

import faults

FILE = "series.bin"  # beside plinth.conf
OWN_CONFIG = 0xffffffff
END = r"^SERIES END"


def pack(entries):
    """The file for these (fault's name, config's bytes, or None: the stick's own)."""
    return b"".join(faults.padded(name) + (struct.pack("<I", OWN_CONFIG) if config is None else
                                           struct.pack("<I", len(config)) + config) for name, config in entries)


def split(text):
    """What was said in each start, by its number."""
    said = re.split(r"^SERIES (\d+)$", text.partition("SERIES END")[0], flags=re.MULTILINE)
    return {int(number): part for number, part in zip(said[1::2], said[2::2])}

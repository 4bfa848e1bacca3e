# SPDX-License-Identifier: MIT
"""What tools/check-codes cannot read in the source: why a code is reached by no test, and sentences that are put
together at run time."""

import re

# Code -> why no test reaches it.
NOT_REACHED = {
    4: "the pool is counted from the same map before, and a page-table operation on it fails in no emulated machine; "
       "the operations' own failures are in unit test_page_table_mistakes",
    6: "every emulated machine has an 8254, an HPET or a PM timer",
    7: "OVMF itself does not start on a CPU without NX",
    8: "before the hand-over P0631 says the same; a CPU that differs from the first does not exist in an emulator",
    15: "an IOMMU that stops to answer once guests run: no model of one does",
    12: "VMX instructions fail on a control structure that the hypervisor has made itself only by a defect of ours",
    715: "the largest image that a FAT volume holds can be used; only a plinth.conf above 256 KiB leads here",
    718: "a stick with a file of 4 GiB; unit test_mutants reaches it on a model of the firmware",
    315: "no emulator reports a machine check that is contained to a CPU that runs a guest; unit test_machine_check decides on its words",
    719: "each is a boot of its own; unit test_mutants reaches it on a model of the firmware",
    725: "the same: unit test_mutants",
    723: "the fault allocate-file is the same allocation for the file itself; the faults' config has no compressed kernel",
    724: "the fault allocate-file is the same allocation for the file itself; the faults' config has no disk",
    808: "guests' RAM comes first and takes the low memory whole only on machines larger than the emulated ones",
    726: "the fault allocate-file is the same allocation for the file itself; the faults' config has no shared memory",
    722: "the config's rule bad-memory refuses such sizes before",
}

# Sentences that no format string of a call shows: hv/host/panic.c puts them together.
SENTENCES = {
    "PANIC_TRAP": [("`hv/host/panic.c` describe()", "[exception] in the hypervisor at +0x[...]: [what was accessed]")],
    "PANIC_MACHINE_CHECK": [
        ("`hv/host/panic.c` describe()", "machine check (#MC) in the hypervisor at +0x[...]"),
        ("`hv/host/panic.c` hv_panic_machine_check()",
         "machine check (#MC) while guest [...], vCPU [...], was at rip 0x[...]"),
    ],
    "PANIC_HANG": [("`hv/host/cpu_watch.c` look_at()", "CPU [...] hangs: it has done nothing for [...] s and does not answer")],
    "PANIC_STACK": [("`hv/host/panic.c` describe()",
                     "[exception] at +0x[...]: the CPU's stack has overflowed into its guard page (address 0x[...])")],
}

# A remedy is a sentence of its own that tells the reader what to do.
REMEDY = re.compile(r"\. (?:\w+ ){0,3}?(Update|Use|Copy|Check|Start|Restart|Lower|Name|Rename|Correct|Write|Switch|Split)\b|[Rr]emove ")
# These end with a sentence of another part, which says what to do itself.
CARRIED = (631, 721)


def is_remedied(number, sentence):
    return number in CARRIED or REMEDY.search(sentence) is not None

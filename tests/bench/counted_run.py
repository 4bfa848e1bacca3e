# SPDX-License-Identifier: MIT
"""A run in QEMU whose instructions are counted by address (tests/bench/qemu_count.c), for the benches beside this file."""

import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECONDS = "3000"  # only a hang reaches it

sys.path.insert(0, os.path.join(ROOT, "tests"))
from program_modules import load  # noqa: E402  (the folder is in no package)

counting = load("count_functions", "tests/bench/count-functions")


def make_image(build, folder, config, kernel):
    """A disk with the image that is shipped, a config, and one of build/guests."""
    conf, image = (os.path.join(folder, name) for name in ("plinth.conf", "bench.img"))
    with open(conf, "w", encoding="ascii") as file:
        file.write(config)
    with open(os.path.join(build, "guests", kernel), "rb") as file, open(os.path.join(folder, kernel), "wb") as copy:
        copy.write(file.read())
    subprocess.run([os.path.join(ROOT, "tools", "mkusb"), "-c", conf, "-o", image], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "BUILD": build})
    return image


def run(build, config, kernel, cpus=1):
    """What the machine printed, places of VMRUN, and all windows of the run (counting.windows_of)."""
    with tempfile.TemporaryDirectory() as folder:
        image = make_image(build, folder, config, kernel)
        counts = os.path.join(folder, "counts")
        plugin = os.path.join(os.path.abspath(build), "bench", "qemu-count.so")
        done = subprocess.run([os.path.join(ROOT, "tools", "run-qemu"), "--smp", str(cpus), "--timeout", SECONDS, image, "--",
                               "-icount", "shift=0,sleep=off", "-plugin", f"{plugin},out={counts}"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              text=True, errors="replace", env={**os.environ, "BUILD": build})
        places, windows = counting.windows_of(counts)
    return done.stdout, places, windows

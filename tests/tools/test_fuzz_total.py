#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of tests/fuzz/total: that it goes on where it ended, and what its exit status says. The fuzzers are scripts that say
how many inputs they have executed, as libFuzzer does. Prints `ok fuzz-total: PROMISE` or `FAILED ...`."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import promises

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOTAL = os.path.join(ROOT, "tests", "fuzz", "total")
# Executes what it is asked to, 400 at most; keeps an input in its corpus each time; `crash` is a file that has it find something.
FUZZER = """#!/bin/sh
runs=$(echo "$*" | sed 's/.*-runs=\\([0-9]*\\).*/\\1/')
for corpus; do :; done
[ "$runs" -lt 400 ] || runs=400
ls "$corpus" | wc -l >>{folder}/{name}.seen
echo "$runs" >"$corpus/$(ls "$corpus" | wc -l)"
[ ! -e {folder}/slow ] || sleep 60
[ ! -e {folder}/crash ] || touch {folder}/fuzz/{name}-crash-1
echo "stat::number_of_executed_units: $runs" >&2
"""
LIMIT_S = 300  # only a hang reaches it


class Folder:
    """A build folder with two fuzzers."""

    def __init__(self, path):
        self.path = path
        os.makedirs(os.path.join(path, "fuzz"))
        for name in ("devices", "config"):
            self.write(f"fuzz/{name}", FUZZER.format(folder=path, name=name))
            os.chmod(os.path.join(path, "fuzz", name), 0o755)

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as out:
            out.write(text)

    def read(self, name):
        with open(os.path.join(self.path, name), encoding="utf-8") as file:
            return file.read()

    def counts(self):
        return {name: sum(entry["programs"].values()) for name, entry in json.loads(self.read("fuzz/total.json")).items()}

    def command(self, *options):
        return [TOTAL, self.path, *options, "devices", "config"]

    def run(self, *options):
        return subprocess.run(self.command(*options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              cwd=self.path, timeout=LIMIT_S)


def the_goal_is_reached_in_turns_and_not_passed(folder):
    done = folder.run("--goal", "1000")
    assert done.returncode == 0 and folder.counts() == {"devices": 1000, "config": 1000}, done
    assert re.search(r"^devices +1,000 +1,000 ", done.stdout, re.MULTILINE), done.stdout
    # Each turn found what the one before had left.
    assert folder.read("devices.seen").split() == ["0", "1", "2"], folder.read("devices.seen")


def the_next_run_goes_on_where_this_one_ended(folder):
    assert folder.run("--goal", "600").returncode == 0
    done = folder.run("--goal", "1000")
    assert done.returncode == 0 and folder.counts() == {"devices": 1000, "config": 1000}, done
    assert folder.read("config.seen").split() == ["0", "1", "2"], folder.read("config.seen")
    # There is nothing left to do.
    done = folder.run("--goal", "1000")
    assert done.returncode == 0 and folder.read("config.seen").split() == ["0", "1", "2"], done


def one_that_is_killed_loses_its_turn_alone(folder):
    assert folder.run("--goal", "400").returncode == 0
    folder.write("slow", "")
    process = subprocess.Popen(folder.command("--goal", "1000"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               cwd=folder.path, start_new_session=True)
    try:
        while len(folder.read("devices.seen").split()) < 2:
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert folder.counts() == {"devices": 400, "config": 400}
    os.remove(os.path.join(folder.path, "slow"))
    done = folder.run("--goal", "1000")
    assert done.returncode == 0 and folder.counts() == {"devices": 1000, "config": 1000}, done


def a_limit_of_time_is_no_failure_of_the_program(folder):
    done = folder.run("--goal", "1000", "--seconds", "0")
    assert done.returncode == 3 and not os.path.exists(os.path.join(folder.path, "devices.seen")), done


def another_program_counts_anew_beside_the_old_ones(folder):
    assert folder.run("--goal", "500").returncode == 0
    folder.write("fuzz/devices", folder.read("fuzz/devices") + "# changed\n")
    done = folder.run("--goal", "800")
    assert done.returncode == 0 and folder.counts()["devices"] == 800, done
    assert re.search(r"^devices +800 +300 ", done.stdout, re.MULTILINE), done.stdout


def a_finding_ends_it(folder):
    folder.write("crash", "")
    done = folder.run("--goal", "1000")
    assert done.returncode == 1 and "devices: see " in done.stderr and "config" not in folder.counts(), done


TESTS = (the_goal_is_reached_in_turns_and_not_passed, the_next_run_goes_on_where_this_one_ended,
         one_that_is_killed_loses_its_turn_alone, a_limit_of_time_is_no_failure_of_the_program,
         another_program_counts_anew_beside_the_old_ones, a_finding_ends_it)


if __name__ == "__main__":
    sys.exit(promises.keep("fuzz-total", TESTS, Folder))

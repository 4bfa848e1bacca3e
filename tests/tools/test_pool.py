#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of tests/boot/pool.py, which runs all other tests: what it promises of order, waiting, time and failure; and of when
tests/boot/run.py boots a case a second time. Prints
`ok pool: NAME` or `FAILED pool: NAME: reason` per test."""

import os
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "boot"))
import pool  # noqa: E402
import run  # noqa: E402

COUNT = "i = 0\nwhile i < 20000000:\n    i += 1\n"


def jobs_that_note(names, notes, **after):
    """A job for each name, which notes that it ran; `after`: name -> the names that it waits for."""
    made = {name: pool.Job(name, lambda name=name: notes.append(name) or [f"ok {name}"]) for name in names}
    for name, before in after.items():
        made[name].after = tuple(made[other] for other in before)
    return list(made.values())


def quiet(_lines):
    pass


def the_longest_goes_first():
    notes = []
    pool.run(jobs_that_note("abc", notes), 1, quiet)
    assert notes == ["b", "c", "a"], notes  # 9, 5 and 1 seconds


def what_is_waited_for_goes_before_it():
    notes = []
    pool.run(jobs_that_note("abc", notes, b="a"), 2, quiet)
    assert notes.index("a") < notes.index("b"), notes
    notes.clear()
    pool.run(jobs_that_note("abc", notes, b="a"), 1, quiet)
    assert notes == ["a", "b", "c"], notes  # nine seconds wait for the one of a


def two_run_side_by_side():
    both = threading.Barrier(2, timeout=60)
    lines = pool.run([pool.Job(name, lambda: both.wait() >= 0 and ["ok met"]) for name in "xy"], 2, quiet)
    assert lines == ["ok met", "ok met"], lines


def a_mistake_is_a_failure_and_the_rest_runs():
    def mistake():
        raise ValueError("wrong")

    notes = []
    lines = pool.run([pool.Job("bad", mistake), *jobs_that_note("a", notes)], 1, quiet)
    assert pool.failed(lines) == 1 and notes == ["a"], lines
    assert any(line.startswith("FAILED bad: ValueError: wrong (test_pool.py:") for line in lines), lines


def a_program_ends_at_its_limit_with_its_children():
    with tempfile.TemporaryDirectory() as folder:
        pid = os.path.join(folder, "pid")
        status = pool.program(["sh", "-c", f"sleep 600 & echo $! >{pid}; wait"], os.path.join(folder, "log"), 5)
        with open(pid, encoding="ascii") as text:
            child = text.read().strip()
    assert status == 124, status
    for _ in range(100):  # its zombie may wait for its new parent
        if not os.path.exists(f"/proc/{child}") or " Z " in open(f"/proc/{child}/stat", encoding="ascii").read():
            return
        time.sleep(0.1)
    raise AssertionError("a child of the program lives on")


def its_cpu_time_is_counted():
    job = pool.Job("busy", lambda: [f"ok {pool.program([sys.executable, '-c', COUNT], os.devnull, 300)}"])
    idle = pool.Job("idle", lambda: [f"ok {pool.program(['sleep', '1'], os.devnull, 300)}"])
    lines = pool.run([job, idle], 1, quiet)
    assert sorted(lines) == ["ok 0", "ok 0"], lines
    assert job.cpu > 0.2 > idle.cpu, (job.cpu, idle.cpu)


def nothing_begins_past_the_deadline():
    notes, before = [], pool.DEADLINE
    pool.DEADLINE = time.time() - 1
    try:
        lines = pool.run(jobs_that_note("a", notes), 1, quiet)
    finally:
        pool.DEADLINE = before
    assert notes == [] and lines == ["FAILED a: not run: the time for all tests is over"], lines


def boots_of(dump, saved):
    """How a case is booted whose saved machine prints this first: (whole, what went wrong)."""
    boots = []

    def boot(_case, _emulator, _image, _log, whole=False):
        boots.append(whole)
        if not whole and run.FIRMWARE_DIED.match(dump):
            raise run.FirmwareDied("died")
        if not whole and dump:
            raise run.CaseError("wrong")

    before = run.run_once, run.saved.state
    run.run_once, run.saved.state = boot, lambda _machine, _image=None: saved
    wrong = None
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "log"), "w", encoding="ascii"):
            pass
        try:
            case = next(case for case in run.cases.CASES if case.name == "hello-4mib")
            run.run_case(case, "qemu-svm", "image", os.path.join(folder, "log"))
        except run.CaseError as error:
            wrong = str(error)
    run.run_once, run.saved.state = before
    return boots, wrong


def only_a_dump_of_a_saved_machines_firmware_is_booted_again():
    dump = "\r\n!!!! X64 Exception Type - 0D(#GP - General Protection)  CPU Apic ID - 00000000 !!!!\r\n"
    assert boots_of("", "state") == ([False], None)
    assert boots_of(dump, "state") == ([False, True], None)
    assert boots_of(dump, None) == ([False], "died")  # it was not a saved one
    assert boots_of("plinth: Plinth 1\r\n" + dump, "state") == ([False], "wrong")  # the hypervisor had begun


TESTS = (the_longest_goes_first, what_is_waited_for_goes_before_it, two_run_side_by_side,
         a_mistake_is_a_failure_and_the_rest_runs, a_program_ends_at_its_limit_with_its_children, its_cpu_time_is_counted,
         nothing_begins_past_the_deadline, only_a_dump_of_a_saved_machines_firmware_is_booted_again)


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        pool.KNOWN, pool.MEASURED = os.path.join(folder, "known"), os.path.join(folder, "measured")
        for test in TESTS:
            if os.path.exists(pool.MEASURED):
                os.remove(pool.MEASURED)
            with open(pool.KNOWN, "w", encoding="utf-8") as out:
                out.write("# seconds\n1 a\n9 b\n5 c\n")
            name = test.__name__.replace("_", " ")
            try:
                test()
                print(f"ok pool: {name}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAILED pool: {name}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

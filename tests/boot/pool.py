# SPDX-License-Identifier: MIT
"""Jobs side by side, the longest first, and how long each took.

A job is a function that gives lines to print, of which those that count begin with `ok ` or `FAILED `. It may have to wait
for other jobs, whatever their result. The order comes from how long each took the last time (build/logs/seconds) or, in a
new tree, on another machine (tests/boot/seconds, in which only the long ones are).
"""

import concurrent.futures
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
LOGS = os.path.join(BUILD, "logs")
KNOWN = os.path.join(HERE, "seconds")  # in the tree
MEASURED = os.path.join(LOGS, "seconds")
SLOTS = min(2, os.cpu_count() or 1)
UNKNOWN_S = 5.0  # of a job that no file names
# When all tests must have ended, in seconds since 1970: tests/run says so. A job gets what is left.
DEADLINE = float(os.environ.get("TESTS_DEADLINE", "inf"))
GRACE_S = 90  # what jobs that know of the deadline have for their own report
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

here = threading.local()
processes = set()


@dataclasses.dataclass(eq=False)
class Job:
    name: str
    work: object  # () -> lines
    stage: str = ""
    after: tuple = ()
    machine: tuple = None  # what saved.py could save for it
    seconds: float = 0.0  # measured, like `cpu`: of this process' children that were waited for with ended()
    cpu: float = 0.0


# --- How long ----------------------------------------------------------------------------------------------------


def read_seconds(path):
    """name -> seconds. A line is `SECONDS NAME`."""
    try:
        with open(path, encoding="utf-8") as lines:
            return {name: float(seconds) for seconds, name in (line.split(None, 1) for line in lines.read().splitlines()
                                                               if line and not line.startswith("#"))}
    except OSError:
        return {}


def expected():
    return {**read_seconds(KNOWN), **read_seconds(MEASURED)}


def remember(jobs):
    measured = {**read_seconds(MEASURED), **{job.name: job.seconds for job in jobs if job.seconds}}
    temporary = f"{MEASURED}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as out:
        out.writelines(f"{seconds:.1f} {name}\n" for name, seconds in sorted(measured.items()))
    os.replace(temporary, MEASURED)


def ended(process):
    """Waits for a process, and adds its CPU time and that of its children to the job's; its exit status."""
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with open(f"/proc/{process.pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        # utime, stime, cutime, cstime: proc(5) has them as fields 14 to 17, and the first one here is the third there.
        here.cpu = getattr(here, "cpu", 0.0) + sum(map(int, fields[11:15])) / TICKS_A_SECOND
    except OSError:
        pass  # it was waited for before
    return process.wait()


# --- Programs ----------------------------------------------------------------------------------------------------


def program(command, log, limit_s, **environment):
    """Runs a program with its output in a file; its exit status, or 124 at the limit."""
    limit_s = min(limit_s, DEADLINE - time.time())
    if limit_s < 1:
        return 124
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   start_new_session=True, env={**os.environ, **environment})
        processes.add(process)
        timer = threading.Timer(limit_s, kill, [process])
        timer.start()
        try:
            status = ended(process)
        finally:
            late = not timer.is_alive()
            timer.cancel()
            processes.discard(process)
    return 124 if late else status


def kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def die(number, _frame):
    """At a signal: programs in groups of their own go first; runners of emulators die by the end of their pipes."""
    for process in list(processes):
        kill(process)
    os._exit(128 + number)


# --- The pool ----------------------------------------------------------------------------------------------------


def priorities(jobs):
    """How long it is from a job's start to the end of what waits for it: the largest goes first."""
    known, found = expected(), {}
    followers = {job: [other for other in jobs if job in other.after] for job in jobs}

    def priority(job):
        if job not in found:
            found[job] = known.get(job.name, UNKNOWN_S) + max(map(priority, followers[job]), default=0)
        return found[job]

    for job in jobs:
        priority(job)
    return found


def do(job):
    """A job in one of the pool's threads; its lines."""
    here.cpu = 0.0
    began = time.monotonic()
    if time.time() > DEADLINE:
        return [f"FAILED {job.name}: not run: the time for all tests is over"]
    try:
        lines = job.work()
    except Exception as error:  # pylint: disable=broad-except ; a mistake in a test is a failed test
        where = traceback.extract_tb(error.__traceback__)[-1]
        lines = [f"FAILED {job.name}: {type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"]
    job.seconds, job.cpu = time.monotonic() - began, here.cpu
    return lines


def show(lines):
    if lines:
        print("\n".join(lines), flush=True)


def run(jobs, slots=SLOTS, shown=show):
    """Does all jobs and shows the lines of each when it ends; all lines together."""
    os.makedirs(LOGS, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, die)
    priority, lines = priorities(jobs), []
    waiting, running = sorted(jobs, key=priority.get, reverse=True), {}
    done = set(job for job in {before for job in jobs for before in job.after} if job not in jobs)
    pool = concurrent.futures.ThreadPoolExecutor(slots)
    while waiting or running:
        while len(running) < slots:
            ready = next((job for job in waiting if all(before in done for before in job.after)), None)
            if not ready:
                break
            waiting.remove(ready)
            running[pool.submit(do, ready)] = ready
        left = max(0, DEADLINE + GRACE_S - time.time()) if DEADLINE != float("inf") else None
        finished, _ = concurrent.futures.wait(running, left, concurrent.futures.FIRST_COMPLETED)
        if not finished:
            hang(running.values(), waiting, lines, shown)
            break
        for future in finished:
            done.add(running.pop(future))
            lines += future.result()
            shown(future.result())
    remember(jobs)
    pool.shutdown(wait=False)
    return lines


def hang(running, waiting, lines, shown):
    """Past the deadline and past what jobs have for their own report."""
    late = [f"FAILED {job.name}: it hangs past the time for all tests" for job in running]
    late += [f"FAILED {job.name}: not run: the time for all tests is over" for job in waiting]
    lines += late
    shown(late)


def failed(lines):
    return sum(line.startswith("FAILED") for line in lines)


def leave(status):
    """Ends this process, though a thread may hang."""
    sys.stdout.flush()
    for process in list(processes):
        kill(process)
    os._exit(status)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots every case of tests/boot/cases.py in every emulator that it names, two at a time, and prints for each

    ok boot-NAME-EMULATOR (seconds)        or        FAILED boot-NAME-EMULATOR: reason

The serial output is kept in build/logs/boot-NAME-EMULATOR.log, Bochs' own log beside it. Names on the command line
select tests: NAME-EMULATOR, or the beginning of it.
"""

import argparse
import contextlib
import http.server
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cases  # noqa: E402
import faults  # noqa: E402
import pool  # noqa: E402
import saved  # noqa: E402
import script as words  # noqa: E402
from pool import BUILD, LOGS, ROOT  # noqa: E402

STICKS = os.path.join(BUILD, "boot")

ESCAPES = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=><78cM\\]|[\r\0\x0f\x18]")
TAIL_LINES = 12
# The runner has the time limit; this is for a runner that hangs itself.
RUNNER_GRACE_S = 300
MONITOR_S = 300


# The firmware's own dump, with nothing before it: of a machine that went on from a saved state, before the hypervisor began.
FIRMWARE_DIED = re.compile(r"\A\s*!{4} X64 Exception Type")


class CaseError(Exception):
    """Why a test failed, in a sentence."""


class FirmwareDied(CaseError):
    """FIRMWARE_DIED has come."""


# --- The stick ---------------------------------------------------------------------------------------------------


def built_path(built):
    path = os.path.join(BUILD, built.path)
    if not os.path.isfile(path):
        raise CaseError(f"{path} is not built")
    return path


def put_file(folder, name, content):
    to = os.path.join(folder, name)
    if isinstance(content, words.Built):
        os.symlink(built_path(content), to)
        return
    if isinstance(content, words.Truncated):
        with open(built_path(content.of), "rb") as whole:
            content = whole.read(content.length)
    with open(to, "wb") as out:
        out.write(content)


def hypervisor_with_fault(case, folder):
    """The test build with the case's fault."""
    with open(built_path(words.Built("faults/BOOTX64.EFI")), "rb") as image:
        content = faults.image_with(image.read(), case.fault)
    put_file(folder, "fault.efi", content)
    return os.path.join(folder, "fault.efi")


def make_stick(case):
    """One image per case, for all its emulators: byte for byte the same file."""
    folder = os.path.join(STICKS, case.name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, content in case.files.items():
        put_file(folder, name, content)
    put_file(folder, "plinth.conf", (case.config or "").encode())
    image = folder + ".img"
    command = [os.path.join(ROOT, "tools", "mkusb"), "--no-check", "-c", os.path.join(folder, "plinth.conf"), "-o", image]
    if case.efi:
        command += ["--efi", built_path(case.efi)]
    if case.fault:
        command += ["--efi", hypervisor_with_fault(case, folder)]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode != 0:
        raise CaseError(f"mkusb: {made.stdout.strip()}")
    if case.config is None:
        subprocess.run(["mdel", "-i", f"{image}@@1M", "::/plinth/plinth.conf"], check=True)
    if case.change:
        case.change(image)
    return image


sticks, sticks_lock = {}, threading.Lock()


def stick_of(case):
    """The case's image, made when the first test wants it."""
    with sticks_lock:
        lock = sticks.setdefault(case.name, {"lock": threading.Lock()})
    with lock["lock"]:
        if "image" not in lock:
            lock["image"] = make_stick(case)
        return lock["image"]


# --- What the machine's network reaches ---------------------------------------------------------------------------


@contextlib.contextmanager
def served(content):
    """The port of an HTTP server on the loopback address that answers every question with these bytes; None: there is none."""
    if content is None:
        yield None
        return

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # pylint: disable=invalid-name
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):  # pylint: disable=arguments-differ
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


# --- One run -----------------------------------------------------------------------------------------------------


def command_line(case, emulator, image, log_path, timeout_s=None, whole=False):
    runner, *options = words.machine_of(case, emulator)
    command = [os.path.join(ROOT, "tools", runner), *(log_path + words.COM2 if word == "COM2" else word for word in options),
               "--timeout", f"{timeout_s or case.timeout_s:.0f}"]
    state = saved.state(words.machine_of(case, emulator), image) if words.may_resume(case) and not whole else None
    if state:
        command += ["--resume", state]
    if runner == "run-bochs":
        return [*command, "--log", log_path + ".bochs", image]
    if case.after:
        command.append("--write")
    extra = [option.format(folder=image.removesuffix(".img")) for option in case.extra]
    return [*command, *case.runner, image, *(["--", *extra] if extra else [])]


def monitor(path, commands):
    """Types commands into QEMU's monitor, each behind its prompt."""
    with socket.socket(socket.AF_UNIX) as to:
        to.settimeout(MONITOR_S)
        to.connect(path)
        for command in (*commands, None):
            said = b""
            while not said.endswith(b"(qemu) "):
                piece = to.recv(4096)
                if not piece:
                    raise CaseError(f"QEMU's monitor ended before '{command}'")
                said += piece
            if command is not None:
                to.sendall(command.encode() + b"\n")


class Session:
    """Reads the serial output, keeps it, and goes through the script."""

    def __init__(self, process, log, steps, port=None, folder=None):  # pylint: disable=too-many-arguments
        self.process, self.log, self.port, self.folder = process, log, port, folder
        self.steps = list(steps)
        self.text, self.raw_tail = "", ""
        self.at = 0  # the end of the last match
        self.asked = False  # Again's question was typed, and its answer is not complete

    def read(self):
        """Waits for output; False at its end."""
        if not select.select([self.process.stdout], [], [], 1)[0]:
            return True
        data = os.read(self.process.stdout.fileno(), 65536)
        self.log.write(data)
        self.log.flush()
        # An escape sequence may be cut in two: the rest waits for its end.
        raw = self.raw_tail + data.decode("utf-8", "replace")
        cut = raw.rfind("\x1b") if data else -1
        cut = cut if cut >= 0 and len(raw) - cut < 12 and not ESCAPES.match(raw, cut) else len(raw)
        self.text += ESCAPES.sub("", raw[:cut])
        self.raw_tail = raw[cut:]
        return bool(data)

    def advance(self):
        """Takes every step that can be taken now."""
        while self.steps:
            step = self.steps[0]
            if isinstance(step, words.Send):
                self.type(step.text)
            elif isinstance(step, words.Monitor):
                monitor(os.path.join(self.folder, "monitor"), step.commands)
            elif isinstance(step, words.Again):
                if not self.asked_until_wanted(step):
                    return
            else:
                found = step.regex.search(self.text, self.at)
                if not found:
                    return
                wrong = step.check(found) if step.check else None
                if wrong:
                    raise CaseError(wrong)
                self.at = found.end()
            self.steps.pop(0)

    def asked_until_wanted(self, step):
        """Whether the answer is there and as wanted; asks, and asks again where it is not."""
        found = step.regex.search(self.text, self.at) if self.asked else None
        if found:
            self.at, self.asked = found.end(), False
            if step.wanted(self.text[:self.at]):
                return True
        if not self.asked:
            self.type(step.question)
            self.asked = True
        return False

    def type(self, text):
        try:
            self.process.stdin.write(text.replace(words.PORT, str(self.port)).encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def run(self, deadline, to_the_end=True):
        while self.read():
            self.advance()
            if FIRMWARE_DIED.match(self.text):
                raise FirmwareDied("the firmware has died before the hypervisor began")
            if not self.steps and not to_the_end:
                return None
            if time.monotonic() > deadline:
                raise CaseError("the runner itself hangs")
        self.advance()
        return pool.ended(self.process)


def last_line(text, guest):
    """The last line of a guest that is not blank. Where another's output came between, the console shows the whole line
    once more when it is complete (hv/console/console_mux.h), so the last row is the whole line, whatever the machine's load.
    A guest that is alone has no name before its lines; ours are no guest's."""
    if guest is None:
        lines = [line for line in text.split("\n") if not line.startswith("plinth: ")]
    else:
        lines = re.findall(rf"^\[{re.escape(guest)}\] (.*)$", text, re.MULTILINE)
    return next((line.rstrip() for line in reversed(lines) if line.strip()), "")


def check_result(case, session, status):
    for pattern in case.forbidden:
        found = re.search(pattern, session.text, re.MULTILINE | re.IGNORECASE)
        if found:
            raise CaseError(f"'{found[0]}' appeared")
    for pattern in case.required:
        if not re.search(pattern, session.text, re.MULTILINE):
            raise CaseError(f"'{pattern}' did not appear (exit status {status})")
    for guest, name in case.passes:
        said = last_line(session.text, guest if len(case.passes) > 1 else None)
        if not re.search(rf"(^|\W)PASS {re.escape(name)}$", said):
            raise CaseError(f"guest {guest} did not end with PASS {name} but with '{said[-100:]}' (exit status {status})")
    if session.steps:
        raise CaseError(f"'{session.steps[0].regex.pattern}' did not appear (exit status {status})")
    if case.status is not None and status != case.status:
        raise CaseError(f"exit status {status}, expected {case.status}")


def check_second_port(case, path):
    text = read_log(path)
    for pattern in case.second_says:
        if not re.search(pattern, text, re.MULTILINE):
            raise CaseError(f"'{pattern}' did not appear on COM2 ({path})")


def run_case(case, emulator, image, log_path):
    """Boots the case. Where the firmware of a saved machine dies while it looks at its disk controller anew, which a busy
    host makes it do once in some hundred times, the case is booted the whole way: that is no word about the hypervisor."""
    try:
        run_once(case, emulator, image, log_path)
    except FirmwareDied:
        if not words.may_resume(case) or not saved.state(words.machine_of(case, emulator), image):
            raise
        os.replace(log_path, log_path + ".firmware")
        run_once(case, emulator, image, log_path, whole=True)


def run_once(case, emulator, image, log_path, whole=False):
    timeout_s = min(case.timeout_s, pool.DEADLINE - time.time())
    if timeout_s < 1:
        raise CaseError("not run: the time for all tests is over")
    command = command_line(case, emulator, image, log_path, timeout_s, whole)
    if os.path.exists(log_path + words.COM2):
        os.remove(log_path + words.COM2)
    with open(log_path, "wb") as log, open(log_path + ".stderr", "wb") as errors, served(case.serves) as port:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        session = Session(process, log, words.steps_of(case.script), port, image.removesuffix(".img"))
        try:
            status = session.run(time.monotonic() + timeout_s + RUNNER_GRACE_S, case.status is not None)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # the runner ends its emulator
                pool.ended(process)
    check_result(case, session, status)
    check_second_port(case, log_path + words.COM2)
    wrong = case.timed(session.text) if case.timed and emulator in words.BOCHS else None
    wrong = wrong or (case.after(BUILD, image) if case.after else None)
    if wrong:
        raise CaseError(wrong)


def printed_by(case, limit_s):
    """What a case's script sees in QEMU on SVM: for benches, which read figures out of it. The machine ends with the script."""
    log_path = os.path.join(LOGS, case.name + ".log")
    command = command_line(case, "qemu-svm", make_stick(case), log_path, limit_s)
    with open(log_path, "wb") as log, open(log_path + ".stderr", "wb") as errors, served(case.serves) as port:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        session = Session(process, log, case.script, port)
        try:
            session.run(time.monotonic() + limit_s)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait()
    if session.steps:
        raise CaseError(f"the boot did not reach its end: {log_path}")
    return session.text


def read_log(path):
    """What a channel's file has, without escape sequences; nothing where there is no file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            return ESCAPES.sub("", log.read())
    except OSError:
        return ""


def tail(path):
    return [line.rstrip() for line in read_log(path).splitlines() if line.strip()][-TAIL_LINES:]


def name_of(case, emulator):
    return f"boot-{case.name}-{emulator}"


def result_of(case, emulator):
    """The lines to print for one test."""
    name = name_of(case, emulator)
    log = os.path.join(LOGS, name + ".log")
    began = time.monotonic()
    try:
        run_case(case, emulator, stick_of(case), log)
        return [f"ok {name} ({time.monotonic() - began:.0f} s)"]
    except CaseError as error:
        lines = tail(log) + tail(log + ".stderr")
        return [f"FAILED {name}: {error}; log {log}", *(f"    | {line}" for line in lines)]


def save_result(machine):
    """Saves a machine; a test that finds none boots the whole way."""
    name = "saved-" + saved.name_of(machine)
    log, began = os.path.join(LOGS, name + ".log"), time.monotonic()
    try:
        saved.save(machine, log, pool.ended)
        return [f"ok {name} ({time.monotonic() - began:.0f} s)"]
    except (saved.SaveError, OSError, subprocess.CalledProcessError) as error:
        return [f"FAILED {name}: {error}; log {log}", *(f"    | {line}" for line in tail(log))]


# --- All of them -------------------------------------------------------------------------------------------------


def selected(options):
    for case in cases.CASES:
        for emulator in case.emulators:
            full = f"{case.name}-{emulator}"
            wanted = any(full.startswith(name) for name in options.names) if options.names else not case.slow
            if wanted and (not options.emulator or emulator in options.emulator):
                yield case, emulator


def job_of(case, emulator, name=None, work=None):
    """A test as a job."""
    machine = words.machine_of(case, emulator) if words.may_resume(case) else None
    return pool.Job(name or name_of(case, emulator), work or (lambda: result_of(case, emulator)), machine=machine)


def with_saved(jobs):
    """The jobs, and before them those that save the machines which several have."""
    savers = {machine: pool.Job("saved-" + saved.name_of(machine), lambda machine=machine: save_result(machine), "saved")
              for machine in saved.worth_saving(job.machine for job in jobs if job.machine)}
    for job in jobs:
        job.after += (savers[job.machine],) if job.machine in savers else ()
    return [*savers.values(), *jobs]


def prepare():
    os.makedirs(LOGS, exist_ok=True)
    os.makedirs(STICKS, exist_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which cases (default: all)")
    parser.add_argument("--list", action="store_true", help="only say which tests there are")
    parser.add_argument("--emulator", action="append", choices=list(words.EMULATORS), help="only in this emulator")
    parser.add_argument("--jobs", type=int, default=pool.SLOTS, help="how many at a time")
    parser.add_argument("--whole", action="store_true", help="boot the whole way, never from a saved machine")
    options = parser.parse_args()
    saved.enabled = not options.whole
    tests = list(selected(options))
    if options.list:
        print("\n".join(f"{case.name}-{emulator}" for case, emulator in tests))
        return 0
    if not tests:
        parser.error("no case has such a name; --list shows them all")
    prepare()
    pool.leave(1 if pool.failed(pool.run(with_saved([job_of(*test) for test in tests]), options.jobs)) else 0)


if __name__ == "__main__":
    sys.exit(main())

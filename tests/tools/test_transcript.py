#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of what tests/boot/run.py makes of a transcript: the serial output of several guests on one console, in the orders
that a busy machine can give it. Prints `ok transcript: NAME` or `FAILED transcript: NAME: reason` per test."""

import io
import os
import re
import sys
import types

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "boot"))
import cases  # noqa: E402
import run  # noqa: E402
import script  # noqa: E402

TWO = (("a", "first"), ("b", "second"))


def refused(text, passes=TWO, required=(), forbidden=()):
    """Why a transcript is no pass, or None."""
    case = script.Case("transcript", "", [], passes=passes, required=required, forbidden=forbidden)
    session = types.SimpleNamespace(text=run.ESCAPES.sub("", text), steps=[])
    try:
        run.check_result(case, session, 0)
    except run.CaseError as error:
        return str(error)
    return None


def in_order():
    assert refused("[a] PASS first\r\n[b] PASS second\r\nplinth: result ok\r\n") is None


def an_interrupted_line_that_is_shown_again():
    text = "[a] PASS fi\r\n[b] PASS second\r\nplinth: guest b stopped\r\n[a] PASS first\r\nplinth: result ok\r\n"
    assert refused(text, required=[r"^\[a\] PASS first$"]) is None


def a_line_that_was_shown_in_part_twice():
    assert refused("[b] PA\r\n[b] PASS s\r\n[a] PASS first\r\n[b] PASS second\r\n") is None


def a_line_that_was_written_anew_after_a_carriage_return():
    assert refused("[a] PASS first\r\n[b] 10 %\r[b] PASS second\r\n") is None


def half_a_line_that_was_lost():
    """The console once lost `PA` of a guest's last line, where the focus passed through it."""
    text = '[b]   command line: "alpha beta=1"\r\n[b] SS second\r\n[a] PASS first\r\n'
    assert refused(text) == "guest b did not end with PASS second but with 'SS second' (exit status 0)", refused(text)


def pieces_are_no_line():
    """Nor does a word count that only ends like it."""
    assert refused("[a] PASS first\r\n[b] PA\r\n[b] SS second\r\n")
    assert refused("[a] PASS first\r\n[b] BYPASS second\r\n")


def what_one_guest_says_is_not_anothers():
    assert refused("[a] PASS first\r\n[a] [b] PASS second\r\n")
    assert refused("[a] PASS first\r\n[b] PASS second\r\n[b] one more line\r\n")


def a_guest_that_is_alone():
    alone = (("a", "first"),)
    assert refused("hello\r\nPASS fi\r\nplinth: hello\r\nPASS first\r\nplinth: result ok\r\n", alone) is None
    assert refused("hello\r\nPASS first\r\nmore\r\nplinth: result ok\r\n", alone)


def texts_that_must_and_must_not_appear():
    passed = "[a] PASS first\r\n[b] PASS second\r\n"
    assert refused(passed, required=["absent"]) == "'absent' did not appear (exit status 0)"
    assert refused(passed, forbidden=["pass"]) == "'PASS' appeared"


def a_question_is_asked_again_until_the_answer_is_as_wanted():
    """And not before the last answer is complete."""
    typed = io.BytesIO()
    session = run.Session(types.SimpleNamespace(stdin=typed), None, [
        script.Again("?", r"end", lambda text: "yes" in text), script.Send("!"), script.Expect("good bye")])
    for output, asked in (("", b"?"), ("no", b"?"), (" end", b"??"), ("\nyes e", b"??"), ("nd\n", b"??!"), ("good bye", b"??!")):
        session.text += output
        session.advance()
        assert typed.getvalue() == asked, (output, typed.getvalue())
    assert session.steps == []


def clocks_are_compared_whatever_the_load():
    """Between two readings as much time may pass as the host likes; a clock that runs at another rate shows all the same."""
    def verdict(*readings):
        text = "plinth: TSC 1000.000 MHz\n" + "\n".join(
            f"up {seconds}\ntsc at the shell: {int(tsc * 1e9)}\nup {again}" for seconds, tsc, again in readings)
        return cases.clock_agrees(re.search(r"\s(?s:.*?)".join((cases.UP, cases.TSC_NOW, cases.UP) * 2), text))

    assert verdict(("1.00", 11.01, "1.02"), ("5.10", 15.11, "5.12")) is None
    assert verdict(("1.00", 19.01, "9.02"), ("15.10", 25.11, "17.12")) is None
    assert verdict(("1.00", 11.01, "1.02"), ("5.10", 16.11, "5.12"))
    assert verdict(("1.00", 11.01, "1.02"), ("5.10", 14.90, "5.12"))


TESTS = (in_order, an_interrupted_line_that_is_shown_again, a_line_that_was_shown_in_part_twice,
         a_line_that_was_written_anew_after_a_carriage_return, half_a_line_that_was_lost, pieces_are_no_line,
         what_one_guest_says_is_not_anothers, a_guest_that_is_alone, texts_that_must_and_must_not_appear,
         a_question_is_asked_again_until_the_answer_is_as_wanted, clocks_are_compared_whatever_the_load)


def main():
    failed = False
    for test in TESTS:
        try:
            test()
            print(f"ok transcript: {test.__name__}")
        except AssertionError as error:
            failed = True
            print(f"FAILED transcript: {test.__name__}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

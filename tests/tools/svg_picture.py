#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The pictures of plinth-check --svg as a browser draws them (Debian package chromium, headless).

Of the example configs, and of three that are hard to draw: many long names, tiny guests beside a huge one, a machine with 64
CPUs that are described. The browser says where it has put each text (its fonts are not ours), and takes a picture, and then:

    colours     a box has its colour where no later box and no text lies on it: four points of each, with tolerance
    ink         where a text is, something is drawn that is not the background
    apart       no two texts overlap, none leaves the picture, and none leaves the box in which it begins

One line per picture: `ok svg-picture NAME` or `FAILED svg-picture NAME: reason`. No picture is compared byte by byte.
"""

import itertools
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_plinth_check as checks  # noqa: E402

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LIMIT_S = 300  # of one start of the browser, which takes about one
# Nothing of a user's, no network, no GPU.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
         "--force-device-scale-factor=1")
COLOUR_TOLERANCE = 12  # of 255, a channel
OVERLAP_TOLERANCE = 2.0  # of a pixel: line boxes are higher than their letters
INK_DISTANCE = 60  # a channel, from the background

# Guests with the longest names and many CPUs; slices; a shared CPU.
FULL = "".join(f"[guest a-long-name-{i:03}]\nkernel = hello.elf\nmemory = {4 << i}M\ncpus = {i % 4}, {(i + 1) % 4}\nslice = 10ms\n"
               for i in range(8))
TINY = "[guest huge]\nkernel = hello.elf\nmemory = 192G\ncpus = 8\n" + "".join(
    f"[guest tiny{i}]\nkernel = hello.elf\nmemory = 2M\n" for i in range(5))
NODES = "".join(f"[guest node{i}]\nkernel = hello.elf\nmemory = 4G\ncpus = {8 if i == 3 else 16}\n" for i in range(4))
# Config -> the machine that it is drawn on; the examples' is the Desk's.
ODD = {
    "full.conf": (FULL, checks.MACHINE),
    "tiny.conf": (TINY, "cpu-name = A CPU with quite a long name, of the 7th generation @ 2.40GHz\ncpus = 16\nmemory = 256G\n"),
    "nodes.conf": (NODES, "cpus = 64\nmemory = 64G\n" + "".join(
        f"cpu = {i} apic {i} package {i // 32} core {i // 2 % 16} thread {i % 2}\n" for i in range(64))),
}

MEASURE = """
<script>
const boxes = [...document.querySelectorAll('svg text')].map(text => {
  const box = text.getBoundingClientRect();
  return {text: text.textContent, x: box.x, y: box.y, width: box.width, height: box.height};
});
const out = document.createElement('pre');
out.id = 'measured';
out.textContent = JSON.stringify(boxes);
document.body.appendChild(out);
</script>
"""


def browser(folder, *arguments):
    """Its processes are a group of their own, so that none is left when it hangs."""
    program = next(name for name in BROWSERS if shutil.which(name))
    profile = tempfile.mkdtemp(dir=folder)
    with subprocess.Popen([program, *FLAGS, f"--user-data-dir={profile}", *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as running:
        try:
            out = running.communicate(timeout=LIMIT_S)[0]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{program} has not drawn it within {LIMIT_S} s") from None
        finally:
            try:
                os.killpg(running.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    assert running.returncode == 0, f"{program} ended with {running.returncode}"
    return out.decode("utf-8", "replace")


def paeth(left, up, corner):
    """PNG specification, 9.4 "Filter type 4: Paeth"."""
    guess = left + up - corner
    if abs(guess - left) <= abs(guess - up) and abs(guess - left) <= abs(guess - corner):
        return left
    return up if abs(guess - up) <= abs(guess - corner) else corner


def unfilter(kind, line, above, step):
    """One line of a PNG. PNG specification, 9.2 "Filter types for filter method 0". Most lines of a picture are the first
    three kinds, which need no loop of ours."""
    if kind == 0:
        return line
    if kind == 1:
        for channel in range(step):
            line[channel::step] = bytes(itertools.accumulate(line[channel::step], lambda left, value: (left + value) & 0xff))
        return line
    if kind == 2:
        return bytearray(map(lambda value, up: (value + up) & 0xff, line, above)) if any(line) else bytearray(above)
    for i, value in enumerate(line):
        left = line[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        line[i] = (value + ((left + above[i]) // 2 if kind == 3 else paeth(left, above[i], corner))) & 0xff
    return line


def read_png(path):
    """Rows of bytes, and how many bytes a dot has (RGB or RGBA)."""
    with open(path, "rb") as picture:
        data = picture.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, width = 8, b"", 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
            assert depth == 8 and colour in (2, 6)
        elif kind == b"IDAT":
            packed += data[at + 8:at + 8 + length]
        at += length + 12
    raw, step = zlib.decompress(packed), 3 if colour == 2 else 4
    rows, above = [], bytearray(width * step)
    for y in range(height):
        start = y * (width * step + 1)
        above = unfilter(raw[start], bytearray(raw[start + 1:start + 1 + width * step]), above, step)
        rows.append(above)
    return rows, step


class Picture:
    def __init__(self, svg_path, folder):
        with open(svg_path, encoding="utf-8") as source:
            svg = source.read()
        page, png = os.path.join(folder, "page.html"), os.path.join(folder, "page.png")
        with open(page, "w", encoding="utf-8") as out:
            out.write(f"<!DOCTYPE html><html><body style='margin:0'>{svg}{MEASURE}</body></html>")
        root = xml.etree.ElementTree.fromstring(svg)
        self.width, self.height = int(root.get("width")), int(root.get("height"))
        self.boxes = [tuple(int(box.get(key)) for key in ("x", "y", "width", "height")) + (box.get("fill"),)
                      for box in root.iter(f"{checks.SVG}rect")]
        size = f"--window-size={self.width},{self.height + 100}"
        dom = browser(folder, size, "--dump-dom", "file://" + page)
        found = re.search(r'<pre id="measured">(.*?)</pre>', dom, re.DOTALL)
        assert found, "the browser has not run the page"
        measured = found[1]
        for code, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
            measured = measured.replace(code, sign)
        self.texts = json.loads(measured)
        browser(folder, size, f"--screenshot={png}", "file://" + page)
        self.rows, self.step = read_png(png)

    def dot(self, x, y):
        return tuple(self.rows[y][x * self.step:x * self.step + 3])

    def covered(self, x, y, index):
        """By a later box or by a text."""
        return any(bx <= x < bx + w and by <= y < by + h for bx, by, w, h, _ in self.boxes[index + 1:]) or any(
            text["x"] - 1 <= x < text["x"] + text["width"] + 1 and text["y"] <= y < text["y"] + text["height"] for text in self.texts)

    def box_at(self, x, y):
        """The one that is seen there."""
        return [box for box in self.boxes if box[0] <= x < box[0] + box[2] and box[1] <= y < box[1] + box[3]][-1]


def colour_of(fill):
    return tuple(int(fill[i:i + 2], 16) for i in (1, 3, 5))


def differs(one, other, by):
    return any(abs(a - b) > by for a, b in zip(one, other))


def boxes_have_their_colours(picture):
    looked_at = 0
    for index, (x, y, width, height, fill) in enumerate(picture.boxes):
        for point in ((x + 2, y + 2), (x + width - 3, y + 2), (x + 2, y + height - 3), (x + width - 3, y + height - 3)):
            if not picture.covered(*point, index):
                looked_at += 1
                seen = picture.dot(*point)
                assert not differs(seen, colour_of(fill), COLOUR_TOLERANCE), f"at {point} is {seen} and not {fill}"
    assert looked_at >= len(picture.boxes), f"only {looked_at} points of {len(picture.boxes)} boxes could be looked at"


def texts_are_drawn(picture):
    for text in picture.texts:
        left, top = int(text["x"]), int(text["y"])
        background = colour_of(picture.box_at(left + 1, top + int(text["height"]) // 2)[4])
        ink = sum(differs(picture.dot(x, y), background, INK_DISTANCE)
                  for y in range(top, top + int(text["height"])) for x in range(left, left + int(text["width"])))
        assert ink >= 2 * len(text["text"].replace(" ", "")), f"nothing is drawn for '{text['text']}'"


def texts_are_apart(picture):
    for i, one in enumerate(picture.texts):
        right, bottom = one["x"] + one["width"], one["y"] + one["height"]
        assert 0 <= one["x"] and right <= picture.width and bottom <= picture.height + OVERLAP_TOLERANCE, f"'{one['text']}' leaves"
        box = picture.box_at(one["x"] + 1, one["y"] + one["height"] / 2)
        assert right <= box[0] + box[2], f"'{one['text']}' ends at {right:.0f}, its box at {box[0] + box[2]}"
        for other in picture.texts[:i]:
            wide = min(right, other["x"] + other["width"]) - max(one["x"], other["x"])
            high = min(bottom, other["y"] + other["height"]) - max(one["y"], other["y"])
            assert wide <= OVERLAP_TOLERANCE or high <= OVERLAP_TOLERANCE, f"'{one['text']}' lies on '{other['text']}'"


def look_at(desk, name):
    svg = desk.path("plan.svg")
    machine = desk.machine
    if name in ODD:
        desk.write(name, ODD[name][0])
        machine = desk.write("odd-machine.txt", ODD[name][1])
    made = checks.check("--svg", svg, "--machine", machine, desk.path(name))
    assert made.returncode == 0, made.stdout
    picture = Picture(svg, desk.folder)
    assert picture.texts and len(picture.boxes) > 4
    boxes_have_their_colours(picture)
    texts_are_drawn(picture)
    texts_are_apart(picture)
    return f"{len(picture.boxes)} boxes, {len(picture.texts)} texts"


def main():
    if not any(shutil.which(name) for name in BROWSERS):
        print("FAILED svg-picture: no browser is there; apt-get install --no-install-recommends chromium")
        return 1
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        desk = checks.Desk(folder)
        for name in sys.argv[1:] or [*checks.PLANS, *ODD]:
            try:
                print(f"ok svg-picture {name} ({look_at(desk, name)})", flush=True)
            except (AssertionError, OSError) as error:
                failed += 1
                print(f"FAILED svg-picture {name}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Commands for gdb, to debug Plinth in QEMU: sourced by gdb (tools/run-gdb does that), not run by itself.

    plinth start              run the machine from its reset until the firmware has loaded the hypervisor, give gdb the
                              symbols at that address, and stop at efi_main
    plinth symbols [ADDRESS]  only give gdb the symbols: at the address where the image lies, which is found where none is
                              given. For a machine that runs already
    plinth guest FILE         give gdb the symbols of a guest's ELF file, at the addresses that it is linked for
    plinth host-memory ADDRESS [BYTES]
                              bytes of host-physical memory, whatever the CPU's page tables say
    plinth guest-memory NAME ADDRESS [BYTES]
                              bytes of guest-physical memory of the guest that the config calls so. QEMU does not walk the
                              nested tables for gdb: while a guest runs, `x` and `print` read at the wrong place

How the image is found. The firmware keeps a list of all images that it has loaded, for debuggers (UEFI specification 2.10,
18.4 EFI Debug Support Table): a structure with a signature on a 4 MiB boundary leads to the system table, that one to
the list, and each entry to an image's place and size. Ours is the one whose PE header is that of build/BOOTX64.EFI.

So `plinth start` lets the machine run a tenth of a second at a time until the signature is there, which is long before
anything is read from the disk, and then has the CPU stop whenever the length of the list changes. Once the hypervisor
has taken the machine over, a guest may own the memory of that list. The image does not move any more, so its start is
looked for below the address at which a CPU is, if that is in the hypervisor.

The symbols are the DWARF sections of build/plinth-debug.efi, whose code and data are those of BOOTX64.EFI byte by byte.
"""

import os
import struct
import sys
import threading

import gdb

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gdb_unwind  # noqa: E402

BUILD = os.environ.get("PLINTH_BUILD", "build")
SHIPPED, DEBUG = (os.path.join(BUILD, name) for name in ("BOOTX64.EFI", "plinth-debug.efi"))

POINTER_ALIGN = 4 << 20  # UEFI 2.10, 18.4.2: EFI_SYSTEM_TABLE_POINTER
POINTER_SIGNATURE = b"IBI SYST"
DEBUG_IMAGE_INFO = bytes.fromhex("772e1549da1a6447b7a27afefed95e8b")  # 18.4.3: the table's GUID
IMAGE_INFO_NORMAL = 1
IMAGES_MAX = 1024
TABLES_MAX = 256
LOW_MEMORY_END = 0xB0000000  # QEMU's q35: no memory of the machine from here to 4 GiB, but devices
FIRMWARE_STEP_S = 0.1
FIRMWARE_STEPS_MAX = 6000
PAGE = 4096
IMAGE_BYTES_MAX = 4 << 20
ADDRESS_MASK = 0x000FFFFFFFFFF000  # of a page-table entry
REGISTER_MASK = (1 << 64) - 1


class PeHeader:
    """What tells one PE image from another: the linker's stamp (a hash of the content), its size, its entry."""

    def __init__(self, data):
        at = struct.unpack_from("<I", data, 0x3C)[0] if data[:2] == b"MZ" else 0
        if not 0 < at < len(data) - 96 or data[at:at + 4] != b"PE\0\0":
            raise ValueError("not a PE image")
        self.stamp = struct.unpack_from("<I", data, at + 8)[0]
        self.entry = struct.unpack_from("<I", data, at + 24 + 16)[0]
        self.base = struct.unpack_from("<Q", data, at + 24 + 24)[0]
        self.bytes = struct.unpack_from("<I", data, at + 24 + 56)[0]

    def is_same(self, other):
        return (self.stamp, self.entry, self.bytes) == (other.stamp, other.entry, other.bytes)


def header_of_file(path):
    try:
        with open(path, "rb") as image:
            return PeHeader(image.read(PAGE))
    except (OSError, ValueError, struct.error) as error:
        raise gdb.GdbError(f"{path}: {error}. Run make first, or set PLINTH_BUILD.") from error


class PhysicalMemory:
    """Reads go to physical memory between enter and exit; QEMU understands this packet, other stubs do not."""

    @staticmethod
    def switch(on):
        reply = gdb.execute(f"maintenance packet Qqemu.PhyMemMode:{int(on)}", to_string=True)
        if '"OK"' not in reply:
            raise gdb.GdbError("the other side is not QEMU's gdb stub")
        gdb.execute("maintenance flush dcache", to_string=True)

    def __enter__(self):
        self.switch(True)
        return self

    def __exit__(self, *error):
        self.switch(False)

    @staticmethod
    def read(address, size):
        return bytes(gdb.selected_inferior().read_memory(address, size))

    def number(self, address, size=8):
        return int.from_bytes(self.read(address, size), "little")

    def header(self, address):
        """The PE header at this address, or nothing."""
        try:
            return PeHeader(self.read(address, PAGE))
        except (gdb.MemoryError, ValueError, struct.error):
            return None


def memory_ends():
    """Where the machine's memory ends below and above 4 GiB."""
    said = gdb.execute("monitor info memory_size_summary", to_string=True)
    size = int(said.split("base memory:")[1].split()[0])
    low = min(size, LOW_MEMORY_END)
    # Where there is more, q35 puts less of it below.
    low = low if size < LOW_MEMORY_END else 0x80000000
    return low, (4 << 30) + size - low if size > low else 0


def find_system_table(memory):
    """The firmware's system table, or nothing as long as the firmware has not published it."""
    low, high = memory_ends()
    places = list(range(high - POINTER_ALIGN, 4 << 30, -POINTER_ALIGN)) if high else []
    places += range(low - POINTER_ALIGN, 0, -POINTER_ALIGN)
    for address in places:
        if memory.read(address, 8) == POINTER_SIGNATURE:
            return memory.number(address + 8)
    return None


def find_image_list(memory):
    """The EFI_DEBUG_IMAGE_INFO_TABLE_HEADER, or nothing."""
    system = find_system_table(memory)
    if system is None:
        return None
    count, tables = memory.number(system + 104), memory.number(system + 112)
    for at in range(tables, tables + 24 * min(count, TABLES_MAX), 24):
        if memory.read(at, 16) == DEBUG_IMAGE_INFO:
            return memory.number(at + 16)
    return None


def find_in_list(memory, image_list, wanted):
    """The address of the wanted image, or nothing."""
    count, entries = memory.number(image_list + 4, 4), memory.number(image_list + 8)
    # The newest come last.
    for index in reversed(range(min(count, IMAGES_MAX))):
        entry = memory.number(entries + 8 * index)
        if entry == 0 or memory.number(entry, 4) != IMAGE_INFO_NORMAL:
            continue
        loaded = memory.number(entry + 8)  # EFI_LOADED_IMAGE_PROTOCOL: UEFI 2.10, 9.1
        base = memory.number(loaded + 64) if loaded else 0
        found = memory.header(base) if base else None
        if found is not None and found.is_same(wanted):
            return base
    return None


def find_below_rip(memory, wanted):
    """The start of the image that one of the CPUs executes, if that is ours."""
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        rip = int(gdb.parse_and_eval("$pc")) & REGISTER_MASK
        first = rip & -PAGE
        for address in range(first, max(first - IMAGE_BYTES_MAX, 0), -PAGE):
            found = memory.header(address)
            if found is not None:
                if found.is_same(wanted):
                    return address
                break
    return None


def run_for(seconds):
    """Lets the machine run so long, or until something stops it."""
    timer = threading.Timer(seconds, lambda: gdb.post_event(interrupt))
    timer.start()
    gdb.execute("continue", to_string=True)
    timer.cancel()


def interrupt():
    try:
        gdb.execute("interrupt")
    except gdb.error:
        pass  # it has stopped by itself


def add_symbols(base):
    shipped, debug = header_of_file(SHIPPED), header_of_file(DEBUG)
    if (shipped.entry, shipped.base) != (debug.entry, debug.base):
        raise gdb.GdbError(f"{DEBUG} and {SHIPPED} are not of one build. Run make.")
    name = "".join("\\" + c if c in " \t\\\"'" else c for c in DEBUG)
    gdb.execute(f"symbol-file {name} -o {base - debug.base:#x}", to_string=True)
    gdb_unwind.install(DEBUG, base)
    gdb.execute(f"set $plinth = {base:#x}")
    if gdb.lookup_global_symbol("efi_main") is None:
        raise gdb.GdbError(f"{DEBUG} has no DWARF symbols. Run make.")
    print(f"plinth: BOOTX64.EFI was loaded at {base:#x}; $plinth is that address")


class Quiet:
    """gdb tells of every stop, whatever its settings are; between enter and exit it tells of none."""

    def __enter__(self):
        gdb.flush()
        self.stdout = os.dup(1)
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 1)

    def __exit__(self, *error):
        gdb.flush()
        os.dup2(self.stdout, 1)
        os.close(self.stdout)


class Plinth(gdb.Command):
    """Debugging Plinth in QEMU: plinth start, plinth symbols, plinth guest, plinth host-memory."""

    def __init__(self):
        super().__init__("plinth", gdb.COMMAND_RUNNING, prefix=True)


class Start(gdb.Command):
    """Run from the reset until the firmware has loaded the hypervisor, and stop at efi_main."""

    def __init__(self):
        super().__init__("plinth start", gdb.COMMAND_RUNNING)

    @staticmethod
    def wait_for_list():
        for _ in range(FIRMWARE_STEPS_MAX):
            run_for(FIRMWARE_STEP_S)
            with PhysicalMemory() as memory:
                image_list = find_image_list(memory)
            if image_list is not None:
                return image_list
        raise gdb.GdbError("the firmware has published no list of images (EFI debug support table)")

    def invoke(self, argument, from_tty):
        with Quiet():
            base = self.wait_for_image(header_of_file(SHIPPED))
        add_symbols(base)
        gdb.execute("tbreak efi_main", to_string=True)
        gdb.execute("continue")

    def wait_for_image(self, wanted):
        image_list = self.wait_for_list()
        length = gdb.Breakpoint(f"*(unsigned int *){image_list + 4:#x}", gdb.BP_WATCHPOINT, gdb.WP_WRITE, internal=True)
        length.silent = True
        base = None
        while base is None:
            with PhysicalMemory() as memory:
                base = find_in_list(memory, image_list, wanted)
            if base is None:
                gdb.execute("continue", to_string=True)
        length.delete()
        return base


class Symbols(gdb.Command):
    """Give gdb the hypervisor's symbols: plinth symbols [ADDRESS OF THE IMAGE]"""

    def __init__(self):
        super().__init__("plinth symbols", gdb.COMMAND_FILES)

    def invoke(self, argument, from_tty):
        if argument:
            add_symbols(int(gdb.parse_and_eval(argument)))
            return
        wanted = header_of_file(SHIPPED)
        with PhysicalMemory() as memory:
            image_list = find_image_list(memory)
            base = find_in_list(memory, image_list, wanted) if image_list is not None else None
            base = base or find_below_rip(memory, wanted)
        if base is None:
            raise gdb.GdbError("the hypervisor was not found: it is not loaded yet, or all CPUs are in guests and the "
                               "firmware's list is gone. Let the machine run on and try again, or name the address.")
        add_symbols(base)


class Guest(gdb.Command):
    """Give gdb the symbols of a guest's ELF file: plinth guest FILE"""

    def __init__(self):
        super().__init__("plinth guest", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        if not argument:
            raise gdb.GdbError("plinth guest FILE: name an ELF file with symbols")
        gdb.execute(f"add-symbol-file {argument} -o 0", to_string=True)
        print(f"plinth: symbols of {argument}; breakpoints there are addresses, whichever guest comes by")


def guest_root(name):
    """The host-physical address of the guest's nested tables, from the hypervisor's own variables."""
    for index in range(int(gdb.parse_and_eval("guest_count"))):
        if gdb.parse_and_eval(f"guests[{index}]->name").string() == name:
            return int(gdb.parse_and_eval(f"guests[{index}]->nested_root"))
    raise gdb.GdbError(f"there is no guest {name}; the hypervisor must have created its guests, and gdb have its symbols")


def host_address(memory, root, address):
    """AMD's nested tables have the format of long mode: APM volume 2, section 5.3 Long-Mode Page Translation."""
    table = root
    for level in (3, 2, 1, 0):
        shift = 12 + 9 * level
        entry = memory.number(table + 8 * (address >> shift & 511))
        if not entry & 1:
            raise gdb.GdbError(f"guest-physical {address:#x} is not mapped")
        if level == 0 or (level < 3 and entry & 0x80):
            return (entry & ADDRESS_MASK) >> shift << shift | address & (1 << shift) - 1
        table = entry & ADDRESS_MASK
    return None


def print_bytes(address, data):
    for at in range(0, len(data), 16):
        print(f"{address + at:#014x}:  {data[at:at + 16].hex(' ')}")


class GuestMemory(gdb.Command):
    """Bytes of a guest's physical memory: plinth guest-memory NAME ADDRESS [BYTES]"""

    def __init__(self):
        super().__init__("plinth guest-memory", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) not in (2, 3):
            raise gdb.GdbError("plinth guest-memory NAME ADDRESS [BYTES]")
        address, size = (int(gdb.parse_and_eval(word)) for word in (words + ["64"])[1:3])
        data = b""
        with PhysicalMemory() as memory:
            root = guest_root(words[0])
            while len(data) < size:
                at = address + len(data)
                part = min(size - len(data), PAGE - at % PAGE)
                data += memory.read(host_address(memory, root, at), part)
        print_bytes(address, data)


class HostMemory(gdb.Command):
    """Bytes of host-physical memory: plinth host-memory ADDRESS [BYTES]"""

    def __init__(self):
        super().__init__("plinth host-memory", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) not in (1, 2):
            raise gdb.GdbError("plinth host-memory ADDRESS [BYTES]")
        address, size = (int(gdb.parse_and_eval(word)) for word in (words + ["64"])[:2])
        with PhysicalMemory() as memory:
            data = memory.read(address, size)
        print_bytes(address, data)


gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set print symbol off")  # gdb warns of each pointer to data, for which it asks the tables of code
for command in (Plinth, Start, Symbols, Guest, GuestMemory, HostMemory):
    command()

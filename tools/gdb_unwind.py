# SPDX-License-Identifier: MIT
"""Frames of the hypervisor for gdb: which function called which, from the image's own tables. Loaded by gdb_plinth.py.

A PE image says in its section .pdata, for each function, how its prologue moves the stack and where it keeps registers.
Debian's gdb knows ELF's tables only and would guess, so it is told here. The format: Microsoft, "x64 exception
handling", "Unwind data for exception handling" (also UEFI specification 2.10, 2.3.4.2, which asks for that convention).
hv/report/unwind.c reads the same tables for the backtrace of a panic.
"""

import struct

import gdb
from gdb.unwinder import Unwinder

REGISTERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
             "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")
KEPT = (3, 4, 5, 6, 7, 12, 13, 14, 15)  # what a function of this convention leaves as it was; the others are lost
RSP = 4
PUSH, ALLOC_LARGE, ALLOC_SMALL, SET_FRAME, SAVE, SAVE_FAR, SAVE_XMM, SAVE_XMM_FAR, MACHINE_FRAME = 0, 1, 2, 3, 4, 5, 8, 9, 10
CHAINED = 4  # a flag: this part of a function continues the prologue of another part
CHAIN_MAX = 32
EPILOGUE_BYTES_MAX = 32
MASK = (1 << 64) - 1


class Tables:
    """The unwind tables of a PE file, by addresses relative to the image's start."""

    def __init__(self, path):
        with open(path, "rb") as image:
            self.data = image.read()
        at = struct.unpack_from("<I", self.data, 0x3C)[0]
        count, optional = struct.unpack_from("<H", self.data, at + 6)[0], struct.unpack_from("<H", self.data, at + 20)[0]
        self.bytes = struct.unpack_from("<I", self.data, at + 24 + 56)[0]
        headers = [struct.unpack_from("<8sIIII", self.data, at + 24 + optional + 40 * i) for i in range(count)]
        self.sections = [(rva, min(size, raw), place) for _, size, rva, raw, place in headers]
        start, size = struct.unpack_from("<II", self.data, at + 24 + 112 + 8 * 3)  # data directory 3: exceptions
        self.functions = list(struct.iter_unpack("<III", self.read(start, size - size % 12)))

    def read(self, rva, size):
        for start, length, place in self.sections:
            if start <= rva and rva + size <= start + length:
                return self.data[place + rva - start:place + rva - start + size]
        return b""

    def function(self, rva):
        """(begin, end, unwind information) of the function there, or nothing: a leaf that has no frame."""
        return next((each for each in self.functions if each[0] <= rva < each[1]), None)

    def steps(self, function, rva):
        """The steps of the prologue that are done at this address, last one first: (operation, register, operand)."""
        for depth in range(CHAIN_MAX):
            head = self.read(function[2], 4)
            flags, prologue, count, frame = head[0] >> 3, head[1], head[2], head[3]
            codes = struct.unpack(f"<{count}H", self.read(function[2] + 4, 2 * count))
            done = rva - function[0] if depth == 0 else prologue
            yield from self.decode(codes, done, frame)
            if not flags & CHAINED:
                return
            function = struct.unpack("<III", self.read(function[2] + 4 + 2 * (count + count % 2), 12))

    @staticmethod
    def decode(codes, done, frame):
        at = 0
        while at < len(codes):
            offset, operation, info = codes[at] & 0xFF, codes[at] >> 8 & 15, codes[at] >> 12
            extra = {ALLOC_LARGE: 1 + info, SAVE: 1, SAVE_FAR: 2, SAVE_XMM: 1, SAVE_XMM_FAR: 2}.get(operation, 0)
            operand = sum(word << 16 * i for i, word in enumerate(codes[at + 1:at + 1 + extra]))
            at += 1 + extra
            if offset > done:
                continue
            if operation == ALLOC_SMALL or operation == ALLOC_LARGE:
                operand = 8 * info + 8 if operation == ALLOC_SMALL else operand if info else 8 * operand
            elif operation == SAVE:
                operand *= 8
            elif operation == SET_FRAME:
                info, operand = frame & 15, 16 * (frame >> 4)
            yield operation, info, operand


def epilogue_steps(code):
    """The same form for the rest of an epilogue: `add rsp`, pops, ret. Nothing where this is no epilogue."""
    at, steps = 0, []
    if code[:3] == b"\x48\x83\xc4":
        at, steps = 4, [(ALLOC_SMALL, 0, code[3])]
    elif code[:3] == b"\x48\x81\xc4":
        at, steps = 7, [(ALLOC_LARGE, 0, struct.unpack_from("<I", code, 3)[0])]
    while at < len(code) - 1:
        high = 8 if code[at] == 0x41 else 0
        pop = code[at + 1] if high else code[at]
        if not 0x58 <= pop <= 0x5F:
            break
        steps.append((PUSH, pop - 0x58 + high, 0))
        at += 2 if high else 1
    return steps if code[at:at + 1] == b"\xc3" else None


class Frame:
    """What gdb wants to know a frame by."""

    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class HypervisorUnwinder(Unwinder):
    """For addresses in the image that was loaded at `base`."""

    def __init__(self, path, base):
        super().__init__("plinth")
        self.tables, self.base = Tables(path), base

    @staticmethod
    def word(address):
        return int.from_bytes(bytes(gdb.selected_inferior().read_memory(address & MASK, 8)), "little")

    def undo(self, steps, registers):
        """Undoes the steps in `registers`. Returns the caller's RIP where the CPU had pushed it (an interrupt)."""
        for operation, register, operand in steps:
            if operation == PUSH:
                registers[register] = self.word(registers[RSP])
                registers[RSP] += 8
            elif operation in (ALLOC_LARGE, ALLOC_SMALL):
                registers[RSP] += operand
            elif operation == SET_FRAME:
                registers[RSP] = registers[register] - operand
            elif operation in (SAVE, SAVE_FAR):
                registers[register] = self.word(registers[RSP] + operand)
            elif operation == MACHINE_FRAME:
                frame = registers[RSP] + 8 * register
                registers[RSP] = self.word(frame + 24)
                return self.word(frame)
        return None

    def __call__(self, pending):
        pc = int(pending.read_register("rip")) & MASK
        rva = pc - self.base
        if not 0 <= rva < self.tables.bytes:
            return None
        registers = {number: int(pending.read_register(REGISTERS[number])) & MASK for number in KEPT}
        function = self.tables.function(rva)
        steps = epilogue_steps(self.tables.read(rva, EPILOGUE_BYTES_MAX)) if function else []
        if steps is None:
            steps = self.tables.steps(function, rva)
        try:
            caller = self.undo(steps, registers)
            if caller is None:
                caller = self.word(registers[RSP])
                registers[RSP] += 8
        except gdb.MemoryError:
            return None
        like = pending.read_register("rip").type
        frame = Frame(gdb.Value(registers[RSP]), gdb.Value(self.base + function[0] if function else pc))
        unwound = pending.create_unwind_info(frame)
        for number in KEPT:
            unwound.add_saved_register(REGISTERS[number], gdb.Value(registers[number]))
        unwound.add_saved_register("rip", gdb.Value(caller).cast(like))
        return unwound


def install(path, base):
    """In place of an earlier one."""
    gdb.unwinder.register_unwinder(None, HypervisorUnwinder(path, base), replace=True)

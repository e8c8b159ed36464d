"""The register image: 65 536 registers of one unit id in one buffer, already in wire order.

A read is one bounds check and a view. A write is checked whole before the first word is stored, so that a
request is applied altogether or not at all; watchers hear of it after everything is stored, so that one request may
carry a flag and its parameters in any order.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

from ampgate.registers.catalogue import Signal
from ampgate.registers.codec import ByteOrder, codec
from ampgate.registers.layout import Place

SIZE = 65536
Watcher = Callable[[int], None]
"""Called with the value that the BMS wrote."""


class Refusal(IntEnum):
    """Why a write was refused; the numbers are the exception codes of the Modbus specification (§7)."""

    NONE = 0
    ADDRESS = 2
    VALUE = 3
    BUSY = 6


class _Word:
    """What is special about one writable register."""

    __slots__ = ("allowed", "command", "reserved", "watcher")

    def __init__(self, signal: Signal) -> None:
        self.allowed = frozenset(signal.values) if signal.values else None
        self.command = signal.command
        self.reserved = signal.reserved
        self.watcher: Watcher | None = None


class Image:
    """Registers, what of them is valid, and who wants to know of writes."""

    def __init__(self) -> None:
        self.words = bytearray(2 * SIZE)
        self._view = memoryview(self.words).toreadonly()
        self.read_end = array("I", range(SIZE))
        """For each address the end (exclusive) of the valid run that it is in; itself when it is invalid."""
        self.write_end = array("I", range(SIZE))
        """The same for addresses that may be written; reserved words belong to a run and swallow the write."""
        self.plain_end = array("I", range(SIZE))
        """The same for addresses that may be written without a look at `_special`."""
        self._special: dict[int, _Word] = {}

    def define(self, places: Iterable[Place], *, read_only: bool = False) -> None:
        """Make the active places of a site valid."""
        readable, writable, plain = bytearray(SIZE), bytearray(SIZE), bytearray(SIZE)
        for place in places:
            if not place.active:
                continue
            signal, start, end = place.signal, place.address, place.address + place.signal.registers
            readable[start:end] = b"\1" * signal.registers
            if signal.reserved or (signal.writable and not read_only):
                writable[start:end] = b"\1" * signal.registers
            if signal.reserved or signal.command or (signal.writable and signal.values):
                self._special[start] = _Word(signal)
            else:
                plain[start:end] = writable[start:end]
        self.read_end, self.write_end, self.plain_end = map(_run_ends, (readable, writable, plain))

    def watch(self, address: int, signal: Signal, watcher: Watcher) -> None:
        """Call ``watcher`` with the value after each write to this one-register signal."""
        self._special.setdefault(address, _Word(signal)).watcher = watcher
        # The run of plain registers that the address was in now ends before it.
        plain_end, place = self.plain_end, address
        end = plain_end[address]
        while place >= 0 and plain_end[place] == end:
            plain_end[place] = address
            place -= 1

    def view(self, address: int, quantity: int) -> memoryview | None:
        """The bytes of ``quantity`` registers, or None when one of them is invalid.

        They are live: what is stored later shows in them.
        """
        end = address + quantity
        if end > self.read_end[address]:
            return None
        return self._view[2 * address : 2 * end]

    def write(self, address: int, data: bytes) -> Refusal:
        """Store registers (two bytes each) on behalf of the BMS: all of them, or none and the reason.

        A command that is running (its flag is not 0) refuses to be started again and ignores a 0.
        """
        end = address + len(data) // 2
        if end <= self.plain_end[address]:
            self.words[2 * address : 2 * end] = data
            return Refusal.NONE
        if end > self.write_end[address]:
            return Refusal.ADDRESS
        return self._write_special(address, end, data)

    def _write_special(self, address: int, end: int, data: bytes) -> Refusal:
        found = []
        refusal = Refusal.NONE
        for place in range(address, end):
            word = self._special.get(place)
            if word is None:
                continue
            at = 2 * (place - address)
            value = data[at] << 8 | data[at + 1]
            running = word.command and bool(self.words[2 * place] or self.words[2 * place + 1])
            if word.allowed is not None and value not in word.allowed:
                return Refusal.VALUE
            if running and value:
                refusal = Refusal.BUSY
            found.append((word, at, value, running))
        if refusal:
            return refusal
        stored, heard = bytearray(data), []
        for word, at, value, running in found:
            if word.reserved or running:
                stored[at : at + 2] = self.words[2 * address + at : 2 * address + at + 2]
            elif word.watcher is not None:
                heard.append((word.watcher, value))
        self.words[2 * address : 2 * end] = stored
        for watcher, value in heard:
            watcher(value)
        return Refusal.NONE


def _run_ends(valid: bytearray) -> array[int]:
    ends = array("I", range(SIZE))
    end = SIZE
    for address in range(SIZE - 1, -1, -1):
        if valid[address]:
            ends[address] = end
        else:
            end = address
    return ends


class Point:
    """One signal of the site, bound to its registers: the gateway's own view, free of the BMS's access rights."""

    __slots__ = ("_decode", "_encode", "_end", "_image", "_start", "_words", "place")

    def __init__(self, place: Place, image: Image, order: ByteOrder) -> None:
        self.place = place
        self._image = image
        self._words = image.words
        self._start, self._end = 2 * place.address, 2 * (place.address + place.signal.registers)
        self._encode, self._decode = codec(place.signal.type, place.signal.registers, order)

    def set(self, value: Any) -> None:
        """Encode and store a value (its type: see `codec.codec`)."""
        self._words[self._start : self._end] = self._encode(value)

    def get(self) -> Any:
        """The value that the registers hold now."""
        return self._decode(bytes(self._words[self._start : self._end]))

    def clear(self) -> None:
        """All registers 0: number 0, empty text."""
        self._words[self._start : self._end] = bytes(self._end - self._start)

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher`` with the value after each write of the BMS to this one-register signal."""
        self._image.watch(self.place.address, self.place.signal, watcher)

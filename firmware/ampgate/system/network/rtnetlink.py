"""As much of rtnetlink as the fallback needs: carrier and IPv4 addresses of one interface, adding and removing one.

man 7 rtnetlink; linux/rtnetlink.h, linux/if_addr.h. The standard library has no more than the socket.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

_MESSAGE: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ADDRESS: Final = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_LINK: Final = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ATTRIBUTE: Final = struct.Struct("=HH")  # rtattr: length, type

_ERROR, _DONE = 2, 3
_NEW_LINK, _GET_LINK = 16, 18
_NEW_ADDRESS, _DELETE_ADDRESS, _GET_ADDRESS = 20, 21, 22
_REQUEST, _ACK, _DUMP, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_LOWER_UP: Final = 0x10000
_IFLA_ADDRESS, _IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 1, 2, 4, 8
_PERMANENT: Final = 0x80
_GLOBAL: Final = 0
_GROUPS: Final = 0x1 | 0x10
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR"""


@dataclass(frozen=True)
class Address:
    """An IPv4 address of an interface."""

    interface: IPv4Interface
    permanent: bool
    """Without a lifetime: nobody leased it."""
    everywhere: bool
    """Of global scope, not link-local."""


class Netlink:
    """Asks and changes one interface; ``fileno`` becomes readable when something about it may have changed."""

    def __init__(self, name: str) -> None:
        self.index = socket.if_nametoindex(name)
        self._sequence = 0
        self._questions = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._questions.bind((0, 0))
        self._questions.settimeout(5.0)
        self._changes = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._changes.bind((0, _GROUPS))
        self._changes.setblocking(False)

    def fileno(self) -> int:
        """For select."""
        return self._changes.fileno()

    def drain(self) -> None:
        """Forget the notifications: what holds now is asked for anew, so that a lost one does no harm."""
        while True:
            try:
                self._changes.recv(65536)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: there were too many to keep
                continue

    def close(self) -> None:
        """Give the sockets back."""
        self._questions.close()
        self._changes.close()

    def link(self) -> tuple[bool, bytes]:
        """Carrier and hardware address; `OSError` when the interface has gone."""
        answers = self._ask(_GET_LINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, self.index, 0, 0))
        for type_, body in answers:
            if type_ == _NEW_LINK:
                flags = _LINK.unpack_from(body)[3]
                mac = dict(_attributes(body[_LINK.size :])).get(_IFLA_ADDRESS, b"")
                return bool(flags & _LOWER_UP), mac
        raise OSError(f"the kernel did not answer for interface {self.index}")

    def addresses(self) -> list[Address]:
        """The IPv4 addresses of the interface."""
        found = []
        for type_, body in self._ask(_GET_ADDRESS, _DUMP, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)):
            if type_ != _NEW_ADDRESS:
                continue
            _, length, flags, scope, index = _ADDRESS.unpack_from(body)
            attributes = dict(_attributes(body[_ADDRESS.size :]))
            local = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
            if index != self.index or local is None:
                continue
            if _IFA_FLAGS in attributes:
                flags = struct.unpack("=I", attributes[_IFA_FLAGS])[0]
            found.append(
                Address(IPv4Interface((IPv4Address(local), length)), bool(flags & _PERMANENT), scope == _GLOBAL)
            )
        return found

    def add(self, address: IPv4Interface) -> None:
        """Give the interface an address that stays; `OSError` when it has it already."""
        self._ask(_NEW_ADDRESS, _ACK | _CREATE | _EXCLUSIVE, self._body(address))

    def remove(self, address: IPv4Interface) -> None:
        """Take an address away; `OSError` when the interface does not have it."""
        self._ask(_DELETE_ADDRESS, _ACK, self._body(address))

    def _body(self, address: IPv4Interface) -> bytes:
        head = _ADDRESS.pack(socket.AF_INET, address.network.prefixlen, 0, _GLOBAL, self.index)
        return head + b"".join(
            _ATTRIBUTE.pack(_ATTRIBUTE.size + 4, kind) + value.packed
            for kind, value in (
                (_IFA_LOCAL, address.ip),
                (_IFA_ADDRESS, address.ip),
                (_IFA_BROADCAST, address.network.broadcast_address),
            )
        )

    def _ask(self, type_: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
        self._sequence += 1
        head = _MESSAGE.pack(_MESSAGE.size + len(body), type_, _REQUEST | flags, self._sequence, 0)
        self._questions.send(head + body)
        found: list[tuple[int, bytes]] = []
        while True:
            for answer, sequence, content in _messages(self._questions.recv(65536)):
                if sequence != self._sequence:  # of a question that timed out
                    continue
                if answer == _ERROR:
                    code = -struct.unpack_from("=i", content)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                if answer == _DONE:
                    return found
                found.append((answer, content))
                if not flags & (_DUMP | _ACK):
                    return found


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    while len(data) >= _MESSAGE.size:
        length, type_, _, sequence, _ = _MESSAGE.unpack_from(data)
        yield type_, sequence, data[_MESSAGE.size : length]
        data = data[_aligned(length) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, type_ = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield type_, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3

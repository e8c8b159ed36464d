"""Socket options that both sides share."""

from __future__ import annotations

import socket

_INTERVAL = 10
_COUNT = 3


def keep_alive(sock: socket.socket, idle: int) -> None:
    """Let TCP find a dead peer: after ``idle`` seconds of silence three probes, 10 s apart."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", idle), ("TCP_KEEPINTVL", _INTERVAL), ("TCP_KEEPCNT", _COUNT)):
        if hasattr(socket, name):  # macOS names or lacks some of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

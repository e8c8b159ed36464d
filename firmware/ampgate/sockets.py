"""Socket options that both sides share."""

from __future__ import annotations

import socket

_INTERVAL = 10
_COUNT = 3


def keep_alive(sock: socket.socket, idle: int) -> None:
    """Let TCP find a dead peer: after ``idle`` seconds of silence three probes, 10 s apart.

    A peer that dies while something is on its way to it is given up after the same time, which would else be a quarter
    of an hour.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPINTVL", _INTERVAL),
        ("TCP_KEEPCNT", _COUNT),
        ("TCP_USER_TIMEOUT", 1000 * (idle + _INTERVAL * _COUNT)),
    ):
        if hasattr(socket, name):  # macOS names or lacks some of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

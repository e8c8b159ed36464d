"""The connection to an external central system: addresses, credentials, reasons, patience."""

from __future__ import annotations

import base64
import itertools
import random
import socket
import ssl
from typing import Any

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidHandshake

from ampgate.ocpp import upstream
from ampgate.ocpp.upstream import Endpoint, Unreachable, delays, reason_of, status_reason

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (Endpoint("cs.example.com", 80), "ws://cs.example.com:80/A%20%2F%C3%BC"),
        (Endpoint("10.0.0.1", 8080, "/ocpp/16/"), "ws://10.0.0.1:8080/ocpp/16/A%20%2F%C3%BC"),
        (Endpoint("fe80::1", 443, "/x", ssl.create_default_context()), "wss://[fe80::1]:443/x/A%20%2F%C3%BC"),
    ],
)
def test_url(endpoint: Endpoint, url: str) -> None:
    assert endpoint.url("A /ü") == url


def test_credentials() -> None:
    assert Endpoint("x", 1).headers() == {}
    header = Endpoint("x", 1, user="CP1", password="pass:wörd").headers()["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == "CP1:pass:wörd"


def test_delays_double_and_are_random_in_their_second_half() -> None:
    for longest, ceilings in ((8.0, [1, 2, 4, 8, 8, 8]), (1.0, [1, 1, 1])):
        waits = list(itertools.islice(delays(longest, random.Random(1)), len(ceilings)))
        assert all(ceiling / 2 <= wait <= ceiling for wait, ceiling in zip(waits, ceilings, strict=True))
    assert next(delays(60)) != next(delays(60))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "refused: nothing listens on this port"),
        (TimeoutError(), "no answer in time"),
        (socket.gaierror(-2, "Name or service not known"), "DNS: Name or service not known"),
        (OSError(113, "No route to host"), "No route to host"),
        (ConnectionResetError(), "closed at once; perhaps only one side speaks TLS"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (InvalidHandshake("x"), "not a websocket server: x"),
        (ValueError("x"), "x"),
        (ValueError(), "ValueError"),
    ],
)
def test_reasons(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    ("status", "words"), [(200, "refused"), (301, "it does not say where"), (404, "charger id"), (502, "trouble")]
)
def test_status(status: int, words: str) -> None:
    assert words in status_reason(status)


async def test_connects_as_the_charger_and_follows_no_redirect() -> None:
    seen: list[Any] = []

    def redirect(connection: Any, request: Any) -> Any:
        seen.append(request)
        if len(seen) == 1:
            return None
        response = connection.respond(302, "")
        response.headers["Location"] = "/elsewhere"
        return response

    async def idle(websocket: Any) -> None:
        await websocket.wait_closed()

    async with serve(idle, "127.0.0.1", 0, process_request=redirect, subprotocols=["ocpp1.6"]) as server:  # type: ignore[list-item]
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], "/a", user="CP1", password="p")
        connection = await upstream.connect(endpoint, "CP1", ["ocpp2.0.1", "ocpp1.6"])
        assert connection.subprotocol == "ocpp1.6"
        await upstream.close(connection, 1000, "done")
        assert seen[0].path == "/a/CP1"
        assert seen[0].headers["Authorization"] == endpoint.headers()["Authorization"]
        assert "Sec-WebSocket-Extensions" not in seen[0].headers
        with pytest.raises(Unreachable, match="HTTP 302: it is elsewhere: /elsewhere; redirects are not followed"):
            await upstream.connect(endpoint, "CP1", ["ocpp1.6"])
        assert len(seen) == 2


async def test_a_name_that_is_none_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await upstream.connect(Endpoint(f"{'x' * 70}..example", 80), "CP1", ["ocpp1.6"])

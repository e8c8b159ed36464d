"""Modbus TCP beside the functions: framing (Modbus Messaging on TCP/IP 1.0b), connections, limits.

Reads in these tests: 06-byte PDU ``03 02CA 0001`` is status of connector 1 of charger 0, which holds 2.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from ipaddress import IPv4Network, IPv6Network

import pytest

from ampgate.modbus.pdu import Executor, Identity
from ampgate.modbus.tcp import TcpServer
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site
from ampgate.trace import Trace
from tests.conformance.modbus_server import LOOPS, Served, Wire, serve

pytestmark = pytest.mark.conformance

READ = bytes.fromhex("0001 0000 0006 01 03 02CA 0001")
ANSWER = bytes.fromhex("0001 0000 0005 01 03 02 0002")


def units() -> dict[int, Executor]:
    site = Site([ChargerShape(7)], extensions=False)
    site.connector(0, 1)["connector.status"].set(2)
    executor = Executor(site.images[0], Identity("Vendor", "Code", "1.0"))
    return {1: executor, 0: executor, 255: executor}


@pytest.fixture(scope="module", params=LOOPS)
def shared(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server for tests that leave it as it was."""
    with serve(units(), loop=request.param) as served:
        yield served


@pytest.fixture(params=LOOPS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server for one test."""
    with serve(units(), loop=request.param, trace=Trace(50)) as served:
        yield served


@pytest.fixture
def wire(shared: Served) -> Iterator[Wire]:
    with shared.connect() as wire:
        yield wire


# Header


@pytest.mark.parametrize("transaction", ["0000", "0001", "00FF", "FF00", "FFFF"])
def test_transaction_id_is_echoed(wire: Wire, transaction: str) -> None:
    wire.send(bytes.fromhex(f"{transaction} 0000 0006 01 03 02CA 0001"))
    assert wire.receive(11) == bytes.fromhex(f"{transaction} 0000 0005 01 03 02 0002")
    wire.send(bytes.fromhex(f"{transaction} 0000 0002 01 41"))
    assert wire.receive(9) == bytes.fromhex(f"{transaction} 0000 0003 01 C1 01")


@pytest.mark.parametrize("unit", ["00", "01", "FF"])
def test_unit_ids_that_answer(wire: Wire, unit: str) -> None:
    wire.send(bytes.fromhex(f"0007 0000 0006 {unit} 03 02CA 0001"))
    assert wire.receive(11) == bytes.fromhex(f"0007 0000 0005 {unit} 03 02 0002")


@pytest.mark.parametrize("unit", ["02", "7F", "F7", "FE"])
@pytest.mark.parametrize(
    ("request_pdu", "response"),
    [("03 02CA 0001", "83 0B"), ("06 0165 1234", "86 0B"), ("03 02CA 0000", "83 0B"), ("41", "C1 0B"), ("2B", "AB 0B")],
)
def test_another_unit_id_is_exception_0b(wire: Wire, unit: str, request_pdu: str, response: str) -> None:
    pdu = bytes.fromhex(request_pdu)
    wire.send(bytes.fromhex(f"0007 0000 {len(pdu) + 1:04X} {unit}") + pdu)
    assert wire.receive(9) == bytes.fromhex(f"0007 0000 0003 {unit} {response}")


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("0002 0001 0006", id="protocol id 1"),
        pytest.param("0002 0100 0006", id="protocol id 256"),
        pytest.param("0002 FFFF 0006", id="protocol id 65535"),
        pytest.param("0002 0000 0000", id="length 0"),
        pytest.param("0002 0000 0001", id="length 1: no function code"),
        pytest.param("0002 0000 00FF", id="length 255: a PDU of 254 bytes"),
        pytest.param("0002 0000 0100", id="length 256"),
        pytest.param("0002 0000 FFFF", id="length 65535"),
        pytest.param("4745 5420 2F20", id="GET / HTTP/1.1"),
    ],
)
@pytest.mark.parametrize("rest", ["", "01", "01 03 02CA 0001", "00 " * 300], ids=["", "1", "5", "300"])
def test_a_bad_header_closes_the_connection(shared: Served, header: str, rest: str) -> None:
    before = shared.server.statistics.framing_errors
    with shared.connect() as wire:
        wire.send(READ + bytes.fromhex(header) + bytes.fromhex(rest))
        assert wire.receive(11) == ANSWER  # requests before it are answered
        assert wire.closed()
    assert shared.server.statistics.framing_errors == before + 1


def test_the_shortest_and_the_longest_request(wire: Wire) -> None:
    wire.send(bytes.fromhex("0001 0000 0002 01 41"))
    assert wire.receive(9) == bytes.fromhex("0001 0000 0003 01 C1 01")
    wire.send(bytes.fromhex("0002 0000 00FE 01 41") + bytes(252))
    assert wire.receive(9) == bytes.fromhex("0002 0000 0003 01 C1 01")


# Segments


def test_one_byte_a_segment(wire: Wire) -> None:
    for number, request in enumerate((READ, bytes.fromhex("0002 0000 0002 01 41"), READ)):
        for at in range(len(request)):
            wire.send(request[at : at + 1])
        assert wire.receive(9) == (ANSWER[:9] if number != 1 else bytes.fromhex("0002 0000 0003 01 C1 01"))
        if number != 1:
            assert wire.receive(2) == ANSWER[9:]


def test_two_requests_in_a_segment(wire: Wire) -> None:
    wire.send(bytes.fromhex("0001 0000 0006 01 03 02CA 0001  0002 0000 0006 FF 04 02CA 0001"))
    assert wire.receive(22) == bytes.fromhex("0001 0000 0005 01 03 02 0002  0002 0000 0005 FF 04 02 0002")


@pytest.mark.parametrize("cut", range(1, 12))
def test_one_and_a_part(wire: Wire, cut: int) -> None:
    wire.send(READ + READ[:cut])
    assert wire.receive(11) == ANSWER
    wire.send(READ[cut:])
    assert wire.receive(11) == ANSWER


def test_16_pipelined_are_answered_in_order(wire: Wire) -> None:
    exchanges = [
        ("03 02CA 0001", "03 02 0002"),
        ("04 02CA 0002", "04 04 0002 0000"),
        ("03 0007 0001", "83 02"),
        ("01 02CA 0001", "01 01 01"),
        ("41", "C1 01"),
        ("10 00B2 0002 04 1111 2222", "10 00B2 0002"),
        ("03 00B2 0002", "03 04 1111 2222"),
        ("17 00B2 0002 00B2 0001 02 3333", "17 04 3333 2222"),
        ("03 00B2 0002", "03 04 3333 2222"),
        ("10 00B2 0002 04 0000 0000", "10 00B2 0002"),
        ("03 00B2 0002", "03 04 0000 0000"),
        ("06 02CA 0001", "86 02"),
        ("05 01DC 1234", "85 03"),
        ("2B 0E 04 02", "2B 0E 04 82 00 00 01 02 03 31 2E 30"),
        ("03 02CA 0000", "83 03"),
        ("03 02CA 0001", "03 02 0002"),
    ]
    requests = responses = b""
    for number, pair in enumerate(exchanges):
        request, response = map(bytes.fromhex, pair)
        requests += struct.pack(">HHHB", 0xA000 + number, 0, 1 + len(request), 1) + request
        responses += struct.pack(">HHHB", 0xA000 + number, 0, 1 + len(response), 1) + response
    wire.send(requests)
    assert wire.receive(len(responses)) == responses


def test_a_burst_larger_than_any_buffer(shared: Served) -> None:
    """50 000 requests in one go; a thread reads meanwhile, the server applies back-pressure in between."""
    number = 50_000
    with shared.connect() as wire:
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(wire.receive(11 * number)))
        reader.start()
        wire.send(b"".join(struct.pack(">HHHBBHH", at & 0xFFFF, 0, 6, 1, 3, 0x02CA, 1) for at in range(number)))
        reader.join(30)
    expected = b"".join(struct.pack(">HHHBBBH", at & 0xFFFF, 0, 5, 1, 3, 2, 2) for at in range(number))
    assert received == [expected]


# Connections


def test_the_seventh_client_is_closed_and_counted(served: Served) -> None:
    wires = [served.connect() for _ in range(6)]
    try:
        for wire in wires:
            wire.send(READ)
            assert wire.receive(11) == ANSWER
        for refused in (1, 2):
            with served.connect() as seventh:
                seventh.send(READ)
                assert seventh.closed()
            served.eventually(lambda refused=refused: served.server.statistics.refused == refused)
        for wire in wires:  # the six are not disturbed
            wire.send(READ)
            assert wire.receive(11) == ANSWER
        wires.pop().socket.close()
        served.eventually(lambda: len(served.server.clients) == 5)
        wires.append(served.connect())
        wires[-1].send(READ)
        assert wires[-1].receive(11) == ANSWER
        assert served.server.statistics.refused == 2
    finally:
        for wire in wires:
            wire.socket.close()


def test_number_of_clients_is_a_setting() -> None:
    with serve(units(), max_clients=1) as served, served.connect() as first:
        first.send(READ)
        assert first.receive(11) == ANSWER
        with served.connect() as second:
            assert second.closed()


@pytest.mark.parametrize(
    ("allow", "welcome"),
    [
        ([IPv4Network("127.0.0.1/32")], True),
        ([IPv4Network("10.0.0.0/8"), IPv4Network("127.0.0.0/8")], True),
        ([IPv4Network("10.0.0.0/8"), IPv4Network("127.0.0.2/32")], False),
        ([IPv6Network("::/0")], False),
    ],
)
def test_allow_list(allow: list[IPv4Network], welcome: bool, caplog: pytest.LogCaptureFixture) -> None:
    with serve(units(), allow=allow) as served, served.connect() as wire:
        wire.send(READ)
        if welcome:
            assert wire.receive(11) == ANSWER
        else:
            assert wire.closed()
            served.eventually(lambda: served.server.statistics.refused == 1)
            assert "modbus.tcp.allow" in caplog.text
        assert len(served.server.clients) == (1 if welcome else 0)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_turned_away_client_is_never_answered(loop: str) -> None:
    """Its request is on the wire before the server knows of the connection."""
    with serve(units(), loop=loop, allow=[IPv4Network("10.0.0.0/8")]) as served:
        holding, hold = threading.Event(), threading.Event()
        served.loop.call_soon_threadsafe(lambda: (holding.set(), hold.wait(10)))
        assert holding.wait(10)
        with served.connect() as wire:
            wire.send(READ * 10)
            hold.set()
            assert wire.closed()
        assert served.server.statistics.requests == 0


def test_a_client_that_has_gone_before_it_was_accepted(served: Served) -> None:
    """Port scanners reset the connection at once; the server must not stumble over it."""
    holding, hold = threading.Event(), threading.Event()
    served.loop.call_soon_threadsafe(lambda: (holding.set(), hold.wait(10)))
    assert holding.wait(10)
    for _ in range(5):
        sock = socket.create_connection(("127.0.0.1", served.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    hold.set()
    with served.connect() as wire:
        wire.send(READ)
        assert wire.receive(11) == ANSWER
    served.eventually(lambda: not served.server.clients)


def test_idle_clients_are_kept_and_dead_ones_found(served: Served) -> None:
    with served.connect() as idle, served.connect() as busy:
        for _ in range(100):
            busy.send(READ)
            assert busy.receive(11) == ANSWER
        idle.send(READ)
        assert idle.receive(11) == ANSWER

        def option(level: int, name: int) -> set[int]:
            sockets = [transport.get_extra_info("socket") for transport in served.transports()]
            return {sock.getsockopt(level, name) for sock in sockets}

        assert served.inside(lambda: option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == {1}
        assert served.inside(lambda: option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)) == {60}
        assert served.inside(lambda: option(socket.IPPROTO_TCP, socket.TCP_NODELAY)) == {1}


def test_a_client_that_does_not_read_is_held_back(served: Served) -> None:
    """Memory stays bounded, others are served, and nothing is lost once it reads."""
    request, size = bytes.fromhex("0000 0000 0006 01 03 0264 007D"), 259
    with served.connect() as lazy, served.connect() as other:
        lazy.socket.setblocking(False)
        sent = 0

        def push() -> None:
            nonlocal sent
            with suppress(BlockingIOError):
                while True:
                    sent += lazy.socket.send((request * 1000)[sent % len(request) :])

        def stuck() -> bool:
            """Whether the server takes nothing more of it, while it answers the other client."""
            push()
            before = served.server.statistics.requests
            for _ in range(20):
                other.send(READ)
                assert other.receive(11) == ANSWER
            paused = any(not transport.is_reading() for transport in served.transports())
            return paused and served.server.statistics.requests == before + 20

        end = time.monotonic() + 20
        while not stuck():
            assert time.monotonic() < end
        waiting = served.inside(lambda: [each.get_write_buffer_size() for each in served.transports()])
        assert 65536 < max(waiting) < 2_000_000
        # Now it reads: every request that was sent whole is answered.
        lazy.socket.settimeout(10)
        whole = sent // len(request)
        answers = lazy.receive(whole * size)
        assert len(answers) == whole * size
        assert answers[:size] * whole == answers


@pytest.mark.parametrize("loop", LOOPS)
def test_stop_does_not_wait_for_a_client_that_does_not_read(loop: str) -> None:
    with ExitStack() as clients, serve(units(), loop=loop) as served:
        lazy = clients.enter_context(served.connect())
        lazy.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                lazy.socket.send(bytes.fromhex("0000 0000 0006 01 03 0264 007D") * 1000)
        served.eventually(lambda: any(not transport.is_reading() for transport in served.transports()))
        # Here the server stops (within its deadline), and only then the client closes.


def test_statistics(served: Served) -> None:
    with served.connect() as wire:
        wire.send(READ * 3 + bytes.fromhex("0001 0000 0002 01 41  0002 0000 0006 09 03 02CA 0001"))
        assert len(wire.receive(3 * 11 + 2 * 9)) == 51
        wire.send(READ + bytes.fromhex("0001 0001 0006 01 03 02CA 0001"))
        assert len(wire.receive(11)) == 11
        assert wire.closed()
    statistics = served.server.statistics
    assert (statistics.requests, statistics.exceptions, statistics.framing_errors) == (6, 2, 1)


def test_trace(served: Served) -> None:
    with served.connect() as wire:
        wire.send(READ)
        assert wire.receive(11) == ANSWER
        served.eventually(lambda: len(served.server.trace.last(9)) == 2)
        peer = f"modbus 127.0.0.1:{wire.socket.getsockname()[1]}"
    received, sent = served.server.trace.last(9)
    assert (received.peer, received.sent, received.data) == (peer, False, READ)
    assert (sent.peer, sent.sent, sent.data) == (peer, True, ANSWER)


def test_what_is_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with served.connect() as wire:
        name = f"modbus 127.0.0.1:{wire.socket.getsockname()[1]}"
        wire.send(bytes.fromhex("0001 0000 0001"))
        assert wire.closed()
    served.eventually(lambda: not served.server.clients)
    assert f"{name} connected" in caplog.text
    assert f"{name} closed: length 1 instead of 2…254" in caplog.text
    assert f"{name} disconnected" in caplog.text


async def test_a_port_that_is_taken_is_an_error(shared: Served) -> None:
    with pytest.raises(OSError, match="in use"):
        await TcpServer({}).start("127.0.0.1", shared.port)

"""How real chargers connect, stay connected and come back other than the standard has it.

Each test sends the literal handshake. What chargers say then is in `test_quirks`, with the troubles that do not concern
this version.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from ampgate.ocpp import session as session_module
from ampgate.ocpp import v16
from ampgate.ocpp.link import Handler, Link
from ampgate.ocpp.server import CentralSystem
from tests.integration.peers import DEADLINE, RawCharger, until
from tests.integration.shared import Place, SharedGateway, shared_gateway

AWKWARD = ["00:80:F4:42:53:98", "00-80-F4-42-53-98", "0080F4425398", "EVB1A22P4RI+3N19", "CP_1.a@site", "Ladesäule"]
"""Identities that people give, MAC addresses in three spellings among them."""
BOOT = {"chargePointVendor": "Vendor", "chargePointModel": "Model"}
TEXT, PING, PONG = 0x1, 0x9, 0xA


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedGateway]:
    chargers = [f"CP{number:02}" for number in range(26)] + AWKWARD
    with shared_gateway(tmp_path_factory.mktemp("gateway"), chargers) as gateway:
        yield gateway


class BareSocket:
    """A charge point without a websocket library: it sends the handshake as it is written, and answers no ping."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, port: int, handshake: str) -> AsyncIterator[BareSocket]:
        """Connect and send this handshake; a blank line is added."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write("".join(f"{line}\r\n" for line in [*handshake.splitlines(), ""]).encode())
            yield cls(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def head(self) -> str:
        """The response to the handshake."""
        async with asyncio.timeout(DEADLINE):
            return (await self._reader.readuntil(b"\r\n\r\n")).decode()

    async def send(self, frame: Any) -> None:
        """Send JSON in a text frame."""
        await self._send(TEXT, json.dumps(frame).encode())

    async def pong(self, content: bytes) -> None:
        """Answer a ping."""
        await self._send(PONG, content)

    async def _send(self, opcode: int, data: bytes) -> None:
        mask = os.urandom(4)
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self._writer.write(bytes([0x80 | opcode]) + length + mask + masked)
        await self._writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """The next frame of any kind: opcode and content. `asyncio.IncompleteReadError` when the connection is cut."""
        async with asyncio.timeout(DEADLINE):
            first, length = await self._reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self._reader.readexactly(2), "big")
            return first & 0xF, await self._reader.readexactly(length)

    async def answer(self) -> Any:
        """The next text frame, as JSON."""
        while True:
            opcode, content = await self.receive()
            if opcode == TEXT:
                return json.loads(content)


def handshake(
    path: str,
    *,
    connection: str = "Connection: Upgrade",
    upgrade: str = "Upgrade: websocket",
    protocol: str = "ocpp1.6",
) -> str:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        upgrade,
        connection,
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {protocol}" if protocol else "",
    ]
    return "\n".join(line for line in lines if line)


async def works(charger: RawCharger) -> None:
    """Boot, and be heard."""
    await charger.boot()
    assert "currentTime" in await charger.ask("Heartbeat")


# Handshake


async def test_no_subprotocol_offered(place: Place) -> None:
    """Elsewhere: refused. Some chargers speak 1.6 and do not say so; none is then named in the answer."""
    charger = await RawCharger.connect(place.gateway.ocpp_port, place.identity, subprotocols=None)
    assert charger.websocket.subprotocol is None
    await works(charger)
    await charger.close()


async def test_subprotocols_of_several_versions_offered(place: Place) -> None:
    """Elsewhere: the first one offered is taken, or none. TC_088_CSMS: the one that both know is chosen."""
    offered = [Subprotocol(name) for name in ("ocpp2.0.1", "ocpp2.0", "ocpp1.6", "ocpp1.5")]
    charger = await RawCharger.connect(place.gateway.ocpp_port, place.identity, subprotocols=offered)
    assert charger.websocket.subprotocol == "ocpp1.6"
    await works(charger)
    await charger.close()


async def test_versions_probed_one_after_the_other(place: Place) -> None:
    """Elsewhere: what was learned from one probe poisons the next, or the probe ends the connection that works.

    A version that is not spoken here is refused with 400 (TC_088_CSMS), while another connection lives with 409.
    """

    async def refused(status: int, *offered: str) -> None:
        with pytest.raises(InvalidStatus) as refusal:
            await RawCharger.connect(place.gateway.ocpp_port, place.identity, subprotocols=list(offered))
        assert refusal.value.response.status_code == status

    await refused(400, "ocpp2.1", "ocpp2.0.1")
    await refused(400, "ocpp1.5")
    assert await place.bms.word(100) == 1  # Charger Communication status: error
    charger = await RawCharger.connect(place.gateway.ocpp_port, place.identity)
    await works(charger)
    await refused(409, "ocpp2.0.1")
    assert "currentTime" in await charger.ask("Heartbeat")
    assert await place.bms.word(100) == 0
    await charger.close()


@pytest.mark.parametrize(
    ("connection", "upgrade"),
    [
        ("", "Upgrade: websocket"),
        ("Connection: keep-alive", "Upgrade: websocket"),
        ("Connection: keep-alive, upgrade", "Upgrade: WebSocket"),
        ("connection: UPGRADE", "upgrade: websocket"),
        ("", ""),
    ],
)
async def test_connection_upgrade_missing(connection: str, upgrade: str, place: Place) -> None:
    """Elsewhere: no websocket without ``Connection: Upgrade``, which some chargers leave out."""
    request = handshake(f"/{place.identity}", connection=connection, upgrade=upgrade)
    async with BareSocket.open(place.gateway.ocpp_port, request) as charger:
        head = await charger.head()
        assert head.startswith("HTTP/1.1 101 ")
        assert "Sec-WebSocket-Protocol: ocpp1.6\r\n" in head
        await charger.send([2, "1", "BootNotification", BOOT])
        kind, message_id, payload = await charger.answer()
        assert (kind, message_id, payload["status"]) == (3, "1", "Accepted")


async def test_something_else_than_a_websocket(place: Place) -> None:
    """Elsewhere: a browser, a port scan or a health check leaves a traceback in the log, or an open connection."""
    for request in ("GET / HTTP/1.1\nHost: x", "POST /ocpp HTTP/1.1\nHost: x\nContent-Length: 0", "\x16\x03\x01", ""):
        async with BareSocket.open(place.gateway.ocpp_port, request) as scanner:
            if request:
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    assert not (await scanner.head()).startswith("HTTP/1.1 101")
    charger = await RawCharger.connect(place.gateway.ocpp_port, place.identity)
    await works(charger)
    await charger.close()


# Identity


@pytest.mark.parametrize(
    "path",
    [
        "/{}",
        "/{}/",
        "//{}",
        "/ocpp/{}",
        "/steve/websocket/CentralSystemService/{}",
        "/ws/1.6/site%207/{}?token=abc/def",
        "/{0}/{0}",
        "/ocpp/{0}/{0}/",
    ],
)
async def test_paths_that_lead_to_a_charger(path: str, place: Place) -> None:
    """Elsewhere: slashes are removed or the whole path is taken for the identity.

    Some chargers append their identity to what was entered, so that people who entered it have it twice.
    """
    url = f"ws://127.0.0.1:{place.gateway.ocpp_port}{path.format(place.identity)}"
    charger = RawCharger(await connect(url, subprotocols=[Subprotocol("ocpp1.6")], compression=None))
    await works(charger)
    await place.bms.until(100, 0)
    await charger.close()


@pytest.mark.parametrize("identity", AWKWARD)
async def test_identities_with_awkward_characters(identity: str, shared: SharedGateway) -> None:
    """Elsewhere: percent-encoded identities are unknown, and so are MAC addresses with hyphens or colons."""
    spellings = {quote(identity), quote(identity, safe=""), "".join(f"%{byte:02x}" for byte in identity.encode())}
    async with shared.place(identity) as place:
        for spelling in sorted(spellings):
            request = handshake(f"/{spelling}")
            async with BareSocket.open(place.gateway.ocpp_port, request) as charger:
                assert (await charger.head()).startswith("HTTP/1.1 101 ")
                await charger.send([2, "1", "BootNotification", BOOT])
                assert (await charger.answer())[2]["status"] == "Accepted"
                await place.bms.until(100, 0)
            await place.bms.until(100, 1)


@pytest.mark.parametrize("path", ["/", "/cp00", "/CP00x", "/CP00/ocpp", "/%"])
async def test_paths_that_lead_nowhere(path: str, place: Place) -> None:
    """Elsewhere: any path is let in. OCPP-J §3.2 wants 404; what was tried is remembered for people to see."""
    async with BareSocket.open(place.gateway.ocpp_port, handshake(path)) as charger:
        assert (await charger.head()).startswith("HTTP/1.1 404 ")
    tried = path.rstrip("/").rpartition("/")[2]
    assert tried in place.gateway.status()["ocpp"]["unknown"]


# Staying and coming back


async def test_a_stale_connection_gives_way(place: Place) -> None:
    """Elsewhere: the new connection is refused as a duplicate for as long as the dead one lasts, which is hours.

    The end of the old connection comes later and must not end the new one.
    """
    async with BareSocket.open(place.gateway.ocpp_port, handshake(f"/{place.identity}")) as dead:
        await dead.head()
        await dead.send([2, "1", "BootNotification", BOOT])
        await dead.answer()
        charger = await RawCharger.connect(place.gateway.ocpp_port, place.identity)  # waits for a pong of the dead one
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            while True:
                await dead.receive()
    await works(charger)
    assert await place.bms.word(100) == 0
    await place.bms.write(366, 1)  # Clear Cache goes to the new one
    assert (await until(lambda: charger.calls, "ClearCache"))[0][2] == "ClearCache"
    await charger.close()
    await place.bms.until(100, 1)


async def test_a_second_charger_with_the_same_identity_is_refused(place: Place) -> None:
    """Elsewhere: two chargers that were given one identity throw each other out all day."""
    charger = await RawCharger.connect(place.gateway.ocpp_port, place.identity)
    await charger.boot()
    with pytest.raises(InvalidStatus) as refused:
        await RawCharger.connect(place.gateway.ocpp_port, place.identity)
    assert refused.value.response.status_code == 409
    assert "currentTime" in await charger.ask("Heartbeat")
    assert await place.bms.word(100) == 0
    await charger.close()


async def test_a_reconnection_without_a_boot(place: Place) -> None:
    """Elsewhere: everything is refused until the next boot. Chargers boot once and reconnect often."""
    charger = await RawCharger.connect(place.gateway.ocpp_port, place.identity)
    await charger.boot()
    await charger.close()
    charger = await RawCharger.connect(place.gateway.ocpp_port, place.identity)
    assert "currentTime" in await charger.ask("Heartbeat")
    assert await place.bms.text(127, 10) == "ACME"
    await charger.close()


async def test_nothing_is_sent_before_the_first_boot_is_answered(place: Place) -> None:
    """Elsewhere: an operation in front of the boot's answer makes the charger boot again, for ever.

    What the BMS asks for before has result 21 (Offline) at once; after the boot the charger gets what it asks then.
    """
    async with BareSocket.open(place.gateway.ocpp_port, handshake(f"/{place.identity}")) as charger:
        await charger.head()
        await place.bms.until(100, 0)
        await place.bms.write(366, 1)  # Clear Cache
        await place.bms.until(366, 0)
        assert await place.bms.word(371) == 21
        await charger.send([2, "1", "BootNotification", BOOT])
        assert (await charger.answer())[:2] == [3, "1"]
        await place.bms.write(366, 1)
        assert (await charger.answer())[2] == "ClearCache"


async def test_nothing_is_sent_before_a_later_boot_is_answered(place: Place) -> None:
    """Elsewhere: as before the first boot, for a charger that was known and has lost its power.

    What the BMS asks for before waits until the charger has spoken.
    """
    charger = await RawCharger.connect(place.gateway.ocpp_port, place.identity)
    await charger.boot()
    await charger.close()
    await place.bms.until(100, 1)
    async with BareSocket.open(place.gateway.ocpp_port, handshake(f"/{place.identity}")) as again:
        await again.head()
        await place.bms.until(100, 0)
        await place.bms.write(366, 1)  # Clear Cache, right after the connection
        assert await place.bms.word(366) == 1
        await again.send([2, "1", "BootNotification", BOOT])
        assert (await again.answer())[:2] == [3, "1"]
        _, message_id, action, _ = await again.answer()
        assert action == "ClearCache"
        await again.send([3, message_id, {"status": "Accepted"}])
        await place.bms.until(366, 0)
        assert await place.bms.word(371) == 0


# Pings: in this process, so that the 20 s which a pong may take can be short


class Central:
    """Our server with one charger, CP."""

    def __init__(self, server: CentralSystem) -> None:
        self.server = server
        self.disconnected = 0


@pytest.fixture
async def central(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Central]:
    def connected(identity: str, link: Link) -> Handler:
        return lambda request: v16.HeartbeatResponse(current_time="2026-01-31T12:00:00Z")

    def disconnected(identity: str, link: Link) -> None:
        central.disconnected += 1

    monkeypatch.setattr(session_module, "PING_TIMEOUT", 0.02)
    server = CentralSystem("CP".__eq__, connected, disconnected, capacity=1, ping_interval=0.01)
    central = Central(server)
    yield central
    await server.stop()


async def pinged(charger: BareSocket, times: int) -> None:
    for _ in range(times):
        while (await charger.receive())[0] != PING:
            pass


async def test_a_charger_that_never_answers_pings(central: Central) -> None:
    """Elsewhere: cut off after each ping. Who never answered one is not judged by it, however quiet it is."""
    port = await central.server.start("127.0.0.1", 0)
    async with BareSocket.open(port, handshake("/CP")) as charger:
        await charger.head()
        await pinged(charger, 10)
        assert central.disconnected == 0
        await charger.send([2, "1", "Heartbeat", {}])
        assert (await charger.answer())[:2] == [3, "1"]
        await pinged(charger, 5)
        assert central.disconnected == 0


async def test_a_charger_that_answers_pings_no_more(central: Central) -> None:
    """Elsewhere: a charger that lost its network counts as connected for hours."""
    port = await central.server.start("127.0.0.1", 0)
    async with BareSocket.open(port, handshake("/CP")) as charger:
        await charger.head()
        opcode, content = await charger.receive()
        assert opcode == PING
        await charger.pong(content)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            while True:
                await charger.receive()
    await until(lambda: central.disconnected, "disconnected")


async def test_an_idle_charger_is_left_alone(central: Central) -> None:
    """Elsewhere: a deadline for reading as long as the heartbeat interval closes the connection in between."""
    port = await central.server.start("127.0.0.1", 0)
    async with BareSocket.open(port, handshake("/CP")) as charger:
        await charger.head()
        [link] = central.server.links.values()
        silent_since = link.last_received
        for _ in range(10):
            opcode, content = await charger.receive()
            assert opcode == PING
            await charger.pong(content)
        assert link.last_received == silent_since
        assert central.disconnected == 0
        await charger.send([2, "1", "Heartbeat", {}])
        assert (await charger.answer())[:2] == [3, "1"]

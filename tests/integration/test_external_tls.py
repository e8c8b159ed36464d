"""TLS, client certificates and HTTP Basic against npm's ocpp-rpc; check-connection, step by step."""

from __future__ import annotations

import asyncio
import datetime
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tomli_w
import trustme
from ocpp.v16 import call
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ampgate.registers.layout import address
from tests.integration.conftest import StartGateway
from tests.integration.peers import NOON, Bms, Charger, GatewayProcess, config_of
from tests.integration.test_external import external, upstream_of
from tests.integration.upstreams import BareCentral, OcppCentral, need_npm, npm_central

PlugIn = Callable[..., Awaitable[Charger]]
Poll = Callable[[GatewayProcess], Awaitable[Bms]]
PASSWORD = "correct horse ☃"


class Certificates(NamedTuple):
    """Files of a test authority."""

    directory: Path
    authority: trustme.CA
    ca: str
    server: str
    """Certificate and key in one file."""

    def issue(self, name: str, *identities: str, **options: Any) -> str:
        """A further certificate with its key."""
        path = self.directory / f"{name}.pem"
        self.authority.issue_cert(*identities, **options).private_key_and_cert_chain_pem.write_to_path(path)
        return str(path)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    made = Certificates(directory, authority, str(directory / "ca.pem"), "")
    return made._replace(server=made.issue("server", "localhost", "127.0.0.1"))


def with_upstream(config: dict[str, Any], **credentials: str) -> dict[str, Any]:
    for charger in config["charger"]:
        charger["upstream"] = credentials
    return config


@pytest.mark.peers
@pytest.mark.parametrize("secured", ["plain", "basic", "tls and basic", "tls with client certificate"])
async def test_a_session_with_the_central_system_of_npm(
    secured: str, certificates: Certificates, start_gateway: StartGateway, plug_in: PlugIn, poll: Poll
) -> None:
    """The security profiles 0 to 3 of OCPP, towards upstream."""
    need_npm()
    central_options: dict[str, str] = {}
    keys: dict[str, Any] = {}
    credentials: dict[str, str] = {}
    if "basic" in secured:
        central_options |= {"password": PASSWORD}
        credentials |= {"password": PASSWORD}
    if "tls" in secured:
        central_options |= {"cert": certificates.server, "key": certificates.server}
        keys |= {"host": "localhost", "tls": True, "ca": certificates.ca}
    if "client" in secured:
        central_options |= {"ca": certificates.ca}
        credentials |= {"certificate": certificates.issue("charger", "CP0")}
    async with npm_central(**central_options) as central:
        config = config_of(**external(central.port, **keys))
        gateway = await start_gateway(config=with_upstream(config, **credentials))
        charger = await plug_in(gateway)
        assert central.of("client") == [{"kind": "client", "identity": "CP0", "protocol": "ocpp1.6"}]
        await charger.status(1, "Preparing")
        started = await charger.ask(call.StartTransaction(connector_id=1, id_tag="T", meter_start=5, timestamp=NOON))
        assert started.transaction_id == 1_000_001
        assert await central.until_got("StartTransaction") == {
            "connectorId": 1,
            "idTag": "T",
            "meterStart": 5,
            "timestamp": NOON,
        }
        bms = await poll(gateway)
        await bms.write(address("clear_charging_profile.flag", 0), 1)
        await charger.until_asked("ClearChargingProfile")
        answer = await central.call("CP0", "ChangeAvailability", connectorId=1, type="Operative")
        assert answer["result"] == {"status": "Accepted"}
        assert [event["action"] for event in central.of("call")] == [
            *("BootNotification", "StatusNotification", "StartTransaction")
        ]
        assert not central.of("violation")
        assert PASSWORD not in gateway.log


@pytest.mark.peers
async def test_a_session_stored_while_npm_was_away(start_gateway: StartGateway, plug_in: PlugIn) -> None:
    need_npm()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        gone = probe.getsockname()[1]
    keys = {"outage": "hold", "authorize": "accept", "longest_delay": 1}
    gateway = await start_gateway(**external(gone, **keys))
    charger = await plug_in(gateway)
    started = await charger.ask(call.StartTransaction(connector_id=1, id_tag="T", meter_start=5, timestamp=NOON))
    await charger.ask(call.StopTransaction(transaction_id=started.transaction_id, meter_stop=9, timestamp=NOON))
    gateway.kill()
    await charger.close()
    async with npm_central() as central:
        gateway = await start_gateway(**external(central.port, **keys))
        charger = await plug_in(gateway, boot=False)
        assert await central.until_got("StopTransaction") == {
            "transactionId": 1_000_001,
            "meterStop": 9,
            "timestamp": NOON,
        }
        assert [event["action"] for event in central.of("call")] == [
            *("BootNotification", "StartTransaction", "StopTransaction")
        ]
        assert not central.of("violation")


async def test_a_wrong_password_is_a_reason(start_gateway: StartGateway) -> None:
    def deny(connection: Any, request: Any) -> Any:
        return connection.respond(401, "no")

    async with BareCentral(process_request=deny) as central:
        gateway = await start_gateway(**external(central.port, outage="hold"))
        charger = await Charger.connect(gateway.ocpp_port, "CP0")
        await charger.boot()
        assert upstream_of(gateway)["state"] == "away: HTTP 401: credentials are missing or wrong"
        await charger.close()


async def test_an_untrusted_certificate_lets_nothing_pass(
    certificates: Certificates, start_gateway: StartGateway
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates.server)
    async with BareCentral(tls=tls) as central:
        gateway = await start_gateway(**external(central.port, host="localhost", tls=True))
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{gateway.ocpp_port}/CP0", subprotocols=["ocpp1.6"])  # type: ignore[list-item]
        assert b"not trusted" in refused.value.response.body
        assert not central.connections


# ampgate check-connection


class Checked(NamedTuple):
    code: int
    steps: dict[str, tuple[str, str]]
    """Step to (ok or failed, text)."""
    output: str


_STEP = re.compile(r"^(\w+) +(ok|failed) +(\d+) ms  (.*)$")


async def check(directory: Path, config: dict[str, Any], *arguments: str, state: Path | None = None) -> Checked:
    """``ampgate check-connection`` as a user starts it."""
    path = directory / "check.toml"
    path.write_bytes(tomli_w.dumps(config).encode())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ampgate", "check-connection", "--config", str(path)),
        *("--state", str(state or directory / "none"), *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = (await asyncio.wait_for(process.communicate(), 40))[0].decode()
    found = [match for match in map(_STEP.match, output.splitlines()) if match]
    assert process.returncode is not None
    return Checked(process.returncode, {match[1]: (match[2], match[4]) for match in found}, output)


async def test_check_of_a_sound_connection(certificates: Certificates, tmp_path: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates.server)
    async with BareCentral(tls=tls) as central:
        config = config_of(**external(central.port, host="localhost", tls=True, ca=certificates.ca))
        checked = await check(tmp_path, config)
        assert checked.code == 0, checked.output
        assert list(checked.steps) == ["DNS", "TCP", "TLS", "HTTP", "subprotocol"]
        assert {result for result, _ in checked.steps.values()} == {"ok"}
        assert checked.steps["TLS"][1].startswith("TLSv1.3, certificate is trusted, valid until ")
        assert checked.steps["subprotocol"][1] == "ocpp1.6 is chosen"
        connection = await central.until_connected()
        await connection.wait_closed()
        assert connection.close_code == 1000


def expired(certificates: Certificates) -> str:
    return certificates.issue("expired", "localhost", not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))


@pytest.mark.parametrize(
    ("fault", "step", "reason"),
    [
        ("name", "DNS", "DNS: "),
        ("refused", "TCP", "refused: nothing listens on this port"),
        ("authority", "TLS", "certificate of the central system is not trusted: unable to get local issuer"),
        ("host", "TLS", "certificate of the central system is not trusted: Hostname mismatch"),
        ("expired", "TLS", "certificate of the central system is not trusted: certificate has expired"),
        ("plain", "TLS", "closed at once; perhaps only one side speaks TLS"),
        ("client certificate", "HTTP", "it may want a client certificate"),
        ("401", "HTTP", "HTTP 401: credentials are missing or wrong"),
        ("404", "HTTP", "HTTP 404: it knows no such path or charger id"),
        ("302", "HTTP", "HTTP 302: it is elsewhere: wss://other/; redirects are not followed"),
        ("503", "HTTP", "HTTP 503: trouble at the central system"),
        ("no websocket", "HTTP", "not a websocket server"),
        ("reset", "HTTP", "closed without an answer"),
        ("subprotocol", "subprotocol", "it chose none of ocpp1.6"),
    ],
)
async def test_check_names_the_step_that_fails(
    fault: str, step: str, reason: str, *, certificates: Certificates, tmp_path: Path, peer: Peer
) -> None:
    keys: dict[str, Any] = {"host": "localhost"}
    options: dict[str, Any] = {}
    over_tls = step == "TLS" or fault == "client certificate"
    if over_tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issued = {"host": certificates.issue("other", "other.example"), "expired": expired(certificates)}
        tls.load_cert_chain(issued.get(fault, certificates.server))
        if fault == "client certificate":
            tls.load_verify_locations(certificates.ca)
            tls.verify_mode = ssl.CERT_REQUIRED
        options["tls"] = None if fault == "plain" else tls
        keys |= {"tls": True} | ({} if fault == "authority" else {"ca": certificates.ca})
    if fault.isdigit():

        def respond(connection: Any, request: Any) -> Any:
            response = connection.respond(int(fault), "no")
            response.headers["Location"] = "wss://other/"
            return response

        options["process_request"] = respond
    if fault == "subprotocol":
        options["subprotocols"] = ()
    async with BareCentral(**options) as central:
        port = {"refused": peer.closed, "no websocket": peer.other, "reset": peer.reset}.get(fault, central.port)
        if fault == "name":
            keys["host"] = "no-such-host.invalid"
        checked = await check(tmp_path, config_of(**external(port, **keys)))
    assert checked.code == 1, checked.output
    assert list(checked.steps)[-1] == step, checked.output
    assert checked.steps[step][0] == "failed"
    assert reason in checked.steps[step][1], checked.output
    assert {result for name, (result, _) in checked.steps.items() if name != step} <= {"ok"}


class Peer(NamedTuple):
    """Ports of what is no central system."""

    closed: int
    other: int
    """Speaks another protocol."""
    reset: int
    """Resets the connection instead of an answer, as one that misses a client certificate may."""


@pytest.fixture
def peer() -> Iterator[Peer]:
    def other(connection: socket.socket) -> None:
        connection.sendall(b"220 mail.example ESMTP\r\n")

    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.socket() as closed, answering(other) as other_port, answering(reset) as reset_port:
        closed.bind(("127.0.0.1", 0))
        yield Peer(closed.getsockname()[1], other_port, reset_port)


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that reads once, answers and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(4096)
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(8)


async def test_check_leaves_connected_chargers_alone(
    start_gateway: StartGateway, plug_in: PlugIn, tmp_path: Path
) -> None:
    async with OcppCentral() as central:
        config = config_of(("CP0", "CP1"), **external(central.port))
        gateway = await start_gateway(config=config)
        await plug_in(gateway, "CP0")
        checked = await check(tmp_path, config, state=gateway.state)
        assert checked.code == 0
        assert "/ocpp/16/CP1 as CP1" in checked.output
        await plug_in(gateway, "CP1")
        checked = await check(tmp_path, config, state=gateway.state)
        assert checked.code == 0
        assert "every charger is connected to it through the gateway" in checked.output
        assert upstream_of(gateway)["state"] == "connected"


async def test_check_of_wrong_use(tmp_path: Path) -> None:
    config = config_of(**external(1))
    checked = await check(tmp_path, config, "--charger", "CP9")
    assert (checked.code, checked.output) == (2, "ampgate: --charger CP9 is not configured; configured: CP0\n")
    checked = await check(tmp_path, config_of())
    assert checked.code == 2
    assert 'gateway.mode = "bms" has no external central system' in checked.output
    checked = await check(tmp_path, config_of(**external(1, tls=True, ca=str(tmp_path / "none.pem"))))
    assert checked.code == 1
    assert "ocpp.external.ca = " in checked.output
    assert "No such file" in checked.output

"""The executor without framing; the table of functions is ``tests/conformance/test_modbus_functions.py``."""

from __future__ import annotations

import pytest

from ampgate.modbus.pdu import ExceptionCode, Executor, Identity, exception
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

pytestmark = pytest.mark.unit


@pytest.fixture
def site() -> Site:
    site = Site([ChargerShape(1)], extensions=False)
    site.connector(0, 1)["connector.status"].set(2)
    return site


@pytest.fixture
def executor(site: Site) -> Executor:
    return Executor(site.images[0], Identity("Vendor", "Code", "1.0"))


def test_exception() -> None:
    assert exception(3, ExceptionCode.ILLEGAL_DATA_ADDRESS) == b"\x83\x02"
    assert exception(0x83, ExceptionCode.ILLEGAL_FUNCTION) == b"\x83\x01"


@pytest.mark.parametrize(
    ("request_pdu", "response"),
    [
        ("01 02C9 0003", "01 01 02"),
        ("02 02C9 0003", "02 01 02"),
        ("03 02CA 0001", "03 02 0002"),
        ("04 02CA 0001", "04 02 0002"),
        ("05 01DC FF00", "05 01DC FF00"),
        ("06 0165 1234", "06 0165 1234"),
        ("0F 0165 0001 01 01", "0F 0165 0001"),
        ("10 0165 0001 02 1234", "10 0165 0001"),
        ("16 0165 0000 0001", "16 0165 0000 0001"),
        ("17 02CA 0001 0165 0001 02 1234", "17 02 0002"),
        ("2B 0E 04 02", "2B 0E 04 82 00 00 01 02 03 31 2E 30"),
        ("07", "87 01"),
        ("01 02CA 0000", "81 03"),
        ("01 0093 0001", "81 02"),
        ("03 02CA 0000", "83 03"),
        ("03 0093 0001", "83 02"),
        ("03 02CA", "83 03"),
        ("05 01DC 0001", "85 03"),
        ("05 02CA FF00", "85 02"),
        ("06 02CA 0001", "86 02"),
        ("0F 0165 0000 00", "8F 03"),
        ("0F 02CA 0001 01 01", "8F 02"),
        ("10 0165 0001 04 1234", "90 03"),
        ("10 00BE 0001 02 0005", "90 03"),
        ("16 02CA 0000 0001", "96 02"),
        ("17 02CA 0000 0165 0001 02 1234", "97 03"),
        ("17 0093 0001 0165 0001 02 1234", "97 02"),
        ("17 02CA 0001 02CA 0001 02 1234", "97 02"),
        ("2B 0D 00", "AB 01"),
        ("2B 0E 05 00", "AB 03"),
        ("2B 0E 04 07", "AB 02"),
        ("2B 0E 01 02", "2B 0E 01 82 00 00 01 02 03 31 2E 30"),
    ],
)
def test_execute(executor: Executor, request_pdu: str, response: str) -> None:
    assert executor.execute(bytes.fromhex(request_pdu)) == bytes.fromhex(response)


def test_an_error_behind_the_registers_is_a_server_failure(
    executor: Executor, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(value: int) -> None:
        raise RuntimeError(f"cannot start {value}")

    site.charger(0)["remote_start.flag"].watch(fail)
    assert executor.execute(bytes.fromhex("10 01DC 0001 02 0001")) == b"\x90\x04"
    assert "request 1001dc0001020001 failed" in caplog.text
    assert "cannot start 1" in caplog.text


@pytest.mark.parametrize("request_pdu", ["03 02CA 0002", "04 02CA 0002"])
def test_polled_registers_are_live(executor: Executor, site: Site, request_pdu: str) -> None:
    registers = executor.polled(bytes.fromhex(request_pdu))
    assert registers is not None
    assert bytes(registers) == b"\0\2\0\0"
    site.connector(0, 1)["connector.status"].set(7)
    assert bytes(registers) == b"\0\7\0\0"


@pytest.mark.parametrize(
    "request_pdu",
    [
        "03 02CA 0000", "03 0264 007E", "03 0093 0001", "03 FFFF 0002", "03 02CA", "03 02CA 0001 00",
        "01 02CA 0001", "06 02CA 0001", "2B 0E 01 00 00",
    ],
)  # fmt: skip
def test_nothing_else_is_polled(executor: Executor, request_pdu: str) -> None:
    assert executor.polled(bytes.fromhex(request_pdu)) is None


def test_identification_that_needs_several_responses(site: Site) -> None:
    executor = Executor(site.images[0], Identity(*("ABCDEFG"[at] * 64 for at in range(7))))
    assert executor.execute(bytes.fromhex("2B 0E 02 00"))[:9] == bytes.fromhex("2B 0E 02 82 FF 03 03 00 40")


def test_identification_is_ascii_of_at_most_64_characters(site: Site) -> None:
    executor = Executor(site.images[0], Identity("Gr\u00fcn", "C" * 99, ""))
    assert executor.execute(bytes.fromhex("2B 0E 04 00")) == bytes.fromhex("2B 0E 04 82 00 00 01 00 04") + b"Gr?n"
    assert executor.execute(bytes.fromhex("2B 0E 04 01")) == bytes.fromhex("2B 0E 04 82 00 00 01 01 40") + b"C" * 64
    assert executor.execute(bytes.fromhex("2B 0E 04 06")) == bytes.fromhex("2B 0E 04 82 00 00 01 06 00")

"""From registers to messages and from answers to registers, row by row.

Registers are protocol addresses of charger 0: 100 + offset (configuration guide r1.2, appendix 2; from 1412 on those of
the extension area).
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ampgate.bridge.operations import OPERATIONS, Block, Context, InvalidRequest, Parameters, outcome
from ampgate.bridge.results import Result
from ampgate.ocpp import v16
from ampgate.registers.image import Refusal
from ampgate.registers.layout import ChargerShape
from ampgate.registers.site import Site

ROWS = {operation.group: operation for operation in OPERATIONS}
CONTEXT = Context(connectors=2, transaction_id=lambda shown: {7: 65543}.get(shown, shown))
NOON = [0x697D, 0xEEC0]
"""2026-01-31T12:00:00Z."""


def text(value: str, registers: int = 10) -> list[int]:
    data = value.encode("iso-8859-1").ljust(2 * registers, b"\0")
    return [data[at] << 8 | data[at + 1] for at in range(0, len(data), 2)]


class Bench:
    """The registers of charger 0."""

    def __init__(self) -> None:
        site = Site([ChargerShape(2)])
        self.points = site.charger(0)
        self.image = site.images[0]

    def write(self, address: int, *values: int) -> None:
        assert self.image.write(address, b"".join(value.to_bytes(2, "big") for value in values)) is Refusal.NONE

    def word(self, address: int) -> int:
        return int.from_bytes(self.image.words[2 * address : 2 * address + 2], "big")

    def block(self, group: str) -> Block:
        row = ROWS[group]
        return Block(group, self.points, row.initial, row.shared)

    def build(self, group: str) -> v16.Message:
        return ROWS[group].build(self.block(group).snapshot(CONTEXT))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("group", "writes", "message"),
    [
        ("cancel_reservation", {357: [65535]}, {"reservationId": 65535}),
        ("clear_cache", {}, {}),
        ("get_local_list_version", {}, {}),
        (
            "reserve_now",
            {397: [1, *NOON, *text("TAG"), *text("FAMILY"), 9]},
            {
                "connectorId": 1,
                "expiryDate": "2026-01-31T12:00:00Z",
                "idTag": "TAG",
                "parentIdTag": "FAMILY",
                "reservationId": 9,
            },
        ),
        (
            "reserve_now",
            {397: [0, *NOON, *text("TAG")]},
            {"connectorId": 0, "expiryDate": "2026-01-31T12:00:00Z", "idTag": "TAG", "reservationId": 0},
        ),
        ("reset", {426: [1]}, {"type": "Soft"}),
        ("reset", {426: [2]}, {"type": "Hard"}),
        ("trigger_message", {467: [0, 0]}, {"requestedMessage": "BootNotification"}),
        ("trigger_message", {467: [5, 2]}, {"requestedMessage": "StatusNotification", "connectorId": 2}),
        ("remote_start", {477: [0, *text("0123456789ABCDEFGHIJ")]}, {"idTag": "0123456789ABCDEFGHIJ"}),
        ("remote_start", {477: [2, *text("TAG")]}, {"idTag": "TAG", "connectorId": 2}),
        ("remote_stop", {497: [5]}, {"transactionId": 5}),
        ("remote_stop", {497: [7]}, {"transactionId": 65543}),  # the running transaction whose low word is 7
        (
            "change_configuration",
            {1755: text("MeterValueSampleInterval", 25), 1805: text("60", 95)},
            {"key": "MeterValueSampleInterval", "value": "60"},
        ),
        ("change_configuration", {1755: text("AuthorizationKey", 25)}, {"key": "AuthorizationKey", "value": ""}),
        ("get_configuration", {}, {}),
        ("get_configuration", {1755: text("HeartbeatInterval", 25)}, {"key": ["HeartbeatInterval"]}),
        ("data_transfer", {1755: text("org.example", 25)}, {"vendorId": "org.example"}),
        (
            "data_transfer",
            {1755: text("org.example", 25), 1780: text("hello", 25), 1805: text("world", 95)},
            {"vendorId": "org.example", "messageId": "hello", "data": "world"},
        ),
    ],
)
def test_message(group: str, writes: dict[int, list[int]], message: dict[str, Any], bench: Bench) -> None:
    for address, values in writes.items():
        bench.write(address, *values)
    assert msgspec.json.decode(v16.encode(bench.build(group))) == message


def test_clear_charging_profile_leaves_out_what_was_not_written(bench: Bench) -> None:
    block = bench.block("clear_charging_profile")
    build = ROWS["clear_charging_profile"].build
    assert [bench.word(address) for address in range(377, 381)] == [65535] * 4
    assert build(block.snapshot(CONTEXT)) == v16.ClearChargingProfileRequest()
    bench.write(377, 0, 0, 0, 0)
    assert build(block.snapshot(CONTEXT)) == v16.ClearChargingProfileRequest(
        id=0,
        connector_id=0,
        charging_profile_purpose=v16.ChargingProfilePurposeType.CHARGE_POINT_MAX_PROFILE,
        stack_level=0,
    )
    bench.write(377, 65535, 65535, 2)
    assert build(block.snapshot(CONTEXT)) == v16.ClearChargingProfileRequest(
        charging_profile_purpose=v16.ChargingProfilePurposeType.TX_PROFILE, stack_level=0
    )


@pytest.mark.parametrize(
    ("group", "writes", "reason"),
    [
        ("reserve_now", {397: [1, 0, 0, *text("TAG")]}, "expiry"),
        ("reserve_now", {397: [3, *NOON, *text("TAG")]}, "connector 3 is not 0…2"),
        ("reserve_now", {397: [1, *NOON]}, "id_tag is empty"),
        ("trigger_message", {467: [3, 3]}, "connector 3"),
        ("remote_start", {477: [3, *text("TAG")]}, "connector 3"),
        ("remote_start", {477: [1]}, "id_tag is empty"),
        ("remote_stop", {}, "transaction id is 0"),
        ("change_configuration", {1805: text("60", 95)}, "key is empty"),
        ("data_transfer", {1805: text("60", 95)}, "key is empty"),
    ],
)
def test_parameters_that_make_no_message(group: str, writes: dict[int, list[int]], reason: str, bench: Bench) -> None:
    for address, values in writes.items():
        bench.write(address, *values)
    with pytest.raises(InvalidRequest, match=reason):
        bench.build(group)


@pytest.mark.parametrize(("values", "reason"), [([0, 3], "connector 3"), ([0, 0, 3], "purpose 3 is not 0…2")])
def test_a_profile_that_cannot_exist(values: list[int], reason: str, bench: Bench) -> None:
    block = bench.block("clear_charging_profile")
    bench.write(377, *values)
    with pytest.raises(InvalidRequest, match=reason):
        ROWS["clear_charging_profile"].build(block.snapshot(CONTEXT))


def test_a_snapshot_does_not_change(bench: Bench) -> None:
    bench.write(497, 5)
    parameters = bench.block("remote_stop").snapshot(CONTEXT)
    bench.write(497, 6)
    assert parameters["transaction_id"] == 5


def test_parameters_in_words() -> None:
    parameters = Parameters("trigger_message", {"message": 4, "at": 0, "then": 1769860800}, CONTEXT)
    assert parameters.word("message") == "MeterValues"
    assert parameters.time("at") is None
    assert parameters.time("then") == "2026-01-31T12:00:00Z"


def test_a_flag_starts_with_any_value_but_0(bench: Bench) -> None:
    started = []
    bench.block("reset").on_flag(lambda: started.append(bench.word(426)))
    bench.write(426, 0)
    assert started == []
    bench.write(426, 2)
    assert started == [2]


@pytest.mark.parametrize(
    ("group", "flag", "result"),
    [("reset", 426, 431), ("get_local_list_version", 386, 1498), ("data_transfer", 1752, 1753)],
)
def test_the_outcome(group: str, flag: int, result: int, bench: Bench) -> None:
    block = bench.block(group)
    bench.write(flag, 1)
    block.finish(Result.CALL_ERROR, {})
    assert (bench.word(flag), bench.word(result)) == (0, 23)


def test_the_version_of_the_local_list(bench: Bench) -> None:
    block = bench.block("get_local_list_version")
    for version, shown in ((5, 5), (-1, 65535)):
        response = v16.GetLocalListVersionResponse(list_version=version)
        assert outcome(response) is Result.ACCEPTED
        block.finish(outcome(response), ROWS["get_local_list_version"].shows(response))
        assert bench.word(391) == shown


@pytest.mark.parametrize(
    ("payload", "result", "value", "read_only"),
    [
        (b'{"configurationKey":[{"key":"A","readonly":false,"value":"60"}]}', 0, "60", 0),
        (b'{"configurationKey":[{"key":"A","readonly":true,"value":60}]}', 0, "60", 1),
        (b'{"configurationKey":[{"key":"A","readonly":true}]}', 0, "", 1),
        (b'{"configurationKey":[],"unknownKey":["A"]}', 4, "", 0),
        (b'{"unknownKey":["A"]}', 4, "", 0),
        (b'{"configurationKey":[{"key":"A","readonly":true},{"key":"B","readonly":true}]}', 0, "2", 0),
    ],
)
def test_configuration_of_the_charger(payload: bytes, result: int, value: str, read_only: int, bench: Bench) -> None:
    response = v16.decode(v16.GetConfigurationResponse, payload)
    block = bench.block("get_configuration")
    block.finish(outcome(response), ROWS["get_configuration"].shows(response))
    assert bench.word(1753) == result
    assert bench.word(1754) == read_only
    assert [bench.word(1805 + at) for at in range(5)] == text(value, 5)


@pytest.mark.parametrize(("data", "shown"), [(b'"yes"', "yes"), (b'{"a":1}', '{"a":1}'), (b"null", ""), (b"5", "5")])
def test_data_of_a_vendor(data: bytes, shown: str, bench: Bench) -> None:
    response = v16.decode(v16.DataTransferResponse, b'{"status":"Accepted","data":%s}' % data)
    bench.block("data_transfer").finish(outcome(response), ROWS["data_transfer"].shows(response))
    assert [bench.word(1805 + at) for at in range(5)] == text(shown, 5)


@pytest.mark.parametrize(
    ("response", "result"),
    [
        (v16.ResetResponse(status=v16.ResetStatus.REJECTED), Result.REJECTED),
        (v16.ReserveNowResponse(status=v16.ReservationStatus.FAULTED), Result.FAILED),
        (v16.UnlockConnectorResponse(status=v16.UnlockStatus.UNLOCK_FAILED), Result.UNLOCK_FAILED),
        (v16.HeartbeatResponse(current_time=""), Result.ACCEPTED),  # what has no status was accepted
    ],
)
def test_outcomes(response: v16.Message, result: Result) -> None:
    assert outcome(response) is result

"""Standing in for an external central system that is away."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ampgate.bridge import standin as module
from ampgate.bridge.activity import Activity
from ampgate.bridge.policy import Fallback, Trust
from ampgate.bridge.requests import TransactionIds
from ampgate.bridge.sessions import Settings
from ampgate.bridge.standin import LOCAL_IDS, RETRY_DELAYS, TRIES, TRIES_OF_BAD, StandIn
from ampgate.journal import Journal
from ampgate.ocpp import rpc, v16

pytestmark = pytest.mark.unit

NOON = "2026-01-31T12:00:00Z"
START = {"connectorId": 1, "idTag": "TAG", "meterStart": 1, "timestamp": NOON}


class Away:
    """A charger whose central system is away, and its journal."""

    def __init__(self, journal: Journal, trust: Trust = Trust.ACCEPT, used: Iterable[int] = ()) -> None:
        self.journal = journal
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)
        settings = Settings(
            now=lambda: self.now,
            fallback=Fallback(),
            activity=Activity(),
            transaction_ids=TransactionIds(journal.last_transaction_id),
            journal=journal,
            bms_absent=lambda: False,
        )
        self.stand_in = StandIn("CP0", settings, trust, lambda: used, 300)
        self.number = 0

    def ask(self, action: str, **payload: Any) -> Any:
        """Send a CALL; returns the payload of the answer, or the code of the error."""
        self.number += 1
        frame = json.dumps([2, f"m{self.number}", action, payload])
        answer = self.stand_in.repeated(rpc.read(frame)) or self.stand_in.reply(frame).frame
        assert answer is not None
        kind, message_id, what, *_ = json.loads(answer)
        assert message_id == f"m{self.number}"
        return what if kind == 3 else f"CALLERROR {what}"

    def deliver(self, *answer: Any) -> tuple[list[Any], float]:
        """Deliver the next message, which upstream answers like this (no answer: none at all); frame and wait."""
        delivery = self.stand_in.next()
        assert delivery is not None
        envelope = rpc.read(json.dumps([answer[0], delivery.id, *answer[1:]])) if answer else None
        return json.loads(delivery.frame), self.stand_in.delivered(delivery, envelope)

    def again(self) -> Away:
        """After a restart."""
        return Away(self.journal)


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal(":memory:")
    yield journal
    journal.close()


@pytest.fixture
def away(journal: Journal) -> Away:
    return Away(journal)


ACCEPTED = {"status": "Accepted"}


def test_answers(away: Away) -> None:
    boot = {"chargePointVendor": "V", "chargePointModel": "M"}
    assert away.ask("BootNotification", **boot) == ACCEPTED | {"currentTime": NOON, "interval": 300}
    assert away.ask("Heartbeat") == {"currentTime": NOON}
    assert away.ask("Authorize", idTag="T") == {"idTagInfo": ACCEPTED}
    assert away.ask("StatusNotification", connectorId=1, errorCode="NoError", status="Available") == {}
    assert away.ask("FirmwareStatusNotification", status="Idle") == {}
    assert away.ask("DataTransfer", vendorId="V") == {"status": "Rejected"}
    assert away.ask("SignCertificate", csr="x") == {"status": "Rejected"}
    assert away.ask("Reset", type="Soft") == "CALLERROR NotSupported"
    assert away.ask("Vendor.Own") == "CALLERROR NotImplemented"
    assert away.ask("StartTransaction") == "CALLERROR OccurenceConstraintViolation"
    assert away.stand_in.reply("x").frame is None
    assert away.stand_in.count == 3


def test_the_boot_comes_first_and_only_the_last_one(away: Away) -> None:
    away.ask("StartTransaction", **START)
    for vendor in ("A", "B"):
        away.ask("BootNotification", chargePointVendor=vendor, chargePointModel="M")
    frame, wait = away.deliver(3, {"status": "Pending", "currentTime": NOON, "interval": 7})
    assert (frame[2], frame[3]["chargePointVendor"], wait) == ("BootNotification", "B", 7.0)
    assert away.deliver(3, {"status": "Rejected", "currentTime": NOON, "interval": 0})[1] == 30.0
    assert away.deliver(3, {"nonsense": 1})[1] == 30.0
    assert away.deliver(3, {"status": "Accepted", "currentTime": NOON, "interval": 55})[1] == 0.0
    assert away.deliver(3, {"idTagInfo": ACCEPTED, "transactionId": 5})[0][2] == "StartTransaction"
    assert away.stand_in.next() is None
    assert away.ask("BootNotification", chargePointVendor="A", chargePointModel="M")["interval"] == 55


def test_a_status_is_told_as_it_is_not_as_it_was(away: Away) -> None:
    for connector, status in ((1, "Preparing"), (2, "Available"), (1, "Charging"), (1, "Finishing")):
        away.ask("StatusNotification", connectorId=connector, errorCode="NoError", status=status)
    assert away.stand_in.count == 2
    statuses = [away.deliver(3, {})[0][3]["status"] for _ in range(2)]
    assert statuses == ["Available", "Finishing"]


def test_a_status_that_is_replaced_on_its_way_is_counted_once(away: Away) -> None:
    away.ask("StatusNotification", connectorId=1, errorCode="NoError", status="Preparing")
    delivery = away.stand_in.next()
    assert delivery is not None
    away.ask("StatusNotification", connectorId=1, errorCode="NoError", status="Charging")
    away.stand_in.delivered(delivery, rpc.read('[3,"m1",{}]'))
    assert away.stand_in.count == 1
    assert away.deliver(3, {})[0][3]["status"] == "Charging"
    assert away.stand_in.count == 0


def test_frames_are_kept_as_they_came(away: Away) -> None:
    frame = '[2 , "ä",\t"MeterValues", {"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00.250+01:00",' + (
        '"sampledValue":[{"value":"1.500","unit":"kWh","vendor":1e3}]}]}]'
    )
    reply = away.stand_in.reply(frame)
    assert reply.stored
    delivery = away.stand_in.next()
    assert delivery is not None
    assert delivery.frame == frame
    assert delivery.id == "ä"


def test_ids_are_translated_from_the_start_s_delivery_on(away: Away) -> None:
    local = away.ask("StartTransaction", **START)["transactionId"]
    assert local >= LOCAL_IDS
    other = away.ask("StartTransaction", **(START | {"connectorId": 2}))["transactionId"]
    assert other != local
    away.ask("StopTransaction", transactionId=local, meterStop=2, timestamp=NOON)
    assert away.deliver(3, {"idTagInfo": ACCEPTED, "transactionId": -7})[0][2] == "StartTransaction"
    away = away.again()
    away.deliver(3, {"idTagInfo": ACCEPTED, "transactionId": 8})
    assert away.deliver(3, {})[0][3]["transactionId"] == -7
    live = f'[2,"x","MeterValues",{{"connectorId":1,"transactionId": {other} ,"meterValue":[]}}]'
    assert away.stand_in.outward(rpc.read(live), live) == live.replace(str(other), "8")
    for action, inside in (
        ("RemoteStopTransaction", '{"transactionId":8}'),
        ("SetChargingProfile", '{"connectorId":2,"csChargingProfiles":{"transactionId":8}}'),
    ):
        call = f'[2,"y","{action}",{inside}]'
        assert away.stand_in.inward(rpc.read(call), call) == call.replace(":8", f":{other}")
    for action, number in (("DataTransfer", 8), ("RemoteStopTransaction", 88)):
        untouched = f'[2,"z","{action}",{{"transactionId":{number}}}]'
        assert away.stand_in.inward(rpc.read(untouched), untouched) == untouched


def test_a_local_id_is_unlike_those_that_run_in_its_16_bits(journal: Journal) -> None:
    away = Away(journal, used=[5_000_000 << 16 | 1, 2])
    assert away.ask("StartTransaction", **START)["transactionId"] == LOCAL_IDS | 3


def test_local_ids_go_on_after_a_restart(away: Away) -> None:
    first = away.ask("StartTransaction", **START)["transactionId"]
    second = away.again().ask("StartTransaction", **(START | {"meterStart": 2}))["transactionId"]
    assert second == first + 1


def test_what_is_sent_again_is_answered_alike_and_kept_once(away: Away) -> None:
    answer = away.ask("StartTransaction", **START)
    assert away.ask("StartTransaction", **START) == answer
    away = away.again()
    assert away.ask("StartTransaction", **START) == answer
    assert away.stand_in.count == 1
    away.deliver(3, {"idTagInfo": ACCEPTED, "transactionId": 5})
    assert away.again().ask("StartTransaction", **START) == answer
    assert away.stand_in.next() is None


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("StartTransaction", START | {"timestamp": ""}),
        ("StopTransaction", {"transactionId": -1, "meterStop": 1, "timestamp": "?"}),
        ("MeterValues", {"connectorId": 1, "meterValue": [{"timestamp": "", "sampledValue": [{"value": "1"}]}]}),
    ],
)
def test_without_a_time_nothing_is_a_repetition(action: str, payload: dict[str, Any], away: Away) -> None:
    away.ask(action, **payload)
    away.ask(action, **payload)
    assert away.stand_in.count == 2


@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        ((4, "InternalError", "", {}), TRIES),
        ((3, {"no": "id"}), TRIES),
        ((), TRIES),
        ((4, "FormationViolation", "", {}), TRIES_OF_BAD),
        ((4, "NotImplemented"), TRIES_OF_BAD),
        ((4,), TRIES),
    ],
)
def test_a_message_that_upstream_does_not_take_is_given_up(answer: tuple[Any, ...], tries: int, away: Away) -> None:
    away.ask("StartTransaction", **START)
    away.ask("StatusNotification", connectorId=1, errorCode="NoError", status="Available")
    waits = [away.deliver(*answer)[1] for _ in range(tries)]
    first, most = RETRY_DELAYS
    assert waits == [*(min(most, first * 2**number) for number in range(tries - 1)), 0.0]
    assert away.stand_in.given_up == 1
    assert away.deliver(3, {})[0][2] == "StatusNotification"
    assert away.stand_in.count == 0


def test_a_boot_is_never_given_up(away: Away) -> None:
    away.ask("BootNotification", chargePointVendor="A", chargePointModel="M")
    for _ in range(2 * TRIES):
        assert away.deliver(4, "NotSupported", "", {})[1] > 0
    assert (away.stand_in.count, away.stand_in.given_up) == (1, 0)


def test_without_room_the_oldest_meter_values_go(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    away.ask("StartTransaction", **START)
    for number in range(4):
        value = {"timestamp": NOON, "sampledValue": [{"value": f"{number}"}]}
        away.ask("MeterValues", connectorId=1, meterValue=[value])
    for number in range(3):
        away.ask("StopTransaction", transactionId=number, meterStop=1, timestamp=NOON)
    assert away.stand_in.given_up == 4
    assert away.stand_in.count == 4  # starts and stops are never given up
    away.deliver(3, {"idTagInfo": ACCEPTED, "transactionId": 1})
    assert [away.deliver(3, {})[0][2] for _ in range(3)] == ["StopTransaction"] * 3


def test_verdicts_are_those_that_upstream_gave_last(journal: Journal) -> None:
    away = Away(journal, Trust.KNOWN)

    def judged(tag: str, status: v16.AuthorizationStatus, **fields: Any) -> None:
        away.stand_in.judged(tag, v16.IdTagInfo(status=status, **fields))

    judged("Good", v16.AuthorizationStatus.ACCEPTED, parent_id_tag="P")
    judged("Bad", v16.AuthorizationStatus.ACCEPTED)
    judged("Bad", v16.AuthorizationStatus.BLOCKED)
    judged("Busy", v16.AuthorizationStatus.ACCEPTED)
    judged("Busy", v16.AuthorizationStatus.CONCURRENT_TX)
    judged("Old", v16.AuthorizationStatus.ACCEPTED, expiry_date="2026-01-31T11:59:59Z")
    judged("New", v16.AuthorizationStatus.ACCEPTED, expiry_date="2026-01-31T12:00:01Z")
    away.stand_in.judged("Good", None)

    def verdict(tag: str) -> Any:
        return away.ask("Authorize", idTag=tag)["idTagInfo"]

    assert verdict("GOOD") == {"status": "Accepted", "parentIdTag": "P"}
    assert [verdict(tag)["status"] for tag in ("bad", "busy", "old", "new", "stranger")] == [
        *("Blocked", "Accepted", "Expired", "Accepted", "Invalid")
    ]
    assert away.ask("StartTransaction", **START)["idTagInfo"] == {"status": "Invalid"}
    away.deliver(3, {"idTagInfo": ACCEPTED, "transactionId": 5})
    assert verdict("TAG") == ACCEPTED


def test_what_cannot_be_kept_is_not_confirmed(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(away.journal, "keep", full)
    assert away.ask("StartTransaction", **START) == "CALLERROR InternalError"
    monkeypatch.undo()
    assert "transactionId" in away.ask("StartTransaction", **START)

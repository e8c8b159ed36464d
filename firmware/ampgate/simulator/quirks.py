"""The bad manners of real chargers, as rows of a table: each spoils what a well-behaved charge point would send.

Most change the payload of a CALL or the bytes of a frame on their way out. Those without a function here are asked for
by name where they apply: in the handshake (`connection`), before answers (`operations`), in status reports (`charger`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final, NamedTuple

from websockets.asyncio.client import ClientConnection
from websockets.http11 import Request
from websockets.typing import Data

from ampgate.ocpp import v16

Payload = dict[str, Any]
Spoil = Callable[[str, Payload], None]
"""Changes the payload of a CALL with this action."""
Send = Callable[[str], list[Data]]
"""Makes the frames that go out instead of one."""


class Quirk(NamedTuple):
    """One bad manner."""

    summary: str
    """One line for people: what the charger does."""
    spoil: Spoil | None = None
    send: Send | None = None


# Payloads


def _samples(payload: Payload) -> Iterator[Payload]:
    for value in [*payload.get("meterValue", []), *payload.get("transactionData", [])]:
        yield from value["sampledValue"]


def _each_sample(change: Callable[[Payload], None]) -> Spoil:
    def spoil(action: str, payload: Payload) -> None:
        for sample in _samples(payload):
            change(sample)

    return spoil


def _each_timestamp(change: Callable[[str], str]) -> Spoil:
    def spoil(action: str, payload: Payload) -> None:
        for place in (payload, *payload.get("meterValue", []), *payload.get("transactionData", [])):
            if "timestamp" in place:
                place["timestamp"] = change(place["timestamp"])

    return spoil


def _in(action: str, **fields: Any) -> Spoil:
    def spoil(name: str, payload: Payload) -> None:
        if name == action:
            payload.update(fields)

    return spoil


def _without(action: str, field: str) -> Spoil:
    def spoil(name: str, payload: Payload) -> None:
        if name == action:
            payload.pop(field, None)

    return spoil


def _two_hours_ahead(timestamp: str) -> str:
    moment = v16.read_timestamp(timestamp)
    return timestamp if moment is None else f"{moment + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}+02"


def _number(sample: Payload) -> None:
    sample["value"] = float(sample["value"])


def _comma(sample: Payload) -> None:
    if sample.get("measurand") != v16.Measurand.ENERGY_ACTIVE_IMPORT_REGISTER.value:
        sample["value"] = f" {float(sample['value']):.1f}".replace(".", ",")


def _to_neutral(sample: Payload) -> None:
    if sample.get("phase") in ("L1", "L2", "L3"):
        sample["phase"] += "-N"


def _celcius(sample: Payload) -> None:
    if sample.get("unit") == v16.UnitOfMeasure.CELSIUS.value:
        sample["unit"] = "Celcius"


def _repeat_begin(action: str, payload: Payload) -> None:
    """Beside each energy there is the one of the begin once more, which reads 0 here."""
    for value in payload.get("meterValue", []):
        measurand = v16.Measurand.ENERGY_ACTIVE_IMPORT_REGISTER.value
        value["sampledValue"].append({"value": "0", "context": "Transaction.Begin", "measurand": measurand})


# Frames


def _dump(parts: Any) -> str:
    return json.dumps(parts, separators=(",", ":"), ensure_ascii=False)


def _action(frame: str) -> str:
    parts = json.loads(frame)
    return str(parts[2]) if parts[0] == 2 else ""


def _broken_json(frame: str) -> list[Data]:
    """A transaction id without value where there is none, and a comma before the first element of a list."""
    if _action(frame) != "MeterValues":
        return [frame]
    if '"transactionId"' not in frame:
        frame = frame.replace('"meterValue":', '"transactionId":,"meterValue":')
    return [frame.replace('"sampledValue":[', '"sampledValue":[,')]


def _number_id(frame: str) -> list[Data]:
    parts = json.loads(frame)
    if parts[0] == 2:
        parts[1] = int(parts[1])
    return [_dump(parts)]


def _twice(frame: str) -> list[Data]:
    if _action(frame) not in ("StartTransaction", "StopTransaction"):
        return [frame]
    parts = json.loads(frame)
    again = int(parts[1]) + 10**15  # an id that nobody waits for
    return [frame, _dump([parts[0], again if isinstance(parts[1], int) else str(again), *parts[2:]])]


def _unasked(frame: str) -> list[Data]:
    return [frame, '[3,"nobody-asked",{}]']


QUIRKS: Final[dict[str, Quirk]] = {
    "no-subprotocol": Quirk("offers no subprotocol in the websocket handshake"),
    "no-upgrade-header": Quirk("forgets Connection: Upgrade in the websocket handshake"),
    "no-connector-0": Quirk("never tells the status of connector 0"),
    "no-boot": Quirk("talks without a BootNotification until it is refused"),
    "mute": Quirk("never answers an operation"),
    "slow": Quirk("answers an operation after 3 s"),
    "rejects-profiles": Quirk("rejects every charging profile, as a station whose load balancer is switched off"),
    "long-serials": Quirk(
        "serial numbers of 34 characters, OCPP allows 25",
        _in("BootNotification", chargeBoxSerialNumber="3" * 34, chargePointSerialNumber="4" * 34),
    ),
    "long-texts": Quirk("info of 80 characters, OCPP allows 50", _in("StatusNotification", info="All is well. " * 6)),
    "own-codes": Quirk(
        "an errorCode that only its manufacturer knows",
        lambda action, payload: _in(action, errorCode="Gremlins")(action, payload) if "errorCode" in payload else None,
    ),
    "extra-fields": Quirk(
        "fields that OCPP does not have", lambda action, payload: payload.update(vendorSays={"mood": "fine"})
    ),
    "no-timezone": Quirk("timestamps in UTC without Z", _each_timestamp(lambda timestamp: timestamp.rstrip("Z"))),
    "short-timezone": Quirk("timestamps with +02 for a zone", _each_timestamp(_two_hours_ahead)),
    "no-timestamp": Quirk("empty timestamps", _each_timestamp(lambda timestamp: "")),
    "numbers": Quirk("measured values as JSON numbers", _each_sample(_number)),
    "decimal-comma": Quirk("measured values with a blank and a decimal comma", _each_sample(_comma)),
    "no-units": Quirk("measured values without unit", _each_sample(lambda sample: sample.pop("unit", None))),
    "phases-to-neutral": Quirk("currents on L1-N instead of L1", _each_sample(_to_neutral)),
    "celcius": Quirk("the unit Celcius", _each_sample(_celcius)),
    "repeated-begin": Quirk("the energy of the begin in every later message, as 0", _repeat_begin),
    "no-reason": Quirk("StopTransaction without reason", _without("StopTransaction", "reason")),
    "lost-transaction": Quirk("StopTransaction with transaction id -1", _in("StopTransaction", transactionId=-1)),
    "broken-json": Quirk('MeterValues with ["sampledValue":[, …] and "transactionId":,', send=_broken_json),
    "number-ids": Quirk("message ids as JSON numbers", send=_number_id),
    "resend": Quirk("each StartTransaction and StopTransaction twice, as after a lost answer", send=_twice),
    "unasked-answers": Quirk("answers that nobody has asked for", send=_unasked),
    "binary-frames": Quirk("binary websocket frames instead of text", send=lambda frame: [frame.encode()]),
}
"""All of them by name, in the order in which they are applied."""


def spoil(frame: str, quirks: frozenset[str]) -> list[Data]:
    """What goes out instead of a frame."""
    chosen = [quirk for name, quirk in QUIRKS.items() if name in quirks]
    parts = json.loads(frame)
    changes = [quirk.spoil for quirk in chosen if quirk.spoil is not None]
    if changes and parts[0] == 2:
        for change in changes:
            change(parts[2], parts[3])
        frame = _dump(parts)
    frames: list[Data] = [frame]
    for quirk in chosen:
        if quirk.send is not None:
            frames = [new for old in frames for new in (quirk.send(old) if isinstance(old, str) else [old])]
    return frames


class MisbehavingConnection(ClientConnection):
    """A websocket whose handshake and frames have quirks."""

    quirks: frozenset[str] = frozenset()

    async def handshake(self, *args: Any, **options: Any) -> None:
        """The opening handshake, perhaps without a header that it ought to have."""
        if "no-upgrade-header" in self.quirks:
            self.protocol.connect = _without_upgrade(self.protocol.connect)  # type: ignore[method-assign]
        await super().handshake(*args, **options)

    async def send(self, message: Any, text: bool | None = None) -> None:
        """Send a message of `Link`, which is UTF-8 text."""
        for frame in spoil(bytes(message).decode(), self.quirks):
            await super().send(frame)


def misbehaving(quirks: frozenset[str]) -> type[ClientConnection]:
    """What makes connections with these quirks."""
    return type("_Connection", (MisbehavingConnection,), {"quirks": quirks}) if quirks else ClientConnection


def _without_upgrade(connect: Callable[[], Request]) -> Callable[[], Request]:
    def request() -> Request:
        made = connect()
        del made.headers["Connection"]
        return made

    return request

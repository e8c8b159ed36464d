"""Operations that the BMS starts at a charger: one table row each.

The BMS writes the parameters, then the flag. The gateway takes a snapshot of the parameters, sends the CALL, and when
the answer is there it writes the result and, last, sets the flag to 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from ampgate.bridge.results import Result, result_of, words
from ampgate.ocpp import v16
from ampgate.registers.image import Point


class InvalidRequest(Exception):
    """The parameters make no message; nothing is sent and the result is 22."""


class Context(NamedTuple):
    """What a row may ask of the charger."""

    connectors: int
    """Highest connector number."""
    transaction_id: Callable[[int], int]
    """Full transaction id for the 16 bits that the map shows."""


class Parameters:
    """Snapshot of an operation's registers at the moment when the flag was written."""

    def __init__(self, group: str, values: Mapping[str, Any], context: Context) -> None:
        self._group = group
        self._values = values
        self.context = context

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def connector(self) -> int:
        """The connector id, 0 for the charger as a whole."""
        number = int(self["connector_id"])
        if number > self.context.connectors:
            raise InvalidRequest(f"connector {number} is not 0…{self.context.connectors}")
        return number

    def text(self, name: str) -> str:
        """A text that must not be empty."""
        if not self[name]:
            raise InvalidRequest(f"{name} is empty")
        return str(self[name])

    def id_tag(self) -> str:
        """The id tag, which must not be empty."""
        return self.text("id_tag")

    def word(self, name: str) -> str:
        """An enumerated parameter as OCPP's word."""
        return words(f"{self._group}.{name}")[self[name]]

    def time(self, name: str) -> str | None:
        """A time as OCPP text; None when it is 0."""
        return v16.format_timestamp(datetime.fromtimestamp(self[name], UTC)) if self[name] else None


Build = Callable[[Parameters], v16.Message]
LEFT_OUT: Final = 65535
"""Power-up value of the parameters of ClearChargingProfile: the parameter does not take part in the match."""


class Operation(NamedTuple):
    """How a block of registers becomes a message, and an answer registers."""

    group: str
    build: Build
    """Parameters to request; raises `InvalidRequest`."""
    shows: Callable[[Any], dict[str, Any]] = lambda response: {}
    """Registers besides the result that an answer fills."""
    initial: Mapping[str, int] = {}
    """Values of parameters at power-up other than 0."""
    shared: str = ""
    """Group of registers that several operations use besides their own."""


def _cancel_reservation(of: Parameters) -> v16.Message:
    return v16.CancelReservationRequest(reservation_id=of["reservation_id"])


def _clear_charging_profile(of: Parameters) -> v16.Message:
    purposes = list(v16.ChargingProfilePurposeType)

    def given(name: str) -> int | None:
        return None if of[name] == LEFT_OUT else int(of[name])

    purpose = given("purpose")
    if purpose is not None and purpose >= len(purposes):
        raise InvalidRequest(f"purpose {purpose} is not 0…{len(purposes) - 1}, nor {LEFT_OUT} for any")
    return v16.ClearChargingProfileRequest(
        id=given("profile_id"),
        connector_id=None if given("connector_id") is None else of.connector(),
        charging_profile_purpose=None if purpose is None else purposes[purpose],
        stack_level=given("stack_level"),
    )


def _reserve_now(of: Parameters) -> v16.Message:
    expiry = of.time("expiry")
    if expiry is None:
        raise InvalidRequest("the expiry date is 0")
    return v16.ReserveNowRequest(
        connector_id=of.connector(),
        expiry_date=expiry,
        id_tag=of.id_tag(),
        parent_id_tag=of["parent_id_tag"] or None,
        reservation_id=of["reservation_id"],
    )


def _reset(of: Parameters) -> v16.Message:
    hard = of.word("flag") == "OperationPendingHard"
    return v16.ResetRequest(type=v16.ResetType.HARD if hard else v16.ResetType.SOFT)


def _trigger_message(of: Parameters) -> v16.Message:
    return v16.TriggerMessageRequest(
        requested_message=v16.MessageTrigger(of.word("message")), connector_id=of.connector() or None
    )


def _remote_start(of: Parameters) -> v16.Message:
    return v16.RemoteStartTransactionRequest(id_tag=of.id_tag(), connector_id=of.connector() or None)


def _remote_stop(of: Parameters) -> v16.Message:
    if not of["transaction_id"]:
        raise InvalidRequest("the transaction id is 0")
    return v16.RemoteStopTransactionRequest(transaction_id=of.context.transaction_id(of["transaction_id"]))


def _change_configuration(of: Parameters) -> v16.Message:
    return v16.ChangeConfigurationRequest(key=of.text("key"), value=of["value"])


def _get_configuration(of: Parameters) -> v16.Message:
    return v16.GetConfigurationRequest(key=[of["key"]] if of["key"] else None)


def _show_configuration(response: v16.GetConfigurationResponse) -> dict[str, Any]:
    """The value of the key that was asked for; of all keys (an empty key) only how many there are."""
    keys = response.configuration_key or []
    if len(keys) != 1:
        return {"value": str(len(keys)) if keys else "", "read_only": 0}
    return {"value": v16.text(keys[0].value), "read_only": keys[0].readonly}


def _data_transfer(of: Parameters) -> v16.Message:
    return v16.DataTransferRequest(
        vendor_id=of.text("key"), message_id=of["message_id"] or None, data=of["value"] or None
    )


OPERATIONS: Final = (
    Operation("cancel_reservation", _cancel_reservation),
    Operation("clear_cache", lambda of: v16.ClearCacheRequest()),
    Operation(
        "clear_charging_profile",
        _clear_charging_profile,
        initial=dict.fromkeys(("profile_id", "connector_id", "purpose", "stack_level"), LEFT_OUT),
    ),
    Operation(
        "get_local_list_version",
        lambda of: v16.GetLocalListVersionRequest(),
        shows=lambda response: {"version": response.list_version},
    ),
    Operation("reserve_now", _reserve_now),
    Operation("reset", _reset),
    Operation("trigger_message", _trigger_message),
    Operation("remote_start", _remote_start),
    Operation("remote_stop", _remote_stop),
    Operation("change_configuration", _change_configuration, shared="configuration"),
    Operation("get_configuration", _get_configuration, _show_configuration, shared="configuration"),
    Operation(
        "data_transfer", _data_transfer, lambda response: {"value": data_text(response.data)}, shared="configuration"
    ),
)


def data_text(data: Any) -> str:
    """Data of a DataTransfer as text; what a vendor forgot to quote is shown as JSON."""
    if data is None or isinstance(data, str):
        return data or ""
    return msgspec.json.encode(data).decode()


class Block:
    """The registers of one operation of one charger."""

    def __init__(
        self, group: str, points: Mapping[str, Point], initial: Mapping[str, int] | None = None, shared: str = ""
    ) -> None:
        self.group = group
        self._fields = {
            point.place.signal.name: point for point in points.values() if point.place.signal.group in (group, shared)
        }
        # One block of the original has no result register; the extension area has it.
        self._result = self._fields.get("result") or points[f"charger_state.{group}_result"]
        for name, value in (initial or {}).items():
            self._fields[name].set(value)

    def on_flag(self, start: Callable[[], None]) -> None:
        """Call ``start`` when the BMS sets the flag."""
        self._fields["flag"].watch(lambda value: start() if value else None)

    def snapshot(self, context: Context) -> Parameters:
        """The parameters as they are now."""
        values = {name: point.get() for name, point in self._fields.items() if point.place.signal.writable}
        return Parameters(self.group, values, context)

    def finish(self, result: Result, shows: Mapping[str, Any]) -> None:
        """Write the outcome, the flag last."""
        for name, value in shows.items():
            self._fields[name].set(value)
        self._result.set(result)
        self._fields["flag"].set(0)


def outcome(response: v16.Message) -> Result:
    """The result register for a charger's answer; an answer without a status is an acceptance."""
    if isinstance(response, v16.GetConfigurationResponse) and response.unknown_key:
        return Result.UNKNOWN
    status = getattr(response, "status", None)
    return result_of(status) if status is not None else Result.ACCEPTED

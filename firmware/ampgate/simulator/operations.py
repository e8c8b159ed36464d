"""What a simulated charge point answers to its central system: one function for each request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ampgate.ocpp import v16
from ampgate.ocpp.rpc import CallError, ErrorCode
from ampgate.simulator.connector import Connector, Reservation

if TYPE_CHECKING:
    from ampgate.simulator.charger import Charger

_Status = v16.ChargePointStatus
_NOT_FREE: Final = {
    _Status.FAULTED: v16.ReservationStatus.FAULTED,
    _Status.UNAVAILABLE: v16.ReservationStatus.UNAVAILABLE,
}
"""Why a connector cannot be reserved, besides being occupied."""
_START_ACCEPTED = v16.RemoteStartTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED)
_START_REJECTED = v16.RemoteStartTransactionResponse(status=v16.RemoteStartStopStatus.REJECTED)


SLOW: Final = 3.0
"""Real seconds that a slow charger needs for an answer."""
STEP: Final = 1.0
"""Real seconds between two reports of an upload or of a firmware update."""


def answer(charger: Charger, request: v16.Message) -> v16.Message | Awaitable[v16.Message]:
    """Answer a request; raises `CallError` for what this charger cannot do."""
    if "mute" in charger.quirks:
        return asyncio.get_running_loop().create_future()
    if "slow" in charger.quirks:
        return _answer_slowly(charger, request)
    return _answer(charger, request)


async def _answer_slowly(charger: Charger, request: v16.Message) -> v16.Message:
    await asyncio.sleep(SLOW)
    return _answer(charger, request)


def _answer(charger: Charger, request: v16.Message) -> v16.Message:
    handler = _ANSWERS.get(type(request))
    name = v16.ACTION_OF[type(request)].name
    refusal = charger.profile.refused.get(name)
    if refusal is not None or handler is None:
        refusal = refusal or ErrorCode.NOT_SUPPORTED
        charger.tell("operation", f"{name}: {refusal.value}")
        raise CallError(refusal, f"{name} is not supported by this charge point")
    response = handler(charger, request)
    status = getattr(response, "status", None)
    said = status.value if status is not None else "answered"
    charger.tell("operation", f"{name}: {said}", _named_connector(request))
    return response


def _named_connector(request: v16.Message) -> int | None:
    connector: int | None = getattr(request, "connector_id", None)
    return connector


def _connector(charger: Charger, number: int) -> Connector | None:
    """Connector by number, 0 included; None when there is none."""
    return charger.connectors[number] if 0 <= number < len(charger.connectors) else None


# Sessions


def _remote_start(charger: Charger, request: v16.RemoteStartTransactionRequest) -> v16.Message:
    connector = _connector_to_start(charger, request)
    profile = request.charging_profile
    if connector is None:
        return _START_REJECTED
    if profile is not None:
        right = profile.charging_profile_purpose is v16.ChargingProfilePurposeType.TX_PROFILE
        if not right or not charger.profiles.rules.allow(connector.number, profile):
            return _START_REJECTED
    if charger.settings.boolean("AuthorizeRemoteTxRequests"):
        charger.background(charger.present(connector.number, request.id_tag, profile))
    else:
        charger.sessions.authorized(connector, request.id_tag, profile)
    return _START_ACCEPTED


def _connector_to_start(charger: Charger, request: v16.RemoteStartTransactionRequest) -> Connector | None:
    """The connector that is asked for; when none is, rather one with a car than one without."""
    if request.connector_id is not None:
        wanted = [connector for connector in charger.connectors[1:] if connector.number == request.connector_id]
    else:
        wanted = sorted(charger.connectors[1:], key=lambda connector: connector.vehicle is None)
    for connector in wanted:
        if connector.idle and connector.usable and charger.sessions.may_use(connector, request.id_tag, final=True):
            return connector
    return None


def _remote_stop(charger: Charger, request: v16.RemoteStopTransactionRequest) -> v16.Message:
    for connector in charger.connectors[1:]:
        if connector.transaction is not None and connector.transaction.id == request.transaction_id:
            charger.sessions.stop(connector, v16.Reason.REMOTE)
            return v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED)
    return v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.REJECTED)


def _unlock(charger: Charger, request: v16.UnlockConnectorRequest) -> v16.Message:
    connector = _connector(charger, request.connector_id)
    if connector is None or connector.number == 0:
        return v16.UnlockConnectorResponse(status=v16.UnlockStatus.NOT_SUPPORTED)
    if connector.transaction is not None:
        charger.sessions.stop(connector, v16.Reason.UNLOCK_COMMAND)
    return v16.UnlockConnectorResponse(status=v16.UnlockStatus.UNLOCKED)


def _reset(charger: Charger, request: v16.ResetRequest) -> v16.Message:
    charger.connection.restart(request.type)
    return v16.ResetResponse(status=v16.ResetStatus.ACCEPTED)


def _availability(charger: Charger, request: v16.ChangeAvailabilityRequest) -> v16.Message:
    connector = _connector(charger, request.connector_id)
    if connector is None:
        return v16.ChangeAvailabilityResponse(status=v16.AvailabilityStatus.REJECTED)
    operative = request.type is v16.AvailabilityType.OPERATIVE
    status = v16.AvailabilityStatus.ACCEPTED
    for affected in charger.connectors if connector.number == 0 else [connector]:
        if affected.transaction is not None:
            affected.operative_later = operative
            status = v16.AvailabilityStatus.SCHEDULED if not operative else status
        else:
            affected.operative = operative
        charger.refresh(affected)
    return v16.ChangeAvailabilityResponse(status=status)


# Messages on demand


def _trigger(charger: Charger, request: v16.TriggerMessageRequest) -> v16.Message:
    number = request.connector_id
    if number is not None and _connector(charger, number) is None:
        return v16.TriggerMessageResponse(status=v16.TriggerMessageStatus.REJECTED)
    if request.requested_message not in charger.profile.triggers:
        return v16.TriggerMessageResponse(status=v16.TriggerMessageStatus.NOT_IMPLEMENTED)
    chosen = charger.connectors if number is None else [charger.connectors[number]]
    charging = any(connector.transaction is not None for connector in chosen)
    match request.requested_message:
        case v16.MessageTrigger.BOOT_NOTIFICATION:
            charger.send(charger.boot())
        case v16.MessageTrigger.HEARTBEAT:
            charger.send(v16.HeartbeatRequest())
        case v16.MessageTrigger.STATUS_NOTIFICATION:
            for connector in chosen:
                charger.send_status(connector)
        case v16.MessageTrigger.METER_VALUES if not (charging or charger.profile.idle_values):
            return v16.TriggerMessageResponse(status=v16.TriggerMessageStatus.REJECTED)
        case v16.MessageTrigger.METER_VALUES:
            for connector in chosen:
                if connector.number and (connector.transaction is not None or charger.profile.idle_values):
                    charger.sample(connector, v16.ReadingContext.TRIGGER)
        case v16.MessageTrigger.DIAGNOSTICS_STATUS_NOTIFICATION:
            charger.send(v16.DiagnosticsStatusNotificationRequest(status=v16.DiagnosticsStatus.IDLE))
        case v16.MessageTrigger.FIRMWARE_STATUS_NOTIFICATION:
            charger.send(v16.FirmwareStatusNotificationRequest(status=v16.FirmwareStatus.IDLE))
    return v16.TriggerMessageResponse(status=v16.TriggerMessageStatus.ACCEPTED)


def _data_transfer(charger: Charger, request: v16.DataTransferRequest) -> v16.Message:
    return v16.DataTransferResponse(status=v16.DataTransferStatus.UNKNOWN_VENDOR_ID)


# Configuration


def _get_configuration(charger: Charger, request: v16.GetConfigurationRequest) -> v16.Message:
    names = request.key or []
    known = [name for name in names if name not in charger.settings.unknown(names)]
    return v16.GetConfigurationResponse(
        configuration_key=list(charger.settings.find(known)) if known or not names else None,
        unknown_key=charger.settings.unknown(names) or None,
    )


def _change_configuration(charger: Charger, request: v16.ChangeConfigurationRequest) -> v16.Message:
    return v16.ChangeConfigurationResponse(status=charger.configure(request.key, request.value))


# Firmware management: nothing is uploaded or installed, but everything that is told about it is told


def _diagnostics(charger: Charger, request: v16.GetDiagnosticsRequest) -> v16.Message:
    states = (v16.DiagnosticsStatus.UPLOADING, v16.DiagnosticsStatus.UPLOADED)
    reports = [v16.DiagnosticsStatusNotificationRequest(status=status) for status in states]
    charger.background(_report(charger, reports))
    return v16.GetDiagnosticsResponse(file_name=f"{charger.identity}.zip")


def _update_firmware(charger: Charger, request: v16.UpdateFirmwareRequest) -> v16.Message:
    due = v16.read_timestamp(request.retrieve_date) or datetime.now(UTC)
    states = (
        v16.FirmwareStatus.DOWNLOADING,
        v16.FirmwareStatus.DOWNLOADED,
        v16.FirmwareStatus.INSTALLING,
        v16.FirmwareStatus.INSTALLED,
    )
    reports = [v16.FirmwareStatusNotificationRequest(status=status) for status in states]
    charger.background(_report(charger, reports, max(0.0, (due - datetime.now(UTC)).total_seconds())))
    return v16.UpdateFirmwareResponse()


async def _report(charger: Charger, reports: Sequence[v16.Message], wait: float = 0.0) -> None:
    await asyncio.sleep(wait)
    for report in reports:
        charger.send(report)
        await asyncio.sleep(STEP)


# Id tags


def _clear_cache(charger: Charger, request: v16.ClearCacheRequest) -> v16.Message:
    charger.sessions.tags.clear_cache()
    return v16.ClearCacheResponse(status=v16.ClearCacheStatus.ACCEPTED)


def _send_local_list(charger: Charger, request: v16.SendLocalListRequest) -> v16.Message:
    if not charger.settings.boolean("LocalAuthListEnabled"):
        return v16.SendLocalListResponse(status=v16.UpdateStatus.NOT_SUPPORTED)
    return v16.SendLocalListResponse(status=charger.sessions.tags.update(request))


def _local_list_version(charger: Charger, request: v16.GetLocalListVersionRequest) -> v16.Message:
    enabled = charger.settings.boolean("LocalAuthListEnabled")
    return v16.GetLocalListVersionResponse(list_version=charger.sessions.tags.version if enabled else -1)


# Reservations


def _reserve(charger: Charger, request: v16.ReserveNowRequest) -> v16.Message:
    return v16.ReserveNowResponse(status=_try_to_reserve(charger, request))


def _try_to_reserve(charger: Charger, request: v16.ReserveNowRequest) -> v16.ReservationStatus:
    """§5.13: the same reservation id replaces a reservation, another one finds the connector occupied."""
    connector = _connector(charger, request.connector_id)
    expires = v16.read_timestamp(request.expiry_date)
    if connector is None or expires is None or expires <= datetime.now(UTC):
        return v16.ReservationStatus.REJECTED
    if connector.number == 0 and not charger.settings.boolean("ReserveConnectorZeroSupported"):
        return v16.ReservationStatus.REJECTED
    old = next((place for place in charger.connectors if _reserved_as(place, request.reservation_id)), None)
    places = charger.connectors[1:] if connector.number == 0 else [connector]
    statuses = {_Status.AVAILABLE if place is old else place.status for place in places}
    free = _Status.AVAILABLE in statuses and (connector.reservation is None or connector is old)
    if not free:
        reason = _NOT_FREE.get(statuses.pop()) if len(statuses) == 1 else None
        return reason or v16.ReservationStatus.OCCUPIED
    if old is not None:
        old.reservation = None
        charger.refresh(old)
    connector.reservation = Reservation(request.reservation_id, request.id_tag, request.parent_id_tag, expires)
    charger.refresh(connector)
    return v16.ReservationStatus.ACCEPTED


def _reserved_as(connector: Connector, reservation: int) -> bool:
    return connector.reservation is not None and connector.reservation.id == reservation


def _cancel_reservation(charger: Charger, request: v16.CancelReservationRequest) -> v16.Message:
    for connector in charger.connectors:
        if _reserved_as(connector, request.reservation_id):
            connector.reservation = None
            charger.refresh(connector)
            return v16.CancelReservationResponse(status=v16.CancelReservationStatus.ACCEPTED)
    return v16.CancelReservationResponse(status=v16.CancelReservationStatus.REJECTED)


# Smart charging


def _set_profile(charger: Charger, request: v16.SetChargingProfileRequest) -> v16.Message:
    wanted = "rejects-profiles" not in charger.quirks and _fits(charger, request)
    accepted = wanted and charger.profiles.install(
        request.connector_id, request.cs_charging_profiles, datetime.now(UTC)
    )
    status = v16.ChargingProfileStatus.ACCEPTED if accepted else v16.ChargingProfileStatus.REJECTED
    return v16.SetChargingProfileResponse(status=status)


def _fits(charger: Charger, request: v16.SetChargingProfileRequest) -> bool:
    """§5.16: the connector exists; a TxProfile needs a running transaction there, and that one if it names one."""
    connector, profile = _connector(charger, request.connector_id), request.cs_charging_profiles
    if connector is None:
        return False
    if profile.charging_profile_purpose is not v16.ChargingProfilePurposeType.TX_PROFILE:
        return True
    transaction = connector.transaction
    return transaction is not None and profile.transaction_id in (None, transaction.id)


def _clear_profile(charger: Charger, request: v16.ClearChargingProfileRequest) -> v16.Message:
    cleared = charger.profiles.clear(request)
    status = v16.ClearChargingProfileStatus.ACCEPTED if cleared else v16.ClearChargingProfileStatus.UNKNOWN
    return v16.ClearChargingProfileResponse(status=status)


def _composite_schedule(charger: Charger, request: v16.GetCompositeScheduleRequest) -> v16.Message:
    connector = _connector(charger, request.connector_id)
    rules, unit = charger.profiles.rules, request.charging_rate_unit or v16.ChargingRateUnitType.A
    whole = connector is not None and connector.number == 0 and not rules.composite_of_all
    watts = unit is v16.ChargingRateUnitType.W
    if connector is None or request.duration <= 0 or whole or (watts and not rules.watts):
        return v16.GetCompositeScheduleResponse(status=v16.GetCompositeScheduleStatus.REJECTED)
    now = datetime.now(UTC)
    started = connector.transaction.started if connector.transaction is not None else None
    periods: list[v16.ChargingSchedulePeriod] = []
    for moment in charger.profiles.changes(now, request.duration, started):
        limit = _limit(charger, connector, moment)
        limit = round(rules.watts_of(limit) if watts else limit, 1)
        if not periods or periods[-1].limit != limit:
            start = round((moment - now).total_seconds())
            periods.append(v16.ChargingSchedulePeriod(start_period=start, limit=limit))
    return v16.GetCompositeScheduleResponse(
        status=v16.GetCompositeScheduleStatus.ACCEPTED,
        connector_id=connector.number,
        schedule_start=v16.format_timestamp(now),
        charging_schedule=v16.ChargingSchedule(
            charging_rate_unit=unit, charging_schedule_period=periods, duration=request.duration
        ),
    )


def _limit(charger: Charger, connector: Connector, now: datetime) -> float:
    if connector.number:
        return charger.limit(connector, now)
    most = connector.supply.limit * (len(charger.connectors) - 1)
    whole = charger.profiles.charge_point_limit(now)
    return most if whole is None else min(most, whole)


_ANSWERS: Final[dict[type[v16.Message], Callable[[Charger, Any], v16.Message]]] = {
    v16.CancelReservationRequest: _cancel_reservation,
    v16.ChangeAvailabilityRequest: _availability,
    v16.ChangeConfigurationRequest: _change_configuration,
    v16.ClearCacheRequest: _clear_cache,
    v16.ClearChargingProfileRequest: _clear_profile,
    v16.DataTransferRequest: _data_transfer,
    v16.GetCompositeScheduleRequest: _composite_schedule,
    v16.GetConfigurationRequest: _get_configuration,
    v16.GetDiagnosticsRequest: _diagnostics,
    v16.GetLocalListVersionRequest: _local_list_version,
    v16.RemoteStartTransactionRequest: _remote_start,
    v16.RemoteStopTransactionRequest: _remote_stop,
    v16.ReserveNowRequest: _reserve,
    v16.ResetRequest: _reset,
    v16.SendLocalListRequest: _send_local_list,
    v16.SetChargingProfileRequest: _set_profile,
    v16.TriggerMessageRequest: _trigger,
    v16.UnlockConnectorRequest: _unlock,
    v16.UpdateFirmwareRequest: _update_firmware,
}

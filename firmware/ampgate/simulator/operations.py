"""What a simulated charge point answers to its central system: one function for each request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ampgate.ocpp import v16
from ampgate.ocpp.rpc import CallError, ErrorCode
from ampgate.simulator.connector import HARDWARE_LIMIT, Connector, Reservation
from ampgate.simulator.profiles import VOLTAGE, acceptable

if TYPE_CHECKING:
    from ampgate.simulator.charger import Charger

_Status = v16.ChargePointStatus
_START_ACCEPTED = v16.RemoteStartTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED)
_START_REJECTED = v16.RemoteStartTransactionResponse(status=v16.RemoteStartStopStatus.REJECTED)


def answer(charger: Charger, request: v16.Message) -> v16.Message:
    """Answer a request; raises `CallError` NotSupported for what this charger cannot do."""
    handler = _ANSWERS.get(type(request))
    name = type(request).__name__.removesuffix("Request")
    if handler is None:
        charger.operation(f"{name}: not supported")
        raise CallError(ErrorCode.NOT_SUPPORTED, f"{name} is not supported by this charge point")
    response = handler(charger, request)
    status = getattr(response, "status", None)
    charger.operation(f"{name}: {status.value if status is not None else 'answered'}", _named_connector(request))
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
        if not right or not acceptable(connector.number, profile):
            return _START_REJECTED
    if charger.settings.boolean("AuthorizeRemoteTxRequests"):
        charger.background(charger.present(connector.number, request.id_tag, profile))
    else:
        charger.authorized(connector, request.id_tag, profile)
    return _START_ACCEPTED


def _connector_to_start(charger: Charger, request: v16.RemoteStartTransactionRequest) -> Connector | None:
    """The connector that is asked for; when none is, rather one with a car than one without."""
    if request.connector_id is not None:
        wanted = [connector for connector in charger.connectors[1:] if connector.number == request.connector_id]
    else:
        wanted = sorted(charger.connectors[1:], key=lambda connector: connector.vehicle is None)
    for connector in wanted:
        idle = connector.transaction is None and connector.id_tag is None and not connector.presenting
        if idle and connector.operative and charger.may_use(connector, request.id_tag, final=True):
            return connector
    return None


def _remote_stop(charger: Charger, request: v16.RemoteStopTransactionRequest) -> v16.Message:
    for connector in charger.connectors[1:]:
        if connector.transaction is not None and connector.transaction.id == request.transaction_id:
            charger.stop(connector, v16.Reason.REMOTE)
            return v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED)
    return v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.REJECTED)


def _unlock(charger: Charger, request: v16.UnlockConnectorRequest) -> v16.Message:
    connector = _connector(charger, request.connector_id)
    if connector is None or connector.number == 0:
        return v16.UnlockConnectorResponse(status=v16.UnlockStatus.NOT_SUPPORTED)
    if connector.transaction is not None:
        charger.stop(connector, v16.Reason.UNLOCK_COMMAND)
    return v16.UnlockConnectorResponse(status=v16.UnlockStatus.UNLOCKED)


def _reset(charger: Charger, request: v16.ResetRequest) -> v16.Message:
    charger.reset(request.type)
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
    chosen = charger.connectors if number is None else [charger.connectors[number]]
    match request.requested_message:
        case v16.MessageTrigger.BOOT_NOTIFICATION:
            charger.send_boot()
        case v16.MessageTrigger.HEARTBEAT:
            charger.send(v16.HeartbeatRequest())
        case v16.MessageTrigger.STATUS_NOTIFICATION:
            for connector in chosen:
                charger.send_status(connector)
        case v16.MessageTrigger.METER_VALUES:
            for connector in chosen:
                if connector.number:
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
    status = charger.settings.change(request.key, request.value)
    if status is v16.ConfigurationStatus.ACCEPTED:
        match request.key.lower():
            case "metervaluesampleinterval":
                charger.sample_interval = charger.settings.integer("MeterValueSampleInterval")
                charger.restart_sampling()
            case "heartbeatinterval":
                charger.restart_heartbeat()
    return v16.ChangeConfigurationResponse(status=status)


# Id tags


def _clear_cache(charger: Charger, request: v16.ClearCacheRequest) -> v16.Message:
    charger.tags.clear_cache()
    return v16.ClearCacheResponse(status=v16.ClearCacheStatus.ACCEPTED)


def _send_local_list(charger: Charger, request: v16.SendLocalListRequest) -> v16.Message:
    if not charger.settings.boolean("LocalAuthListEnabled"):
        return v16.SendLocalListResponse(status=v16.UpdateStatus.NOT_SUPPORTED)
    return v16.SendLocalListResponse(status=charger.tags.update(request))


def _local_list_version(charger: Charger, request: v16.GetLocalListVersionRequest) -> v16.Message:
    enabled = charger.settings.boolean("LocalAuthListEnabled")
    return v16.GetLocalListVersionResponse(list_version=charger.tags.version if enabled else -1)


# Reservations


def _reserve(charger: Charger, request: v16.ReserveNowRequest) -> v16.Message:
    return v16.ReserveNowResponse(status=_try_to_reserve(charger, request))


def _try_to_reserve(charger: Charger, request: v16.ReserveNowRequest) -> v16.ReservationStatus:
    """§5.13: the same reservation id replaces a reservation, another one finds the connector occupied."""
    connector = _connector(charger, request.connector_id)
    expires = v16.read_timestamp(request.expiry_date)
    if connector is None or expires is None or expires <= datetime.now(UTC):
        return v16.ReservationStatus.REJECTED
    old = next((place for place in charger.connectors if _reserved_as(place, request.reservation_id)), None)
    places = charger.connectors[1:] if connector.number == 0 else [connector]
    statuses = {_Status.AVAILABLE if place is old else place.status for place in places}
    free = _Status.AVAILABLE in statuses and (connector.reservation is None or connector is old)
    if not free:
        unavailable = statuses == {_Status.UNAVAILABLE}
        return v16.ReservationStatus.UNAVAILABLE if unavailable else v16.ReservationStatus.OCCUPIED
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
    accepted = _fits(charger, request) and charger.profiles.install(
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
    if connector is None or request.duration <= 0:
        return v16.GetCompositeScheduleResponse(status=v16.GetCompositeScheduleStatus.REJECTED)
    now = datetime.now(UTC)
    unit = request.charging_rate_unit or v16.ChargingRateUnitType.A
    factor = 1.0 if unit is v16.ChargingRateUnitType.A else 3 * VOLTAGE
    started = connector.transaction.started if connector.transaction is not None else None
    periods: list[v16.ChargingSchedulePeriod] = []
    for moment in charger.profiles.changes(now, request.duration, started):
        limit = round(_limit(charger, connector, moment) * factor, 1)
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
    most = HARDWARE_LIMIT * (len(charger.connectors) - 1)
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
    v16.GetLocalListVersionRequest: _local_list_version,
    v16.RemoteStartTransactionRequest: _remote_start,
    v16.RemoteStopTransactionRequest: _remote_stop,
    v16.ReserveNowRequest: _reserve,
    v16.ResetRequest: _reset,
    v16.SendLocalListRequest: _send_local_list,
    v16.SetChargingProfileRequest: _set_profile,
    v16.TriggerMessageRequest: _trigger,
    v16.UnlockConnectorRequest: _unlock,
}

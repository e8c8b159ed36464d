"""The messages of OCPP 1.6 (chapter 6).

Fields that carry a unit, a range or a surprise say so; the others mean what their name and type say.
"""

from typing import Annotated

from msgspec import Meta

from ampgate.ocpp.v16.enumerations import (
    AvailabilityStatus,
    AvailabilityType,
    CancelReservationStatus,
    ChargePointStatus,
    ChargingProfilePurposeType,
    ChargingProfileStatus,
    ChargingRateUnitType,
    ClearCacheStatus,
    ClearChargingProfileStatus,
    ConfigurationStatus,
    DataTransferStatus,
    DiagnosticsStatus,
    FirmwareStatus,
    GetCompositeScheduleStatus,
    MessageTrigger,
    RegistrationStatus,
    RemoteStartStopStatus,
    ReservationStatus,
    ResetStatus,
    ResetType,
    TriggerMessageStatus,
    UnlockStatus,
    UpdateStatus,
    UpdateType,
)
from ampgate.ocpp.v16.types import (
    AuthorizationData,
    ChargingProfile,
    ChargingSchedule,
    CiString50,
    CiString255,
    CiString500,
    ConnectorId,
    IdTagInfo,
    IdToken,
    Integer,
    KeyValue,
    LooseText20,
    LooseText25,
    LooseText50,
    LooseText255,
    Message,
    MeterReading,
    MeterValue,
    Timestamp,
    TransactionId,
    VendorData,
)


class AuthorizeRequest(Message, frozen=True, kw_only=True):
    """Asks whether an id tag may charge (OCPP 1.6 §6.1)."""

    id_tag: LooseText20


class AuthorizeResponse(Message, frozen=True, kw_only=True):
    """Whether the id tag may charge (OCPP 1.6 §6.2)."""

    id_tag_info: IdTagInfo


class BootNotificationRequest(Message, frozen=True, kw_only=True):
    """Presents a charge point after its start (OCPP 1.6 §6.3)."""

    charge_point_vendor: LooseText20
    charge_point_model: LooseText20
    charge_point_serial_number: LooseText25 | None = None
    charge_box_serial_number: LooseText25 | None = None
    firmware_version: LooseText50 | None = None
    iccid: LooseText20 | None = None
    imsi: LooseText20 | None = None
    meter_type: LooseText25 | None = None
    meter_serial_number: LooseText25 | None = None


class BootNotificationResponse(Message, frozen=True, kw_only=True):
    """Whether the charge point may take part, and the time (OCPP 1.6 §6.4)."""

    status: RegistrationStatus
    current_time: Timestamp
    interval: Integer
    """Seconds between heartbeats; when not accepted, seconds to wait before the next boot notification."""


class CancelReservationRequest(Message, frozen=True, kw_only=True):
    """Takes a reservation back (OCPP 1.6 §6.5)."""

    reservation_id: Integer


class CancelReservationResponse(Message, frozen=True, kw_only=True):
    """Whether the reservation was known and is gone (OCPP 1.6 §6.6)."""

    status: CancelReservationStatus


class ChangeAvailabilityRequest(Message, frozen=True, kw_only=True):
    """Takes a connector out of service or back (OCPP 1.6 §6.7)."""

    connector_id: ConnectorId
    """0 for the charge point as a whole."""
    type: AvailabilityType


class ChangeAvailabilityResponse(Message, frozen=True, kw_only=True):
    """Whether the change is made, or scheduled for the end of the transaction (OCPP 1.6 §6.8)."""

    status: AvailabilityStatus


class ChangeConfigurationRequest(Message, frozen=True, kw_only=True):
    """Sets a configuration key (OCPP 1.6 §6.9)."""

    key: CiString50
    value: CiString500


class ChangeConfigurationResponse(Message, frozen=True, kw_only=True):
    """Whether the key took the value (OCPP 1.6 §6.10)."""

    status: ConfigurationStatus


class ClearCacheRequest(Message, frozen=True, kw_only=True):
    """Empties the authorization cache (OCPP 1.6 §6.11)."""


class ClearCacheResponse(Message, frozen=True, kw_only=True):
    """Whether the cache is empty (OCPP 1.6 §6.12)."""

    status: ClearCacheStatus


class ClearChargingProfileRequest(Message, frozen=True, kw_only=True):
    """Removes the profiles that match all that is given; a given ``id`` decides alone (OCPP 1.6 §6.13)."""

    id: Integer | None = None
    connector_id: ConnectorId | None = None
    """0 for the charge point as a whole."""
    charging_profile_purpose: ChargingProfilePurposeType | None = None
    stack_level: Integer | None = None


class ClearChargingProfileResponse(Message, frozen=True, kw_only=True):
    """Whether a profile matched (OCPP 1.6 §6.14)."""

    status: ClearChargingProfileStatus


class DataTransferRequest(Message, frozen=True, kw_only=True):
    """Carries what OCPP has no message for (OCPP 1.6 §6.15)."""

    vendor_id: CiString255
    message_id: CiString50 | None = None
    data: VendorData | None = None


class DataTransferResponse(Message, frozen=True, kw_only=True):
    """Answer to a vendor's message (OCPP 1.6 §6.16)."""

    status: DataTransferStatus
    data: VendorData | None = None


class DiagnosticsStatusNotificationRequest(Message, frozen=True, kw_only=True):
    """Tells how the upload of diagnostics goes (OCPP 1.6 §6.17)."""

    status: DiagnosticsStatus


class DiagnosticsStatusNotificationResponse(Message, frozen=True, kw_only=True):
    """Acknowledgement (OCPP 1.6 §6.18)."""


class FirmwareStatusNotificationRequest(Message, frozen=True, kw_only=True):
    """Tells how the firmware update goes (OCPP 1.6 §6.19)."""

    status: FirmwareStatus


class FirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    """Acknowledgement (OCPP 1.6 §6.20)."""


class GetCompositeScheduleRequest(Message, frozen=True, kw_only=True):
    """Asks for the limits that result from all profiles (OCPP 1.6 §6.21)."""

    connector_id: ConnectorId
    """0 for the charge point as a whole."""
    duration: Integer
    """Seconds from now."""
    charging_rate_unit: ChargingRateUnitType | None = None


class GetCompositeScheduleResponse(Message, frozen=True, kw_only=True):
    """The resulting limits (OCPP 1.6 §6.22)."""

    status: GetCompositeScheduleStatus
    connector_id: ConnectorId | None = None
    schedule_start: Timestamp | None = None
    charging_schedule: ChargingSchedule | None = None


class GetConfigurationRequest(Message, frozen=True, kw_only=True):
    """Asks for configuration keys, for all when none is given (OCPP 1.6 §6.23)."""

    key: list[CiString50] | None = None


class GetConfigurationResponse(Message, frozen=True, kw_only=True):
    """The keys and their values (OCPP 1.6 §6.24)."""

    configuration_key: list[KeyValue] | None = None
    unknown_key: list[CiString50] | None = None


class GetDiagnosticsRequest(Message, frozen=True, kw_only=True):
    """Asks for an upload of diagnostics (OCPP 1.6 §6.25)."""

    location: str
    """URI of the directory to upload to."""
    retries: Integer | None = None
    retry_interval: Integer | None = None
    """Seconds between two tries."""
    start_time: Timestamp | None = None
    stop_time: Timestamp | None = None


class GetDiagnosticsResponse(Message, frozen=True, kw_only=True):
    """The name of the file to come; none when there is nothing to upload (OCPP 1.6 §6.26)."""

    file_name: CiString255 | None = None


class GetLocalListVersionRequest(Message, frozen=True, kw_only=True):
    """Asks for the version of the local list (OCPP 1.6 §6.27)."""


class GetLocalListVersionResponse(Message, frozen=True, kw_only=True):
    """The version of the local list (OCPP 1.6 §6.28)."""

    list_version: Integer
    """0 when the list is empty, -1 when there is none."""


class HeartbeatRequest(Message, frozen=True, kw_only=True):
    """Shows that the charge point is there, asks for the time (OCPP 1.6 §6.29)."""


class HeartbeatResponse(Message, frozen=True, kw_only=True):
    """The time (OCPP 1.6 §6.30)."""

    current_time: Timestamp


class MeterValuesRequest(Message, frozen=True, kw_only=True):
    """Readings of a connector's meter (OCPP 1.6 §6.31)."""

    connector_id: ConnectorId
    """0 for the main meter."""
    meter_value: Annotated[list[MeterValue], Meta(min_length=1)]
    transaction_id: Integer | str | None = None
    """Blank text from some chargers when there is none."""


class MeterValuesResponse(Message, frozen=True, kw_only=True):
    """Acknowledgement (OCPP 1.6 §6.32)."""


class RemoteStartTransactionRequest(Message, frozen=True, kw_only=True):
    """Asks the charge point to start a transaction (OCPP 1.6 §6.33)."""

    id_tag: IdToken
    connector_id: ConnectorId | None = None
    """1 and up."""
    charging_profile: ChargingProfile | None = None
    """Purpose TxProfile and without transaction id."""


class RemoteStartTransactionResponse(Message, frozen=True, kw_only=True):
    """Whether the charge point will try (OCPP 1.6 §6.34)."""

    status: RemoteStartStopStatus


class RemoteStopTransactionRequest(Message, frozen=True, kw_only=True):
    """Asks the charge point to stop a transaction (OCPP 1.6 §6.35)."""

    transaction_id: Integer


class RemoteStopTransactionResponse(Message, frozen=True, kw_only=True):
    """Whether the charge point will try (OCPP 1.6 §6.36)."""

    status: RemoteStartStopStatus


class ReserveNowRequest(Message, frozen=True, kw_only=True):
    """Reserves a connector for an id tag (OCPP 1.6 §6.37)."""

    connector_id: ConnectorId
    """0 for any connector."""
    expiry_date: Timestamp
    id_tag: IdToken
    reservation_id: Integer
    parent_id_tag: IdToken | None = None


class ReserveNowResponse(Message, frozen=True, kw_only=True):
    """Whether the connector is reserved (OCPP 1.6 §6.38)."""

    status: ReservationStatus


class ResetRequest(Message, frozen=True, kw_only=True):
    """Restarts the charge point (OCPP 1.6 §6.39)."""

    type: ResetType


class ResetResponse(Message, frozen=True, kw_only=True):
    """Whether the charge point will restart (OCPP 1.6 §6.40)."""

    status: ResetStatus


class SendLocalListRequest(Message, frozen=True, kw_only=True):
    """Replaces or amends the local list (OCPP 1.6 §6.41)."""

    list_version: Integer
    """Version after the update, 1 and up."""
    update_type: UpdateType
    local_authorization_list: list[AuthorizationData] | None = None


class SendLocalListResponse(Message, frozen=True, kw_only=True):
    """Whether the local list is updated (OCPP 1.6 §6.42)."""

    status: UpdateStatus


class SetChargingProfileRequest(Message, frozen=True, kw_only=True):
    """Installs a charging profile (OCPP 1.6 §6.43)."""

    connector_id: ConnectorId
    """0 for the charge point as a whole."""
    cs_charging_profiles: ChargingProfile


class SetChargingProfileResponse(Message, frozen=True, kw_only=True):
    """Whether the profile is installed (OCPP 1.6 §6.44)."""

    status: ChargingProfileStatus


class StartTransactionRequest(Message, frozen=True, kw_only=True):
    """Tells that a transaction started (OCPP 1.6 §6.45)."""

    connector_id: ConnectorId
    """1 and up."""
    id_tag: LooseText20
    meter_start: MeterReading
    """Wh."""
    timestamp: Timestamp
    reservation_id: Integer | None = None


class StartTransactionResponse(Message, frozen=True, kw_only=True):
    """The number of the transaction, and whether it may go on (OCPP 1.6 §6.46)."""

    id_tag_info: IdTagInfo
    transaction_id: Integer


class StatusNotificationRequest(Message, frozen=True, kw_only=True):
    """State of a connector (OCPP 1.6 §6.47)."""

    connector_id: ConnectorId
    """0 for the charge point as a whole."""
    error_code: str
    """See ``ChargePointErrorCode``; chargers send codes of their own as well."""
    status: ChargePointStatus
    info: LooseText50 | None = None
    timestamp: Timestamp | None = None
    vendor_id: LooseText255 | None = None
    vendor_error_code: LooseText50 | None = None


class StatusNotificationResponse(Message, frozen=True, kw_only=True):
    """Acknowledgement (OCPP 1.6 §6.48)."""


class StopTransactionRequest(Message, frozen=True, kw_only=True):
    """Tells that a transaction stopped (OCPP 1.6 §6.49)."""

    meter_stop: MeterReading
    """Wh."""
    timestamp: Timestamp
    transaction_id: TransactionId
    """See ``transaction``."""
    id_tag: LooseText20 | None = None
    reason: str | None = None
    """See ``Reason``."""
    transaction_data: list[MeterValue] | None = None

    @property
    def transaction(self) -> int:
        """The transaction id, 0 when the charger has lost it: a stop is never refused for that."""
        return self.transaction_id or 0


class StopTransactionResponse(Message, frozen=True, kw_only=True):
    """Acknowledgement; what is known of the id tag when the request had one (OCPP 1.6 §6.50)."""

    id_tag_info: IdTagInfo | None = None


class TriggerMessageRequest(Message, frozen=True, kw_only=True):
    """Asks the charge point to send a message (OCPP 1.6 §6.51)."""

    requested_message: MessageTrigger
    connector_id: ConnectorId | None = None
    """1 and up."""


class TriggerMessageResponse(Message, frozen=True, kw_only=True):
    """Whether the message will come (OCPP 1.6 §6.52)."""

    status: TriggerMessageStatus


class UnlockConnectorRequest(Message, frozen=True, kw_only=True):
    """Unlocks the plug in a socket (OCPP 1.6 §6.53)."""

    connector_id: ConnectorId
    """1 and up."""


class UnlockConnectorResponse(Message, frozen=True, kw_only=True):
    """Whether the plug is free (OCPP 1.6 §6.54)."""

    status: UnlockStatus


class UpdateFirmwareRequest(Message, frozen=True, kw_only=True):
    """Asks the charge point to fetch and install firmware (OCPP 1.6 §6.55)."""

    location: str
    """URI of the image."""
    retrieve_date: Timestamp
    retries: Integer | None = None
    retry_interval: Integer | None = None
    """Seconds between two tries."""


class UpdateFirmwareResponse(Message, frozen=True, kw_only=True):
    """Acknowledgement (OCPP 1.6 §6.56)."""

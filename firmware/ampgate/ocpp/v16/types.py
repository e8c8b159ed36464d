"""What messages are made of: bounded text, tolerant text and the composite types of OCPP 1.6 (chapter 7)."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ampgate.ocpp.v16.enumerations import (
    AuthorizationStatus,
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingRateUnitType,
    HashAlgorithm,
    RecurrencyKindType,
)


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base of all messages and composite types: immutable, keywords only, ``None`` is never sent."""


Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of at most 64 bits: OCPP sets no limit, databases do."""

MeterReading = Integer | Annotated[float, Meta(ge=-(2.0**63), lt=2.0**63)]
"""Wh of a transaction's start or stop; the standard wants an integer, some chargers send fractions. Not NaN, not ∞."""

ConnectorId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""Connector number: 1 and up, or 0 for the charge point as a whole where a message allows that."""

TransactionId = Integer | Literal[""] | None
"""Number of a transaction; blank or null from chargers that have lost it."""

Timestamp = str
"""ISO 8601 text as on the wire, possibly empty: read by ``parse_timestamp``, made by ``format_timestamp``."""

# Lengths are in the metadata, not enforced in decoding: ``too_long`` checks them before sending.
CiString20 = Annotated[str, Meta(extra={"max_length": 20})]
CiString50 = Annotated[str, Meta(extra={"max_length": 50})]
CiString255 = Annotated[str, Meta(extra={"max_length": 255})]
CiString500 = Annotated[str, Meta(extra={"max_length": 500})]
IdToken = CiString20
"""An id tag: text that is compared without regard to case (OCPP 1.6 §7.28)."""

Text40 = Annotated[str, Meta(extra={"max_length": 40})]
Text128 = Annotated[str, Meta(extra={"max_length": 128})]
Text512 = Annotated[str, Meta(extra={"max_length": 512})]
Text800 = Annotated[str, Meta(extra={"max_length": 800})]
Text5500 = Annotated[str, Meta(extra={"max_length": 5500})]
Text10000 = Annotated[str, Meta(extra={"max_length": 10000})]

LooseText = str | int | float | bool
"""Text that chargers also send as a JSON number or boolean: read with ``text``."""

LooseText20 = Annotated[LooseText, Meta(extra={"max_length": 20})]
LooseText25 = Annotated[LooseText, Meta(extra={"max_length": 25})]
LooseText50 = Annotated[LooseText, Meta(extra={"max_length": 50})]
LooseText255 = Annotated[LooseText, Meta(extra={"max_length": 255})]
LooseText500 = Annotated[LooseText, Meta(extra={"max_length": 500})]

VendorData = LooseText | list[Any] | dict[str, Any]
"""Data of DataTransfer: text by the standard, but some vendors put bare JSON there."""


def text(value: LooseText | None) -> str:
    """``value`` as text: ``None`` is empty, booleans are ``true`` or ``false`` as in configuration values."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class IdTagInfo(Message, frozen=True, kw_only=True):
    """What the central system knows of an id tag (OCPP 1.6 §7.27)."""

    status: AuthorizationStatus
    expiry_date: Timestamp | None = None
    parent_id_tag: IdToken | None = None


class AuthorizationData(Message, frozen=True, kw_only=True):
    """Entry of the local list (OCPP 1.6 §7.1); without ``id_tag_info`` a differential update deletes it."""

    id_tag: IdToken
    id_tag_info: IdTagInfo | None = None


class ChargingSchedulePeriod(Message, frozen=True, kw_only=True):
    """One step of a schedule (OCPP 1.6 §7.14)."""

    start_period: Integer
    """Seconds from the start of the schedule; 0 in the first period."""
    limit: float
    """A (per phase) or W (in total) as the schedule says, at most one decimal."""
    number_phases: Integer | None = None
    """Phases that may be used; 3 when not given."""


class ChargingSchedule(Message, frozen=True, kw_only=True):
    """Limits over time (OCPP 1.6 §7.13)."""

    charging_rate_unit: ChargingRateUnitType
    charging_schedule_period: list[ChargingSchedulePeriod]
    duration: Integer | None = None
    """Seconds; without it the last period lasts."""
    start_schedule: Timestamp | None = None
    min_charging_rate: float | None = None
    """Below this the vehicle charges inefficiently; unit and decimals as the limits."""


class ChargingProfile(Message, frozen=True, kw_only=True):
    """A schedule, what it limits and when it counts (OCPP 1.6 §7.8)."""

    charging_profile_id: Integer
    stack_level: Integer
    """0 and up; the highest valid level wins."""
    charging_profile_purpose: ChargingProfilePurposeType
    charging_profile_kind: ChargingProfileKindType
    charging_schedule: ChargingSchedule
    transaction_id: Integer | None = None
    recurrency_kind: RecurrencyKindType | None = None
    valid_from: Timestamp | None = None
    valid_to: Timestamp | None = None


class KeyValue(Message, frozen=True, kw_only=True):
    """A configuration key of a charge point (OCPP 1.6 §7.29)."""

    key: CiString50
    readonly: bool
    value: LooseText500 | None = None


class SampledValue(Message, frozen=True, kw_only=True):
    """One reading of one meter (OCPP 1.6 §7.43); what is not given has the default its enumeration states."""

    value: str | int | float | None
    """Decimal text, or signed data when ``format`` says so; numbers and null as some chargers send them."""
    context: str | None = None
    """See ``ReadingContext``."""
    format: str | None = None
    """See ``ValueFormat``."""
    measurand: str | None = None
    """See ``Measurand``."""
    phase: str | None = None
    """See ``Phase``; not given means all phases together."""
    location: str | None = None
    """See ``Location``."""
    unit: str | None = None
    """See ``UnitOfMeasure``."""


class MeterValue(Message, frozen=True, kw_only=True):
    """Readings of one moment (OCPP 1.6 §7.33); an empty list, which the standard forbids, is tolerated."""

    timestamp: Timestamp
    sampled_value: list[SampledValue]


class CertificateHashData(Message, frozen=True, kw_only=True):
    """What names an installed certificate (security whitepaper); hashes and serial number are hexadecimal."""

    hash_algorithm: HashAlgorithm
    issuer_name_hash: Text128
    issuer_key_hash: Text128
    serial_number: Text40


class Firmware(Message, frozen=True, kw_only=True):
    """A signed firmware image: where it is, from when on to fetch and install it (security whitepaper)."""

    location: Text512
    retrieve_date_time: Timestamp
    signing_certificate: Text5500
    """PEM."""
    signature: Text800
    """Base64."""
    install_date_time: Timestamp | None = None


class LogParameters(Message, frozen=True, kw_only=True):
    """Where a log goes and the time it covers (security whitepaper)."""

    remote_location: Text512
    oldest_timestamp: Timestamp | None = None
    latest_timestamp: Timestamp | None = None

"""What the OCPP 1.6 types forgive, how they refuse, and how they read time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampgate.ocpp import v16
from ampgate.ocpp.v16 import coding

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SAMPLE = "2026-01-31T12:00:00Z"


M = TypeVar("M", bound=v16.Message)


def decode(kind: type[M], **payload: Any) -> M:
    return v16.decode(kind, json.dumps(payload).encode())


def refusal(kind: type[v16.Message], data: bytes | str) -> v16.PayloadError:
    with pytest.raises(v16.PayloadError) as caught:
        v16.decode(kind, data)
    return caught.value


def sampled(**sample: Any) -> v16.SampledValue:
    meter_value = {"timestamp": SAMPLE, "sampledValue": [sample]}
    message = decode(v16.MeterValuesRequest, connectorId=1, meterValue=[meter_value])
    return message.meter_value[0].sampled_value[0]


# Leniency


@pytest.mark.parametrize("value", ["16.1", " 16,1 ", "NaN", "", 16, 16.1, None])
def test_sampled_value_keeps_what_was_sent(value: Any) -> None:
    assert sampled(value=value).value == value


def test_sampled_value_with_vendor_words() -> None:
    sample = sampled(value="1", measurand="Power.Guess", phase="L1-PE", unit="MW", context="", location="?")
    assert (sample.measurand, sample.phase, sample.unit) == ("Power.Guess", "L1-PE", "MW")
    assert (sample.context, sample.location, sample.format) == ("", "?", None)


def test_integers_may_be_strings_or_whole_numbers() -> None:
    message = decode(
        v16.StartTransactionRequest,
        connectorId="1",
        idTag="A",
        meterStart=1234.0,
        timestamp="",
        reservationId="-7",
    )
    assert (message.connector_id, message.meter_start, message.reservation_id) == (1, 1234, -7)
    assert message.timestamp == ""


@pytest.mark.parametrize(("sent", "read"), [("true", True), ("False", False), (1, True), ("0", False)])
def test_readonly_may_be_a_string_or_a_number(sent: Any, read: bool) -> None:
    message = decode(v16.GetConfigurationResponse, configurationKey=[{"key": "a", "readonly": sent}])
    assert message.configuration_key == [v16.KeyValue(key="a", readonly=read)]


@pytest.mark.parametrize(("sent", "read"), [("5", "5"), (5, "5"), (0.5, "0.5"), (True, "true"), (None, "")])
def test_configuration_value_may_be_any_scalar(sent: Any, read: str) -> None:
    key = {"key": "a", "readonly": False, "value": sent}
    message = decode(v16.GetConfigurationResponse, configurationKey=[key])
    assert message.configuration_key is not None
    assert v16.text(message.configuration_key[0].value) == read


def test_boot_with_numbers_and_long_serial_numbers_is_read() -> None:
    serial = "EVB1A22P4RI3N2012345678901234567890"
    message = decode(
        v16.BootNotificationRequest,
        chargePointVendor="Schneider Electric",
        chargePointModel=22,
        chargeBoxSerialNumber=serial,
        chargePointSerialNumber=12345678901234567890123,
        firmwareVersion=3.4,
        iccid=None,
        colour="green",
    )
    assert message.charge_box_serial_number == serial
    assert v16.text(message.charge_point_model) == "22"
    assert v16.text(message.charge_point_serial_number) == "12345678901234567890123"
    assert v16.text(message.firmware_version) == "3.4"
    assert v16.text(message.iccid) == ""
    assert v16.too_long(message) == ["chargeBoxSerialNumber"]


def test_status_with_vendor_error_is_read() -> None:
    message = decode(
        v16.StatusNotificationRequest,
        connectorId=0,
        errorCode="Contactor welded",
        status="Faulted",
        info=17,
        vendorErrorCode=4711,
        timestamp=None,
    )
    assert message.status is v16.ChargePointStatus.FAULTED
    assert message.error_code == "Contactor welded"
    assert (v16.text(message.info), v16.text(message.vendor_error_code)) == ("17", "4711")


def test_stop_with_unknown_reason_and_without_readings_is_read() -> None:
    message = decode(
        v16.StopTransactionRequest,
        meterStop=5,
        timestamp=SAMPLE,
        transactionId=-1,
        reason="Bored",
        transactionData=[{"timestamp": SAMPLE, "sampledValue": []}],
    )
    assert message.reason == "Bored"
    assert message.transaction_data == [v16.MeterValue(timestamp=SAMPLE, sampled_value=[])]


@pytest.mark.parametrize("data", ["text", 5, {"a": [1, None]}, [1]])
def test_vendor_data_may_be_bare_json(data: Any) -> None:
    assert decode(v16.DataTransferRequest, vendorId="v", data=data).data == data


def test_decoding_takes_text_views_and_raw_json() -> None:
    data = b'{"idTag":"A"}'
    expected = v16.AuthorizeRequest(id_tag="A")
    for form in (data, bytearray(data), memoryview(data), data.decode(), msgspec.Raw(data)):
        assert v16.decode(v16.AuthorizeRequest, form) == expected


# Sending


def test_missing_fields_are_not_sent() -> None:
    message = v16.AuthorizeResponse(id_tag_info=v16.IdTagInfo(status=v16.AuthorizationStatus.ACCEPTED))
    assert v16.encode(message) == b'{"idTagInfo":{"status":"Accepted"}}'
    assert v16.encode(v16.HeartbeatRequest()) == b"{}"


def test_enumeration_values_are_sent_as_text_in_plain_fields() -> None:
    sample = v16.SampledValue(value="1", measurand=v16.Measurand.SOC, unit=v16.UnitOfMeasure.PERCENT)
    assert v16.encode(sample) == b'{"value":"1","measurand":"SoC","unit":"Percent"}'


def test_messages_cannot_be_changed() -> None:
    message = v16.AuthorizeRequest(id_tag="A")
    with pytest.raises(AttributeError):
        message.id_tag = "B"  # type: ignore[misc]


def test_too_long_names_nested_fields() -> None:
    long = "x" * 21
    info = v16.IdTagInfo(status=v16.AuthorizationStatus.ACCEPTED, parent_id_tag=long)
    message = v16.SendLocalListRequest(
        list_version=1,
        update_type=v16.UpdateType.FULL,
        local_authorization_list=[
            v16.AuthorizationData(id_tag="x" * 20),
            v16.AuthorizationData(id_tag=long, id_tag_info=info),
        ],
    )
    assert v16.too_long(message) == [
        "localAuthorizationList[1].idTag",
        "localAuthorizationList[1].idTagInfo.parentIdTag",
    ]


def test_too_long_looks_into_lists_of_text_and_counts_characters() -> None:
    message = v16.GetConfigurationRequest(key=["é" * 50, "k" * 51])
    assert v16.too_long(message) == ["key[1]"]


def test_too_long_measures_numbers_as_text() -> None:
    message = v16.BootNotificationRequest(charge_point_vendor="v", charge_point_model=10**20)
    assert v16.too_long(message) == ["chargePointModel"]


def test_sender_and_request_tables() -> None:
    assert v16.ACTION_OF[v16.ResetRequest].name == "Reset"
    assert v16.ACTIONS["Reset"].sender == "central_system"
    assert v16.ACTIONS["MeterValues"].sender == "charge_point"
    assert v16.ACTIONS["DataTransfer"].sender == "both"
    assert len(v16.ACTION_OF) == len(v16.ACTIONS)


# Refusals

START = '"idTag":"A","meterStart":0,"timestamp":""'

REFUSALS: list[tuple[type[v16.Message], bytes | str, str, str]] = [
    (v16.HeartbeatRequest, "", "FormationViolation", "payload: Input data was truncated"),
    (v16.HeartbeatRequest, "{,}", "FormationViolation", "payload: JSON is malformed"),
    (v16.HeartbeatRequest, "[]", "FormationViolation", "payload: Expected object, got array"),
    (v16.HeartbeatRequest, "null", "FormationViolation", "payload: Expected object, got null"),
    (v16.AuthorizeRequest, b'{"idTag":"\xff"}', "FormationViolation", "payload: 'utf-8' codec"),
    (
        v16.HeartbeatRequest,
        '{"a":' + "[" * 9999 + "]" * 9999 + "}",
        "FormationViolation",
        "payload: Nested too",
    ),
    (v16.AuthorizeRequest, "{}", "OccurenceConstraintViolation", "idTag: Required field is missing"),
    (
        v16.MeterValuesRequest,
        '{"connectorId":1,"meterValue":[]}',
        "OccurenceConstraintViolation",
        "meterValue: Expected array of length >= 1",
    ),
    (
        v16.MeterValuesRequest,
        '{"connectorId":1,"meterValue":[{"timestamp":"","sampledValue":[{"value":1},{}]}]}',
        "OccurenceConstraintViolation",
        "meterValue[0].sampledValue[1].value: Required field is missing",
    ),
    (
        v16.AuthorizeRequest,
        '{"idTag":[]}',
        "TypeConstraintViolation",
        "idTag: Expected bool | int | float | str, got array",
    ),
    (
        v16.AuthorizeRequest,
        '{"idTag":null}',
        "TypeConstraintViolation",
        "idTag: Expected bool | int | float | str, got null",
    ),
    (
        v16.StartTransactionRequest,
        '{"connectorId":"one",' + START + "}",
        "TypeConstraintViolation",
        "connectorId: Expected int, got str",
    ),
    (
        v16.StartTransactionRequest,
        '{"connectorId":1.5,' + START + "}",
        "TypeConstraintViolation",
        "connectorId: Expected int, got float",
    ),
    (
        v16.BootNotificationRequest,
        '{"chargePointVendor":[],"chargePointModel":""}',
        "TypeConstraintViolation",
        "chargePointVendor: Expected bool | int | float | str, got array",
    ),
    (
        v16.StartTransactionRequest,
        '{"connectorId":-1,' + START + "}",
        "PropertyConstraintViolation",
        "connectorId: Expected int >= 0",
    ),
    (
        v16.StartTransactionRequest,
        '{"connectorId":9223372036854775808,' + START + "}",
        "PropertyConstraintViolation",
        "connectorId: Expected int <= 9223372036854775807",
    ),
    (
        v16.StartTransactionRequest,
        '{"connectorId":' + "9" * 5000 + "," + START + "}",
        "PropertyConstraintViolation",
        "connectorId: Integer value out of range",
    ),
    (
        v16.StartTransactionRequest,
        '{"connectorId":1e999,' + START + "}",
        "PropertyConstraintViolation",
        "connectorId: Number out of range",
    ),
    (
        v16.StatusNotificationRequest,
        '{"connectorId":1,"errorCode":"NoError","status":"Idle - at `$.x`\\n"}',
        "PropertyConstraintViolation",
        "status: Invalid enum value",
    ),
]


@pytest.mark.parametrize(("kind", "data", "code", "description"), REFUSALS)
def test_refusal_is_classified(kind: type[v16.Message], data: bytes | str, code: str, description: str) -> None:
    error = refusal(kind, data)
    assert error.code == code
    assert error.description.startswith(description)
    assert str(error) == f"{code}: {error.description}"


def test_unexpected_report_is_a_formation_violation() -> None:
    error = coding._violation("Never seen before - at `$.a.b`")
    assert (error.code, error.description) == ("FormationViolation", "a.b: Never seen before")


def test_description_fits_a_call_error() -> None:
    data = json.dumps({"connectorId": 1, "errorCode": "NoError", "status": "x" * 9999})
    assert len(refusal(v16.StatusNotificationRequest, data).description) == 255


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_never_raise_anything_else(data: bytes) -> None:
    for action in ("Heartbeat", "MeterValues", "BootNotification"):
        try:
            v16.decode(v16.ACTIONS[action].request, data)
        except v16.PayloadError as error:
            assert error.description


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={"connectorId": _json, "errorCode": _json, "status": _json, "info": _json}))
def test_fields_of_any_type_are_read_or_refused(payload: dict[str, Any]) -> None:
    try:
        message = decode(v16.StatusNotificationRequest, **payload)
    except v16.PayloadError as error:
        assert error.code != "FormationViolation"
    else:
        assert v16.decode(v16.StatusNotificationRequest, v16.encode(message)) == message


# Time


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00Z", NOW),
        ("2026-01-31T12:00:00z", NOW),
        ("2026-01-31t12:00:00Z", NOW),
        ("2026-01-31 12:00:00", NOW),
        ("2026-01-31T12:00:00", NOW),
        ("2026-01-31T12:00Z", NOW),
        (" 2026-01-31T12:00:00Z ", NOW),
        ("2026-01-31T14:00:00+02", NOW),
        ("2026-01-31T14:00:00+0200", NOW),
        ("2026-01-31T14:00:00 +02:00", NOW),
        ("2026-01-31T06:30:00-05:30", NOW),
        ("2026-02-01T00:00:00+12:00", NOW),
        ("2026-01-31T12:00:00.1Z", NOW + timedelta(microseconds=100_000)),
        ("2026-01-31T12:00:00.123456789Z", NOW + timedelta(microseconds=123_456)),
        ("2026-01-31T12:00:00,5", NOW + timedelta(microseconds=500_000)),
        ("2026-01-31T12:00:00." + "0" * 400 + "1Z", NOW),
    ],
)
def test_timestamp_is_understood(text: str, moment: datetime) -> None:
    read = v16.read_timestamp(text)
    assert read == moment
    assert read.tzinfo is UTC
    assert v16.parse_timestamp(text, NOW - timedelta(days=1)) == moment


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " ",
        "now",
        "1769860800",
        "2026-01-31",
        "2026-13-31T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+99",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+02",
        "9999-12-31T23:59:59-02",
        "2026-01-31T12:00:00Z tomorrow",
        "٢٠٢٦-01-31T12:00:00Z",
    ],
)
def test_timestamp_that_says_nothing_is_now(text: str | None) -> None:
    assert v16.read_timestamp(text) is None
    assert v16.parse_timestamp(text, NOW) is NOW


def test_timestamps_are_sent_in_utc_with_whole_seconds() -> None:
    eastern = timezone(timedelta(hours=2))
    assert v16.format_timestamp(datetime(2026, 1, 31, 14, 0, 0, 999_999, eastern)) == "2026-01-31T12:00:00Z"
    assert v16.format_timestamp(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"


def test_timestamp_without_zone_is_not_sent() -> None:
    with pytest.raises(ValueError, match="time zone"):
        v16.format_timestamp(datetime(2026, 1, 31, 12, 0))


@given(st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0)))
def test_timestamp_survives_the_wire(moment: datetime) -> None:
    assert v16.read_timestamp(v16.format_timestamp(moment)) == moment


@given(st.text(max_size=40))
def test_any_text_is_a_timestamp_or_none(text: str) -> None:
    read = v16.read_timestamp(text)
    assert read is None or read.tzinfo is UTC

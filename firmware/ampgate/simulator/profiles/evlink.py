"""Schneider Electric EVlink Smart Wallbox, Parking and City, release R7 (3.3.0.7), by the EVlink OCPP guide 1.2.

The tables are the guide's: §3 messages, §4 smart charging, §7 vendor error codes, §8 parameters. What the guide leaves
open is chosen here and said so: the fitting errorCode of a vendor code and whether it keeps people from charging, what
happens to numbers out of their limits where the guide does not tell, and factory settings that it does not print.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ampgate.ocpp import v16
from ampgate.ocpp.rpc import ErrorCode
from ampgate.simulator.charging_profiles import Rules
from ampgate.simulator.electrics import ENERGY, OFFERED, Reading, current, voltage
from ampgate.simulator.faults import Fault
from ampgate.simulator.profiles.profile import Profile
from ampgate.simulator.settings import Key

# Messages (§3.1): what a central system may ask of release R7, besides what every charge point knows

_MESSAGES: Final = {
    "CancelReservation": True,
    "ChangeAvailability": True,
    "ChangeConfiguration": True,
    "ClearCache": True,
    "ClearChargingProfile": True,
    "DataTransfer": True,
    "GetCompositeSchedule": True,
    "GetConfiguration": True,
    "GetDiagnostics": True,
    "GetLocalListVersion": False,
    "RemoteStartTransaction": True,
    "RemoteStopTransaction": True,
    "ReserveNow": True,
    "Reset": True,
    "SendLocalList": False,
    "SetChargingProfile": True,
    "TriggerMessage": True,
    "UnlockConnector": True,
    "UpdateFirmware": True,
}
"""Listed messages and whether R7 supports them."""
# The station knows what the guide lists as not supported; what it does not list came after it (OCPP-J §4.2.3).
_REFUSED: Final = {
    name: ErrorCode.NOT_SUPPORTED if name in _MESSAGES else ErrorCode.NOT_IMPLEMENTED
    for name in v16.ACTIONS
    if not _MESSAGES.get(name, False)
}
_TRIGGERS: Final = frozenset(
    {v16.MessageTrigger.STATUS_NOTIFICATION, v16.MessageTrigger.HEARTBEAT, v16.MessageTrigger.METER_VALUES}
)

# Smart charging (§4.1, and the read-only parameters of §8)

_RULES: Final = Rules(
    stack_level=999, installed=99, watts=False, phases=False, least_rate=False, composite_of_all=False
)

# Measurands (§8, MeterValuesSampledData): the phase is part of the name

_M, _P, _U = v16.Measurand, v16.Phase, v16.UnitOfMeasure
_LINES: Final = (_P.L1, _P.L2, _P.L3)
_TO_NEUTRAL: Final = (_P.L1_N, _P.L2_N, _P.L3_N)
_BETWEEN: Final = (_P.L1_L2, _P.L2_L3, _P.L3_L1)


def _phased(measurand: v16.Measurand, phase: v16.Phase, index: int) -> Reading:
    name = f"{measurand.value}.{phase.value}"
    if measurand is _M.CURRENT_IMPORT:
        return Reading(measurand, phase, _U.A, current(index), name=name)
    if phase in _BETWEEN:
        return Reading(measurand, phase, _U.V, lambda connector: connector.voltages[index] * 3**0.5, name=name)
    return Reading(measurand, phase, _U.V, voltage(index), name=name)


_READINGS: Final = (
    ENERGY,
    Reading(_M.CURRENT_IMPORT, None, _U.A, lambda connector: max(connector.draw.currents)),
    OFFERED,
    *(_phased(_M.CURRENT_IMPORT, phase, index) for index, phase in enumerate(_LINES)),
    Reading(_M.VOLTAGE, None, _U.V, voltage(0)),
    *(
        _phased(_M.VOLTAGE, phase, index)
        for phases in (_LINES, _BETWEEN, _TO_NEUTRAL)
        for index, phase in enumerate(phases)
    ),
)
_WORDS: Final = tuple(reading.listed for reading in _READINGS)

# Parameters (§8)

_IMAX_CARD: Final = 32
_IMAX_STATION: Final = 64
_PORT: Final = (1, 65535)
_ANY: Final = (0, 999_999_999)
_ALL: Final = "PCW"


class _Parameter(NamedTuple):
    products: str
    """P Parking, C City, W Smart Wallbox."""
    key: Key


def _fixed(name: str, value: str) -> _Parameter:
    return _Parameter(_ALL, Key(name, value, "text", readonly=True))


_PARAMETERS: Final = (
    # Functional
    _Parameter(_ALL, Key("operatingMode", "2", limits=(0, 5))),
    _Parameter("C", Key("allowPluggedCable", "false", "boolean")),
    _Parameter("W", Key("enableEvDetection", "false", "boolean")),
    _Parameter(_ALL, Key("loadSheddingSetPoint", "0", limits=(0, _IMAX_CARD), unit="A")),
    _Parameter(_ALL, Key("stationName", "EVlink", "text")),
    # Energy
    _Parameter(_ALL, Key("voltageReference", "230", limits=(0, 400), unit="V")),
    _Parameter("CW", Key("maxIntensityStation", str(_IMAX_STATION), limits=(0, _IMAX_STATION), unit="A")),
    _Parameter(_ALL, Key("maxIntensitySocket", str(_IMAX_CARD), limits=(0, _IMAX_CARD), unit="A")),
    # Front panel
    _Parameter("P", Key("EnableSuspendChargeByButton", "false", "boolean")),
    # EVlink energy
    _Parameter(_ALL, Key("monophasedLoadSheddingFloorValue", "6", limits=(6, 20), unit="A")),
    _Parameter(_ALL, Key("triphasedLoadSheddingFloorValue", "6", limits=(6, 20), unit="A")),
    _Parameter(_ALL, Key("EMsetting", "2", limits=(0, 3))),
    # Energy sharing
    _Parameter(_ALL, Key("loadSheddingPriority", "0", limits=(0, 1))),
    # Authentication; over OCPP, enableUnknown goes by the name AllowOfflineTxForUnknownId
    _Parameter(_ALL, Key("AllowOfflineTxForUnknownId", "false", "boolean")),
    _Parameter(_ALL, Key("authenticationManager", "2", limits=(0, 3))),
    _Parameter(_ALL, Key("ControlChargeByRemoteCommand", "false", "boolean")),
    _Parameter(_ALL, Key("rfidStatusTimeout", "10", limits=(0, 65535), unit="s")),
    # OCPP
    _Parameter(_ALL, Key("ocppVersion", "1.6", "text", words=("1.5", "1.6"), restart=True)),
    _Parameter(_ALL, Key("ocppCentralAddress", "", "text", restart=True)),
    _Parameter(_ALL, Key("ocppBoxLocalPort", "8080", limits=_PORT, restart=True)),
    _Parameter(_ALL, Key("ocppBoxPublicPort", "8080", limits=_PORT, restart=True)),
    _Parameter(_ALL, Key("ocppDefaultBoxAddrPublic", "8080", limits=_PORT, restart=True)),
    _Parameter(_ALL, Key("ocppConfModemAddress", "", "text", restart=True)),
    _Parameter(_ALL, Key("ocppConfSimModemAddress", "", "text", restart=True)),
    # 0 stands for the default, 30 s
    _Parameter(_ALL, Key("confModemRetryInterval", "30", limits=(15, 60), unit="s", outside="0")),
    _Parameter(_ALL, Key("boxIdentity", "UNDEFINED", "text", restart=True)),
    _Parameter(_ALL, Key("defaultIdTag", "UNDEFINED", "text")),
    _Parameter(_ALL, Key("MeterValuesSampledData", ENERGY.listed, "list", words=_WORDS, limits=(0, 500))),
    _Parameter(_ALL, Key("meterValueSampleInterval", "900", limits=(15, 7200), words=("0",), unit="s")),
    _Parameter(_ALL, Key("ocppConnectTimeOut", "60", limits=(2, 60), unit="s", outside="60")),
    _Parameter(_ALL, Key("WebSocketPingInterval", "30", readonly=True)),
    _Parameter(_ALL, Key("MinimumStatusDuration", "0", limits=_ANY, unit="s")),
    _Parameter(_ALL, Key("TransactionMessageRetryInterval", "60", limits=_ANY, unit="s")),
    _Parameter(_ALL, Key("TransactionMessageAttempts", "3", limits=_ANY)),
    _Parameter(_ALL, Key("truncateBootNotificationsSerialNumbers", "false", "boolean")),
    _Parameter(_ALL, Key("cacheListEnabled", "true", "boolean", standard="AuthorizationCacheEnabled")),
    _Parameter(_ALL, Key("compressDiagnostic", "true", "boolean")),
    _fixed("NumberOfConnectors", "1"),
    _fixed("HeartBeatInterval", "300"),
    _fixed("AuthorizeRemoteTxRequests", "false"),
    _fixed("ConnectionTimeOut", "30"),
    _fixed("GetConfigurationMaxKeys", "200"),
    _fixed("ResetRetries", "0"),
    _fixed("ConnectorPhaseRotation", "0.RST"),
    _fixed("ConnectorPhaseRotationMaxLength", "3"),
    _fixed("StopTransactionOnEVSideDisconnect", "true"),
    _fixed("StopTransactionOnInvalidId", "true"),
    _fixed("StopTxnAlignedData", ""),
    _fixed("StopTxnAlignedDataMaxLength", "0"),
    _fixed("StopTxnSampledData", ""),
    _fixed("StopTxnSampledDataMaxLength", "0"),
    _fixed("SupportedFeatureProfiles", "Core,FirmwareManagement,Reservation,SmartCharging"),
    _fixed("SupportedFeatureProfilesMaxLength", "4"),
    _fixed("ReserveConnectorZeroSupported", "false"),
    _fixed("UnlockConnectorOnEVSideDisconnect", "true"),
    _fixed("ChargeProfileMaxStackLevel", str(_RULES.stack_level)),
    _fixed("ChargingScheduleAllowedChargingRateUnit", "Current"),
    _fixed("ChargingScheduleMaxPeriods", str(_RULES.periods)),
    _fixed("ConnectorSwitch3to1PhaseSupported", "false"),
    _fixed("MaxChargingProfilesInstalled", str(_RULES.installed)),
)

# Vendor error codes (§7.1)

_E = v16.ChargePointErrorCode


class _VendorError(NamedTuple):
    products: str
    code: int
    text: str
    error_code: v16.ChargePointErrorCode
    blocks: bool = True
    passes: float | None = None

    @property
    def fault(self) -> Fault:
        return Fault(self.error_code, str(self.code), self.text, self.blocks, self.passes)


_VENDOR_ERRORS: Final = (
    _VendorError(_ALL, 1, "Rfid Status", _E.READER_FAILURE, blocks=False),
    _VendorError("PC", 3, "Internal Communication", _E.INTERNAL_ERROR),
    _VendorError(_ALL, 4, "Outlet Lock", _E.CONNECTOR_LOCK_FAILURE),
    _VendorError(_ALL, 5, "Contactor State", _E.POWER_SWITCH_FAILURE),
    _VendorError("PC", 6, "Surge Arrestor", _E.OTHER_ERROR),
    _VendorError("PC", 7, "Anti-intrusion", _E.OTHER_ERROR),
    _VendorError("CW", 8, "Software Configuration", _E.INTERNAL_ERROR),
    _VendorError(_ALL, 9, "Hardware Configuration", _E.INTERNAL_ERROR),
    _VendorError("PC", 10, "Flap Sensor", _E.OTHER_ERROR),
    _VendorError(_ALL, 11, "Upstream Protection Devices", _E.OTHER_ERROR),
    _VendorError(_ALL, 12, "Power Meter Communication", _E.POWER_METER_FAILURE, blocks=False),
    _VendorError(_ALL, 13, "Remote Authentication Communication", _E.READER_FAILURE, blocks=False),
    _VendorError(_ALL, 14, "[Un]Plug Process", _E.OTHER_ERROR),
    _VendorError("PC", 15, "Load tri-phase compliancy", _E.OTHER_ERROR),
    _VendorError(_ALL, 16, "Plc Communication", _E.OTHER_ERROR, blocks=False),
    _VendorError(_ALL, 17, "Control Pilot (CP) Signal conformity", _E.EV_COMMUNICATION_ERROR),
    _VendorError(_ALL, 18, "Plug Presence (PP) conformity", _E.EV_COMMUNICATION_ERROR),
    _VendorError(_ALL, 19, "Charge Alarm EV Disconnected", _E.EV_COMMUNICATION_ERROR),
    _VendorError(_ALL, 20, "Charge Alarm ShortCut", _E.EV_COMMUNICATION_ERROR),
    _VendorError(_ALL, 21, "Charge Alarm Overload", _E.OVER_CURRENT_FAILURE),
    _VendorError(_ALL, 22, "Charge Alarm Ventilation Not Allowed", _E.OTHER_ERROR),
    _VendorError(_ALL, 24, "Modem Communication", _E.WEAK_SIGNAL, blocks=False),
    _VendorError("W", 25, "Energy Reserve", _E.CONNECTOR_LOCK_FAILURE, passes=5.0),
    _VendorError(_ALL, 29, "Remote EM Communication", _E.OTHER_ERROR, blocks=False),
    _VendorError(_ALL, 30, "Supervision communication", _E.OTHER_ERROR, blocks=False),
    _VendorError(_ALL, 31, "NTP Server Communication", _E.OTHER_ERROR, blocks=False),
)


def _product(product: str, name: str, title: str, point_serial: str, connectors: int) -> Profile:
    return Profile(
        name=name,
        summary=f"Schneider Electric {title}, release R7, by its OCPP guide",
        vendor="Schneider Electric",
        model=title,
        firmware="3.3.0.7",
        box_serial="3N1931400010-2B1B1B7B-{identity:0>12.12}",  # 34 characters
        point_serial=point_serial + "-{identity:0>14.14}",  # 26 characters
        connectors=connectors,
        sample_interval=15.0,
        keys=tuple(parameter.key for parameter in _PARAMETERS if product in parameter.products),
        readings=_READINGS,
        rules=_RULES,
        refused=_REFUSED,
        triggers=_TRIGGERS,
        idle_values=False,
        faults=tuple(error.fault for error in _VENDOR_ERRORS if product in error.products),
    )


WALLBOX: Final = _product("W", "evlink", "EVlink Smart Wallbox", "EVB1A22P4RI", 1)
PARKING: Final = _product("P", "evlink-parking", "EVlink Parking", "EVF2S22P22R", 2)
CITY: Final = _product("C", "evlink-city", "EVlink City", "EVC1S22P4FR", 2)

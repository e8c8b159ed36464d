"""Charge points of no manufacturer: with everything, with the least, with direct current, with bad manners."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ampgate.ocpp import v16
from ampgate.ocpp.rpc import ErrorCode
from ampgate.simulator.charging_profiles import Rules
from ampgate.simulator.electrics import AC_READINGS, DC, DC_READINGS, Reading, names
from ampgate.simulator.profiles.profile import Profile
from ampgate.simulator.settings import Key

_MEASURANDS: Final = tuple(v16.Measurand)
_RULES: Final = Rules()
_DC_RULES: Final = Rules(voltage=DC.voltage, supply_phases=DC.phases)


def _core(readings: tuple[Reading, ...], features: str, rotation: str = "RST") -> tuple[Key, ...]:
    """What every charge point must have (OCPP 1.6 §9.1)."""
    measured = ",".join(names(readings))
    at_the_end = "Current.Import,Power.Active.Import,Energy.Active.Import.Register,SoC"
    return (
        Key("AuthorizeRemoteTxRequests", "false", "boolean"),
        Key("ClockAlignedDataInterval", "0", unit="s"),
        Key("ConnectionTimeOut", "60", unit="s"),
        Key("ConnectorPhaseRotation", f"0.{rotation}", "text"),
        Key("GetConfigurationMaxKeys", "50", readonly=True),
        Key("HeartbeatInterval", "300", unit="s"),
        Key("LocalAuthorizeOffline", "true", "boolean"),
        Key("LocalPreAuthorize", "false", "boolean"),
        Key("MeterValuesAlignedData", measured, "list", words=_MEASURANDS),
        Key("MeterValuesSampledData", measured, "list", words=_MEASURANDS),
        Key("MeterValueSampleInterval", "60", unit="s"),
        Key("NumberOfConnectors", "1", readonly=True),
        Key("ResetRetries", "1"),
        Key("StopTransactionOnEVSideDisconnect", "true", "boolean"),
        Key("StopTransactionOnInvalidId", "true", "boolean"),
        Key("StopTxnAlignedData", "", "list", words=_MEASURANDS),
        Key("StopTxnSampledData", at_the_end, "list", words=_MEASURANDS),
        Key("SupportedFeatureProfiles", features, "text", readonly=True),
        Key("TransactionMessageAttempts", "3"),
        Key("TransactionMessageRetryInterval", "10", unit="s"),
        Key("UnlockConnectorOnEVSideDisconnect", "true", "boolean"),
    )


def _optional(rules: Rules) -> tuple[Key, ...]:
    """What the optional features and feature profiles bring (OCPP 1.6 §9)."""
    return (
        Key("AllowOfflineTxForUnknownId", "false", "boolean"),
        Key("AuthorizationCacheEnabled", "true", "boolean"),
        Key("ChargeProfileMaxStackLevel", str(rules.stack_level), readonly=True),
        Key("ChargingScheduleAllowedChargingRateUnit", "Current,Power", "text", readonly=True),
        Key("ChargingScheduleMaxPeriods", str(rules.periods), readonly=True),
        Key("ConnectorSwitch3to1PhaseSupported", "false", "boolean", readonly=True),
        Key("LocalAuthListEnabled", "true", "boolean"),
        Key("LocalAuthListMaxLength", "1000", readonly=True),
        Key("MaxChargingProfilesInstalled", str(rules.installed), readonly=True),
        Key("ReserveConnectorZeroSupported", "true", "boolean", readonly=True),
        Key("SendLocalListMaxLength", "100", readonly=True),
        Key("WebSocketPingInterval", "30", unit="s"),
    )


_EVERYTHING: Final = "Core,FirmwareManagement,LocalAuthListManagement,Reservation,RemoteTrigger,SmartCharging"
_SECURITY: Final = {
    action.name: ErrorCode.NOT_SUPPORTED for action in v16.ACTIONS.values() if action.feature == "Security"
}

GENERIC: Final = Profile(
    name="generic",
    summary="22 kW AC charger with every feature profile of OCPP 1.6",
    model="Simulated AC-22",
    keys=_core(AC_READINGS, _EVERYTHING) + _optional(_RULES),
    rules=_RULES,
    refused=_SECURITY,
)
CORE: Final = Profile(
    name="core",
    summary="22 kW AC charger with the core profile alone: no reservation, local list, smart charging or trigger",
    model="Simulated AC-22 Core",
    keys=_core(AC_READINGS, "Core"),
    refused={action.name: ErrorCode.NOT_IMPLEMENTED for action in v16.ACTIONS.values() if action.feature != "Core"},
)
DIRECT: Final = Profile(
    name="dc",
    summary="120 kW DC charger with two connectors, every feature profile of OCPP 1.6, no phases",
    model="Simulated DC-120",
    connectors=2,
    keys=_core(DC_READINGS, _EVERYTHING, "NotApplicable") + _optional(_DC_RULES),
    supply=DC,
    readings=DC_READINGS,
    rules=_DC_RULES,
    refused=_SECURITY,
)
MISBEHAVING: Final = replace(
    GENERIC,
    name="misbehaving",
    summary="the generic charger with many bad manners at once (see the quirks below)",
    model="Simulated Rascal",
    quirks=frozenset(
        {
            "no-subprotocol",
            "no-upgrade-header",
            "long-serials",
            "no-timezone",
            "decimal-comma",
            "no-units",
            "repeated-begin",
            "number-ids",
            "resend",
            "unasked-answers",
            "extra-fields",
            "no-connector-0",
            "no-reason",
        }
    ),
)

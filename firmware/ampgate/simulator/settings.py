"""The configuration keys of a charge point (OCPP 1.6 §9) as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from ampgate.ocpp import v16
from ampgate.simulator import profiles

Kind = Literal["integer", "boolean", "measurands", "text"]

MEASURANDS: Final = (
    "Current.Import,Voltage,Power.Active.Import,Energy.Active.Import.Register,SoC,Temperature,Current.Offered,Frequency"
)
_PROFILES: Final = "Core,LocalAuthListManagement,Reservation,RemoteTrigger,SmartCharging"


class Key(NamedTuple):
    """One configuration key and its factory setting."""

    name: str
    value: str
    kind: Kind = "integer"
    readonly: bool = False


KEYS: Final = (
    Key("AuthorizationCacheEnabled", "true", "boolean"),
    Key("AuthorizeRemoteTxRequests", "false", "boolean"),
    Key("ChargeProfileMaxStackLevel", str(profiles.MAX_STACK_LEVEL), readonly=True),
    Key("ChargingScheduleAllowedChargingRateUnit", "Current,Power", "text", readonly=True),
    Key("ChargingScheduleMaxPeriods", str(profiles.MAX_PERIODS), readonly=True),
    Key("ClockAlignedDataInterval", "0"),
    Key("ConnectionTimeOut", "60"),
    Key("ConnectorPhaseRotation", "0.RST", "text"),
    Key("ConnectorSwitch3to1PhaseSupported", "false", "boolean", readonly=True),
    Key("GetConfigurationMaxKeys", "50", readonly=True),
    Key("HeartbeatInterval", "300"),
    Key("LocalAuthListEnabled", "true", "boolean"),
    Key("LocalAuthListMaxLength", "1000", readonly=True),
    Key("LocalAuthorizeOffline", "true", "boolean"),
    Key("LocalPreAuthorize", "false", "boolean"),
    Key("MaxChargingProfilesInstalled", str(profiles.MAX_PROFILES), readonly=True),
    Key("MeterValuesAlignedData", MEASURANDS, "measurands"),
    Key("MeterValuesSampledData", MEASURANDS, "measurands"),
    Key("MeterValueSampleInterval", "60"),
    Key("NumberOfConnectors", "1", readonly=True),
    Key("ReserveConnectorZeroSupported", "true", "boolean", readonly=True),
    Key("ResetRetries", "1"),
    Key("SendLocalListMaxLength", "100", readonly=True),
    Key("StopTransactionOnEVSideDisconnect", "true", "boolean"),
    Key("StopTransactionOnInvalidId", "true", "boolean"),
    Key("StopTxnAlignedData", "", "measurands"),
    Key("StopTxnSampledData", "Current.Import,Power.Active.Import,Energy.Active.Import.Register,SoC", "measurands"),
    Key("SupportedFeatureProfiles", _PROFILES, "text", readonly=True),
    Key("TransactionMessageAttempts", "3"),
    Key("TransactionMessageRetryInterval", "10"),
    Key("UnlockConnectorOnEVSideDisconnect", "true", "boolean"),
    Key("WebSocketPingInterval", "30"),
)


class Settings:
    """The keys of one charge point with their present values; names are compared without regard to case."""

    def __init__(self, **overrides: str) -> None:
        self._keys = {key.name.lower(): key for key in KEYS}
        self._values = {key.name.lower(): key.value for key in KEYS}
        for name, value in overrides.items():
            self._values[name.lower()] = value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def integer(self, name: str) -> int:
        """The value of an integer key."""
        return int(self[name])

    def boolean(self, name: str) -> bool:
        """The value of a boolean key."""
        return self[name].lower() == "true"

    def words(self, name: str) -> list[str]:
        """The value of a key that holds a list."""
        return [word.strip() for word in self[name].split(",") if word.strip()]

    def change(self, name: str, value: str) -> v16.ConfigurationStatus:
        """ChangeConfiguration (OCPP 1.6 §5.3)."""
        key = self._keys.get(name.lower())
        if key is None:
            return v16.ConfigurationStatus.NOT_SUPPORTED
        if key.readonly or not _valid(key.kind, value):
            return v16.ConfigurationStatus.REJECTED
        self._values[name.lower()] = value.strip()
        return v16.ConfigurationStatus.ACCEPTED

    def find(self, names: Iterable[str]) -> Iterator[v16.KeyValue]:
        """These keys, or all when no name is given; unknown names are left out."""
        for key in [self._keys.get(name.lower()) for name in names] or self._keys.values():
            if key is not None:
                yield v16.KeyValue(key=key.name, readonly=key.readonly, value=self[key.name])

    def unknown(self, names: Iterable[str]) -> list[str]:
        """The names that are no keys."""
        return [name for name in names if name.lower() not in self._keys]


def _valid(kind: Kind, value: str) -> bool:
    match kind:
        case "integer":
            return value.strip().isascii() and value.strip().isdigit() and len(value.strip()) < 10
        case "boolean":
            return value.strip().lower() in ("true", "false")
        case "measurands":
            return {word.strip() for word in value.split(",") if word.strip()} <= set(v16.Measurand)
        case "text":
            return True

"""The configuration keys of a charge point (OCPP 1.6 §9): rows of a table, and their present values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from ampgate.ocpp import v16

Kind = Literal["integer", "boolean", "list", "text"]
_LONGEST: Final = 500
"""Characters of a value (OCPP 1.6 §6.7)."""


class Key(NamedTuple):
    """One configuration key, its factory setting and what it takes."""

    name: str
    value: str
    kind: Kind = "integer"
    readonly: bool = False
    limits: tuple[int, int] | None = None
    """Lowest and highest value of an integer, least and most characters of others."""
    words: tuple[str, ...] = ()
    """What else an integer may be; what a text must be, what a list must be made of."""
    unit: str = ""
    outside: str | None = None
    """What the charge point takes instead of a number out of its limits; None when it rejects that."""
    restart: bool = False
    """Whether a change takes effect with the next start: it is answered RebootRequired."""
    standard: str = ""
    """The key of OCPP 1.6 that it stands for under a name of its own."""

    def allows(self, value: str) -> bool:
        """Whether it may be set to this."""
        if value in self.words:
            return True
        match self.kind:
            case "integer":
                return _is_number(value) and _within(int(value), self.limits or (0, 999_999_999))
            case "boolean":
                return value.lower() in ("true", "false")
            case "list":
                fits = _within(len(value), self.limits or (0, _LONGEST))
                return fits and all(word in self.words for word in _split(value))
            case "text":
                return not self.words and _within(len(value), self.limits or (0, _LONGEST))


UNSET: Final = {
    "AllowOfflineTxForUnknownId": "false",
    "AuthorizationCacheEnabled": "false",
    "AuthorizeRemoteTxRequests": "false",
    "ClockAlignedDataInterval": "0",
    "HeartbeatInterval": "0",
    "LocalAuthListEnabled": "false",
    "LocalAuthorizeOffline": "true",
    "LocalPreAuthorize": "false",
    "MeterValuesAlignedData": "",
    "ReserveConnectorZeroSupported": "false",
    "StopTxnSampledData": "",
    "TransactionMessageAttempts": "3",
    "TransactionMessageRetryInterval": "10",
    "WebSocketPingInterval": "0",
    "maxIntensitySocket": "9999",
    "ocppConnectTimeOut": "0",
    "ocppVersion": "1.6",
    "rfidStatusTimeout": "0",
    "truncateBootNotificationsSerialNumbers": "false",
}
"""How a charge point behaves that does not have the key."""


class Settings:
    """The keys of one charge point with their present values; names are compared without regard to case.

    ``initial`` are values to begin with other than the factory's, also of keys that the charge point has and does not
    show.
    """

    def __init__(self, keys: Sequence[Key], initial: dict[str, str] | None = None) -> None:
        self._keys = {key.name.lower(): key for key in keys}
        self._alias = {key.standard.lower(): key.name.lower() for key in keys if key.standard}
        self._values = {name.lower(): value for name, value in UNSET.items()}
        self._values |= {name: key.value for name, key in self._keys.items()}
        for name, value in (initial or {}).items():
            self._values[self._place(name)] = value

    def _place(self, name: str) -> str:
        return self._alias.get(name.lower(), name.lower())

    def __getitem__(self, name: str) -> str:
        return self._values[self._place(name)]

    def integer(self, name: str) -> int:
        """The value of an integer key."""
        return int(self[name])

    def boolean(self, name: str) -> bool:
        """The value of a boolean key."""
        return self[name].lower() == "true"

    def words(self, name: str) -> list[str]:
        """The value of a key that holds a list."""
        return _split(self[name])

    def adopt(self, name: str, value: str) -> None:
        """Take on a value that the charge point finds out by itself, read-only or not."""
        self._values[self._place(name)] = value

    def change(self, name: str, value: str) -> v16.ConfigurationStatus:
        """ChangeConfiguration (OCPP 1.6 §5.3)."""
        key, value = self._keys.get(name.lower()), value.strip()
        if key is None:
            return v16.ConfigurationStatus.NOT_SUPPORTED
        if key.readonly:
            return v16.ConfigurationStatus.REJECTED
        if not key.allows(value):
            if key.outside is None or not _is_number(value.removeprefix("-")):
                return v16.ConfigurationStatus.REJECTED
            value = key.outside
        self._values[name.lower()] = value
        return v16.ConfigurationStatus.REBOOT_REQUIRED if key.restart else v16.ConfigurationStatus.ACCEPTED

    def find(self, names: Iterable[str]) -> Iterator[v16.KeyValue]:
        """These keys, or all when no name is given; unknown names are left out."""
        for key in [self._keys.get(name.lower()) for name in names] or self._keys.values():
            if key is not None:
                yield v16.KeyValue(key=key.name, readonly=key.readonly, value=self._values[key.name.lower()])

    def unknown(self, names: Iterable[str]) -> list[str]:
        """The names that are no keys."""
        return [name for name in names if name.lower() not in self._keys]


def _split(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 10


def _within(number: int, limits: tuple[int, int]) -> bool:
    return limits[0] <= number <= limits[1]

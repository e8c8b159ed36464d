"""The numbers in registers that stand for words of OCPP; all of them come from the register map's enumerations."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from functools import cache

from ampgate.registers.catalogue import SIGNALS


class Result(IntEnum):
    """One enumeration for every result and status register of the operations.

    The original documents 0, 1, 3, 4, 8, 9, 11 and 12; the others fill its gaps.
    """

    ACCEPTED = 0
    REJECTED = 1
    SCHEDULED = 2
    NOT_SUPPORTED = 3
    UNKNOWN = 4
    REBOOT_REQUIRED = 5
    UNLOCKED = 6
    UNLOCK_FAILED = 7
    FAILED = 8
    OCCUPIED = 9
    UNAVAILABLE = 10
    NOT_IMPLEMENTED = 11
    VERSION_MISMATCH = 12
    TIMEOUT = 20
    """The charger did not answer."""
    OFFLINE = 21
    """The charger is not connected, or has not booted yet."""
    INVALID_REQUEST = 22
    """The gateway refused the parameters; nothing was sent."""
    CALL_ERROR = 23
    """The charger answered with a CALLERROR, or with something that cannot be read."""

    @property
    def words(self) -> str:
        """For people: ``rejected``, ``not supported``."""
        return self.name.lower().replace("_", " ")


_OF_STATUS = {result.name.replace("_", "").lower(): result for result in Result} | {"faulted": Result.FAILED}


def result_of(status: str) -> Result:
    """The result for a status word of an OCPP response, e.g. ``VersionMismatch``."""
    return _OF_STATUS.get(status.lower(), Result.UNKNOWN)


@cache
def numbers(key: str) -> dict[str, int]:
    """Word to number of an enumerated signal, e.g. ``numbers("connector.status")["Charging"] == 2``."""
    return {word: number for number, word in SIGNALS[key].values.items()}


class StatusOrder(StrEnum):
    """How the status register numbers the two suspended states."""

    MANUAL = "manual"
    """SuspendedEVSE 3, SuspendedEV 4, as the original's register map says."""
    NORTH = "north"
    """SuspendedEV 3, SuspendedEVSE 4, as the North driver guide says."""

    @property
    def numbers(self) -> dict[str, int]:
        """Status word to register value."""
        manual = numbers("connector.status")
        if self is StatusOrder.MANUAL:
            return manual
        return manual | {"SuspendedEV": manual["SuspendedEVSE"], "SuspendedEVSE": manual["SuspendedEV"]}


@cache
def words(key: str) -> dict[int, str]:
    """Number to word of an enumerated signal."""
    return dict(SIGNALS[key].values)

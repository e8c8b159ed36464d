"""What can go wrong at a charge point, and how it tells (OCPP 1.6 §4.9, §7.6)."""

from __future__ import annotations

from typing import Final, NamedTuple

from ampgate.ocpp import v16

_Code = v16.ChargePointErrorCode


class Fault(NamedTuple):
    """One fault: what StatusNotification says of it, and what it does to the connector."""

    error_code: v16.ChargePointErrorCode
    vendor_code: str = ""
    """The manufacturer's own code."""
    text: str = ""
    blocks: bool = True
    """Whether nobody can charge meanwhile: the status is Faulted."""
    passes: float | None = None
    """Real seconds after which it goes by itself."""

    @property
    def name(self) -> str:
        """What people call it by."""
        return self.vendor_code or self.error_code.value


NO_FAULT: Final = Fault(_Code.NO_ERROR, blocks=False)
STANDARD: Final = tuple(Fault(code) for code in _Code if code is not _Code.NO_ERROR)
"""The error codes of OCPP 1.6, for charge points without own ones."""

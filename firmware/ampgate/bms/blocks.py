"""Registers that are read or written with one request; addresses come from the register map by key.

Only the original's map is used, so that every gateway with it will do; `UNLOCK_RESULT` and `MAP_VERSION` are asked of
gateways that have the extensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.codec import ByteOrder, codec
from ampgate.registers.layout import CHARGERS_PER_UNIT, address

HEARTBEAT: Final = "bms.heartbeat"
MAP_VERSION: Final = "gateway_state.map_version"
UNLOCK: Final = "connector.unlock"
UNLOCK_RESULT: Final = "charger_state.unlock_result"
STATUS: Final = "connector.status"
ERROR_CODE: Final = "connector.error_code"


class Block:
    """Neighbouring signals of the gateway, a charger or a connector."""

    def __init__(self, keys: Sequence[str], charger: int | None = None, connector: int | None = None) -> None:
        self._fields = [(key, address(key, charger, connector), SIGNALS[key]) for key in keys]
        self.address = min(start for _, start, _ in self._fields)
        self.registers = max(start + signal.registers for _, start, signal in self._fields) - self.address
        self.unit = (charger or 0) // CHARGERS_PER_UNIT
        """To be added to the configured unit id."""

    def decode(self, registers: Sequence[int], order: ByteOrder) -> dict[str, Any]:
        """The values of the signals by key."""
        data = b"".join(register.to_bytes(2) for register in registers)
        return {
            key: codec(signal.type, signal.registers, order).decode(data[at : at + 2 * signal.registers])
            for key, start, signal in self._fields
            for at in [2 * (start - self.address)]
        }

    def encode(self, values: Mapping[str, Any], order: ByteOrder) -> list[int]:
        """Registers that hold these values; signals without a value are 0."""
        data = bytearray(2 * self.registers)
        for key, start, signal in self._fields:
            if key in values:
                at = 2 * (start - self.address)
                data[at : at + 2 * signal.registers] = codec(signal.type, signal.registers, order).encode(values[key])
        return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]


def request(group: str, charger: int, *, with_processed: bool = True) -> Block:
    """What a charger asks: the R signals of the group, its flag among them; and whether it has been processed."""
    keys = [key for key, signal in SIGNALS.items() if signal.group == group and signal.access == "R"]
    return Block([*keys, f"{group}.processed"] if with_processed else keys, charger)


def monitor(charger: int, connector: int) -> Block:
    """What the driver guide's Monitor shows."""
    return Block([STATUS, ERROR_CODE], charger, connector)

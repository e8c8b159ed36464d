"""What makes one kind of charge point: what it says of itself, what it can do, how it is wired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ampgate.ocpp import v16
from ampgate.ocpp.rpc import ErrorCode
from ampgate.simulator.charging_profiles import Rules
from ampgate.simulator.electrics import AC, AC_READINGS, Reading, Supply
from ampgate.simulator.faults import STANDARD, Fault
from ampgate.simulator.settings import Key


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kind of charge point."""

    name: str
    summary: str
    """One line for people."""
    vendor: str = "ampgate"
    model: str
    firmware: str = "1.0.0"
    box_serial: str = "{identity:.25}"
    """Format of chargeBoxSerialNumber."""
    point_serial: str = "SIM-{identity:.21}"
    """Format of chargePointSerialNumber."""
    connectors: int = 1
    sample_interval: float = 5.0
    """Real seconds between two MeterValues of a session, unless somebody wishes another number."""
    keys: tuple[Key, ...]
    supply: Supply = AC
    readings: tuple[Reading, ...] = AC_READINGS
    rules: Rules = field(default=Rules())
    """What it accepts of charging profiles."""
    refused: Mapping[str, ErrorCode] = field(default_factory=dict)
    """Actions of the central system that it cannot do, with the CALLERROR that it answers."""
    triggers: frozenset[v16.MessageTrigger] = frozenset(v16.MessageTrigger)
    """What TriggerMessage can ask it for."""
    idle_values: bool = True
    """Whether a triggered MeterValues comes outside of transactions, too."""
    faults: tuple[Fault, ...] = STANDARD
    quirks: frozenset[str] = frozenset()
    """Names of `quirks.QUIRKS` that it comes with."""

    def boot(self, identity: str, *, longest_serial: int | None) -> v16.BootNotificationRequest:
        """Its BootNotification; serial numbers are cut to ``longest_serial`` characters."""
        return v16.BootNotificationRequest(
            charge_point_vendor=self.vendor,
            charge_point_model=self.model,
            charge_point_serial_number=self.point_serial.format(identity=identity)[:longest_serial],
            charge_box_serial_number=self.box_serial.format(identity=identity)[:longest_serial],
            firmware_version=self.firmware,
            meter_type="Simulated",
        )

    def fault(self, name: str) -> Fault | None:
        """The fault that people call by this name."""
        return next((fault for fault in self.faults if fault.name.lower() == name.lower()), None)

"""A device on the bench: commissioned before the tests, its power and its front in an operator's hands."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attr
from labgrid.factory import target_factory
from labgrid.protocol import PowerProtocol
from labgrid.strategy import Strategy

from hil.drivers.protocols import Bus, FrontProtocol, Light
from hil.strategy import listens, serves, until

SITE: Final = Path(__file__).parent / "site.toml"
"""What the device has been commissioned with."""
DISCHARGE: Final = 20.0
"""Seconds that a device may live on what is in its capacitors, with an operator's delay."""
CONFIGURATION: Final = Path(__file__).parents[1] / "build" / "hil" / "config.toml"
"""What the operator has to put onto the device."""


@target_factory.reg_driver
@attr.s(eq=False)
class BenchStrategy(Strategy):  # type: ignore[misc]
    """The real gateway at ``address``, which has the configuration `hil/site.toml`."""

    bindings = {  # noqa: RUF012 - how labgrid declares them
        "world": FrontProtocol,
        "adapter": "RS485AdapterDriver",
        "listener": {"ListenerDriver", None},
        "relay": {PowerProtocol, None},
    }
    address = attr.ib(validator=attr.validators.instance_of(str))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._configuration = SITE.read_text(encoding="utf-8")
        for driver in (self.world, self.adapter, self.listener, self.relay):
            if driver is not None:
                self.target.activate(driver)

    @property
    def rs485(self) -> Bus:
        """Our end of EIA-485 port A."""
        bus: Bus = self.adapter.bus
        return bus

    def serve(self) -> None:
        """Have the device serve; nothing is done when it does."""
        if not serves(self.address):
            self.power_on()

    def power_on(self) -> None:
        """Connect the supply and wait until the device serves."""
        if self.relay is None:
            self.world.power(True)
        else:
            self.relay.on()
        self.until_serving()

    def hold_at_power_up(self, seconds: int) -> dict[str, Light]:
        """Restart with the button held for so long, 0: until the reset is done; what the lamps showed meanwhile."""
        if not seconds:
            self._configuration = ""
        self.power_cut()
        lights: dict[str, Light] = self.world.hold_at_power_up(seconds, self.relay and self.relay.on)
        return lights

    def configure(self, text: str) -> None:
        """Have a configuration put onto the device, unless it has this one."""
        if text == self._configuration:
            return
        self._configuration = text
        CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
        CONFIGURATION.write_text(text, encoding="utf-8")
        self.power_cut()
        self.world.configure(CONFIGURATION)
        self.power_on()

    def power_cut(self) -> None:
        """Disconnect the supply and wait until the device is gone."""
        if self.relay is None:
            self.world.power(False)
        else:
            self.relay.off()
        until(lambda: not listens(self.address, 502), f"nobody at {self.address}", DISCHARGE)

    def restart_gateway(self) -> None:
        """The next start of the gateway, which reads the switches: it has no other on the bench."""
        self.power_cut()
        self.power_on()

    def until_serving(self) -> None:
        """Wait until Modbus TCP and OCPP answer."""
        until(lambda: serves(self.address), f"Modbus TCP and OCPP at {self.address}")

"""Where the programs of this room meet the gateway and the people."""

from __future__ import annotations

from pathlib import Path
from typing import Final

INTERFACE: Final = "eth0"

REQUESTS: Final = Path("/run/ampgate/requests")
"""The gateway writes here what it asks of the system; path units watch it."""
NETWORK_REQUEST: Final = "network.toml"
NETWORK_CONFIRMATION: Final = "network-confirm"
RESET_REQUEST: Final = "factory-reset"

ANSWERS: Final = Path("/run/ampgate-system")
"""What the system says of itself, for everybody to read."""
NETWORK_STATE: Final = "network.json"
FALLBACK_STATE: Final = Path("/run/ampgate-fallback/state.json")

CONFIRMED_NETWORK: Final = Path("/data/network/settings.toml")
CLOCK_SET_BY_BMS: Final = Path("/run/ampgate/clock-set-by-bms")
"""Exists once the BMS has set the clock: from then on NTP leaves it alone."""

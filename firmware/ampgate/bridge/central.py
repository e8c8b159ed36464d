"""Gateway and BMS as the central system of the chargers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ampgate.bridge.charger import Charger
from ampgate.bridge.chargers import Chargers
from ampgate.bridge.sessions import Settings
from ampgate.bridge.signals import ChargerSetting
from ampgate.journal import Journal
from ampgate.ocpp.link import Handler, Link
from ampgate.registers.site import Site


class Bridge(Chargers[Charger]):
    """Joins the registers of a site with its chargers; ``heartbeat_interval`` in seconds is what chargers are told."""

    def __init__(
        self,
        site: Site,
        chargers: Sequence[ChargerSetting],
        journal: Journal,
        *,
        heartbeat_interval: int = 300,
        **options: Any,
    ) -> None:
        def make(index: int, setting: ChargerSetting, settings: Settings) -> Charger:
            return Charger(index, setting, site, settings, heartbeat_interval=heartbeat_interval)

        super().__init__(site, chargers, journal, make, **options)

    def connected(self, identity: str, link: Link) -> Handler:
        """A configured charger has connected; returns what answers it."""
        return self._by_id[identity].connected(link)

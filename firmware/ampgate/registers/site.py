"""The registers of a configured site: its images by unit id and its points by key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ampgate.registers.codec import ByteOrder
from ampgate.registers.image import Image, Point
from ampgate.registers.layout import ChargerShape, places


class Site:
    """Images and points of a gateway with these chargers.

    ``images[n]`` answers at the configured unit id plus ``n``.
    """

    def __init__(
        self,
        chargers: Sequence[ChargerShape],
        *,
        order: ByteOrder = ByteOrder.BIG,
        external: bool = False,
        extensions: bool = True,
        read_only: bool = False,
    ) -> None:
        self.places = list(places(chargers, external=external, extensions=extensions))
        units: dict[int, list[int]] = defaultdict(list)
        for index, place in enumerate(self.places):
            units[place.unit].append(index)
        self.images: list[Image] = []
        self._points: dict[tuple[int | None, int | None], dict[str, Point]] = defaultdict(dict)
        for unit in sorted(units):
            image = Image()
            image.define((self.places[index] for index in units[unit]), read_only=read_only)
            self.images.append(image)
        for place in self.places:
            if not place.signal.reserved:
                point = Point(place, self.images[place.unit], order)
                self._points[place.charger, place.connector][place.signal.key] = point

    @property
    def gateway(self) -> Mapping[str, Point]:
        """Points of the gateway block by key."""
        return self._points[None, None]

    def charger(self, index: int) -> Mapping[str, Point]:
        """Points of a charger's block by key."""
        return self._points[index, None]

    def connector(self, charger: int, connector: int) -> Mapping[str, Point]:
        """Points of a connector's block by key; connector 0 is the charger as a whole."""
        return self._points[charger, connector]

    @property
    def active(self) -> int:
        """Number of signals that the BMS can address."""
        return sum(place.active and not place.signal.reserved for place in self.places)

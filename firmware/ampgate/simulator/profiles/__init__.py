"""The kinds of charge points that can be simulated, as data."""

from typing import Final

from ampgate.simulator.profiles import evlink, generic
from ampgate.simulator.profiles.profile import Profile

PROFILES: Final[dict[str, Profile]] = {
    profile.name: profile
    for profile in (
        generic.GENERIC,
        generic.CORE,
        generic.DIRECT,
        generic.MISBEHAVING,
        evlink.WALLBOX,
        evlink.PARKING,
        evlink.CITY,
    )
}
"""All of them by name."""

__all__ = ["PROFILES", "Profile"]

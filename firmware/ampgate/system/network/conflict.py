"""Whether somebody else has the fallback address, for those who tell people: what `fallback` has left in its file."""

from __future__ import annotations

from ampgate.system import files, places
from ampgate.system.network.lastresort import State


def conflict() -> str:
    """Who has the fallback address in our place, in clear text; empty when nobody has, or this is no device."""
    seen = files.read_json(places.FALLBACK_STATE)
    if seen.get("state") != State.IN_USE:
        return ""
    return f"network: the fallback address {seen.get('address')} is in use by {seen.get('used_by')}"

"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from ampgate.simulator import charger

# How long an example takes says more of what else the machine does than of us.
hypothesis.settings.register_profile("shared machine", deadline=None)
hypothesis.settings.load_profile("shared machine")


@pytest.fixture(autouse=True, scope="session")
def attentive_chargers() -> Iterator[None]:
    """Simulated chargers look more often at cars and timers than they have to, so that nobody waits for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charger, "TICK", 0.02)
        yield

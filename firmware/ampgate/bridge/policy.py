"""Who may charge when the one who decides does not answer."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from ampgate.ocpp.v16 import AuthorizationStatus


class Policy(StrEnum):
    """Setting ``bms.policy``."""

    REJECT = "reject"
    ACCEPT = "accept"
    LIST = "list"


class Trust(StrEnum):
    """Setting ``ocpp.external.authorize``: who may charge while the external central system is away."""

    KNOWN = "known"
    ACCEPT = "accept"
    REJECT = "reject"


class Fallback:
    """The decision of the gateway in place of the BMS; ``tags`` are used by the policy ``list``."""

    def __init__(self, policy: Policy = Policy.REJECT, tags: Iterable[str] = ()) -> None:
        self.policy = policy
        # Id tags are compared without regard to case (OCPP 1.6 §7.28, CiString).
        self._tags = frozenset(tag.lower() for tag in tags)

    def decide(self, id_tag: str) -> AuthorizationStatus:
        """Accepted or Invalid."""
        accepted = self.policy is Policy.ACCEPT or (self.policy is Policy.LIST and id_tag.lower() in self._tags)
        return AuthorizationStatus.ACCEPTED if accepted else AuthorizationStatus.INVALID

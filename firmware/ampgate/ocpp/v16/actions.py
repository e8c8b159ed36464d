"""The actions of OCPP 1.6: which messages exist, and who may send them."""

from typing import Literal, NamedTuple

from ampgate.ocpp.v16 import messages, security
from ampgate.ocpp.v16.types import Message

Sender = Literal["charge_point", "central_system", "both"]
"""The side that may send a request."""


class Action(NamedTuple):
    """An action: its two messages, who requests it, and the feature profile it belongs to."""

    name: str
    """As in a CALL."""
    request: type[Message]
    response: type[Message]
    sender: Sender
    feature: str
    """As in the configuration key SupportedFeatureProfiles; ``Security`` for those of the whitepaper."""


_FEATURES: dict[str, dict[Sender, tuple[str, ...]]] = {
    "Core": {
        "charge_point": (
            "Authorize",
            "BootNotification",
            "Heartbeat",
            "MeterValues",
            "StartTransaction",
            "StatusNotification",
            "StopTransaction",
        ),
        "central_system": (
            "ChangeAvailability",
            "ChangeConfiguration",
            "ClearCache",
            "GetConfiguration",
            "RemoteStartTransaction",
            "RemoteStopTransaction",
            "Reset",
            "UnlockConnector",
        ),
        "both": ("DataTransfer",),
    },
    "FirmwareManagement": {
        "charge_point": (
            "DiagnosticsStatusNotification",
            "FirmwareStatusNotification",
        ),
        "central_system": (
            "GetDiagnostics",
            "UpdateFirmware",
        ),
    },
    "LocalAuthListManagement": {
        "central_system": (
            "GetLocalListVersion",
            "SendLocalList",
        ),
    },
    "Reservation": {
        "central_system": (
            "CancelReservation",
            "ReserveNow",
        ),
    },
    "SmartCharging": {
        "central_system": (
            "ClearChargingProfile",
            "GetCompositeSchedule",
            "SetChargingProfile",
        ),
    },
    "RemoteTrigger": {
        "central_system": ("TriggerMessage",),
    },
    "Security": {
        "charge_point": (
            "LogStatusNotification",
            "SecurityEventNotification",
            "SignCertificate",
            "SignedFirmwareStatusNotification",
        ),
        "central_system": (
            "CertificateSigned",
            "DeleteCertificate",
            "ExtendedTriggerMessage",
            "GetInstalledCertificateIds",
            "GetLog",
            "InstallCertificate",
            "SignedUpdateFirmware",
        ),
    },
}


def _action(name: str, sender: Sender, feature: str) -> Action:
    module = security if feature == "Security" else messages
    return Action(name, getattr(module, f"{name}Request"), getattr(module, f"{name}Response"), sender, feature)


ACTIONS: dict[str, Action] = {
    name: _action(name, sender, feature)
    for feature, senders in _FEATURES.items()
    for sender, names in senders.items()
    for name in names
}
"""All actions by name."""

ACTION_OF: dict[type[Message], Action] = {action.request: action for action in ACTIONS.values()}
"""The action of a request type."""

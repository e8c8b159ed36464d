"""What the units of systemd start: ``python -m ampgate.system COMMAND``. People use the command ``ampgate``."""

from __future__ import annotations

import importlib
import sys
from typing import Final

from ampgate import logs

COMMANDS: Final = {
    "network-boot": "ampgate.system.network.apply:boot",
    "network-trial": "ampgate.system.network.apply:trial",
    "network-restore": "ampgate.system.network.apply:restore",
    "network-fallback": "ampgate.system.network.fallback:run",
    "factory-reset": "ampgate.system.factory:boot",
    "factory-reset-request": "ampgate.system.factory:request",
    "mark-good": "ampgate.system.health:mark_good",
    "events": "ampgate.system.events:run",
}
"""Module and function of each command; only what a command needs is loaded, as some delay the start of the device."""


def main(arguments: list[str]) -> int:
    """Run a command; what it returns is the exit code."""
    if not arguments or arguments[0] not in COMMANDS:
        print(f"usage: python -m ampgate.system {{{','.join(COMMANDS)}}}", file=sys.stderr)
        return 2
    logs.start(logs.LogFormat.AUTO, "INFO")
    module, _, function = COMMANDS[arguments[0]].partition(":")
    code: int = getattr(importlib.import_module(module), function)(*arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Who the device says it is: ``/etc/ampgate-release``, made of the image's ``meta`` file, or the same by default."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RELEASE_FILE: Final = Path("/etc/ampgate-release")
LONGEST: Final = 64
"""Characters of one name that Modbus carries."""


@dataclass(frozen=True)
class Identity:
    """The names of Modbus device identification (Modbus Application Protocol 1.1b3 §6.21)."""

    vendor: str = "ampgate"
    product_code: str = "ampgate"
    product_name: str = "ampgate OCPP gateway"
    url: str = ""
    board: str = ""
    """Which hardware the image is for; empty on another computer."""


def read(path: Path = RELEASE_FILE) -> Identity:
    """The identity of this device; on another computer the defaults."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return Identity()
    values = parse(text)
    names = {field: f"AMPGATE_{field.upper()}" for field in Identity.__dataclass_fields__}
    return Identity(**{field: values[name][:LONGEST] for field, name in names.items() if values.get(name)})


def parse(text: str) -> dict[str, str]:
    """The assignments of a file in the form of os-release (man 5 os-release)."""
    values = {}
    for line in text.splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith("#"):
            values[name] = "".join(shlex.split(value))
    return values

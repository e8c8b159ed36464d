"""Programs of the operating system that some tests need: skipped without them, unless AMPGATE_REQUIRE_PEERS=1."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/lib/systemd"


def find(program: str) -> str | None:
    """Where a program is; those of the administrator too, which are not on everybody's path."""
    return shutil.which(program, path=_PATH)


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where the peers are required."""
    if os.environ.get("AMPGATE_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def needs(*programs: str, root: bool = False) -> list[str]:
    """Where these programs are; skips the test when one is missing or only root may do this."""
    found = {program: find(program) for program in programs}
    missing = [program for program, path in found.items() if path is None]
    if root and os.geteuid() != 0:
        missing.append("root")
    if missing:
        unavailable(f"needs {', '.join(missing)}")
    return [str(Path(path)) for path in found.values() if path]

"""Files that survive a power cut, and requests that an unprivileged process leaves for a privileged one."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, Final

LONGEST_REQUEST: Final = 16 * 1024


def replace(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all, on the disk when this returns."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def replace_json(path: Path, value: Any) -> None:
    """The same for a value as JSON."""
    replace(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `replace_json` wrote; empty when there is nothing that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def take(path: Path) -> str | None:
    """Read and remove a request; None when there is none.

    Whoever may write requests may not lead us to another file: only a plain file of up to 16 KiB is read, anything
    else is removed and raises `ValueError`.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        _remove(path)
        raise ValueError(f"{path}: not a plain file ({error.strerror})") from error
    try:
        _remove(path)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{path}: not a plain file")
        data = os.read(handle, LONGEST_REQUEST + 1)
    finally:
        os.close(handle)
    if len(data) > LONGEST_REQUEST:
        raise ValueError(f"{path}: longer than {LONGEST_REQUEST} bytes")
    return data.decode("utf-8", "replace")


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except IsADirectoryError:
        path.rename(path.with_name(f".{path.name}.refused"))

"""``ampgate network`` and ``ampgate factory-reset``: requests to the units of the device, and what became of them."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ampgate.system import files, places
from ampgate.system.network.apply import TRIAL, Outcome, request_id
from ampgate.system.network.settings import SettingsError, parse

_PATIENCE: Final = 20.0
"""Seconds until a request has to be answered."""
_LOOK: Final = 0.1


class DeviceError(Exception):
    """Why the device does not do it, one line each in `reasons`."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """The options of one of the two commands."""
    parser.add_argument("--requests", type=Path, default=places.REQUESTS, help=argparse.SUPPRESS)
    parser.add_argument("--answers", type=Path, default=places.ANSWERS, help=argparse.SUPPRESS)
    if command == "factory-reset":
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.set_defaults(action=_factory_reset)
        return
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print the settings and the state of the network")
    show.set_defaults(action=_show)
    change = actions.add_parser(
        "set", help=f"try new settings; they are taken back after {TRIAL:g} s unless `confirm` follows"
    )
    change.add_argument("file", type=Path, help="file with the settings (TOML)")
    change.set_defaults(action=_set)
    confirm = actions.add_parser("confirm", help="keep the settings that are on trial")
    confirm.set_defaults(action=_confirm)


def run(options: argparse.Namespace) -> int:
    """Run the command; `DeviceError` when the device refuses or there is none."""
    code: int = options.action(options)
    return code


def _show(options: argparse.Namespace) -> int:
    state = _state(options)
    print(f"settings    {state['outcome']}" + "".join(f"\n            {problem}" for problem in state["problems"]))
    print(f"host name   {state['hostname']}")
    for key, value in state["settings"].items():
        if key != "hostname":
            print(f"{key:<11} {_shown(key, value)}")
    fallback = files.read_json(places.FALLBACK_STATE)
    if fallback:
        print(f"{fallback['interface']:<11} {fallback['state']}{_rival(fallback)}")
    return 0


def _shown(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return value or ("DHCP" if key == "address" else "-")


def _rival(fallback: dict[str, Any]) -> str:
    return f": {fallback['address']} belongs to {fallback['used_by']}" if fallback.get("used_by") else ""


def _set(options: argparse.Namespace) -> int:
    try:
        text = options.file.read_text(encoding="utf-8")
        parse(text, str(options.file))
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"{options.file}: {error}") from error
    except SettingsError as error:
        raise DeviceError(*error.problems) from error
    before = _state(options)
    _put(options.requests / places.NETWORK_REQUEST, text)
    state = _await(options, lambda state: state["request"] == request_id(text) and state["at"] != before["at"])
    if state["outcome"] != Outcome.TRIAL:
        raise DeviceError(f"{state['outcome']}: {'; '.join(state['problems'])}")
    print(f"on trial: reach the device under its new settings and run `ampgate network confirm` within {TRIAL:g} s")
    return 0


def _confirm(options: argparse.Namespace) -> int:
    state = _state(options)
    if state["outcome"] != Outcome.TRIAL:
        raise DeviceError(f"nothing is on trial; the settings are: {state['outcome']}")
    _put(options.requests / places.NETWORK_CONFIRMATION, "")
    state = _await(options, lambda state: state["outcome"] != Outcome.TRIAL)
    if state["outcome"] != Outcome.CONFIRMED:
        raise DeviceError(f"too late: {', '.join(state['problems'])}; the settings from before hold")
    print("confirmed")
    return 0


def _factory_reset(options: argparse.Namespace) -> int:
    if not options.yes:
        print("This erases configuration, sessions and network settings. Type yes to go on: ", end="", flush=True)
        if sys.stdin.readline().strip() != "yes":
            raise DeviceError("nothing was reset")
    _put(options.requests / places.RESET_REQUEST, "")
    print("the device starts anew with factory settings")
    return 0


def _state(options: argparse.Namespace) -> dict[str, Any]:
    state = files.read_json(options.answers / places.NETWORK_STATE)
    if not state:
        raise DeviceError("this is not the device: its network is looked after by somebody else")
    return state


def _put(path: Path, text: str) -> None:
    try:
        files.replace(path, text)
    except FileNotFoundError as error:
        raise DeviceError(f"this is not the device: there is no {path.parent}") from error
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}; run this as root or as the user ampgate") from error


def _await(options: argparse.Namespace, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + _PATIENCE
    while not wanted(state := _state(options)):
        if time.monotonic() > deadline:
            raise DeviceError("the system did not take the request; see journalctl -u ampgate-network-request")
        time.sleep(_LOOK)
    return state

"""Commands to a running simulation: what somebody in front of the charge points would do.

Chargers are named by their id or by their number on the site (1 is the first), ``all`` means each of them; a connector
follows after a slash and is 1 when it is left out: ``CP001``, ``CP001/2``, ``1/2``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ampgate.ocpp import v16
from ampgate.simulator import view
from ampgate.simulator.charger import Charger
from ampgate.simulator.connector import Connector
from ampgate.simulator.site import Site, vehicle

FOREVER: Final = 10 * 365 * 86_400.0
"""Seconds of a link that is lost until somebody brings it back."""
_SOC: Final = 50.0


class CommandError(Exception):
    """Why a command was not carried out, with what to do about it."""


class Console:
    """Carries out commands at a site; ``quit_`` ends the simulation."""

    def __init__(self, site: Site, quit_: Callable[[], None]) -> None:
        self._site = site
        self._quit = quit_

    def execute(self, line: str) -> str:
        """Carry out one line and say what was done; `CommandError` when it cannot be."""
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise CommandError(f"{line.strip()}: {error}") from None
        if not words:
            return ""
        command = COMMANDS.get(words[0].lower())
        if command is None:
            raise CommandError(f"there is no command {words[0]!r}; there are {', '.join(COMMANDS)}")
        arguments = words[1:]
        if not command.least <= len(arguments) <= command.most:
            raise CommandError(f"use: {command.usage(words[0].lower())}")
        try:
            return command.work(self, *arguments)
        except ValueError as error:
            raise CommandError(str(error)) from None

    # Where

    def _chargers(self, name: str) -> list[Charger]:
        chargers = self._site.chargers
        if name.lower() == "all":
            return chargers
        found = [charger for charger in chargers if charger.identity.lower() == name.lower()]
        if not found and name.isdecimal() and 1 <= int(name) <= len(chargers):
            found = [chargers[int(name) - 1]]
        if not found:
            known = ", ".join(charger.identity for charger in chargers[:20])
            raise CommandError(f"there is no charger {name!r}; there are {known}{' …' if len(chargers) > 20 else ''}")
        return found

    def _places(self, place: str, *, whole: bool = False) -> Iterator[tuple[Charger, Connector]]:
        """The connectors meant; 0 only where ``whole`` allows the charger as a whole."""
        name, slash, number = place.rpartition("/")
        if not slash:
            name, number = place, "1"
        chargers = self._chargers(name)
        if not number.isdecimal():
            raise CommandError(f"{place!r}: a connector is a number, such as {name}/1")
        for charger in chargers:
            at = charger.connectors[0] if whole and int(number) == 0 else charger.connector(int(number))
            yield charger, at

    # Commands

    def help(self) -> str:
        """All commands."""
        width = max(len(command.usage(name)) for name, command in COMMANDS.items())
        lines = [f"{command.usage(name).ljust(width)}  {command.summary}" for name, command in COMMANDS.items()]
        return "\n".join([*lines, "", "CP is an id, a number or `all`; connector N is 1 when it is left out."])

    def show(self) -> str:
        """The table of connectors."""
        return "\n".join(view.table(self._site))

    def plug(self, place: str, soc: str = str(_SOC)) -> str:
        """Plug in a car."""
        full = _number(soc, "the state of charge in %", 0, 100)
        places = list(self._places(place))
        for charger, connector in places:
            charger.plug_in(connector.number, vehicle(connector.supply, full))
        return _done("car plugged in at", places)

    def unplug(self, place: str) -> str:
        """Take the car away."""
        places = list(self._places(place))
        for charger, connector in places:
            if connector.vehicle is None:
                raise CommandError(f"no car is plugged in at {charger.identity}/{connector.number}")
            charger.unplug(connector.number)
        return _done("unplugged at", places)

    def tap(self, place: str, id_tag: str) -> str:
        """Hold a card to the reader."""
        if len(id_tag) > 20:
            raise CommandError(f"{id_tag!r}: an id tag has at most 20 characters")
        places = list(self._places(place))
        for charger, connector in places:
            charger.background(charger.present(connector.number, id_tag))
        return _done(f"card {id_tag} at", places)

    def error(self, place: str, code: str) -> str:
        """Raise a fault."""
        places = list(self._places(place, whole=True))
        for charger, connector in places:
            fault = charger.profile.fault(code)
            if fault is None:
                codes = ", ".join(fault.name for fault in charger.profile.faults)
                raise CommandError(f"profile {charger.profile.name} has no error {code!r}; it has {codes}")
            charger.fail(connector.number, fault)
        return _done(f"error {code} at", places)

    def clear(self, place: str) -> str:
        """Mend what is broken."""
        places = list(self._places(place, whole=True))
        for charger, connector in places:
            charger.mend(connector.number)
        return _done("no error any more at", places)

    def drop(self, name: str, seconds: str = "") -> str:
        """Lose the link."""
        time = _number(seconds, "the time in s", 0, 86_400) if seconds else FOREVER
        for charger in (chargers := self._chargers(name)):
            charger.connection.lose(time)
        return f"link lost: {_names(chargers)}" + (f", for {time:g} s" if seconds else ", until `link`")

    def link(self, name: str) -> str:
        """Bring the link back."""
        for charger in (chargers := self._chargers(name)):
            charger.connection.find()
        return f"link allowed: {_names(chargers)}"

    def reset(self, name: str) -> str:
        """Restart."""
        for charger in (chargers := self._chargers(name)):
            charger.connection.restart(v16.ResetType.SOFT)
        return f"restart: {_names(chargers)}"

    def get(self, name: str, key: str = "") -> str:
        """Show configuration keys."""
        lines = []
        for charger in self._chargers(name):
            if key and charger.settings.unknown([key]):
                raise CommandError(f"{charger.identity} has no configuration key {key}; `get {name}` shows all")
            for row in charger.settings.find([key] if key else []):
                lines.append(f"{charger.identity}  {row.key} = {row.value}{'  (read-only)' if row.readonly else ''}")
        return "\n".join(lines)

    def set(self, name: str, key: str, value: str) -> str:
        """Change a configuration key."""
        lines = []
        for charger in self._chargers(name):
            status = charger.configure(key, value)
            now = f", now {charger.settings[key]}" if status is not v16.ConfigurationStatus.NOT_SUPPORTED else ""
            lines.append(f"{charger.identity}  {key} = {value}: {status.value}{now}")
        return "\n".join(lines)

    def quit(self) -> str:
        """End the simulation."""
        self._quit()
        return "ending"


class Command(NamedTuple):
    """One command: what it is called with, and what it does."""

    arguments: str
    summary: str
    work: Callable[..., str]

    def usage(self, name: str) -> str:
        """Name and arguments."""
        return f"{name} {self.arguments}".rstrip()

    @property
    def least(self) -> int:
        """Number of arguments that it needs."""
        return len(self.arguments.partition("[ ")[0].split())

    @property
    def most(self) -> int:
        """Number of arguments that it takes."""
        return len(self.arguments.replace("[ ", "").replace(" ]", "").split())


COMMANDS: Final[dict[str, Command]] = {
    "show": Command("", "every connector with what it does", Console.show),
    "plug": Command("CP/N [ SOC ]", "plug in a car, 50 % charged or SOC", Console.plug),
    "unplug": Command("CP/N", "take the car away", Console.unplug),
    "tap": Command(
        "CP/N TAG", "hold a card to the reader: starts a session, or ends the one of this card", Console.tap
    ),
    "error": Command("CP/N CODE", "raise an error of the profile; connector 0 is the whole charger", Console.error),
    "clear": Command("CP/N", "the error is gone", Console.clear),
    "drop": Command("CP [ SECONDS ]", "lose the link, for a time or until `link`", Console.drop),
    "link": Command("CP", "let a lost link come back", Console.link),
    "reset": Command("CP", "restart the charger, as by its own button", Console.reset),
    "get": Command("CP [ KEY ]", "show configuration keys", Console.get),
    "set": Command("CP KEY VALUE", "change a configuration key, as on the charger's own web page", Console.set),
    "help": Command("", "this list", Console.help),
    "quit": Command("", "end the simulation", Console.quit),
}
"""All of them by name."""


def _number(text: str, what: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise CommandError(f"{text!r}: {what} is a number from {least:g} to {most:g}")
    return number


def _done(what: str, places: list[tuple[Charger, Connector]]) -> str:
    return f"{what} " + ", ".join(f"{charger.identity}/{connector.number}" for charger, connector in places)


def _names(chargers: list[Charger]) -> str:
    return ", ".join(charger.identity for charger in chargers)

"""TOML files as tables of typed keys (structs of msgspec), and errors that say what to do.

Nothing is half-applied: a file with a mistake gives a `ConfigError` that lists all of them.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Meta


class ConfigError(Exception):
    """What is wrong with a configuration, one line each in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


WORD: Final = Meta(pattern=r"^[^/\s]*$", description="without blanks and /")
"""One word, or none."""

_T = TypeVar("_T", bound=msgspec.Struct)


def read(path: Path, page: str) -> str:
    """The text of a file; the `ConfigError` of a missing one names the ``page`` of the documentation that has one."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file (see {page} for a first one)"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {error}"]) from None


def parse(table: type[_T], text: str, name: str, check_whole: Callable[[_T], Iterator[str]]) -> _T:
    """Check a file whose top level is ``table``.

    ``name`` is what error messages call it; ``check_whole`` finds what a single value cannot show.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{name}: not TOML: {error}"]) from None
    problems = list(_check_table(table, document, ""))
    if not problems:
        config = msgspec.convert(document, table)
        problems = list(check_whole(config))
        if not problems:
            return config
    raise ConfigError([f"{name}: {problem}" for problem in problems])


def _check_table(table: type[msgspec.Struct], values: Any, path: str) -> Iterator[str]:
    if not isinstance(values, dict):
        yield f"{path} must be a table, written [{path}]"
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(table)}
    prefix = f"{path}." if path else ""
    for key, value in values.items():
        if key not in fields:
            close = difflib.get_close_matches(key, fields, 1)
            hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(fields)}"
            yield f"{prefix}{key} is not a key; {hint}"
        else:
            yield from _check_value(fields[key].type, value, f"{prefix}{key}")
    for key, field in fields.items():
        if field.required and key not in values:
            yield f"{prefix}{key} is missing; it must be {_allowed(field.type)}"


def _check_value(type_: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        yield from _check_table(type_, value, path)
        return
    element = getattr(type_, "__args__", (None,))[0] if getattr(type_, "__origin__", None) is list else None
    if isinstance(element, type) and issubclass(element, msgspec.Struct):
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            yield f"{path} must be a list of tables, written [[{path}]]"
            return
        for index, item in enumerate(value):
            yield from _check_table(element, item, f"{path}[{index}]")
        return
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError:
        said = "(not shown)" if path.endswith(".password") else shown(value)
        yield f"{path} = {said} must be {_allowed(type_)}"


def shown(value: Any) -> str:
    """A value as it is written in the file."""
    if isinstance(value, float):
        return str(value)  # TOML has nan and inf, JSON has not
    return msgspec.json.encode(value, enc_hook=str).decode()


def _allowed(type_: Any) -> str:
    """Say in words what a type takes; what its pattern means is said by the type itself, as its ``description``."""
    return _describe(msgspec.inspect.type_info(type_))


def _describe(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.Metadata():
            return f"{_describe(info.type)} {(info.extra_json_schema or {})['description']}"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            kind = "a whole number" if isinstance(info, msgspec.inspect.IntType) else "a number"
            low = f"{info.ge:g}" if info.ge is not None else f"more than {info.gt:g}" if info.gt is not None else ""
            return f"{kind}, {low}…{info.le:g}" if info.le is not None and low else kind
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.EnumType():
            return " or ".join(f'"{member.value}"' for member in info.cls)
        case msgspec.inspect.LiteralType():
            return " or ".join(map(shown, info.values))
        case msgspec.inspect.StrType():
            lengths = f" of {info.min_length or 0}…{info.max_length} characters" if info.max_length else ""
            return f"a text{lengths}"
        case msgspec.inspect.ListType():
            return f"a list, each item {_describe(info.item_type)}"
        case _:
            return "a table"


def keys(table: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every key as (path, what is allowed, default), for the documentation; no default is `msgspec.NODEFAULT`."""
    for field in msgspec.structs.fields(table):
        name = f"{path}{field.encode_name}"
        element = getattr(field.type, "__args__", (field.type,))[0]
        if isinstance(element, type) and issubclass(element, msgspec.Struct):
            yield from keys(element, f"{name}.")
        else:
            factory = field.default_factory
            yield name, _allowed(field.type), field.default if factory is msgspec.NODEFAULT else factory()

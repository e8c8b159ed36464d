"""TOML files with typed keys: what is wrong is named with key, value and what is allowed; all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from ampgate.settings import WORD, ConfigError, keys, parse, read, shown


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=5)]
    count: Annotated[int, Meta(ge=1, le=7)] = 1
    word: Annotated[str, Meta(max_length=9), WORD] = ""
    password: Annotated[str, Meta(max_length=9)] = ""


class File(msgspec.Struct, frozen=True):
    colour: Colour = Colour.RED
    on: bool = True
    rate: Annotated[float, Meta(gt=0, le=60)] = 3
    bits: Literal[1, 2] = 1
    words: list[Annotated[str, Meta(min_length=1, max_length=3)]] = []
    table: Inner = Inner("x")
    item: list[Inner] = msgspec.field(default_factory=lambda: [Inner("first")])


def odd(file: File) -> Iterator[str]:
    if file.table.count == 7:
        yield "table.count must not be 7"


def test_defaults() -> None:
    assert parse(File, "", "x", odd) == File()


def test_values() -> None:
    file = parse(File, "colour = 'blue'\nrate = 2\nwords = ['a']\n[table]\nname = 'y'\n[[item]]\nname = 'z'", "x", odd)
    assert file == File(Colour.BLUE, True, 2.0, 1, ["a"], Inner("y"), [Inner("z")])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("colour = 'green'", 'colour = "green" must be "red" or "blue"'),
        ("on = 1", "on = 1 must be true or false"),
        ("rate = 0", "rate = 0 must be a number, more than 0…60"),
        ("rate = nan", "rate = nan must be a number, more than 0…60"),
        ("bits = 3", "bits = 3 must be 1 or 2"),
        ("words = ['abcd']", 'words = ["abcd"] must be a list, each item a text of 1…3 characters'),
        ("table = 5", "table must be a table, written [table]"),
        ("item = 5", "item must be a list of tables, written [[item]]"),
        ("[table]", "table.name is missing; it must be a text of 1…5 characters"),
        ("[[item]]\nname = 'a'\n[[item]]\nname = ''", 'item[1].name = "" must be a text of 1…5 characters'),
        ("[table]\nname = 'a'\nword = 'b/'", 'table.word = "b/" must be a text of 0…9 characters without blanks and /'),
        ("[table]\nname = 'a'\npassword = 1234", "table.password = (not shown) must be a text of 0…9 characters"),
        ("[table]\nnames = 'a'\nname = 'a'", "table.names is not a key; did you mean name?"),
        ("zzz = 1", "zzz is not a key; allowed: colour, on, rate, bits, words, table, item"),
        ("[table]\nname = 'a'\ncount = 7", "table.count must not be 7"),
    ],
)
def test_mistakes(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(File, text, "site.toml", odd)
    assert error.value.problems == [f"site.toml: {problem}"]


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse(File, "on = 1\nbits = 3", "x", odd)
    assert str(error.value).splitlines() == error.value.problems
    assert len(error.value.problems) == 2


def test_what_is_not_toml() -> None:
    with pytest.raises(ConfigError, match=r"x\.toml: not TOML: .* line 1"):
        parse(File, "on 5", "x.toml", odd)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    with pytest.raises(ConfigError, match=r"x\.toml: no such file \(see docs/page\.md for a first one\)"):
        read(path, "docs/page.md")
    path.write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="utf-8"):
        read(path, "docs/page.md")
    path.write_text("größe", encoding="utf-8")
    assert read(path, "docs/page.md") == "größe"


def test_keys_for_the_documentation() -> None:
    found = {path: (allowed, default) for path, allowed, default in keys(File)}
    assert found["rate"] == ("a number, more than 0…60", 3)
    assert found["table.name"] == ("a text of 1…5 characters", msgspec.NODEFAULT)
    assert found["item.count"] == ("a whole number, 1…7", 1)
    assert found["words"][1] == []


def test_shown() -> None:
    assert [shown(value) for value in ("a", 1.5, [True])] == ['"a"', "1.5", "[true]"]

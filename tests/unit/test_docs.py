"""The pages for people say what the code does: keys, addresses, codes, commands and links."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from ampgate import cli
from ampgate.bms import kinds, objects
from ampgate.bms.config import BmsConfig
from ampgate.bms.config import parse as parse_bms
from ampgate.bridge.locallist import GROUP as LOCAL_LIST
from ampgate.bridge.operations import OPERATIONS
from ampgate.bridge.results import Result
from ampgate.config import Config, parse
from ampgate.modbus.pdu import ExceptionCode
from ampgate.ocpp import v16
from ampgate.registers import export
from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.codec import ByteOrder, codec
from ampgate.registers.layout import address
from ampgate.settings import ConfigError, keys

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
GUIDE = DOCS / "modbus-guide.md"
CONFIGURATION = DOCS / "configuration.md"
BMS = DOCS / "reference-bms.md"
OCPP = DOCS / "ocpp-support.md"
ARCHITECTURE = DOCS / "architecture.md"


# Reading Markdown


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str
    before: str
    """The line above it that is not empty."""


class Table(NamedTuple):
    """A table under a heading."""

    heading: str
    columns: tuple[str, ...]
    rows: list[dict[str, str]]


@cache
def blocks(page: Path) -> list[Block]:
    found = re.finditer(r"(?:^([^\n]*)\n+)?^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [Block(match[2], match[3], match[1] or "") for match in found]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


@cache
def tables(page: Path) -> list[Table]:
    found: list[Table] = []
    heading, columns = "", None
    lines = prose(page).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            columns = None
        elif columns is None:
            assert set(following) <= set("|- "), f"{page.name}: no table head: {line}"
            columns = tuple(cells(line))
            found.append(Table(heading, columns, []))
        elif line != following and not set(line) <= set("|- "):
            assert len(cells(line)) == len(columns), f"{page.name}: {line}"
            found[-1].rows.append(dict(zip(columns, cells(line), strict=True)))
    return found


def rows(page: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of all tables that have these columns."""
    return [row for table in tables(page) if set(columns) <= set(table.columns) for row in table.rows]


def code(cell: str) -> str:
    """What stands between backticks."""
    match = re.fullmatch(r"`(.*)`", cell)
    assert match, f"{cell!r} is not code"
    return match[1]


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.strip())
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


# Links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            anchors = {slug(line.lstrip("#")) for line in prose(linked).splitlines() if line.startswith("#")}
            assert anchor in anchors, f"{page.name}: {target}; there are {sorted(anchors)}"


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#\s]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert linked == {f"docs/{page.name}" for page in DOCS.glob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_diagrams_use_no_character_that_ends_a_line_of_mermaid(page: Path) -> None:
    for block in blocks(page):
        if block.language == "mermaid":
            assert block.text.startswith(("sequenceDiagram\n", "flowchart LR\n"))
            assert not re.search("[;#]", block.text), block.text


# Configuration


class File(NamedTuple):
    """A configuration file, and the page that describes it."""

    page: Path
    table: type[msgspec.Struct]
    parse: Callable[[str], Any]
    required: str
    """The least that the file must hold, so that every table is there."""


FILES = (
    File(CONFIGURATION, Config, parse, '[[charger]]\nid = "X"'),
    File(BMS, BmsConfig, parse_bms, '[[charger]]\nname = "X"\n[[user]]\nname = "X"'),
)
KEYS = [(file, key, allowed) for file in FILES for key, allowed, *_ in keys(file.table)]


def documented_keys(page: Path) -> dict[str, dict[str, str]]:
    """Rows of the key tables by full key: the heading names the table of the file."""
    found: dict[str, dict[str, str]] = {}
    for table in tables(page):
        if table.columns == ("key", "allowed", "default", "meaning"):
            prefix = table.heading.strip("`[]") + "." if "[" in table.heading else ""
            found |= {prefix + code(row["key"]): row for row in table.rows}
    return found


def default_of(file: File, key: str) -> str:
    """The default as it is written in the file."""
    value: Any = file.parse(file.required)
    for part in key.split("."):
        value = getattr(value[0] if isinstance(value, list) else value, part)
    return msgspec.json.encode(value).decode()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.page.name)
def test_every_key_is_documented_and_no_other(file: File) -> None:
    assert set(documented_keys(file.page)) == {key for key, *_ in keys(file.table)}


@pytest.mark.parametrize(("file", "key", "allowed"), KEYS)
def test_keys_have_the_documented_range_and_default(file: File, key: str, allowed: str) -> None:
    row = documented_keys(file.page)[key]
    assert row["allowed"].startswith(allowed)
    assert row["meaning"]
    if row["default"] != "required":
        assert code(row["default"]) == default_of(file, key)
    else:
        with pytest.raises(ConfigError, match=f"{key.rpartition('.')[2]} is missing"):
            file.parse(f"[[{key.partition('.')[0]}]]")


def configurations(file: File) -> Iterator[tuple[str, Block]]:
    """The files on all pages that are of this kind: those of the BMS are called ``bms.toml``."""
    return (
        (page.name, block)
        for page in PAGES
        for block in blocks(page)
        if block.language == "toml" and block.before.startswith("<!-- file: bms.toml") == (file.page == BMS)
    )


@pytest.mark.parametrize(
    ("file", "page", "block"), [(file, page, block) for file in FILES for page, block in configurations(file)]
)
def test_configuration_files_are_accepted_or_refused_as_the_page_says(file: File, page: str, block: Block) -> None:
    if block.before.startswith("<!-- refused"):
        with pytest.raises(ConfigError):
            file.parse(block.text)
    else:
        assert block.before.startswith("<!-- file"), f"{page}: say what this file is: {block.before}"
        file.parse(block.text)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.page.name)
def test_the_full_example_has_every_key(file: File) -> None:
    def keys_of(value: Any, path: str) -> Iterator[str]:
        for key, inner in value.items():
            tables_ = inner if isinstance(inner, list) and isinstance(inner[0], dict) else [inner]
            for table in tables_:
                yield from keys_of(table, f"{path}{key}.") if isinstance(table, dict) else [f"{path}{key}"]

    longest = max((block.text for _, block in configurations(file)), key=len)
    assert set(keys_of(tomllib.loads(longest), "")) == {key for key, *_ in keys(file.table)}


def checks() -> Iterator[tuple[str, str]]:
    """File and output of each ``ampgate check`` that a page shows."""
    for page in PAGES:
        file = ""
        for block in blocks(page):
            if block.language == "toml":
                file = block.text
            command, _, output = block.text.partition("\n")
            if block.language == "console" and command == "$ .venv/bin/ampgate check --config site.toml":
                yield file, output


@pytest.mark.parametrize(("file", "output"), list(checks()))
def test_check_prints_what_the_page_shows(
    file: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("site.toml").write_text(file, encoding="utf-8")
    code_ = cli.main(["check", "--config", "site.toml"])
    captured = capsys.readouterr()
    assert captured.out + captured.err == output
    assert code_ == bool(captured.err)


# Commands


def commands() -> Iterator[str]:
    """What follows ``ampgate`` wherever a page shows a command."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        yield from re.findall(r"^(?:\$ |    +)\.venv/bin/ampgate (.*?)(?: +>.*)?$", text, re.M)


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_commands_exist_with_these_options(command: str) -> None:
    words = shlex.split(command, comments=True)
    cli._parser().parse_args(words)  # leaves with SystemExit when there is no such option


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, page.name, "exec")


# Registers


def test_the_register_map_is_up_to_date() -> None:
    assert (DOCS / "register-map.md").read_text(encoding="utf-8") == export.to_markdown(), "run `make docs`"


def example_address(key: str) -> int:
    """Address in the examples: charger 0, connector 1."""
    block = SIGNALS[key].block
    return address(key, None if block == "gateway" else 0, 1 if block == "connector" else None)


def test_addresses_are_those_of_the_map() -> None:
    quoted = rows(GUIDE, "address", "signal key")
    assert len(quoted) > 50
    for row in quoted:
        key = code(row["signal key"])
        first, width = example_address(key), SIGNALS[key].registers
        assert row["address"] == (f"{first}–{first + width - 1}" if width > 1 else str(first)), key
        assert row["access"] == SIGNALS[key].access, key


@pytest.mark.parametrize("group", ["authorize", "start_transaction", "stop_transaction"])
def test_handshakes_are_described_whole(group: str) -> None:
    described = {code(row["signal key"]) for row in rows(GUIDE, "address", "signal key")}
    assert described >= {key for key, signal in SIGNALS.items() if signal.group == group}


def test_operations_are_described_whole() -> None:
    described = rows(GUIDE, "flag at", "signal key")
    keys = {code(row["signal key"]) for row in described}
    groups = {operation.group for operation in OPERATIONS} | {LOCAL_LIST}
    assert keys == {f"{group}.flag" for group in groups} | {"connector.unlock", "connector.availability"}
    for row in described:
        key = code(row["signal key"])
        assert int(row["flag at"]) == example_address(key)
        mentioned = {int(number) for number in re.findall(r"\b(\d+)(?:–\d+)?:", row["parameters (address: meaning)"])}
        outcome = int(row["result (address: values)"].split(":")[0])
        if SIGNALS[key].block == "charger":
            shared = {operation.group: operation.shared for operation in OPERATIONS}.get(SIGNALS[key].group)
            own = [signal for signal in SIGNALS.values() if signal.group in (SIGNALS[key].group, shared)]
            written = {example_address(signal.key) for signal in own if signal.writable and not signal.command}
            read = [example_address(signal.key) for signal in own if signal.access == "R"]
            assert mentioned <= written if shared else mentioned == written, key
            assert outcome == read[0] if shared else [outcome] == read, key
        else:
            assert outcome == example_address(f"charger_state.{key.partition('.')[2]}_result")


WORKED: dict[str, Callable[[str], Any]] = {"float32": float, "epoch32": int, "string": str}


@pytest.mark.parametrize("order", ByteOrder)
def test_byte_orders_are_worked_out_rightly(order: ByteOrder) -> None:
    worked = rows(GUIDE, "type", "value", order.value)
    assert {code(row["type"]) for row in worked} == set(WORKED)
    for row in worked:
        kind: Any = code(row["type"])
        data = bytes.fromhex(code(row[order.value]))
        encoded = codec(kind, len(data) // 2, order).encode(WORKED[kind](code(row["value"])))
        assert encoded == data, row


def test_quoted_registers_are_as_many_as_the_addresses_say() -> None:
    text = "".join(block.text for block in blocks(GUIDE) if block.language == "text")
    quoted = re.findall(r"(?:read|write) +(\d+)\.\.(\d+)((?:\s+[0-9A-F]{4}\b)+)", text)
    assert len(quoted) == len(re.findall("read|write", text)) > 10
    for first, last, registers in quoted:
        assert len(registers.split()) == int(last) - int(first) + 1, f"{first}..{last}"


def test_result_codes_are_all_there() -> None:
    listed = {int(row["code"]): row["meaning"] for row in rows(GUIDE, "code", "meaning", "who said it")}
    assert listed == {result.value: result.words for result in Result}


def test_exceptions_are_all_there() -> None:
    listed = {int(row["code"], 16) for row in rows(GUIDE, "code", "sent when")}
    assert listed == set(ExceptionCode) - {ExceptionCode.SERVER_DEVICE_FAILURE}  # which nothing sends


def test_reasons_are_those_of_the_map() -> None:
    text = prose(GUIDE)
    for key in ("stop_transaction.reason", "connector.status"):
        for number, word in SIGNALS[key].values.items():
            assert re.search(rf"\b{number} {word}\b", text), f"{key}: {number} {word}"


# OCPP


def test_every_message_of_ocpp_is_listed_once() -> None:
    from_charger = {code(row["message"]): row for row in rows(OCPP, "message", "what the gateway does with it")}
    to_charger = {code(row["message"]): row for row in rows(OCPP, "message", "sent by")}
    for name, action in v16.ACTIONS.items():
        listed = [
            table[name]
            for table, senders in ((from_charger, ("charge_point", "both")), (to_charger, ("central_system", "both")))
            if action.sender in senders
        ]
        assert all(row["profile"] == action.feature for row in listed), name
    assert len(from_charger) + len(to_charger) == len(v16.ACTIONS) + 1  # DataTransfer goes both ways


def test_flags_that_send_messages_are_listed() -> None:
    named = {key for row in rows(OCPP, "message", "sent by") for key in re.findall(r"`(\w+\.\w+)`", row["sent by"])}
    operations = {f"{operation.group}.flag" for operation in OPERATIONS} | {f"{LOCAL_LIST}.flag"}
    assert named == operations | {"connector.unlock", "connector.availability"}


# Objects of the reference BMS


def test_every_object_of_the_driver_guide_is_described() -> None:
    documented = {code(row["object"]): row for row in rows(BMS, "object", "type", "access", "content")}
    there = {f"M1.{one.reference}": one for one in objects.SETUP_OBJECTS}
    there |= {f"S1.{one.reference}": one for one in objects.SYSTEM_OBJECTS}
    assert list(documented) == list(there)
    for reference, one in there.items():
        row = documented[reference]
        assert (code(row["type"]), row["access"]) == (one.kind.name, one.access)
        assert row["content"].startswith(one.description)


@pytest.mark.parametrize(
    ("reference", "values"),
    [
        ("S1.A.T", kinds.TASKS),
        ("S1.A.RST", kinds.RESETS),
        ("S1.M.S", kinds.STATUSES),
        ("S1.M.E", kinds.ERRORS),
        ("S1.L.R", kinds.REASONS),
    ],
)
def test_enumerations_of_objects_are_written_out(reference: str, values: dict[int, str]) -> None:
    (row,) = (row for row in rows(BMS, "object", "type", "access", "content") if code(row["object"]) == reference)
    assert row["content"].endswith(", ".join(f"{number}={words}" for number, words in values.items()))


# Dependencies


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    wanted = {re.split(r"[=<>;\[ ]", requirement)[0] for requirement in [*project["dependencies"], *extras]}
    named = [name for row in rows(ARCHITECTURE, "package", "reason") for name in row["package"].split(", ")]
    assert sorted(map(code, named)) == sorted(wanted)

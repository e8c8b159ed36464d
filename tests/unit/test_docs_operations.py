"""The pages of the operations say what the code does: pages, addresses, codes, messages, links, examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args, get_type_hints

import pytest

from ampgate.board.box import Alarm as BoxAlarm
from ampgate.bridge.locallist import GROUP as LOCAL_LIST
from ampgate.bridge.operations import OPERATIONS
from ampgate.bridge.results import Result, result_of
from ampgate.bridge.vitals import Alarm
from ampgate.modbus.pdu import ExceptionCode
from ampgate.ocpp import v16
from ampgate.registers.catalogue import SIGNALS
from ampgate.registers.layout import ChargerShape, address, places

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[2] / "docs" / "operations"
INDEX = FOLDER / "README.md"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path != INDEX)
ALL = [INDEX, *PAGES]
GROUPS = sorted({signal.group for signal in SIGNALS.values() if signal.name in ("flag", "processed")})
REQUESTS = sorted({signal.group for signal in SIGNALS.values() if signal.name == "processed"})
SHARED = {operation.group: operation.shared for operation in OPERATIONS}
OPERATION_MESSAGES: Final = {
    **{group: "".join(map(str.capitalize, group.split("_"))) for group in GROUPS if group not in REQUESTS},
    "remote_start": "RemoteStartTransaction",
    "remote_stop": "RemoteStopTransaction",
    "availability": "ChangeAvailability",
    "unlock_connector": "UnlockConnector",
}
"""The message of each operation, by the name of its page."""
GATEWAY_SAYS: Final = {Result.TIMEOUT, Result.OFFLINE, Result.CALL_ERROR}
"""Results that every operation may have."""


# Reading Markdown


class Row(NamedTuple):
    """A line of a table."""

    heading: str
    """Of the section, without its number signs."""
    cells: dict[str, str]


def page_of(name: str) -> Path:
    return FOLDER / f"{name.replace('_', '-')}.md"


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.M | re.S)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", text(page), flags=re.M | re.S)


@cache
def table(page: Path, *columns: str) -> list[Row]:
    """The rows of all tables with exactly these columns."""
    found: list[Row] = []
    heading, head = "", None
    for line in prose(page).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if not line.startswith("|"):
            head = None
        elif head is None:
            head = tuple(cells)
        elif head == columns and not set(line) <= set("|- "):
            assert len(cells) == len(columns), line
            found.append(Row(heading, dict(zip(columns, cells, strict=True))))
    return found


def registers(page: Path) -> dict[str, dict[str, str]]:
    """Rows of the register tables by signal key."""
    rows = [row.cells for row in table(page, "address", "signal key", "access", "meaning")]
    keys = [row["signal key"].strip("`") for row in rows]
    assert len(set(keys)) == len(keys), "a signal stands twice"
    return dict(zip(keys, rows, strict=True))


def codes(page: Path) -> dict[int, str]:
    """The results that a page names, with their words."""
    rows = [row.cells for row in table(page, "code", "meaning", "what to do")]
    assert all(row["what to do"] for row in rows)
    return {int(row["code"]): row["meaning"] for row in rows}


def anchors(page: Path) -> set[str]:
    headings = [line.lstrip("# ") for line in prose(page).splitlines() if line.startswith("#")]
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def example_address(key: str) -> int:
    """Address in the examples: charger 0, connector 1."""
    block = SIGNALS[key].block
    return address(key, None if block == "gateway" else 0, 1 if block == "connector" else None)


# Pages


@pytest.mark.parametrize("group", GROUPS)
def test_every_handshake_and_operation_has_a_page(group: str) -> None:
    assert page_of(group) in PAGES


def test_the_index_has_every_page_once() -> None:
    rows = [
        *table(INDEX, "page", "flag", "OCPP message", "result"),
        *table(INDEX, "page", "first register", "what for"),
    ]
    linked = [re.search(r"\((.*)\)", row.cells["page"])[1] for row in rows]  # type: ignore[index]
    assert sorted(linked) == [page.name for page in PAGES]


def test_the_index_names_flag_message_and_result() -> None:
    for row in (row.cells for row in table(INDEX, "page", "flag", "OCPP message", "result")):
        name = re.search(r"\((.*)\.md\)", row["page"])[1].replace("-", "_")  # type: ignore[index]
        assert row["OCPP message"].strip("`") in v16.ACTIONS
        for column in ("flag", "result"):
            quoted = re.match(r"(\d+) `(.*?)`", row[column])
            assert quoted is not None, row
            assert int(quoted[1]) == example_address(quoted[2])
            assert quoted[2] in registers(page_of(name))
        if name in GROUPS:
            assert f"`{name}.flag`" in row["flag"]
        if name in OPERATION_MESSAGES:
            assert row["OCPP message"] == f"`{OPERATION_MESSAGES[name]}`"


def test_the_index_names_first_registers() -> None:
    for row in (row.cells for row in table(INDEX, "page", "first register", "what for")):
        quoted = re.fullmatch(r"(\d+) `(.*?)`", row["first register"])
        assert quoted is not None, row
        assert int(quoted[1]) == example_address(quoted[2])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_has_the_same_parts(page: Path) -> None:
    assert text(page).startswith("# ")
    assert len(fenced(page, "mermaid")) == 1
    assert registers(page)
    headings = re.findall(r"^## (.*)$", prose(page), re.M)
    assert [heading for heading in headings if heading in ("Rules", "Structured text", "Session")] == [
        "Rules",
        "Structured text",
        "Session",
    ]
    assert fenced(page, "iecst")
    assert fenced(page, "console") or fenced(page, "python")
    assert "[all pages](README.md)" in text(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_names_its_message(page: Path) -> None:
    words = re.findall(r"`(\w+)`", prose(page).partition("\n\n| ")[0])
    named = [word for word in words if word in v16.ACTIONS]
    expected = OPERATION_MESSAGES.get(page.stem.replace("-", "_"))
    assert named if expected is None else named == [expected]


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}; there are {sorted(anchors(linked))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_diagrams_use_no_character_that_ends_a_line_of_mermaid(page: Path) -> None:
    diagram = fenced(page, "mermaid")[0]
    assert diagram.startswith("sequenceDiagram\n")
    assert not re.search("[;#]", diagram)


# Registers


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_addresses_are_those_of_the_map(page: Path) -> None:
    for key, row in registers(page).items():
        first, width = example_address(key), SIGNALS[key].registers
        assert row["address"] == (f"{first}–{first + width - 1}" if width > 1 else str(first)), key
        assert row["access"] == SIGNALS[key].access, key


@pytest.mark.parametrize("group", GROUPS)
def test_blocks_are_described_whole(group: str) -> None:
    described = registers(page_of(group))
    assert set(described) >= {key for key, signal in SIGNALS.items() if signal.group == group}


@pytest.mark.parametrize("group", ["gateway_state", "charger_state"])
def test_state_registers_are_described_whole(group: str) -> None:
    assert set(registers(page_of("state_registers"))) >= {k for k, signal in SIGNALS.items() if signal.group == group}


def test_time_and_heartbeat_are_described_whole() -> None:
    described = {*registers(page_of("time")), *registers(page_of("heartbeat"))}
    assert described >= {key for key, signal in SIGNALS.items() if signal.group == "bms"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lists_of_values_are_those_of_the_map(page: Path) -> None:
    """Wherever a row spells a list of values with OCPP's words, it is the map's."""
    for key, row in registers(page).items():
        for number, word in re.findall(r"\b(\d+) ([A-Z]\w*[a-z]\w*)", row["meaning"]):
            assert word in (SIGNALS[key].values.get(int(number), word), "Unavailable")


@pytest.mark.parametrize(
    ("page", "columns", "key"),
    [
        ("authorize", ("value", "answer", "when"), "authorize.result"),
        ("trigger_message", ("message", "word", "what it brings"), "trigger_message.message"),
    ],
)
def test_tables_of_values_are_those_of_the_map(page: str, columns: tuple[str, ...], key: str) -> None:
    rows = [list(row.cells.values()) for row in table(page_of(page), *columns)]
    assert {int(cells[0]): cells[1] for cells in rows} == SIGNALS[key].values


def test_reasons_are_those_of_the_map() -> None:
    listed = re.findall(r"\| (\d+) \| (\w+)", prose(page_of("stop_transaction")))
    assert {int(number): word for number, word in listed} == SIGNALS["stop_transaction.reason"].values


def test_alarms_are_those_of_the_code() -> None:
    rows = [row.cells for row in table(page_of("state_registers"), "alarm bit", "value", "meaning", "what to do")]
    assert {int(row["value"]) for row in rows} == {alarm.value for alarm in (*Alarm, *BoxAlarm)}
    assert all(1 << int(row["alarm bit"]) == int(row["value"]) for row in rows)


# Results


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_result_codes_exist(page: Path) -> None:
    assert codes(page).items() <= {(result.value, result.words) for result in Result}


def results_of_the_charger(message: str) -> set[Result]:
    """What the charger's answers become."""
    hints = get_type_hints(v16.ACTIONS[message].response)
    if message == "GetConfiguration":
        return {Result.ACCEPTED, Result.UNKNOWN}  # it has no status, but a list of keys that it does not know
    if "status" not in hints:
        return {Result.ACCEPTED}
    (words,) = (kind for kind in (hints["status"], *get_args(hints["status"])) if _is_enumeration(kind))
    return {result_of(word) for word in words}


def _is_enumeration(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


@pytest.mark.parametrize(("name", "message"), sorted(OPERATION_MESSAGES.items()))
def test_every_result_that_can_come_is_described(name: str, message: str) -> None:
    described = set(codes(page_of(name)))
    possible = results_of_the_charger(message) | GATEWAY_SAYS
    assert described - {Result.INVALID_REQUEST} == possible


def test_operations_of_the_code_have_pages() -> None:
    assert {operation.group for operation in OPERATIONS} | {LOCAL_LIST} == set(GROUPS) - set(REQUESTS)
    for group, shared in SHARED.items():
        if shared:
            assert any(key.startswith(f"{shared}.") for key in registers(page_of(group)))


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.stem)
def test_exceptions_exist(page: Path) -> None:
    named = {int(code, 16) for code in re.findall(r"exception\s+([0-9A-F]{2})\b", prose(page))}
    assert named <= set(ExceptionCode)


# Examples


def active() -> set[int]:
    """Addresses of a charger with two connectors, with which the sessions were made."""
    return {place.address + number for place in places([ChargerShape(2)]) for number in range(place.signal.registers)}


def starts() -> set[int]:
    """Addresses at which a signal begins."""
    return {place.address for place in places([ChargerShape(2)]) if not place.signal.reserved}


def runs(page: Path) -> Iterator[tuple[int, int]]:
    """First address and quantity of every request in the examples."""
    structured = "".join(fenced(page, "iecst"))
    for first, quantity in re.findall(r"(?:READ|WRITE)\((\d+), (\d+),", structured):
        yield int(first), int(quantity)
    for flag, write in re.findall(r"nFlag := (\d+), nWrite := (\d+)", structured):
        yield int(flag), int(write)
    for result in re.findall(r"nResultAt := (\d+)", structured):
        yield int(result), 1
    for line in "".join(fenced(page, "console")).splitlines():
        if line.startswith("$ mbpoll"):
            yield _mbpoll(line)
    for first, quantity in re.findall(r"\bread\((\d+)(?:, (\d+))?\)", "".join(fenced(page, "python"))):
        yield int(first), int(quantity or 1)


def _mbpoll(line: str) -> tuple[int, int]:
    options, _, written = line.partition(" localhost")
    first = re.search(r" -r (\d+)", options)
    count = re.search(r" -c (\d+)", options)
    assert first is not None, line
    assert (count is None) != (not written.split()), line
    wide = 2 if "4:float" in options else 1
    return int(first[1]), wide * int(count[1]) if count else len(written.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_use_addresses_of_the_map(page: Path) -> None:
    requests = list(runs(page))
    assert requests
    for first, quantity in requests:
        assert first in starts()
        assert set(range(first, first + quantity)) <= active(), f"{quantity} registers from {first}"


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in REQUESTS])
def test_structured_text_starts_its_own_operation(group: str) -> None:
    """Flag, as many registers as there are parameters, and result."""
    called = re.search(r"nFlag := (\d+), nWrite := (\d+), nResultAt := (\d+)", "".join(fenced(page_of(group), "iecst")))
    assert called is not None
    flag, write, result = map(int, called.groups())
    own = [signal for signal in SIGNALS.values() if signal.group == group and signal.writable]
    last = max(own, key=lambda signal: signal.offset)
    assert flag == example_address(f"{group}.flag")
    assert flag + write == example_address(last.key) + last.registers
    result_keys = [f"{group}.result", f"charger_state.{group}_result", f"{SHARED.get(group, '')}.result"]
    assert result == example_address(next(key for key in result_keys if key in SIGNALS))


@pytest.mark.parametrize("group", REQUESTS)
def test_structured_text_answers_its_own_request(group: str) -> None:
    code = "".join(fenced(page_of(group), "iecst"))
    own = [signal for signal in SIGNALS.values() if signal.group == group]
    flag, processed = example_address(f"{group}.flag"), example_address(f"{group}.processed")
    end = max(example_address(signal.key) + signal.registers for signal in own)
    assert f"READ({flag}, {end - flag}, aIn)" in code
    assert f"WRITE({processed}, {end - processed}, aOut)" in code
    assert f"aIn[{processed - flag}] = 0" in code


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.stem)
def test_structured_text_closes_what_it_opens(page: Path) -> None:
    for block in fenced(page, "iecst"):
        code = re.sub(r"\(\*.*?\*\)", "", block, flags=re.S)
        for word in ("IF", "CASE", "FOR", "FUNCTION", "FUNCTION_BLOCK"):
            assert len(re.findall(rf"(?<!END_)\b{word}\b", code)) == len(re.findall(rf"\bEND_{word}\b", code)), word
        assert len(re.findall(r"^VAR\w*", code, re.M)) == len(re.findall(r"^END_VAR", code, re.M))
        assert code.count("(") == code.count(")")
        assert code.count("[") == code.count("]")


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.stem)
def test_python_is_python(page: Path) -> None:
    for block in fenced(page, "python"):
        compile(block, page.name, "exec")

"""The README's list of the tests on the real bench is that of the tests whose features a bench can have."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

HIL = Path(__file__).parents[3] / "hil"
MORE = {"configure", "lamp-times", "rs485-listener"}
"""Features that a bench may have beside those of bench.yaml."""


def features(nodes: list[ast.expr]) -> Iterator[str]:
    """Those that these marks name."""
    for node in nodes:
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.lg_feature":
                value = ast.literal_eval(call.args[0])
                yield from [value] if isinstance(value, str) else value


def wanted() -> dict[str, set[str]]:
    """The features that each test needs, by its name."""
    tests = {}
    for path in HIL.glob("test_*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        module = [node for node in body if isinstance(node, ast.Assign)]
        marks = [node.value for node in module if ast.unparse(node.targets[0]) == "pytestmark"]
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                tests[node.name] = set(features([*marks, *node.decorator_list]))
    return tests


def test_the_readme_lists_what_runs_on_a_bench():
    environment = (HIL / "environments" / "bench.yaml").read_text(encoding="utf-8")
    bench = set(re.findall(r"^      - ([a-z0-9-]+)$", environment, re.MULTILINE)) | MORE
    assert {"network", "rs485", "operator"} <= bench
    run = {name for name, needs in wanted().items() if needs <= bench}
    section = (HIL / "README.md").read_text(encoding="utf-8").partition("### The run")[2].partition("\n### ")[0]
    assert set(re.findall(r"`(test_\w+)`", section)) == run

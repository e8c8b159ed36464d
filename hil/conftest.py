"""Fixtures of the tests against a device: emulated (`make hil`) or on the bench (`make hil-bench`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hil import lan
from hil.bench import BenchStrategy
from hil.strategy import GatewayStrategy, serves, until
from tests.integration import peers

T = TypeVar("T")

CONFIG = (Path(__file__).parent / "site.toml").read_text(encoding="utf-8")
"""What the installer has set."""

_measured = pytest.StashKey[list[str]]()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes what a test has measured; all of it is shown at the end of the run."""
    return request.config.stash.setdefault(_measured, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured."""
    if lines := config.stash.get(_measured, []):
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(lines))


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """Under ``--collect-only``: which tests this environment can run, and what the others need."""
    if not config.option.collectonly:
        return []
    reasons = [(item.nodeid, item.get_closest_marker("skip")) for item in items]
    return [f"{'no, ' + mark.kwargs['reason'] if mark else 'runs':<60} {name}" for name, mark in reasons]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Each power cut costs one or two starts, about a minute each."""
    parser.addoption(
        "--cuts",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the power cuts to make, 0 to 1 (default: all)",
    )


def share_of(config: pytest.Config, things: Sequence[T]) -> Sequence[T]:
    """As many of the power cuts as the user wants, spread over all of them."""
    count = max(1, round(len(things) * config.getoption("--cuts")))
    return [things[index * len(things) // count] for index in range(count)]


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """An emulated device on a busy computer is slow."""
    peers.DEADLINE = 60.0


@pytest.fixture(scope="session")
def cable() -> None:
    """The cable between this computer and the virtual device."""
    lan.plug_in()


@pytest.fixture(scope="session")
def bench(strategy: GatewayStrategy, cable: None) -> Iterator[GatewayStrategy]:
    """The device, with its plug in the hand of the test."""
    yield strategy
    strategy.power_cut()


@pytest.fixture(scope="session")
def commissioned(bench: GatewayStrategy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card on which an installer has set two chargers."""
    card: Path = tmp_path_factory.mktemp("card") / "card.qcow2"
    with lan.dhcp_server(card.parent):
        bench.factory_fresh()
        bench.configure(CONFIG)
        bench.power_cut()
    bench.machine.keep(card)
    return card


@pytest.fixture(scope="module")
def dhcp(cable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A DHCP server for the tests of a module; yields its list of leases."""
    with lan.dhcp_server(tmp_path_factory.mktemp("dhcp")) as leases:
        yield leases


@pytest.fixture(scope="module")
def device(strategy: GatewayStrategy | BenchStrategy, request: pytest.FixtureRequest) -> Any:
    """A commissioned device that serves, shared by the tests of a module."""
    if not isinstance(strategy, BenchStrategy):
        return request.getfixturevalue("emulated")
    strategy.serve()
    return strategy


@pytest.fixture(scope="module")
def emulated(bench: GatewayStrategy, commissioned: Path, dhcp: Path) -> Iterator[GatewayStrategy]:
    """The virtual device, with a card that is commissioned and a lease."""
    bench.power_cut()
    bench.machine.insert(commissioned)
    bench.power_on()
    bench.address = until(lambda: lan.leased(dhcp), "a lease", 120)
    until(lambda: serves(bench.address), "Modbus TCP and OCPP")
    yield bench
    bench.power_cut()

"""Updates: a signed bundle goes into the other slot and starts; anything else is refused or falls back by itself.

The bundles come over the network to the data partition, as an upload to the device does.
"""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hil import lan
from hil.strategy import CONFIG_FILE, GatewayStrategy, listens, serves, until
from hil.test_session import bms_over_tcp, charger_at, start, stop

pytestmark = pytest.mark.lg_feature(["console", "network", "power", "reflash", "update"])

TRIES = 3
"""Of a version that has just been installed"""
PROVEN_TRIES = 9
"""Of one that has worked"""
PORT = 8000


@pytest.fixture(scope="module")
def shop(cable: None, target: Any) -> Iterator[None]:
    """A server with the directory of the bundles."""
    directory = Path(target.env.config.get_image_path("newer")).parent
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    server = http.server.ThreadingHTTPServer((lan.OURS, PORT), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def box(bench: GatewayStrategy, commissioned: Path, dhcp: Path, shop: None) -> Iterator[GatewayStrategy]:
    """A commissioned device that runs from slot A and is confirmed there."""
    bench.power_cut()
    bench.machine.insert(commissioned)
    bench.power_on()
    bench.address = until(lambda: lan.leased(dhcp), "a lease")
    until(lambda: confirmed(bench), "confirmation of slot A")
    assert slot(bench) == "A"
    yield bench
    bench.power_cut()


def slot(box: GatewayStrategy) -> str:
    """The one that runs."""
    return box.run(r"sed 's/.*rauc\.slot=\(.\).*/\1/' /proc/cmdline")


def version(box: GatewayStrategy) -> str:
    """That of the running system."""
    return box.run(". /etc/ampgate-release; echo $AMPGATE_VERSION")


def confirmed(box: GatewayStrategy) -> bool:
    """Whether the running system has been marked good."""
    return box.run_code("systemctl is-active ampgate-mark-good")[0] == "active"


def boot_state(box: GatewayStrategy) -> dict[str, str]:
    """What the boot loader goes by."""
    lines = box.run("fw_printenv BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT").splitlines()
    return dict(line.split("=", 1) for line in lines)


def fetch(box: GatewayStrategy, name: str) -> str:
    """Put a bundle onto the device."""
    url, path = f"http://{lan.OURS}:{PORT}/{name}.raucb", f"/data/{name}.raucb"
    box.run(f"""python3 -I -c 'import urllib.request as r; r.urlretrieve("{url}", "{path}")'""", 300)
    return path


def install(box: GatewayStrategy, name: str) -> tuple[str, int]:
    """What RAUC says to a bundle, and its exit code; the file is removed."""
    path = fetch(box, name)
    answer = box.run_code(f"rauc install {path}", 600)
    box.run(f"rm {path}")
    return answer


async def test_an_update_keeps_configuration_and_journal(box: GatewayStrategy) -> None:
    before, configuration = version(box), box.run(f"sha256sum {CONFIG_FILE}")
    async with charger_at(box) as charger, bms_over_tcp(box) as bms:
        await start(charger, bms, 900)

    output, code = install(box, "newer")
    assert code == 0, output
    assert boot_state(box) == {"BOOT_ORDER": "B A", "BOOT_A_LEFT": str(PROVEN_TRIES), "BOOT_B_LEFT": str(TRIES)}
    box.reboot()
    until(lambda: confirmed(box), "confirmation of slot B")
    assert slot(box) == "B"
    assert tuple(map(int, version(box).split("."))) > tuple(map(int, before.split(".")))
    assert boot_state(box)["BOOT_B_LEFT"] == str(PROVEN_TRIES)
    assert box.run(f"sha256sum {CONFIG_FILE}") == configuration
    async with charger_at(box) as charger, bms_over_tcp(box) as bms:
        await stop(charger, bms, 900)

    # The release that it came from is now an older one.
    output, code = install(box, "older")
    assert code and "Version mismatch" in output, output


def test_what_is_refused(box: GatewayStrategy) -> None:
    state, slots = boot_state(box), rauc(box)["slots"]
    for bundle, reason in (
        ("unsigned", "Signature size is 0"),
        ("stranger", "certificate"),
        ("older", "Version mismatch"),
    ):
        output, code = install(box, bundle)
        assert code and reason in output, (bundle, output)
        assert boot_state(box) == state
        assert rauc(box)["slots"] == slots
        assert serves(box.address)


def rauc(box: GatewayStrategy) -> dict[str, Any]:
    """RAUC's own view."""
    answer: dict[str, Any] = json.loads(box.run("rauc status --detailed --output-format=json"))
    return answer


def test_power_cuts_while_it_starts_do_not_give_up_a_version_that_has_worked(box: GatewayStrategy) -> None:
    before = boot_state(box)
    for _ in range(TRIES + 1):
        box.restart()
        box.started(1)
    assert slot(box) == "A"
    until(lambda: confirmed(box), "confirmation of slot A")
    assert boot_state(box) == before


def test_a_system_that_does_not_start_falls_back_after_three_tries(box: GatewayStrategy) -> None:
    before = version(box)
    output, code = install(box, "dead")
    assert code == 0, output
    starts = box.world.starts
    box.reboot(TRIES + 1)
    until(lambda: confirmed(box), "confirmation of slot A")
    assert (slot(box), version(box)) == ("A", before)
    assert box.world.starts == starts + TRIES + 1
    assert boot_state(box)["BOOT_B_LEFT"] == "0"
    assert listens(box.address, 502)


def test_a_system_whose_gateway_does_not_serve_falls_back(box: GatewayStrategy) -> None:
    """Each try takes the three minutes that the health check waits: it has one left here."""
    before = version(box)
    output, code = install(box, "broken")
    assert code == 0, output
    box.run("fw_setenv BOOT_B_LEFT 1")
    box.reboot()
    until(lambda: slot(box) == "B", "slot B")
    started = box.world.starts
    assert not listens(box.address, 502)
    box.started(started + 1)
    until(lambda: confirmed(box), "confirmation of slot A")
    assert (slot(box), version(box)) == ("A", before)

"""Processes under measurement: a gateway of any size, and what they cost."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ampgate import control

ROOT = Path(__file__).parents[2]
DEADLINE = 30.0


class Gateway(NamedTuple):
    """A gateway that runs."""

    pid: int
    modbus: int
    """Port of Modbus TCP."""
    ocpp: int
    ready: float
    """Seconds from its start until it answered."""
    status: dict[str, Any]


def identity(number: int) -> str:
    """Id of a charger of the bench."""
    return f"CP{number:03}"


@contextmanager
def gateway(chargers: int, connectors: int, upstream: int = 0) -> Iterator[Gateway]:
    """Run ``ampgate gateway`` with a full map of this many chargers; it is stopped at the end.

    With ``upstream``, a port of this computer, their central system is there.
    """
    external = f'[gateway]\nmode = "external"\n[ocpp.external]\nhost = "127.0.0.1"\nport = {upstream}\n'
    with tempfile.TemporaryDirectory() as folder:
        tables = "".join(
            f'[[charger]]\nid = "{identity(number)}"\nconnectors = {connectors}\n' for number in range(chargers)
        )
        config = Path(folder, "ampgate.toml")
        config.write_text(
            '[modbus.tcp]\nhost = "127.0.0.1"\nport = 0\nallow = ["127.0.0.0/8"]\n'
            f'[ocpp]\nhost = "127.0.0.1"\nport = 0\n{external if upstream else ""}{tables}'
        )
        command = [sys.executable, "-m", "ampgate", "gateway", "--config", str(config), "--state", folder]
        begin = time.perf_counter()
        with subprocess.Popen([*command, "--log-level", "ERROR"], cwd=ROOT) as process:
            try:
                status = _wait(process, Path(folder, control.SOCKET_NAME))
                ready = time.perf_counter() - begin
                yield Gateway(process.pid, status["modbus"]["tcp"]["port"], status["ocpp"]["port"], ready, status)
            finally:
                process.terminate()


def _wait(process: subprocess.Popen[bytes], socket: Path) -> dict[str, Any]:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and process.poll() is None:
        with suppress(control.ControlError):
            status: dict[str, Any] = control.ask(socket, "status")
            if status["ocpp"]["port"]:
                return status
        time.sleep(0.002)  # between two looks; what is measured is the gateway's start, in steps of this
    raise RuntimeError("the gateway did not start")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, to the nanosecond (the clock of clock_getcpuclockid(3) on Linux)."""
    return time.clock_gettime(~pid << 3 | 2)


def resident(pid: int) -> float:
    """Resident memory of a process in MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def build_libmodbus(source: Path) -> tuple[Path | None, str]:
    """Compile a reference server into ``build/bench``; without it, the reason why."""
    compiler, config = shutil.which("cc"), shutil.which("pkg-config")
    if compiler is None or config is None:
        return None, "libmodbus: skipped, needs cc and pkg-config"
    flags = subprocess.run([config, "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=False)
    if flags.returncode:
        return None, "libmodbus: skipped, its development files are not installed (apt install libmodbus-dev)"
    target = ROOT / "build" / "bench" / source.stem
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O2", str(source), "-o", str(target), *flags.stdout.split()], check=True)
    version = subprocess.run([config, "--modversion", "libmodbus"], capture_output=True, text=True, check=True)
    return target, f"libmodbus {version.stdout.strip()}, compiled with -O2."

"""The entry point of the units."""

import subprocess
import sys

import pytest

from ampgate.system.__main__ import COMMANDS, main


@pytest.mark.parametrize("arguments", [[], ["no-such-command"]])
def test_wrong_use(arguments, capsys):
    assert main(arguments) == 2
    assert "network-boot,network-trial" in capsys.readouterr().err


def test_the_exit_code_is_that_of_the_command():
    words = [sys.executable, "-m", "ampgate.system", "network-fallback", "no-such-port"]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert "no-such-port" in result.stderr


def test_what_delays_the_start_of_the_device_loads_little():
    """uvloop, websockets and pymodbus cost a second on the device; the button has no use for them."""
    code = (
        "import sys, importlib;"
        f"importlib.import_module({COMMANDS['factory-reset'].partition(':')[0]!r});"
        f"importlib.import_module({COMMANDS['network-boot'].partition(':')[0]!r});"
        "print([name for name in ('asyncio', 'uvloop', 'websockets', 'serial', 'pymodbus') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

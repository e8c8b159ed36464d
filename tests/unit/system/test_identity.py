"""Who the device says it is comes from one file."""

import subprocess

import pytest

from ampgate import __version__
from ampgate.system import identity
from tests.unit.system.overlay import TOP

META = TOP / "buildroot-external/meta"


@pytest.fixture
def root(tmp_path):
    subprocess.run([TOP / "scripts/identity", tmp_path, "qemu-virt"], check=True)
    return tmp_path


def test_elsewhere_it_is_what_meta_says():
    values = identity.parse(META.read_text())
    default = identity.read(TOP / "missing")
    assert default.vendor == values["AMPGATE_VENDOR"]
    assert default.product_code == values["AMPGATE_PRODUCT_CODE"]
    assert default.product_name == values["AMPGATE_PRODUCT_NAME"]
    assert default.url == values["AMPGATE_URL"]


def test_the_device_adds_its_board(root):
    found = identity.read(root / "etc/ampgate-release")
    assert found.board == "qemu-virt"
    assert found == identity.Identity(board="qemu-virt")


def test_os_release_and_rauc_say_the_same(root):
    release = identity.parse((root / "etc/os-release").read_text())
    assert release["VERSION_ID"] == __version__
    assert release["ID"] == "ampgate"
    rauc = (root / "etc/rauc/system.conf").read_text()
    assert "compatible=ampgate-qemu-virt\n" in rauc
    assert f"min-bundle-version={__version__}\n" in rauc
    assert "@" not in rauc.partition("[system]")[2]


def test_the_board_file_goes_along(root):
    source = TOP / "board/qemu-virt/board.toml"
    assert (root / "usr/share/ampgate/board.toml").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("words", "environment", "reason"),
    [
        (["{root}", "no-such-board"], {}, "there is no board"),
        (["{root}"], {}, "usage"),
        (["{root}", "qemu-virt"], {"VERSION": "1.0.dev1"}, "must be of the form"),
    ],
)
def test_mistakes_are_said(tmp_path, words, environment, reason):
    words = [word.format(root=tmp_path) for word in words]
    result = subprocess.run(
        [TOP / "scripts/identity", *words],
        env={"PATH": "/usr/bin:/bin"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode
    assert reason in result.stderr
    assert not list(tmp_path.iterdir())


def test_names_are_as_long_as_modbus_carries(tmp_path):
    path = tmp_path / "release"
    path.write_text(f'# comment\nAMPGATE_VENDOR="{"x" * 300}"\nAMPGATE_URL=""\nnonsense\n')
    found = identity.read(path)
    assert found.vendor == "x" * 64
    assert found.url == ""

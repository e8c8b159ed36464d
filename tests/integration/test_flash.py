"""scripts/flash as an installer uses it, on loop devices; macOS with what its diskutil would say."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import lzma
import os
import plistlib
import pty
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.tools import needs, unavailable

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/flash"
SIZE = 9 * 1024 * 1024 + 512
DISK = 16 * 1024 * 1024


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk image that no other is like."""
    path = tmp_path_factory.mktemp("images") / "device.img"
    content = bytearray(random.Random(1).randbytes(SIZE))
    content[512:520] = b"EFI PART"
    path.write_bytes(content)
    return path


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB."""
    losetup, _ = needs("losetup", "mkfs.ext4", root=True)
    backing = tmp_path / "card"
    backing.write_bytes(b"\xaa" * DISK)
    done = subprocess.run([losetup, "--find", "--show", backing], capture_output=True, text=True, check=False)
    if done.returncode:
        unavailable(f"needs a loop device: {done.stderr.strip()}")
    yield Path(done.stdout.strip())
    subprocess.run([losetup, "--detach", done.stdout.strip()], check=True)


@pytest.fixture(scope="module")
def flash() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("flash", str(SCRIPT))
    spec = importlib.util.spec_from_loader("flash", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look for their module there.
    sys.modules["flash"] = module
    loader.exec_module(module)
    return module


def run(*words: str | Path, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *words], stdin=stdin, capture_output=True, text=True, check=False, timeout=60)


def untouched(card: Path) -> bool:
    return card.read_bytes() == b"\xaa" * DISK


def test_writes_the_image_and_nothing_else(image: Path, card: Path) -> None:
    done = run(image, card, "--any-disk", "--yes")
    assert done.returncode == 0, done.stderr
    assert card.read_bytes() == image.read_bytes() + b"\xaa" * (DISK - SIZE)
    assert "verifying: 9.4 MB of 9.4 MB, 100 %" in done.stdout


def test_packed_images(image: Path, card: Path, tmp_path: Path) -> None:
    packed = tmp_path / "device.img.xz"
    packed.write_bytes(lzma.compress(image.read_bytes(), preset=0))
    assert run(packed, card, "--any-disk", "--yes").returncode == 0
    assert card.read_bytes()[:SIZE] == image.read_bytes()


def test_packed_with_zstd(image: Path, card: Path, tmp_path: Path) -> None:
    (zstd,) = needs("zstd")
    packed = tmp_path / "device.img.zst"
    subprocess.run([zstd, "-q", image, "-o", packed], check=True)
    assert run(packed, card, "--any-disk", "--yes").returncode == 0
    assert card.read_bytes()[:SIZE] == image.read_bytes()


@pytest.mark.parametrize("suffix", ["xz", "zst"])
def test_half_an_archive_is_found_before_anything_is_written(
    image: Path, card: Path, tmp_path: Path, suffix: str
) -> None:
    packed = tmp_path / f"device.img.{suffix}"
    if suffix == "xz":
        content = lzma.compress(image.read_bytes(), preset=0)
    else:
        (zstd,) = needs("zstd")
        content = subprocess.run([zstd, "-qc", image], stdout=subprocess.PIPE, check=True).stdout
    packed.write_bytes(content[: len(content) // 2])
    done = run(packed, card, "--any-disk", "--yes")
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert untouched(card)


def test_what_is_no_disk_image_is_refused(card: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "update.raucb"
    bundle.write_bytes(b"hsqs" + bytes(4096))
    done = run(bundle, card, "--any-disk", "--yes")
    assert done.returncode == 1
    assert "no disk image" in done.stderr
    assert untouched(card)


@pytest.mark.parametrize(("digest", "code"), [("good", 0), ("0" * 64, 1)])
def test_the_list_of_check_sums_is_held_to(image: Path, card: Path, tmp_path: Path, digest: str, code: int) -> None:
    copy = tmp_path / "device.img"
    copy.write_bytes(image.read_bytes())
    if digest == "good":
        digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{'1' * 64}  other.img\n{digest}  device.img\n")
    done = run(copy, card, "--any-disk", "--yes")
    assert done.returncode == code, done.stderr
    assert untouched(card) == bool(code)


def test_a_disk_that_is_built_in_is_refused(image: Path, card: Path) -> None:
    done = run(image, card, "--yes")
    assert done.returncode == 1
    assert "built in (--any-disk does it all the same)" in done.stderr
    assert untouched(card)


def test_a_disk_that_is_too_small_is_refused(card: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.img"
    with large.open("wb") as stream:
        stream.write(bytes(512) + b"EFI PART")
        stream.truncate(DISK + 512)
    done = run(large, card, "--any-disk", "--yes")
    assert done.returncode == 1
    assert "too small: the image has 16.8 MB" in done.stderr
    assert untouched(card)


def test_a_mounted_disk_is_refused_until_told_otherwise(image: Path, card: Path, tmp_path: Path) -> None:
    mkfs, mount, umount = needs("mkfs.ext4", "mount", "umount", root=True)
    subprocess.run([mkfs, "-q", card], check=True)
    where = tmp_path / "mounted"
    where.mkdir()
    if subprocess.run([mount, card, where], check=False, capture_output=True).returncode:
        unavailable("needs to mount a file system")
    try:
        done = run(image, card, "--any-disk", "--yes")
        assert done.returncode == 1
        assert f"in use: {where} (--unmount does it all the same)" in done.stderr
        assert card.read_bytes()[:520] != image.read_bytes()[:520]
        done = run(image, card, "--any-disk", "--unmount", "--yes")
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run([umount, "--quiet", where], check=False, capture_output=True)
    assert card.read_bytes()[:SIZE] == image.read_bytes()


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("y", 1), ("no", 1)])
def test_it_asks_first(image: Path, card: Path, answer: str, code: int) -> None:
    ours, its = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = run(image, card, "--any-disk", stdin=its)
    os.close(ours)
    os.close(its)
    assert done.returncode == code, done.stderr
    assert f"to {card} (no name, 16.8 MB)" in done.stdout
    assert untouched(card) == bool(code)


def test_without_a_terminal_it_does_not_guess(image: Path, card: Path) -> None:
    done = run(image, card, "--any-disk")
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert untouched(card)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.img"], "there is no file missing.img"),
        (["IMAGE", "/dev/none"], "there is no /dev/none"),
        (["IMAGE", "/dev/null"], "is no disk of this computer"),
    ],
)
def test_wrong_names(image: Path, words: list[str], said: str) -> None:
    done = run(*(image if word == "IMAGE" else word for word in words), "--yes")
    assert done.returncode == 1
    assert said in done.stderr


def test_a_disk_that_gives_back_something_else(flash: ModuleType, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(bytes(DISK))
    with pytest.raises(flash.FlashError, match="gives back something else"):
        flash.verify(flash.Content(SIZE, hashlib.sha256(b"x").hexdigest()), flash.Disk(str(card), DISK))
    with pytest.raises(flash.FlashError, match="gives back something else"):
        flash.verify(flash.Content(2 * DISK, hashlib.sha256(bytes(DISK)).hexdigest()), flash.Disk(str(card), DISK))


def test_a_partition_is_not_a_disk(flash: ModuleType) -> None:
    every = [flash.Disk("/dev/sda", 1), flash.Disk("/dev/sdb", 1), flash.Disk("/dev/mmcblk0", 1)]
    for name, disk in (("/dev/sdb1", "/dev/sdb"), ("/dev/mmcblk0p2", "/dev/mmcblk0")):
        with pytest.raises(flash.FlashError, match=f"name the whole disk, {disk}$"):
            flash.find(name, every)


def test_the_disk_of_the_system_is_never_written(flash: ModuleType) -> None:
    disk = flash.Disk("/dev/sda", DISK, removable=True, system=True)
    with pytest.raises(flash.FlashError, match="this computer runs from it"):
        flash.refuse(disk, 0, {"--any-disk", "--unmount"})


def test_a_large_disk_is_more_likely_a_backup(flash: ModuleType) -> None:
    disk = flash.Disk("/dev/sda", 2 * 10**12, removable=True)
    with pytest.raises(flash.FlashError, match=r"more than 256\.0 GB"):
        flash.refuse(disk, 0, set())
    flash.refuse(disk, 0, {"--any-disk"})


def test_the_root_file_system_makes_a_disk_the_systems(flash: ModuleType) -> None:
    """Of the computer that the tests run on, if its root is on a disk at all."""
    number = os.stat("/").st_dev
    found = [disk for disk in flash.linux_disks() if "/" in disk.used]
    block = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not block.exists() or block.resolve().name.startswith("dm-"):
        unavailable("needs a root file system that is on a disk")
    assert [disk.system for disk in found] == [True]


MAC: dict[str, dict[str, Any]] = {
    "info /": {"ParentWholeDisk": "disk3", "APFSPhysicalStores": [{"APFSPhysicalStore": "disk0s2"}]},
    "list physical": {
        "AllDisksAndPartitions": [
            {"DeviceIdentifier": "disk0", "Partitions": [{"DeviceIdentifier": "disk0s2"}]},
            {
                "DeviceIdentifier": "disk4",
                "Partitions": [{"DeviceIdentifier": "disk4s1", "MountPoint": "/Volumes/BOOT"}],
            },
        ]
    },
    "info disk0": {"TotalSize": 500 * 10**9, "MediaName": "APPLE SSD", "Internal": True, "RemovableMedia": False},
    "info disk4": {"TotalSize": 32 * 10**9, "MediaName": "SD Card Reader", "Internal": True, "RemovableMedia": True},
}


def test_disks_of_a_mac(flash: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, answer in MAC.items():
        (tmp_path / words.replace("/", "root")).write_bytes(plistlib.dumps(answer))
    diskutil = tmp_path / "diskutil"
    diskutil.write_text(f'#!/bin/sh\ncat "{tmp_path}/$1 $(echo "$3" | sed s,/,root,)"\n')
    diskutil.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    built_in, card = flash.macos_disks()
    assert (built_in.path, built_in.system, built_in.removable) == ("/dev/disk0", True, False)
    assert (card.path, card.system, card.removable) == ("/dev/disk4", False, True)
    assert card.used == ["/Volumes/BOOT"]
    assert str(card) == "/dev/disk4 (SD Card Reader, 32.0 GB)"

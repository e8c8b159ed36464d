"""The scripts that `make image`, `make bundle` and `make sbom` call: pinned release, progress, updates, components."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.tools import needs

TOP = Path(__file__).resolve().parents[2]
EXTERNAL = TOP / "buildroot-external"
VERSION = "2026.02.3"


def run(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], check=False, capture_output=True, text=True, timeout=60, **options
    )


@pytest.fixture
def pinned(tmp_path: Path) -> tuple[Path, Path]:
    """scripts/buildroot with a small Buildroot that is pinned; the script and the directory."""
    for name in ("scripts/buildroot", "buildroot-external/buildroot.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(TOP / name, tmp_path / name)
    buildroot = tmp_path / "buildroot"
    (buildroot / "package").mkdir(parents=True)
    (buildroot / "Makefile").write_text(f"export BR2_VERSION := {VERSION}\n")
    (buildroot / "package/a.mk").write_text("A = 1\n")
    (buildroot / "package/b.mk").symlink_to("a.mk")
    script = tmp_path / "scripts/buildroot"
    answer = run(script, "--pin", buildroot)
    assert answer.returncode == 0, answer.stderr
    assert f"version={VERSION}\n" in (tmp_path / "buildroot-external/buildroot.lock").read_text()
    return script, buildroot


def test_the_pinned_release_is_accepted_with_what_a_build_leaves_there(pinned: tuple[Path, Path]) -> None:
    script, buildroot = pinned
    for name in (".git/HEAD", "docs/manual/manual.html", "dl/linux/linux.tar.xz", "utils/lib/__pycache__/x.pyc"):
        (buildroot / name).parent.mkdir(parents=True)
        (buildroot / name).write_text("x")
    answer = run(script, buildroot)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("change", ["edit", "add", "remove", "link"])
def test_a_changed_release_is_refused(pinned: tuple[Path, Path], change: str) -> None:
    script, buildroot = pinned
    if change == "edit":
        (buildroot / "package/a.mk").write_text("A = 2\n")
    elif change == "add":
        (buildroot / "package/c.mk").write_text("")
    elif change == "remove":
        (buildroot / "package/a.mk").unlink()
    else:
        (buildroot / "package/b.mk").unlink()
        (buildroot / "package/b.mk").symlink_to("../Makefile")
    answer = run(script, buildroot)
    assert answer.returncode == 1
    assert "changed, added or removed" in answer.stderr


def test_another_release_and_another_directory_are_refused(pinned: tuple[Path, Path]) -> None:
    script, buildroot = pinned
    (buildroot / "Makefile").write_text("export BR2_VERSION := 2025.02\n")
    answer = run(script, buildroot)
    assert answer.returncode == 1
    assert "is Buildroot 2025.02" in answer.stderr
    assert VERSION in answer.stderr
    answer = run(script, buildroot.parent)
    assert answer.returncode == 1
    assert "no Buildroot" in answer.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["image"], "BUILDROOT="),
        (["image", "BOARD=nobody", "BUILDROOT=/"], "known are: ampgate-cm4 qemu-virt"),
        (["bundle", "BUILDROOT=/"], "no Buildroot in /"),
    ],
)
def test_make_says_what_is_missing(words: list[str], reason: str) -> None:
    answer = run("make", *words, cwd=TOP)
    assert answer.returncode
    assert reason in answer.stderr


BUILD = """
printf '\\033[7m>>> host-one 1.0 Building\\033[27m\\n'
echo compiling
printf '\\033[7m>>> two  Building\\033[27m\\n\\033[7m>>> two  Installing to target\\033[27m\\n'
mkdir -p OUT/build
echo "CLOCK.0:start:build               : two" >> OUT/build/build-time.log
echo "CLOCK.5:end  :build               : two" >> OUT/build/build-time.log
exit CODE
"""


@pytest.mark.parametrize("code", [0, 3])
def test_progress_shows_steps_keeps_the_log_and_the_exit_code(tmp_path: Path, code: int) -> None:
    (tmp_path / "build/earlier-1").mkdir(parents=True)
    (tmp_path / "build/earlier-1/.stamp_installed").touch()
    (tmp_path / "build/build-time.log").write_text("1.0:start:build : old\n900.0:end  :build : old\n")
    script = BUILD.replace("OUT", str(tmp_path)).replace("CLOCK", "99999999999").replace("CODE", str(code))
    answer = run(TOP / "scripts/image-progress", tmp_path, "sh", "-c", script)
    assert answer.returncode == code
    assert re.search(r"package +2  host-one 1\.0 Building$", answer.stdout, re.MULTILINE)
    assert re.search(r"package +3  two Building$", answer.stdout, re.MULTILINE)
    assert re.search(r"package +3  two Installing to target$", answer.stdout, re.MULTILINE)
    assert "compiling" not in answer.stdout
    assert "compiling" in (tmp_path / "build.log").read_text()
    if code:
        assert "compiling" in answer.stderr
        assert "build.log" in answer.stderr
    else:
        assert re.search(r"^ +0:00  two$", answer.stdout, re.MULTILINE)
        assert "old" not in answer.stdout


def component(name: str, file: str, version: str, sha256: str) -> dict[str, Any]:
    """A component as Buildroot lists it."""
    return {
        "bom-ref": name,
        "name": name,
        "version": version,
        "externalReferences": [
            {
                "type": "source-distribution",
                "url": f"https://example.org/packages/{file}",
                "hashes": [{"alg": "MD5", "content": "x"}, {"alg": "SHA-256", "content": sha256}],
            }
        ],
        "properties": [{"name": "BR_TYPE", "value": "target"}],
    }


LOCK = (TOP / "requirements.lock").read_text()
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]


@pytest.fixture
def bom() -> dict[str, Any]:
    """What Buildroot lists, cut down to the dependencies of the gateway."""
    components = []
    for entry in PROJECT["dependencies"]:
        name, version = entry.split("==")
        hashes = re.search(rf"^{name}==.*((?:\n +--hash=\S+.*)+)", LOCK, re.MULTILINE)
        assert hashes
        ref = {"pyserial": "python-serial"}.get(name, f"python-{name}")
        file = f"{name.replace('-', '_')}-{version}.tar.gz"
        components.append(component(ref, file, version, re.findall("sha256:([0-9a-f]+)", hashes[1])[0]))
    return {
        "metadata": {"component": {"bom-ref": "buildroot", "name": "buildroot", "version": VERSION}},
        "components": [{"bom-ref": "ampgate", "name": "ampgate", "version": "0.1.0"}, *components],
        "dependencies": [{"ref": "ampgate", "dependsOn": ["python3"]}],
    }


def complete(bom: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return run(TOP / "scripts/sbom", TOP / "requirements.lock", "1.2.3", input=json.dumps(bom))


def test_components_get_the_names_of_the_package_index(bom: dict[str, Any]) -> None:
    answer = complete(bom)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    by_name = {entry["name"]: entry for entry in result["components"]}
    assert by_name["python-serial"]["purl"] == "pkg:pypi/pyserial@3.5"
    assert "purl" not in by_name["ampgate"]
    gateway = next(entry for entry in result["dependencies"] if entry["ref"] == "ampgate")
    assert {"python3", "python-serial", "python-msgspec", "python-uvloop"} <= set(gateway["dependsOn"])
    assert result["metadata"]["component"]["version"] == "1.2.3"
    refs = [entry["bom-ref"] for entry in result["components"]] + [result["metadata"]["component"]["bom-ref"]]
    assert len(refs) == len(set(refs))


def test_another_file_than_the_lock_has_is_an_error(bom: dict[str, Any]) -> None:
    for entry in bom["components"]:
        if entry["name"] == "python-uvloop":
            entry["externalReferences"][0]["hashes"][1]["content"] = "0" * 64
        if entry["name"] == "python-serial":
            entry["version"] = "3.4"
            entry["externalReferences"][0]["url"] = "https://example.org/packages/pyserial-3.4.tar.gz"
    answer = complete(bom)
    assert answer.returncode == 1
    assert "uvloop" in answer.stderr
    assert "pyserial 3.5 of the lock" in answer.stderr


def test_a_missing_dependency_is_an_error(bom: dict[str, Any]) -> None:
    bom["components"] = [entry for entry in bom["components"] if entry["name"] != "python-websockets"]
    answer = complete(bom)
    assert answer.returncode == 1
    assert "provides websockets" in answer.stderr


@pytest.mark.parametrize("package", sorted(EXTERNAL.glob("packages/python-*")), ids=lambda path: path.name)
def test_python_packages_of_our_own_are_those_of_the_locks(package: Path) -> None:
    recipe = (package / f"{package.name}.mk").read_text()
    version = re.search(r"_VERSION = (\S+)", recipe)
    source = re.search(r"_SOURCE = (\S+)-\$", recipe)
    assert version and source
    name = source[1].replace("_", "-")
    sha256 = re.search(r"^sha256  (\S+)  \S+\.tar\.gz$", (package / f"{package.name}.hash").read_text(), re.MULTILINE)
    assert sha256
    locks = "".join(
        path.read_text() for path in (TOP / "requirements.lock", *sorted((TOP / "hil/virtual").glob("*.lock")))
    )
    entries = re.findall(rf"^{name}==(\S+)((?:[ \\\n]+--hash=\S+)+)", locks, re.MULTILINE)
    assert entries
    for locked, hashes in entries:
        assert locked == version[1]
        assert sha256[1] in hashes


def test_what_the_build_is_told_is_not_a_variable_of_a_package() -> None:
    """Buildroot's make would hand on the value of the package, AMPGATE_VERSION for example, in its place."""
    told = set(re.findall(r"\b(AMPGATE_\w+)=", (TOP / "scripts/image.mk").read_text()))
    makefiles = (TOP / "buildroot-external").rglob("*.mk")
    assigned = {name for path in makefiles for name in re.findall(r"^(\w+) *[:+]?=", path.read_text(), re.MULTILINE)}
    assert told >= {"AMPGATE_KEYS", "AMPGATE_IMAGE_VERSION"}
    assert "AMPGATE_VERSION" in assigned
    assert not told & assigned


def test_users_have_the_same_numbers_everywhere() -> None:
    """Files on the data partition belong to numbers, and outlive the system that made them."""
    sysusers = (TOP / "board/common/rootfs-overlay/usr/lib/sysusers.d/ampgate.conf").read_text()
    users = dict(re.findall(r"^u (\S+) +(\d+)", sysusers, re.MULTILINE))
    groups = {name: [] for name in users}
    for name, group in re.findall(r"^m (\S+) +(\S+)", sysusers, re.MULTILINE):
        groups[name].append(group)
    assert len(users) == sysusers.count("\nu ")
    table = [
        line.split(None, 8) for line in (TOP / "board/common/users.txt").read_text().splitlines() if line[0] != "#"
    ]
    assert {row[0]: row[1] for row in table if row[0] != "-"} == users
    assert all(row[2:4] == [row[0], row[1]] for row in table if row[0] != "-")
    assert {row[0]: sorted(row[7].split(",")) for row in table if row[0] != "-"} == {
        name: sorted(of) or ["-"] for name, of in groups.items()
    }
    assert {row[2] for row in table if row[0] == "-"} == set(re.findall(r"^g (\S+)", sysusers, re.MULTILINE))


@pytest.mark.peers
def test_a_bundle_is_signed_and_says_what_it_is(tmp_path: Path) -> None:
    rauc, _ = needs("rauc", "mksquashfs")
    image = tmp_path / "rootfs.squashfs"
    image.write_bytes(random.Random(1).randbytes(100_000))
    assert run(TOP / "scripts/signing-keys", tmp_path / "keys").returncode == 0
    bundle = tmp_path / "new.raucb"
    answer = run(TOP / "scripts/bundle", image, "qemu-virt", "1.2.3", tmp_path / "keys", bundle)
    assert answer.returncode == 0, answer.stderr
    info = run(rauc, f"--keyring={tmp_path / 'keys/keyring.pem'}", "info", "--output-format=json", bundle)
    found = json.loads(info.stdout)
    assert (found["compatible"], found["version"]) == ("ampgate-qemu-virt", "1.2.3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys", "new.raucb", "rootfs.squashfs"]

    (tmp_path / "keys/signer.key").unlink()
    answer = run(TOP / "scripts/bundle", image, "qemu-virt", "1.2.4", tmp_path / "keys", bundle)
    assert answer.returncode == 1
    assert "signer.key is missing" in answer.stderr
    assert "1.2.3" in run(rauc, "info", "--no-verify", bundle).stdout


def test_both_environments_are_the_same_machine() -> None:
    """The image is tested by what tests the Debian system."""

    def lines(name: str) -> list[str]:
        text = (TOP / "hil/environments" / name).read_text()
        return [re.sub(r"\.\./\.\./build/\S+/", "BUILD/", line) for line in text.splitlines() if line[:1] != "#"]

    different = [
        (ours, theirs) for ours, theirs in zip(lines("image.yaml"), lines("qemu.yaml"), strict=True) if ours != theirs
    ]
    assert [ours.split(":")[0].strip() for ours, _ in different] == ["prompt", "uboot"]

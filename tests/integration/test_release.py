"""scripts/release as its maintainer uses it, in a small repository whose Makefile has stand-ins for the long builds."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tools import needs

TOP = Path(__file__).resolve().parents[2]
MAKEFILE = """\
images = build/image/$(BOARD)/images
bundle sbom:
	@mkdir -p $(images)
	@echo disk of $(BOARD) > $(images)/disk.img
	@echo "$@ with $(KEYS)" > $(images)/ampgate-$(BOARD)-1.2.3.$(if $(filter sbom,$@),cdx.json,raucb)
"""


def git(repository: Path, *words: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *identity, *words], cwd=repository, check=True, capture_output=True)


def commit(repository: Path, summary: str) -> None:
    git(repository, "commit", "--quiet", "--allow-empty", "-m", summary)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    needs("git", "make", "openssl", "sha256sum", "xz")
    path = tmp_path / "repository"
    for name in ("scripts/release", "scripts/signing-keys", "board/ampgate-cm4/board.toml"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, path / name)
    (path / "Makefile").write_text(MAKEFILE)
    (path / ".gitignore").write_text("/build\n/dist\n")
    (path / "firmware/ampgate").mkdir(parents=True)
    (path / "firmware/ampgate/__init__.py").write_text('__version__ = "1.2.3"\n')
    git(path, "init", "--quiet")
    git(path, "add", ".")
    commit(path, "begin: all of it")
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    subprocess.run([TOP / "scripts/signing-keys", tmp_path / "keys"], check=True, capture_output=True)
    return tmp_path / "keys"


def release(repository: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [repository / "scripts/release", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def verify(directory: Path, keys: Path) -> int:
    """As a receiver does who has the keyring of his device."""
    signature, listing = directory / "SHA256SUMS.sig", directory / "SHA256SUMS"
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", signature, "-content", listing]
    command += ["-CAfile", keys / "keyring.pem", "-out", "/dev/null"]
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_a_release(repository: Path, keys: Path, tmp_path: Path) -> None:
    git(repository, "tag", "v1.2.2")
    commit(repository, "ocpp: answer faster")
    done = release(repository, "--output", tmp_path / "out", repository, keys, "ampgate-cm4")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "CHANGES",
        "SHA256SUMS",
        "SHA256SUMS.sig",
        "ampgate-ampgate-cm4-1.2.3.cdx.json",
        "ampgate-ampgate-cm4-1.2.3.img.xz",
        "ampgate-ampgate-cm4-1.2.3.raucb",
    ]
    assert lzma.decompress((out / "ampgate-ampgate-cm4-1.2.3.img.xz").read_bytes()) == b"disk of ampgate-cm4\n"
    assert (out / "ampgate-ampgate-cm4-1.2.3.raucb").read_text() == f"bundle with {keys}\n"
    assert (out / "CHANGES").read_text().endswith("\nSince v1.2.2:\n- ocpp: answer faster\n")
    subprocess.run(["sha256sum", "--strict", "--check", "SHA256SUMS"], cwd=out, check=True, capture_output=True)
    assert len((out / "SHA256SUMS").read_text().splitlines()) == 4
    assert verify(out, keys) == 0


def test_the_signature_is_of_these_sums_by_this_key(repository: Path, keys: Path, tmp_path: Path) -> None:
    assert release(repository, "--output", tmp_path / "out", repository, keys, "ampgate-cm4").returncode == 0
    subprocess.run([TOP / "scripts/signing-keys", tmp_path / "other"], check=True, capture_output=True)
    assert verify(tmp_path / "out", tmp_path / "other") != 0
    with (tmp_path / "out/SHA256SUMS").open("a") as listing:
        listing.write("0  more\n")
    assert verify(tmp_path / "out", keys) != 0


def test_the_first_release_lists_everything(repository: Path, keys: Path, tmp_path: Path) -> None:
    assert release(repository, "--output", tmp_path / "out", repository, keys, "ampgate-cm4").returncode == 0
    assert (tmp_path / "out/CHANGES").read_text().endswith("\n\n- begin: all of it\n")


def test_what_is_refused(repository: Path, keys: Path, tmp_path: Path) -> None:
    def refused(said: str, board: str = "ampgate-cm4", with_keys: Path = keys) -> None:
        done = release(repository, repository, with_keys, board)
        assert done.returncode == 1
        assert said in done.stderr
        assert not (repository / "dist").exists()

    (repository / "notes").write_text("untracked")
    refused("the working tree is not clean")
    (repository / "notes").unlink()
    refused("there is no board other", board="other")
    refused("signer.pem is missing", with_keys=tmp_path)
    git(repository, "tag", "v1.2.3")
    commit(repository, "later")
    refused("raise __version__")
    git(repository, "tag", "--delete", "v1.2.3")
    # A build that fails leaves nothing that looks like a release.
    (repository / "Makefile").write_text("bundle sbom:\n\t@false\n")
    git(repository, "commit", "--quiet", "--all", "-m", "broken")
    assert release(repository, repository, keys, "ampgate-cm4").returncode != 0
    assert list((repository / "dist").iterdir()) == []


def test_a_signer_of_another_authority(repository: Path, keys: Path, tmp_path: Path) -> None:
    subprocess.run([TOP / "scripts/signing-keys", tmp_path / "other"], check=True, capture_output=True)
    shutil.copy(tmp_path / "other/keyring.pem", keys / "keyring.pem")
    done = release(repository, repository, keys, "ampgate-cm4")
    assert done.returncode == 1
    assert "devices would refuse the update" in done.stderr


def test_wrong_use(repository: Path) -> None:
    assert release(repository).returncode == 2
    assert release(repository, "--force", "a", "b", "c").returncode == 2
    done = release(repository, "--help")
    assert done.returncode == 0
    assert "SHA256SUMS.sig" in done.stdout

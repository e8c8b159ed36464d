"""Files that are whole or not there, and requests that lead nowhere else."""

import os

import pytest

from ampgate.system import files


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a"
    files.replace(path, "one")
    files.replace(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    files.replace(path, "one")
    with pytest.raises(UnicodeEncodeError):
        files.replace(path, "\udc80")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_damaged_json_is_empty(tmp_path, text):
    path = tmp_path / "a"
    path.write_text(text)
    assert files.read_json(path) == {}
    assert files.read_json(tmp_path / "missing") == {}


def test_a_request_is_taken_once(tmp_path):
    path = tmp_path / "request"
    files.replace(path, "please")
    assert files.take(path) == "please"
    assert files.take(path) is None


def test_a_symbolic_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "request"
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="not a plain file"):
        files.take(path)
    assert not path.is_symlink()
    assert (tmp_path / "secret").exists()


def test_a_pipe_does_not_hang(tmp_path):
    path = tmp_path / "request"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="not a plain file"):
        files.take(path)
    assert not path.exists()


def test_a_directory_is_put_aside(tmp_path):
    path = tmp_path / "request"
    path.mkdir()
    with pytest.raises(ValueError, match="not a plain file"):
        files.take(path)
    assert not path.exists()


def test_a_long_request_is_refused(tmp_path):
    path = tmp_path / "request"
    path.write_bytes(b"x" * (files.LONGEST_REQUEST + 1))
    with pytest.raises(ValueError, match="longer than"):
        files.take(path)
    assert not path.exists()

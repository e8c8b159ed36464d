"""The control socket from both ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ampgate.control import ControlError, ControlServer, ask

DEADLINE = 5.0


def add(a: int, b: int = 0) -> int:
    return a + b


def fail() -> None:
    raise ZeroDivisionError("so it went")


def refuse() -> None:
    raise ControlError("not with this board")


async def slowly() -> str:
    await asyncio.sleep(0)
    return "done"


METHODS: dict[str, Any] = {"ping": lambda: "1.0", "add": add, "fail": fail, "refuse": refuse, "slowly": slowly}


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ampgate-") as directory:  # short: a socket's path has 107 characters
        yield Path(directory) / "control.sock"


def exists(path: Path) -> bool:
    return path.exists()


Serve = Callable[..., Awaitable[ControlServer]]


@pytest.fixture
async def serve(path: Path) -> AsyncIterator[Serve]:
    started: list[ControlServer] = []

    async def serve(at: Path = path) -> ControlServer:
        server = ControlServer(at, METHODS)
        await server.start()
        started.append(server)
        return server

    yield serve
    for server in started:
        await server.stop()


async def asked(path: Path, method: str, **parameters: Any) -> Any:
    return await asyncio.to_thread(ask, path, method, **parameters)


async def test_questions(serve: Serve, path: Path) -> None:
    await serve()
    assert await asked(path, "ping") == "1.0"
    assert await asked(path, "add", a=2, b=3) == 5
    assert await asked(path, "add", a=2) == 2
    assert await asked(path, "slowly") == "done"


@pytest.mark.parametrize(
    ("method", "parameters", "reason"),
    [
        ("fly", {}, "methods: add, fail, ping, refuse, slowly"),
        ("add", {}, "wrong parameters: .*'a'"),
        ("add", {"c": 1}, "wrong parameters: .*'c'"),
        ("fail", {}, "so it went"),
        ("refuse", {}, "^not with this board$"),
    ],
)
async def test_questions_without_an_answer(
    method: str, parameters: dict[str, Any], reason: str, serve: Serve, path: Path
) -> None:
    await serve()
    with pytest.raises(ControlError, match=reason):
        await asked(path, method, **parameters)
    assert await asked(path, "ping") == "1.0"


async def test_a_failure_is_logged(serve: Serve, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await serve()
    with pytest.raises(ControlError):
        await asked(path, "fail")
    assert "ZeroDivisionError" in caplog.text


async def test_a_refusal_is_no_failure(serve: Serve, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await serve()
    with pytest.raises(ControlError, match=r"^not with this board$"):
        await asked(path, "refuse")
    assert caplog.text == ""


async def exchange(path: Path, *lines: bytes) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    answers = []
    for line in lines:
        writer.write(line)
        async with asyncio.timeout(DEADLINE):
            answers.append(msgspec.json.decode(await reader.readline()))
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answers


async def test_several_questions_on_one_connection(serve: Serve, path: Path) -> None:
    await serve()
    assert await exchange(path, b'{"method":"ping"}\n', b'{"method":"add","a":1}\n') == [
        {"result": "1.0"},
        {"result": 1},
    ]


@pytest.mark.parametrize(
    "line", [b"hello\n", b"[]\n", b"{}\n", b'{"method":5}\n', b'{"method":{}}\n', b"\xff\n", b"\n"]
)
async def test_what_is_no_question(line: bytes, serve: Serve, path: Path) -> None:
    await serve()
    refused, answered = await exchange(path, line, b'{"method":"ping"}\n')
    assert set(refused) == {"error"}
    assert answered == {"result": "1.0"}


async def test_a_line_without_end_closes_the_connection(serve: Serve, path: Path) -> None:
    await serve()
    reader, writer = await asyncio.open_unix_connection(path)
    with contextlib.suppress(ConnectionError):
        writer.write(b"x" * 200_000)
        await writer.drain()
    async with asyncio.timeout(DEADLINE):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert await asked(path, "ping") == "1.0"


async def test_the_socket_is_not_for_everybody(serve: Serve, path: Path) -> None:
    await serve()
    assert os.stat(path).st_mode & 0o777 == 0o660


async def test_stopping_closes_connections_and_removes_the_socket(serve: Serve, path: Path) -> None:
    server = await serve()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"method":"ping"}\n')
    await reader.readline()
    await server.stop()
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
    writer.close()
    assert not exists(path)


async def test_a_second_gateway_is_refused(serve: Serve, path: Path) -> None:
    await serve()
    # The question goes to another thread here, as the first gateway is another process in real life.
    with pytest.raises(ControlError, match=f"another gateway is running with {path.parent}"):
        await asyncio.to_thread(asyncio.run, ControlServer(path, METHODS).start())
    assert await asked(path, "ping") == "1.0"


async def test_one_that_did_not_start_takes_nothing_away(serve: Serve, path: Path) -> None:
    await serve()
    await ControlServer(path, METHODS).stop()
    assert await asked(path, "ping") == "1.0"


async def test_the_socket_of_a_gateway_that_was_killed(serve: Serve, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert exists(path)
    await serve()
    assert await asked(path, "ping") == "1.0"


async def test_a_socket_that_cannot_be_made(serve: Serve, path: Path) -> None:
    with pytest.raises(ControlError, match="cannot make the control socket"):
        await serve(path.parent / "absent" / "control.sock")
    with pytest.raises(ControlError, match="cannot make the control socket"):
        await serve(path.parent / ("x" * 110))


def test_no_gateway(path: Path) -> None:
    with pytest.raises(ControlError, match=f"no gateway is running with {path.parent} \\(option --state\\)"):
        ask(path, "ping")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(ControlError, match="no gateway is running"):
        ask(path, "ping")


def test_a_gateway_that_hangs(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        with pytest.raises(ControlError, match="does not answer"):
            ask(path, "ping", timeout=0.01)


@pytest.mark.parametrize("answer", [b"", b"hello\n", b"[]\n"])
def test_a_gateway_that_talks_nonsense(answer: bytes, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def reply() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        other_side = threading.Thread(target=reply)
        other_side.start()
        with pytest.raises(ControlError, match=str(path)):
            ask(path, "ping")
        other_side.join(DEADLINE)


async def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    await asyncio.to_thread(path.write_text, "precious")
    with pytest.raises(ControlError, match="exists and is no socket"):
        await ControlServer(path, METHODS).start()
    assert await asyncio.to_thread(path.read_text) == "precious"


async def test_it_says_who_is_meant(path: Path) -> None:
    with pytest.raises(ControlError, match=rf"no simulation is running with {path} \(option --socket\)"):
        ask(path, "ping", who="simulation", option="--socket")
    server = ControlServer(path, METHODS, who="simulation", option="--socket")
    await server.start()
    try:
        with pytest.raises(ControlError, match="another simulation is running"):
            await ControlServer(path, METHODS, who="simulation", option="--socket").start()
    finally:
        await server.stop()

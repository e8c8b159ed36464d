"""The control socket: how the command line (and later the web tool) asks a running gateway.

One JSON object a line over a Unix socket in the state directory: ``{"method": "status"}`` is answered with
``{"result": …}`` or ``{"error": "…"}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

log = logging.getLogger(__name__)

SOCKET_NAME: Final = "control.sock"
_MAX_LINE: Final = 64 * 1024
_TIMEOUT: Final = 5.0

Method = Callable[..., Any]


class ControlError(Exception):
    """Why a question to a running process got no answer, for people."""


class ControlServer:
    """Answers from ``methods``, called by name with the parameters of the question, and awaited where they need time.

    A `ControlError` of a method is its refusal. ``who`` is what people call the process, ``option`` what they choose
    its socket with: the directory of it, or with ``--socket`` the socket itself.
    """

    def __init__(
        self, path: Path, methods: Mapping[str, Method], who: str = "gateway", option: str = "--state"
    ) -> None:
        self._path = path
        self._who = who
        self._methods = methods
        self._option = option
        self._server: asyncio.AbstractServer | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; `ControlError` when another process uses this socket or it cannot be made."""
        if self._path.exists():
            if not self._path.is_socket():
                raise ControlError(f"{self._path} exists and is no socket")
            if _somebody_listens(self._path):
                raise ControlError(f"another {self._who} is running with {_place(self._path, self._option)}")
            self._path.unlink()  # of a process that was killed
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=_MAX_LINE)
        except OSError as error:
            raise ControlError(f"cannot make the control socket {self._path}: {error}") from error
        self._path.chmod(0o660)

    async def stop(self) -> None:
        """Close the socket and every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass  # the asker has gone, sent an endless line, or the process stops
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            question = msgspec.json.decode(line, type=dict[str, Any])
            method = self._methods[question.pop("method")]
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            return {"error": f"not a question: {error}; methods: {', '.join(sorted(self._methods))}"}
        try:
            result = method(**question)
            return {"result": await result if inspect.isawaitable(result) else result}
        except TypeError as error:
            return {"error": f"wrong parameters: {error}"}
        except ControlError as error:  # the method refuses
            return {"error": str(error)}
        except Exception as error:
            log.exception("control: %s failed", method.__name__)
            return {"error": str(error)}


def _somebody_listens(path: Path) -> bool:
    """Whether a process has this socket open, even one that does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


def _place(path: Path, option: str) -> str:
    chosen = path if option == "--socket" else path.parent
    return f"{chosen} (option {option})"


def ask(
    path: Path, method: str, timeout: float = _TIMEOUT, who: str = "gateway", option: str = "--state", **parameters: Any
) -> Any:
    """Ask the process behind this socket; `ControlError` when there is none or it refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(msgspec.json.encode({"method": method, **parameters}) + b"\n")
            with connection.makefile("rb") as file:
                answer = msgspec.json.decode(file.readline(), type=dict[str, Any])
        except (FileNotFoundError, ConnectionRefusedError):
            raise ControlError(f"no {who} is running with {_place(path, option)}") from None
        except TimeoutError:
            raise ControlError(f"the {who} behind {path} does not answer") from None
        except (OSError, msgspec.DecodeError) as error:
            raise ControlError(f"{path}: {error}") from None
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer["result"]

"""The link of a charge point to its central system: connects, boots, delivers in order, and comes back when it is lost.

What must not be lost waits in a queue while the link is down: transactions and their readings (OCPP 1.6 §3.7).
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from ampgate.ocpp import v16
from ampgate.ocpp.link import Link
from ampgate.ocpp.rpc import CallError, ErrorCode
from ampgate.simulator import operations
from ampgate.simulator.events import reason
from ampgate.simulator.quirks import misbehaving

if TYPE_CHECKING:
    from ampgate.simulator.charger import Charger

REBOOT_TIME: Final = 1.0
"""Real seconds that a restart takes."""
_FLUSH_TIMEOUT: Final = 5.0
_BOOT_RETRY: Final = 10.0
"""Seconds until the next BootNotification when the central system leaves that to us (§4.2)."""
SPOKEN: Final = "ocpp1.6"
"""The subprotocol that this charge point really speaks."""


@dataclass(slots=True)
class Outgoing:
    """A CALL to make: ``make`` is called when its turn comes, as the transaction id may be known only then."""

    make: Callable[[], v16.Message]
    answered: Callable[[Any], None] = lambda response: None
    given_up: Callable[[], None] = lambda: None
    lasting: bool = False
    """Whether it survives a lost connection and refusals: it belongs to a transaction (§3.7)."""
    attempts: int = field(default=0)


class Connection:
    """The link of ``charger`` to the central system at ``url``, which is without the identity.

    ``backoff`` is the shortest and longest wait before a new connection in real seconds. ``tls`` says whom to trust
    behind wss; without it the authorities of this computer.
    """

    def __init__(
        self,
        charger: Charger,
        url: str,
        *,
        backoff: tuple[float, float],
        call_timeout: float,
        seed: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._charger = charger
        self._url = f"{url.rstrip('/')}/{quote(charger.identity, safe='')}"
        self._backoff = backoff
        self._call_timeout = call_timeout
        self._tls: dict[str, Any] = {"ssl": tls} if tls is not None and url.startswith("wss:") else {}
        self._random = random.Random(seed)
        self._create = misbehaving(charger.quirks)
        self._link: Link | None = None
        self._away_until = 0.0
        self._restart: v16.ResetType | None = None
        self.outbox: deque[Outgoing] = deque()
        """What is to be sent, in order."""
        self.accepted = "no-boot" in charger.quirks
        """Whether the central system has accepted the last BootNotification."""

    @property
    def online(self) -> bool:
        """Whether it is connected and accepted."""
        return self._link is not None and self.accepted

    async def call(self, request: v16.Message) -> v16.Message:
        """Ask the central system at once, past the queue: as `Link.call`."""
        if self._link is None or not self.accepted:
            raise ConnectionError("offline")
        return await self._link.call(request)

    def lose(self, seconds: float) -> None:
        """Cut the link without a word, and stay away for this many real seconds."""
        self._away_until = time.monotonic() + seconds
        if self._link is not None:
            self._link.abort()

    def find(self) -> None:
        """End the time that `lose` has set."""
        self._away_until = 0.0
        self._charger.notify()

    def restart(self, kind: v16.ResetType) -> None:
        """Restart soon, after the present answer is out."""
        self._restart = kind
        self._charger.notify()

    def check_silence(self, now: float) -> None:
        """Give the link up when the central system has been silent for ocppConnectTimeOut, where there is that key."""
        limit = self._charger.settings.integer("ocppConnectTimeOut")
        if limit and self._link is not None and now - self._link.last_received > limit:
            self._event(f"nothing heard for {limit} s (ocppConnectTimeOut): link given up")
            self._link.abort()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        shortest, longest = self._backoff
        wait, told = shortest, ""
        while True:
            failure = ""
            await self._stay_away()
            try:
                async with connect(
                    self._url,
                    subprotocols=self._offer(),
                    compression=None,
                    open_timeout=10,
                    ping_interval=None,
                    close_timeout=2,
                    proxy=None,
                    create_connection=self._create,
                    **self._tls,
                ) as websocket:
                    failure = await self._talk(websocket)
                wait = shortest if self.accepted or self._restart else wait
            except InvalidStatus as error:
                failure = f"refused with HTTP {error.response.status_code}: {_body(error)}"
            except (OSError, InvalidHandshake, EOFError) as error:
                failure = f"no connection: {reason(error)}"
            if failure and failure != told:
                self._event(f"{failure} ({self._url}); trying again")
            told = failure
            if self._restart is not None:
                self._restart, self.accepted = None, False
                await asyncio.sleep(REBOOT_TIME)
                continue
            await asyncio.sleep(wait * self._random.uniform(0.5, 1.0))
            wait = min(2 * wait, longest)

    async def _stay_away(self) -> None:
        while (left := self._away_until - time.monotonic()) > 0:
            await self._charger.until(lambda: self._away_until == 0.0, min(left, 3600.0))

    def _offer(self) -> list[Subprotocol] | None:
        if "no-subprotocol" in self._charger.quirks:
            return None
        return [Subprotocol(f"ocpp{self._charger.settings['ocppVersion']}")]

    async def _talk(self, websocket: ClientConnection) -> str:
        """Until the connection ends; returns why there was nothing to say, if so."""
        if websocket.subprotocol not in (SPOKEN, None):
            return f"the central system chose {websocket.subprotocol}, which is not simulated: {SPOKEN} is"
        link = Link(
            websocket,
            lambda request: operations.answer(self._charger, request),
            call_timeout=self._call_timeout,
            ping_interval=self._charger.settings.integer("WebSocketPingInterval"),
            name=self._charger.identity,
        )
        self._link = link
        self._event(f"connected to {self._url}")
        parts = [asyncio.create_task(part) for part in (link.run(), self._converse(link), self._shut_down(link))]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            self._link = None
            self._event("disconnected")
            self._charger.went_offline()
        return ""

    async def _converse(self, link: Link) -> None:
        try:
            while True:
                await self._register(link)
                self.outbox = deque(outgoing for outgoing in self.outbox if outgoing.lasting)
                self.outbox.extendleft(reversed(self._charger.greeting()))
                await self._deliver(link)
        except ConnectionError:
            return

    async def _register(self, link: Link) -> None:
        """BootNotification until accepted (§4.2); a mere reconnect needs none."""
        while not self.accepted:
            try:
                response = await link.call(self._charger.boot())
            except (CallError, TimeoutError) as error:
                self._event(f"BootNotification failed: {reason(error)}")
                await asyncio.sleep(_BOOT_RETRY)
                continue
            assert isinstance(response, v16.BootNotificationResponse)
            self._event(f"BootNotification: {response.status.value}")
            if response.status is v16.RegistrationStatus.ACCEPTED:
                self.accepted = True
                if response.interval > 0:
                    self._charger.settings.adopt("HeartbeatInterval", str(response.interval))
            else:
                await asyncio.sleep(response.interval if response.interval > 0 else _BOOT_RETRY)
        self._charger.restart_heartbeat()
        self._charger.notify()

    async def _deliver(self, link: Link) -> None:
        """Send what is queued, in order; returns when the central system wants a BootNotification first."""
        while True:
            await self._charger.until(lambda: bool(self.outbox))
            outgoing = self.outbox[0]
            try:
                response = await link.call(outgoing.make())
            except (CallError, TimeoutError) as error:
                if isinstance(error, CallError) and error.code == ErrorCode.SECURITY_ERROR:
                    self.accepted = False
                    return
                if await self._failed(outgoing, error):
                    continue
                self.outbox.popleft()
                outgoing.given_up()
            else:
                self.outbox.popleft()
                outgoing.answered(response)
            self._charger.notify()

    async def _failed(self, outgoing: Outgoing, error: Exception) -> bool:
        """Whether to send it again: transaction messages are, after a growing pause (§3.7.1)."""
        settings = self._charger.settings
        outgoing.attempts += 1
        name = type(outgoing.make()).__name__.removesuffix("Request")
        again = outgoing.lasting and outgoing.attempts < settings.integer("TransactionMessageAttempts")
        self._event(f"{name} failed: {reason(error)}; {'trying again' if again else 'dropped'}")
        if again:
            await asyncio.sleep(outgoing.attempts * settings.integer("TransactionMessageRetryInterval"))
        return again

    async def _shut_down(self, link: Link) -> None:
        """Restart when Reset asks for it: stop all transactions, tell of them, hang up (§5.14)."""
        await self._charger.until(lambda: self._restart is not None)
        hard = self._restart is v16.ResetType.HARD
        self._charger.sessions.end_all(v16.Reason.HARD_RESET if hard else v16.Reason.SOFT_RESET)
        await self._charger.until(lambda: not any(outgoing.lasting for outgoing in self.outbox), _FLUSH_TIMEOUT)
        await link.close()

    def _event(self, text: str) -> None:
        self._charger.tell("link", text)


def _body(error: InvalidStatus) -> str:
    body = error.response.body or b""
    return body[:200].decode("utf-8", "replace").strip() or error.response.reason_phrase

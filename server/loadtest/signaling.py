"""Load on signaling alone: terminals in rooms call each other, accept, text and hang up, over and over.

Measured is the relay latency: from sending a request to its ringing at the peer, by one clock, in one
process. What this process itself takes is in it; its own lag is reported beside it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import aiohttp
import psutil

from server.bench.call import machine
from server.bench.terminal import NotWelcomed, SyntheticTerminal
from server.loadtest.results import Spread, to_json
from server.loadtest.service import Access, Address, reach
from server.loadtest.texts import TextLedger
from signaling import protocol

#: Connections that are being opened at once.
_OPENING: Final = 64
#: What was asked for must have come about after this long (seconds).
_PATIENCE_S: Final = 5.0
_LAG_EVERY_S: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class SignalingOptions:
    """What is to be done.

    Attributes:
        terminals, rooms: how many; each room has the same number of terminals, or one more.
        seconds: how long they call.
        ramp_s: over which the terminals connect.
        every_s: each room calls anew so often.
        room_prefix: of the rooms' names.
        max_relay_ms: bound of the relay latency's p99.
    """

    terminals: int
    rooms: int
    seconds: float
    ramp_s: float
    every_s: float
    room_prefix: str
    max_relay_ms: float = 20.0


@dataclass
class Samples:
    """Measured times in milliseconds, and counts."""

    relay_ms: list[float] = field(default_factory=list)
    accept_ms: list[float] = field(default_factory=list)
    text_ms: list[float] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    received: int = 0
    lost: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class SignalingReport:
    """What was found.

    Attributes:
        connected: terminals that got into their room.
        relays: requests that rang.
        relay, accept, text: milliseconds from request to ringing, from accepting to the caller's call state,
            from sending a text to receiving it.
        lag: how late this process's event loop ran, milliseconds.
        received: messages received a second.
        cpu: cores that the load test took.
        lost: whatever was lost, refused or late, by what it was.
    """

    service: str
    machine: dict[str, Any]
    options: SignalingOptions
    connected: int
    connect_s: float
    relays: int
    relay: Spread
    accept: Spread
    text: Spread
    lag: Spread
    received: float
    cpu: float
    lost: dict[str, int]
    sentences: Sequence[str]

    @property
    def ok(self) -> bool:
        """Nothing was lost, and ringing was quick enough."""
        return not self.lost and self.relays > 0 and self.relay.p99 <= self.options.max_relay_ms

    def as_json(self) -> str:
        """All of it."""
        return to_json({"kind": "signaling", **asdict(self), "ok": self.ok})


class _Room:
    """Terminals in a room; the first one calls, the others accept."""

    def __init__(self, name: str, first: int, size: int, samples: Samples) -> None:
        self.name = name
        self._samples = samples
        self._call = ""
        self._requested = self._accepted = 0.0
        self._rung: set[int] = set()
        self._in_call: set[int] = set()
        self._over: set[int] = set()
        self._texts = [TextLedger() for _ in range(1, size)]  # of the caller, to each of the others
        self.terminals = [
            SyntheticTerminal(f"load-{first + index}", self._handler(index)) for index in range(size)
        ]
        self.entered: set[int] = set()

    def _handler(self, index: int) -> Callable[[Any, float], Any]:
        async def handle(message: Any, at: float) -> None:
            await self._handle(index, message, at)

        return handle

    async def enter(self, index: int, http: aiohttp.ClientSession, url: str, token: str | None) -> bool:
        """Connect one terminal and ask for the room; whether that was possible."""
        terminal, lost = self.terminals[index], self._samples.lost
        terminal.token = token
        try:
            await terminal.enter(http, url)
        except NotWelcomed as error:
            terminal.errors.append(str(error))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            status = getattr(error, "status", None)
            lost["not_connected" if status is None else f"refused HTTP {status}"] += 1
            terminal.errors.append(f"not connected: {error or type(error).__name__}")
        else:
            await terminal.send(protocol.JoinRoom(room=self.name))
            return True
        return False

    async def cycle(self, every_s: float) -> None:
        """One call: request, ring, accept, a text, hang up; what does not come about is counted."""
        began, others, lost = time.monotonic(), len(self.terminals) - 1, self._samples.lost
        self._rung, self._in_call, self._over = set(), set(), set()
        self._requested = time.monotonic()
        await self.terminals[0].send(protocol.RequestRelay())
        if not await _until(lambda: len(self._in_call) == others + 1):
            lost["not_rung"] += others - len(self._rung)
            lost["not_in_call"] += others + 1 - len(self._in_call)
        else:
            texts = [ledger.write(time.monotonic()) for ledger in self._texts]
            await self.terminals[0].send(protocol.SendText(text=texts[0]))
        # hang up early enough for all of this to be over when the next call begins
        await asyncio.sleep(max(0.0, 0.6 * every_s - (time.monotonic() - began)))
        for terminal in self.terminals[:-1]:  # who is left alone is out of the call, too
            if self._call:
                await terminal.send(protocol.LeaveCall(call=self._call))
        if self._call and not await _until(lambda: len(self._over) == others + 1):
            lost["call_not_ended"] += 1

    def finish(self) -> None:
        """Count texts that did not come."""
        for ledger in self._texts:
            self._samples.text_ms += [1e3 * delay for delay in ledger.delays]
            for what, count in (
                ("text lost", ledger.lost),
                ("text doubled", ledger.doubled),
                ("text out of order", ledger.disordered),
                ("text strange", ledger.strange),
            ):
                if count:
                    self._samples.lost[what] += count
        for terminal in self.terminals:
            self._samples.lost.update({k: n for k, n in terminal.tally.items() if k != "resumed"})

    async def _handle(self, index: int, message: Any, at: float) -> None:
        samples = self._samples
        samples.received += 1
        match message:
            case protocol.RoomState():
                self.entered.add(index)
            case protocol.RelayIncoming(request=request):
                self._rung.add(index)
                samples.relay_ms.append(1e3 * (at - self._requested))
                self._accepted = time.monotonic()
                await self.terminals[index].send(protocol.AcceptRelay(request=request))
            case protocol.CallState(call=call, members=members) if len(members) == len(self.terminals):
                self._call = call
                if index == 0 and 0 not in self._in_call:
                    samples.accept_ms.append(1e3 * (at - self._accepted))
                self._in_call.add(index)
            case protocol.CallEnded():
                self._over.add(index)
            case protocol.Text(text=text):
                self._texts[index - 1].read(text, at)


async def _until(condition: Callable[[], bool]) -> bool:
    """Whether it comes true while one is patient."""
    due = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > due:
            return False
        await asyncio.sleep(0.1)
    return True


@dataclass(frozen=True)
class SignalingLoad:
    """The load test.

    Attributes:
        address: of the service.
        access: how terminals get in.
        options: what is to be done.
        progress: told what is being done, and what share of all is done.
    """

    address: Address
    access: Access
    options: SignalingOptions
    progress: Callable[[str, float], None] = lambda doing, share: None

    async def run(self) -> SignalingReport:
        """Run it.

        Raises:
            UserError: the service cannot be reached.
        """
        about, options, samples = machine(), self.options, Samples()
        least, more = divmod(options.terminals, options.rooms)
        rooms: list[_Room] = []
        for number in range(options.rooms):
            first = number * least + min(number, more)
            size = least + (number < more)
            rooms.append(_Room(f"{options.room_prefix}-{number}", first, size, samples))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            await reach(http, self.address)
            try:
                began = time.monotonic()
                await self._connect(http, rooms)
                connect_s = time.monotonic() - began
                connected = sum(len(room.entered) for room in rooms)
                # thousands of connections' objects are not looked through again and again
                gc.collect()
                gc.freeze()
                samples.received = 0
                began, cpu = time.monotonic(), sum(psutil.Process().cpu_times()[:2])
                await self._call(rooms, samples)
                took = time.monotonic() - began
                cpu = sum(psutil.Process().cpu_times()[:2]) - cpu
                received = samples.received / took
            finally:
                gc.unfreeze()
                for room in rooms:
                    room.finish()
                await asyncio.gather(*(terminal.leave() for room in rooms for terminal in room.terminals))
        if missing := options.terminals - connected:
            samples.lost["not in a room"] = missing
        sentences = [error for room in rooms for terminal in room.terminals for error in terminal.errors]
        return SignalingReport(
            service=self.address.http,
            machine=about,
            options=options,
            connected=connected,
            connect_s=connect_s,
            relays=len(samples.relay_ms),
            relay=Spread.of(samples.relay_ms),
            accept=Spread.of(samples.accept_ms),
            text=Spread.of(samples.text_ms),
            lag=Spread.of(samples.lag_ms),
            received=received,
            cpu=cpu / took,
            lost={what: count for what, count in samples.lost.items() if count},
            sentences=list(dict.fromkeys(sentences))[:10],
        )

    async def _connect(self, http: aiohttp.ClientSession, rooms: Sequence[_Room]) -> None:
        opening, entering = asyncio.Semaphore(_OPENING), 0
        whole = self.options.terminals

        async def enter(room: _Room, after: float) -> None:
            nonlocal entering
            await asyncio.sleep(after)
            async with opening:
                token = await self.access.token_for(http, self.address, room.name)
                for index in range(len(room.terminals)):
                    is_in = await room.enter(index, http, self.address.ws, token)
                    entering += is_in
                    self.progress(f"{entering} of {whole} terminals", 0.3 * entering / whole)

        step = self.options.ramp_s / len(rooms)
        await asyncio.gather(*(enter(room, number * step) for number, room in enumerate(rooms)))
        await _until(lambda: sum(len(room.entered) for room in rooms) >= entering)

    async def _call(self, rooms: Sequence[_Room], samples: Samples) -> None:
        options = self.options
        began = time.monotonic()
        end = began + options.seconds

        async def cycles(room: _Room, after: float) -> None:
            await asyncio.sleep(after)
            while time.monotonic() < end:
                next_at = time.monotonic() + options.every_s
                await room.cycle(options.every_s)
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))

        async def lag() -> None:
            while True:
                due = time.monotonic() + _LAG_EVERY_S
                await asyncio.sleep(_LAG_EVERY_S)
                samples.lag_ms.append(1e3 * max(0.0, time.monotonic() - due))
                share = min(1.0, (time.monotonic() - began) / options.seconds)
                self.progress(f"{len(samples.relay_ms)} calls rang", 0.3 + 0.7 * share)

        watching = asyncio.create_task(lag())
        whole = [room for room in rooms if len(room.entered) == len(room.terminals)]
        try:
            step = options.every_s / max(1, len(whole))
            await asyncio.gather(*(cycles(room, number * step) for number, room in enumerate(whole)))
        finally:
            watching.cancel()

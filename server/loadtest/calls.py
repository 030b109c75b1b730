"""Synthetic calls, more and more of them, with a running service; each peer checks what it receives.

Latency from camera to peer is not measured by the peers: a generated picture does not carry a mark that was
put into the camera's. It is the service's own figure (``media.stats``: age of the shown frame when handed to
the encoder). What peers measure themselves: frames, freezes, signaling, texts, and the time from the
beginning of the call to the first generated picture.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import aiohttp
import av
import numpy as np
import psutil

from server.bench.call import machine
from server.bench.clip import encode_opus
from server.bench.driver import Film, SyntheticDriver
from server.bench.terminal import NotWelcomed
from server.errors import UserError
from server.loadtest.peer import LoadPeer
from server.loadtest.pictures import CameraView, PictureJudge, Rgb, thumbnail
from server.loadtest.results import Bounds, CallReport, Moment, PeerResult
from server.loadtest.service import Access, Address, previews, reach
from server.loadtest.sound import TONES, ToneEar
from signaling import protocol

#: The synthetic driver's own face: as a target it could not be told from the camera.
OWN_FACE: Final = "astronaut"
#: Texts are no more sent this long before the end: those on their way may arrive.
_TEXTS_END_S: Final = 1.0
_SENTENCES: Final = 5


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """What is to be done.

    Attributes:
        calls: how many, two peers each.
        seconds: how long all of them run together.
        ramp_s: over which they begin, evenly.
        room_prefix: of the rooms' names.
        targets: ids to be seen behind; none: the built-in ones but the synthetic driver's own face.
        text_every_s: each peer sends a text so often.
        bounds: what each peer must get.
    """

    calls: int
    seconds: float
    ramp_s: float
    room_prefix: str
    targets: Sequence[str] = ()
    text_every_s: float = 1.0
    bounds: Bounds = field(default_factory=Bounds)


def camera_view(film: Film, every: int = 20) -> CameraView:
    """What the film's pictures look like at a peer, if they came through."""
    decoder = av.CodecContext.create("vp8", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [frame for packet in film.video for frame in decoder.decode(av.Packet(packet))]
    return CameraView([np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames[::every]])


class LoadCall:
    """Two peers in a room, the second of which asks for the call.

    Args:
        room: where they meet.
        peers: watchers of both.
        drivers: both.
        text_every_s: each sends a text so often.
    """

    def __init__(
        self, room: str, peers: Sequence[LoadPeer], drivers: Sequence[SyntheticDriver], text_every_s: float
    ) -> None:
        self.room = room
        self.peers = peers
        self._text_every_s = text_every_s
        self._texting: list[asyncio.Task[None]] = []
        for peer, driver, partner in zip(peers, drivers, reversed(peers), strict=True):
            peer.driver, peer.partner = driver, partner
            driver.watcher = peer

    @property
    def running(self) -> bool:
        """Both are in the call."""
        return not any(math.isnan(peer.in_call) for peer in self.peers)

    async def start(self, http: aiohttp.ClientSession, url: str) -> None:
        """Enter, call, begin to text; a peer that cannot enter is counted."""
        for peer in self.peers:
            try:
                await peer.driver.start(http, url)
            except NotWelcomed as error:
                peer.driver.errors.append(str(error))
                peer.driver.tally["not_welcomed"] += 1
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                status = getattr(error, "status", None)
                peer.driver.tally["not_connected" if status is None else f"refused HTTP {status}"] += 1
                peer.driver.errors.append(f"not connected: {error or type(error).__name__}")
        self._texting = [asyncio.create_task(self._text(peer)) for peer in self.peers]

    async def _text(self, peer: LoadPeer) -> None:
        while True:
            await asyncio.sleep(self._text_every_s)
            if self.running:
                await peer.driver.send(protocol.SendText(text=peer.texts.write(time.monotonic())))

    def end_texts(self) -> None:
        """Send no more texts."""
        for task in self._texting:
            task.cancel()

    async def finish(self) -> list[PeerResult]:
        """End it; what both found."""
        self.end_texts()
        ends = [peer.finish() for peer in self.peers]
        await asyncio.gather(*(peer.driver.stop() for peer in self.peers))
        return [_result(peer, end) for peer, end in zip(self.peers, ends, strict=True)]


def _result(peer: LoadPeer, end: float) -> PeerResult:
    driver, partner, pictures, looked = peer.driver, peer.partner, peer.pictures, peer.looked
    lost = Counter({what: count for what, count in driver.tally.items() if count}) + peer.ended
    # A picture can be late for a moment on a busy machine and shows the still: to be seen, so it is counted.
    lost += Counter({f"still {state}": n for state, n in peer.states.items() if state in ("late", "failed")})
    if peer.unlooked:
        lost["unlooked"] = peer.unlooked
    texts = peer.texts
    return PeerResult(
        name=driver.name,
        room=driver.room,
        target=partner.driver.target,
        seconds=end - peer.in_call,
        fps=pictures.count / (end - pictures.first) if pictures.count else math.nan,
        gaps=pictures.gaps,
        freeze_s=pictures.longest if pictures.count else math.nan,
        looked=looked.pictures,
        right=looked.right,
        camera=max(looked.camera, peer.leaks),
        unmoved=looked.unmoved,
        shown_instead=looked.wrong,
        stills=looked.stills,
        sections=looked.sections,
        marked=looked.marked,
        listened=peer.ear.listened,
        heard=peer.ear.heard,
        sound_lost=peer.ear.lost(end),
        texts_sent=len(texts.sent),
        texts_lost=texts.lost,
        texts_wrong=texts.doubled + texts.disordered + texts.strange,
        text_ms=1e3 * median(texts.delays) if texts.delays else math.nan,
        relay_ms=1e3 * (partner.rung - peer.requested),
        in_call_ms=1e3 * (peer.in_call - peer.accepted),
        first_picture_s=pictures.first - peer.in_call if pictures.count else math.nan,
        generated_fps=_median(peer.figures.fps),
        age_ms=_median(peer.figures.age_ms),
        frame_ms=_median(peer.figures.frame_ms),
        states=dict(peer.states),
        lost=dict(lost),
        sentences=driver.errors[:_SENTENCES],
    )


def _median(values: Sequence[float]) -> float:
    return median(values) if values else math.nan


@dataclass(frozen=True)
class CallLoad:
    """The load test.

    Attributes:
        address: of the service.
        access: how peers get in.
        options: what is to be done.
        film: what drivers send; its sound is replaced by each one's own tone.
        on_moment: told of each second.
        progress: told what is being done, and what share of all is done.
    """

    address: Address
    access: Access
    options: CallOptions
    film: Film
    on_moment: Callable[[Moment], None] = lambda moment: None
    progress: Callable[[str, float], None] = lambda doing, share: None

    async def run(self) -> CallReport:
        """Run it.

        Raises:
            UserError: the service cannot be reached, or there is no such target.
        """
        about, options = machine(), self.options
        connector = aiohttp.TCPConnector(limit=0)
        with ThreadPoolExecutor(1, thread_name_prefix="looking") as threads:
            async with aiohttp.ClientSession(connector=connector) as http:
                config = await reach(http, self.address)
                pictures = await previews(http, self.address, options.targets)
                calls = self._calls(pictures, threads)
                moments: list[Moment] = []
                watch = asyncio.create_task(self._watch(calls, moments))
                began = time.monotonic()
                cpu = psutil.Process().cpu_times()
                results: list[list[PeerResult]] = []
                starting = [
                    asyncio.create_task(self._start(http, call, options.ramp_s * index / len(calls)))
                    for index, call in enumerate(calls)
                ]
                try:
                    await asyncio.gather(*starting)
                    await self._hold(calls, options.seconds)
                    took, after = time.monotonic() - began, psutil.Process().cpu_times()
                finally:
                    for task in (watch, *starting):
                        task.cancel()
                    results += await asyncio.gather(*(call.finish() for call in calls))
        return CallReport(
            self.address.http,
            about,
            {**dataclasses.asdict(options), "config": config},
            options.bounds,
            [result for pair in results for result in pair],
            moments,
            (after.user + after.system - cpu.user - cpu.system) / took,
        )

    def _calls(self, pictures: Mapping[str, Rgb], threads: ThreadPoolExecutor) -> list[LoadCall]:
        options = self.options
        small = {id: thumbnail(picture) for id, picture in pictures.items()}
        wanted = options.targets or sorted(set(small) - {OWN_FACE})
        if not wanted or OWN_FACE in wanted:
            raise UserError(
                f"Targets must be others than {OWN_FACE}, the synthetic driver's own face: give --target."
            )
        targets = itertools.cycle(wanted)
        camera = camera_view(self.film)
        sounds = {hertz: encode_opus(hertz=hertz) for hertz in TONES}
        calls = []
        for number in range(options.calls):
            room = f"{options.room_prefix}-{number}"
            drivers = []
            for index in (0, 1):
                hertz = TONES[(2 * number + index) % len(TONES)]
                drivers.append(
                    SyntheticDriver(
                        name=f"load-{number}-{'ab'[index]}",
                        room=room,
                        target=next(targets),
                        film=dataclasses.replace(self.film, audio=sounds[hertz]),
                        calls=index == 1,  # the first one is there already
                    )
                )
            peers = [
                LoadPeer(
                    ToneEar(TONES[(2 * number + 1 - index) % len(TONES)]),
                    PictureJudge(drivers[1 - index].target, small, camera),
                    threads,
                )
                for index in (0, 1)
            ]
            calls.append(LoadCall(room, peers, drivers, options.text_every_s))
        return calls

    async def _start(self, http: aiohttp.ClientSession, call: LoadCall, after: float) -> None:
        await asyncio.sleep(after)
        token = await self.access.token_for(http, self.address, call.room)
        for peer in call.peers:
            peer.driver.use_token(token)
        await call.start(http, self.address.ws)

    async def _hold(self, calls: Sequence[LoadCall], seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds - _TEXTS_END_S))
        for call in calls:
            call.end_texts()
        await asyncio.sleep(min(seconds, _TEXTS_END_S))

    async def _watch(self, calls: Sequence[LoadCall], moments: list[Moment]) -> None:
        """Take each second down."""
        own, began = psutil.Process(), time.monotonic()
        whole = self.options.ramp_s + self.options.seconds
        at, cpu = began, sum(own.cpu_times()[:2])
        counts = {peer: peer.pictures.count for call in calls for peer in call.peers}
        while True:
            await asyncio.sleep(1.0)
            since, at = at, time.monotonic()
            before, cpu = cpu, sum(own.cpu_times()[:2])
            rates, ages, relays, running = [], [], [], 0
            for call in calls:
                running += call.running
                for peer in call.peers:
                    before_count, counts[peer] = counts[peer], peer.pictures.count
                    if call.running and before_count:
                        rates.append((peer.pictures.count - before_count) / (at - since))
                    if peer.figures.age_ms:
                        ages.append(peer.figures.age_ms[-1])
                    if peer.rung > since:
                        relays.append(1e3 * (peer.rung - peer.partner.requested))
            moment = Moment(
                at_s=at - began,
                calls=running,
                fps_p50=_median(rates),
                fps_min=min(rates, default=math.nan),
                age_ms_p50=_median(ages),
                age_ms_max=max(ages, default=math.nan),
                relay_ms=max(relays, default=math.nan),
                cpu=(cpu - before) / (at - since),
            )
            moments.append(moment)
            self.on_moment(moment)
            self.progress(f"{running} of {len(calls)} calls", min(1.0, (at - began) / whole))

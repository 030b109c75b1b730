"""What a load test found: a result for each peer, what is wrong with it, and figures over all."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

#: Counted, but no loss by themselves: what led to them is counted as well.
_RECOVERIES: Final = {"resumed", "session_retried"}
#: Figures of a peer that are summed up over all.
FIGURES: Final = (
    *("fps", "freeze_s", "sound_lost", "text_ms", "relay_ms", "in_call_ms", "first_picture_s"),
    *("generated_fps", "age_ms", "frame_ms"),
)


@dataclass(frozen=True)
class Bounds:
    """What a peer must get.

    Attributes:
        min_fps: pictures of its partner a second, from the first to the end.
        max_freeze_s: the longest time without a new one.
        max_sound_lost: share of the sound that may be missing; its beginning and end are counted roughly.
    """

    min_fps: float = 15.0
    max_freeze_s: float = 1.0
    max_sound_lost: float = 0.05


@dataclass(frozen=True, kw_only=True)
class PeerResult:
    """What one peer saw and heard of its partner; NaN where nothing could be measured.

    Attributes:
        name, room: of the peer.
        target: that its partner should be seen behind.
        seconds: from being in the call to the end.
        fps: pictures received a second, from the first generated one to the end.
        gaps: times of more than half a second without one; ``freeze_s``: the longest.
        looked, right, camera: pictures looked at; those that show the right target; pictures that show
            the partner's own camera, of nearly all. ``unmoved``: those that are as the one looked at before.
        shown_instead: what the wrong ones show.
        stills: pictures looked at while the service said that the partner's picture was a still.
        sections, marked: groups of pictures, and those with the watermark.
        listened, heard: times the sound was listened to; times it was the partner's tone.
        sound_lost: share of the sound that did not come.
        texts_sent, texts_lost, texts_wrong: this peer's texts to the partner; ``wrong``: doubled, out of
            order, or never sent.
        text_ms: from sending to receiving, median.
        relay_ms: from sending the request to its ringing at the partner (of the peer that asks).
        in_call_ms: from accepting the request to the call's state (of the peer that accepts).
        first_picture_s: from the call's state to the first generated picture.
        generated_fps, age_ms, frame_ms: medians of what the service says of the partner's picture: new
            pictures a second, age when handed to the encoder, time in the worker.
        states: how often the partner's picture went over to each state.
        lost: whatever was lost, refused or failed, by what it was.
        sentences: the same in words, the first few.
    """

    name: str
    room: str
    target: str
    seconds: float = math.nan
    fps: float = math.nan
    gaps: int = 0
    freeze_s: float = math.nan
    looked: int = 0
    right: int = 0
    camera: int = 0
    unmoved: int = 0
    shown_instead: Sequence[str] = ()
    stills: int = 0
    sections: int = 0
    marked: int = 0
    listened: int = 0
    heard: int = 0
    sound_lost: float = math.nan
    texts_sent: int = 0
    texts_lost: int = 0
    texts_wrong: int = 0
    text_ms: float = math.nan
    relay_ms: float = math.nan
    in_call_ms: float = math.nan
    first_picture_s: float = math.nan
    generated_fps: float = math.nan
    age_ms: float = math.nan
    frame_ms: float = math.nan
    states: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    sentences: Sequence[str] = ()

    @property
    def leaked(self) -> bool:
        """The partner's own camera was seen."""
        return self.camera > 0

    def wrong(self, bounds: Bounds) -> list[str]:
        """What is wrong, in words; nothing if all is well."""
        faults = [f"{what} ({count})" for what, count in self.lost.items() if what not in _RECOVERIES]
        if self.leaked:
            faults.insert(0, f"THE PARTNER'S OWN CAMERA WAS SEEN in {self.camera} pictures")
        if math.isnan(self.seconds):
            return [*faults, "never in a call"]
        if math.isnan(self.fps):
            return [*faults, "no generated picture came"]
        if self.fps < bounds.min_fps:
            faults.append(f"{self.fps:.1f} pictures a second")
        if self.freeze_s > bounds.max_freeze_s:
            faults.append(f"the picture froze for {self.freeze_s:.1f} s")
        if self.looked == 0:
            faults.append("no picture could be looked at")
        if self.right < self.looked:
            instead = ", ".join(f"{what} {n}x" for what, n in Counter(self.shown_instead).items())
            faults.append(f"not {self.target} in {self.looked - self.right} of {self.looked}: {instead}")
        if self.unmoved:
            faults.append(f"the picture flows but does not move ({self.unmoved} of {self.looked})")
        if self.marked < self.sections:
            faults.append(f"no watermark in {self.sections - self.marked} of {self.sections} groups")
        if self.listened == 0 or self.heard < self.listened:
            faults.append(f"the partner's tone was heard {self.heard} of {self.listened} times")
        if not self.sound_lost <= bounds.max_sound_lost:
            faults.append(f"{100 * self.sound_lost:.0f} % of the sound did not come")
        if self.texts_lost or self.texts_wrong:
            faults.append(f"of {self.texts_sent} texts {self.texts_lost} lost, {self.texts_wrong} wrong")
        return faults


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One second of the test.

    Attributes:
        at_s: since the first call began.
        calls: running now, of those both members are in.
        fps_p50, fps_min: pictures received in it, over the streams of these calls.
        age_ms_p50, age_ms_max: what the service last said of the pictures' age.
        relay_ms: of requests that rang in it, the longest.
        cpu: cores that the load test took.
    """

    at_s: float
    calls: int
    fps_p50: float
    fps_min: float
    age_ms_p50: float
    age_ms_max: float
    relay_ms: float
    cpu: float


@dataclass(frozen=True)
class Spread:
    """A figure over all peers."""

    p50: float
    p95: float
    p99: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of those that could be measured."""
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return cls(*(math.nan,) * 5)
        p50, p95, p99 = np.percentile(known, (50, 95, 99)).tolist()
        return cls(p50, p95, p99, min(known), max(known))


@dataclass(frozen=True)
class CallReport:
    """The whole test."""

    service: str
    machine: Mapping[str, Any]
    options: Mapping[str, Any]
    bounds: Bounds
    peers: Sequence[PeerResult]
    moments: Sequence[Moment]
    cpu: float  # cores of the load test, mean

    @property
    def wrong(self) -> dict[str, list[str]]:
        """Peers with whom something is wrong."""
        return {peer.name: faults for peer in self.peers if (faults := peer.wrong(self.bounds))}

    @property
    def leaked(self) -> bool:
        """Somebody's own camera was seen."""
        return any(peer.leaked for peer in self.peers)

    @property
    def lost(self) -> Counter[str]:
        """Whatever was lost, refused or failed, over all peers."""
        total: Counter[str] = Counter()
        for peer in self.peers:
            total.update(peer.lost)
        return total

    def spread(self, figure: str) -> Spread:
        """A figure of :class:`PeerResult` over all peers."""
        return Spread.of([float(getattr(peer, figure)) for peer in self.peers])

    def as_json(self) -> str:
        """All of it; what could not be measured is null."""
        content = {
            "kind": "calls",
            **asdict(self),
            "summary": {figure: asdict(self.spread(figure)) for figure in FIGURES},
            "lost": self.lost,
            "wrong": self.wrong,
            "leaked": self.leaked,
            "ok": not self.wrong,
        }
        return to_json(content)


def to_json(content: object) -> str:
    """JSON in which what is not a number is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, Mapping):
            return {key: plain(one) for key, one in value.items()}
        return [plain(one) for one in value] if isinstance(value, list | tuple) else value

    return json.dumps(plain(content), indent=2) + "\n"

"""Listens to received sound: is it the tone that the peer sends, and how much of it was lost."""

from __future__ import annotations

import logging
from typing import Final

import av
import numpy as np

logger = logging.getLogger(__name__)

#: Tones of the synthetic microphones (hertz, whole, so that they loop without a seam); neighbours differ.
TONES: Final = (392, 523, 659, 784, 440, 587, 698, 880)

PACKET_S: Final = 0.02
_RATE: Final = 48_000
#: Packets of one listening, and how many of a decoder's first ones do not count.
_WINDOW: Final = 25
_SETTLING: Final = 5
#: A listening begins every so many packets.
_EVERY: Final = 100
_NEAR_HZ: Final = 6.0
#: Share of the sound's power that must lie within ``_NEAR_HZ`` of the tone.
_PURITY: Final = 0.5
_SILENCE: Final = 1e-4


class ToneEar:
    """Counts Opus packets, and decodes half a second of each two.

    Args:
        hertz: the tone that should be heard.

    Attributes:
        packets: packets received.
        heard: listenings in which the tone was heard.
        listened: listenings.
        first, last: when the first and the last packet came (monotonic seconds).
    """

    def __init__(self, hertz: int) -> None:
        self.packets = self.heard = self.listened = 0
        self.first = self.last = 0.0
        self._hertz = hertz
        self._decoder: av.AudioCodecContext | None = None
        self._sound: list[np.ndarray] = []

    def take(self, payload: bytes, at: float) -> None:
        """Take a packet."""
        if not self.packets:
            self.first = at
        self.last = at
        if self.packets % _EVERY < _WINDOW:
            self._decode(payload)
            if self.packets % _EVERY == _WINDOW - 1:
                self._listen()
        self.packets += 1

    def lost(self, until: float) -> float:
        """Share of the sound that did not come between the first packet and ``until`` (monotonic seconds)."""
        expected = (until - self.first) / PACKET_S if self.packets else 0.0
        return max(0.0, 1 - self.packets / expected) if expected >= 1 else float(not self.packets)

    def _decode(self, payload: bytes) -> None:
        if self._decoder is None:
            decoder = av.CodecContext.create("libopus", "r")
            assert isinstance(decoder, av.AudioCodecContext)
            decoder.sample_rate = _RATE
            self._decoder = decoder
        try:
            for frame in self._decoder.decode(av.Packet(payload)):
                # interleaved or planar, one channel or two: the first channel's samples will do
                samples = frame.to_ndarray().astype(np.float64)
                channels = len(frame.layout.channels)
                self._sound.append(samples[0] if samples.shape[0] > 1 else samples[0][::channels])
        except av.FFmpegError as error:
            logger.debug("A packet of sound could not be decoded: %s", error)

    def _listen(self) -> None:
        sound, self._sound, self._decoder = self._sound[_SETTLING:], [], None
        self.listened += 1
        if not sound:
            return
        samples = np.concatenate(sound)
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        total = float(power.sum())
        if total < _SILENCE * len(samples):
            return
        near = np.abs(np.fft.rfftfreq(len(samples), 1 / _RATE) - self._hertz) <= _NEAR_HZ
        self.heard += float(power[near].sum()) / total >= _PURITY

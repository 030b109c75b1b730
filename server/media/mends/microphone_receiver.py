"""The receiver of a microphone: Opus packets are passed on as they come, neither decoded nor buffered.

aiortc holds 80 ms of sound in a jitter buffer, decodes it, queues it without bound (a queue that fills before
the other side is connected delays the sound for good) and encodes it anew. A viewer's browser has an adaptive
jitter buffer with loss concealment and forward error correction of its own, which works better on the
packets as they were sent. So nothing is queued here but what overtook others, until it is in order again
(:mod:`server.media.mends.sound_order`); :class:`~server.media.sound.ViewerSound` caps what waits for a
sender.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from aiortc import RTCRtpReceiver
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RtpPacket

from server import metrics
from server.media.mends.sound_order import SoundOrder

#: The largest Opus packet: 3 frames of 1275 bytes and their header, far above what fits in a datagram.
MAX_PACKET_BYTES: Final = 1500


class MicrophoneReceiver(RTCRtpReceiver):
    """Receives one Opus stream and calls ``on_packet(payload, timestamp)`` for each packet in order.

    Args:
        transport: the DTLS transport.
        on_packet: takes a packet's payload and its RTP timestamp (1/48000 s, modulo 2**32).
    """

    def __init__(self, transport: RTCDtlsTransport, on_packet: Callable[[bytes, int], None]) -> None:
        super().__init__("audio", transport)
        self._on_packet = on_packet
        self._order = SoundOrder(self._pass_on)
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """As in aiortc, without a decoder thread."""
        base: Any = self
        if base._RTCRtpReceiver__started:
            return
        base._RTCRtpReceiver__codecs.update((codec.payloadType, codec) for codec in parameters.codecs)
        self.transport._register_rtp_receiver(self, parameters)
        base._RTCRtpReceiver__rtcp_task = asyncio.ensure_future(self._run_rtcp())
        base._RTCRtpReceiver__started = True

    async def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        await super().stop()

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        base: Any = self
        codec = base._RTCRtpReceiver__codecs.get(packet.payload_type)
        if not self._enabled or self._stopped or codec is None:
            return
        streams: dict[int, StreamStatistics] = base._RTCRtpReceiver__remote_streams
        if packet.ssrc not in streams:  # the browser began anew; there is one microphone at a time
            streams.clear()
            self._order.release(all_gaps=True)
            self._order = SoundOrder(self._pass_on)
            streams[packet.ssrc] = StreamStatistics(codec.clockRate)
        streams[packet.ssrc].add(packet)
        metrics.AUDIO_PACKETS.labels("received").inc()
        payload = packet.payload
        if not payload or len(payload) > MAX_PACKET_BYTES:
            metrics.AUDIO_DROPPED.labels("size").inc()
            payload = b""  # its place in the order is not waited for
        if not self._order.put(packet.sequence_number, payload, packet.timestamp):
            # Late or repeated: the sender's numbering would put it behind what it belongs before.
            metrics.AUDIO_DROPPED.labels("late").inc()
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._order.due
        if due is not None and not self._stopped:
            delay = max(0.001, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._given_up)

    def _given_up(self) -> None:
        self._timer = None
        self._order.release()
        self._wait()

    def _pass_on(self, payload: bytes, timestamp: int) -> None:
        if payload and not self._stopped:
            self._on_packet(payload, timestamp)

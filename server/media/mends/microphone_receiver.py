"""The receiver of a microphone: Opus packets are passed on as they come, neither decoded nor buffered.

aiortc holds 80 ms of sound in a jitter buffer, decodes it, queues it without bound (a queue that fills before
the other side is connected delays the sound for good) and encodes it anew. A viewer's browser has an adaptive
jitter buffer with loss concealment and forward error correction of its own, which works better on the
packets as they were sent. So nothing is queued here at all; :class:`~server.media.sound.SoundSource` caps
what waits for a sender.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiortc import RTCRtpReceiver
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_gt

from server import metrics

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
        self._last: int | None = None
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
        await super().stop()

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        base: Any = self
        codec = base._RTCRtpReceiver__codecs.get(packet.payload_type)
        if not self._enabled or self._stopped or codec is None:
            return
        streams: dict[int, StreamStatistics] = base._RTCRtpReceiver__remote_streams
        if packet.ssrc not in streams:  # the browser began anew; there is one microphone at a time
            streams.clear()
            self._last = None
            streams[packet.ssrc] = StreamStatistics(codec.clockRate)
        streams[packet.ssrc].add(packet)
        metrics.AUDIO_PACKETS.labels("received").inc()
        if not packet.payload or len(packet.payload) > MAX_PACKET_BYTES:
            metrics.AUDIO_DROPPED.labels("size").inc()
        elif self._last is not None and not uint16_gt(packet.sequence_number, self._last):
            # Late or repeated: the sender's numbering would put it behind what it belongs before.
            metrics.AUDIO_DROPPED.labels("late").inc()
        else:
            self._last = packet.sequence_number
            self._on_packet(packet.payload, packet.timestamp)

// Reads what getStats() reports of a peer connection into the few figures that people want.

/** The figures of one direction of one connection at one moment, from an RTCStatsReport's entries. */
export function readReport(entries) {
  const figures = {};
  for (const entry of entries) {
    if (entry.type === "inbound-rtp" && entry.kind === "video") {
      Object.assign(figures, {
        at: entry.timestamp,
        bytes: entry.bytesReceived ?? 0,
        frames: entry.framesDecoded ?? 0,
        width: entry.frameWidth ?? 0,
        height: entry.frameHeight ?? 0,
        lost: Math.max(0, entry.packetsLost ?? 0),
        packets: entry.packetsReceived ?? 0,
        bufferDelay: entry.jitterBufferDelay ?? 0,
        buffered: entry.jitterBufferEmittedCount ?? 0,
      });
    }
    if (entry.type === "outbound-rtp" && entry.kind === "video") {
      Object.assign(figures, { sentAt: entry.timestamp, bytesSent: entry.bytesSent ?? 0, framesSent: entry.framesSent ?? 0 });
    }
    if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime !== undefined) {
      figures.roundTrip = entry.currentRoundTripTime * 1000;
    }
  }
  return figures;
}

/**
 * What happened between two moments.
 *
 * @returns {{fps, kbps, sentFps, sentKbps, lostShare, bufferMs, roundTripMs, width, height}} each null when unknown
 */
export function between(before, after) {
  const seconds = (after.at - before?.at) / 1000;
  const sentSeconds = (after.sentAt - before?.sentAt) / 1000;
  const rate = (key, time) => (time > 0 ? (after[key] - before[key]) / time : null);
  const kilobits = (key, time) => (time > 0 ? ((after[key] - before[key]) * 8) / 1000 / time : null);
  const packets = after.packets - before?.packets + (after.lost - before?.lost);
  const buffered = after.buffered - before?.buffered;
  return {
    fps: rate("frames", seconds),
    kbps: kilobits("bytes", seconds),
    sentFps: rate("framesSent", sentSeconds),
    sentKbps: kilobits("bytesSent", sentSeconds),
    lostShare: packets > 0 ? (after.lost - before.lost) / packets : null,
    bufferMs: buffered > 0 ? ((after.bufferDelay - before.bufferDelay) / buffered) * 1000 : null,
    roundTripMs: after.roundTrip ?? null,
    width: after.width ?? null,
    height: after.height ?? null,
  };
}

/** Counts the frames an element really shows (requestVideoFrameCallback); null where browsers cannot. */
export class FrameCounter {
  #counts = new WeakMap();

  /** Frames a second shown since the last call for this element, or null at first and where unknown. */
  rate(video, now = performance.now()) {
    if (!video.requestVideoFrameCallback) return null;
    const known = this.#counts.get(video);
    if (!known) {
      const count = { frames: 0, since: now };
      this.#counts.set(video, count);
      const step = () => {
        count.frames += 1;
        video.requestVideoFrameCallback(step);
      };
      video.requestVideoFrameCallback(step);
      return null;
    }
    const seconds = (now - known.since) / 1000;
    const rate = seconds > 0 ? known.frames / seconds : null;
    known.frames = 0;
    known.since = now;
    return rate;
  }
}

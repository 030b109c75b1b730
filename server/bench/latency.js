// Notes when each numbered frame is presented: of the camera as the page gets it, and of the peer's picture.
// Runs in the page before anything else; the benchmark reads window.latencyProbe.
(() => {
  const BLOCKS = 16;
  const BITS = 12;
  const STRIP = 1 / 24; // height of the strip of blocks, as a share of the picture's

  /** The number on a picture; -1 where there is none that can be read. Two rows of its brightness are copied. */
  const numberOf = async (video) => {
    const frame = new VideoFrame(video);
    try {
      const { width, height } = frame.visibleRect;
      const rows = new Uint8Array(4 * width * 2);
      const row = 2 * Math.floor((height * STRIP) / 4);
      const [brightness] = await frame.copyTo(rows, { rect: { x: 0, y: row, width, height: 2 } });
      const bits = [];
      for (let block = 0; block < BLOCKS; block += 1) {
        bits.push(rows[brightness.offset + Math.floor(((block + 0.5) * width) / BLOCKS)] > 126 ? 1 : 0);
      }
      const digits = bits.slice(2, 2 + BITS);
      const check = digits.reduce((sum, bit) => sum + bit, 0) % 4;
      if (bits[0] !== 1 || bits[1] !== 0 || 2 * bits[BLOCKS - 2] + bits[BLOCKS - 1] !== check) return -1;
      return digits.reduce((number, bit) => 2 * number + bit, 0);
    } finally {
      frame.close();
    }
  };

  const seen = { camera: [], remote: [] }; // [number, milliseconds since 1970], each number's first frame
  const counts = { camera: 0, remote: 0, unreadable: 0 };
  const follow = (video, role) => {
    if (video.followedAs) return;
    video.followedAs = role;
    let last = -1;
    const step = async (now, metadata) => {
      if (video.videoWidth > 0) {
        const number = await numberOf(video);
        counts[role] += 1;
        if (number < 0) counts.unreadable += role === "remote" ? 1 : 0;
        else if (number !== last) seen[role].push([number, performance.timeOrigin + metadata.presentationTime]);
        last = number;
      }
      video.requestVideoFrameCallback(step);
    };
    video.requestVideoFrameCallback(step);
  };
  setInterval(() => {
    for (const video of document.querySelectorAll('video[data-role="remote"]')) follow(video, "remote");
  }, 50);

  // Every peer connection of the page, to ask how long received frames wait in the browser's jitter buffers.
  const connections = [];
  const Plain = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Plain {
    constructor(...options) {
      super(...options);
      connections.push(this);
    }
  };
  const buffered = async () => {
    const sums = { video: [0, 0], audio: [0, 0] }; // seconds, frames or samples
    for (const connection of connections) {
      if (connection.connectionState !== "connected") continue;
      for (const report of (await connection.getStats()).values()) {
        if (report.type !== "inbound-rtp" || !(report.kind in sums)) continue;
        sums[report.kind][0] += report.jitterBufferDelay ?? 0;
        sums[report.kind][1] += report.jitterBufferEmittedCount ?? 0;
      }
    }
    return sums;
  };
  let bufferedBefore = null;

  const devices = navigator.mediaDevices;
  const getUserMedia = devices?.getUserMedia.bind(devices);
  if (getUserMedia) {
    devices.getUserMedia = async (constraints) => {
      const stream = await getUserMedia(constraints);
      const [track] = stream.getVideoTracks();
      if (track) {
        const video = document.createElement("video");
        video.muted = true;
        video.srcObject = new MediaStream([track.clone()]);
        await video.play().catch(() => {});
        follow(video, "camera");
      }
      return stream;
    };
  }

  window.latencyProbe = {
    async reset() {
      bufferedBefore = await buffered();
      for (const role of Object.keys(seen)) seen[role].length = 0;
      for (const role of Object.keys(counts)) counts[role] = 0;
    },
    numbered: () => seen.remote.length,
    /** What was seen since the last reset, and the mean milliseconds in the jitter buffers since then. */
    async take() {
      const now = await buffered();
      const waited = {};
      for (const kind of Object.keys(now)) {
        const [seconds, count] = now[kind].map((sum, index) => sum - (bufferedBefore?.[kind][index] ?? 0));
        waited[kind] = count > 0 ? (1000 * seconds) / count : null;
      }
      return { ...seen, counts, waited };
    },
  };
})();

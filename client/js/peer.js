// One media session: one peer connection, negotiated once, with trickled candidates.

const CONNECT_TIMEOUT_MS = 8000; // wrong TURN credentials leave a connection in `new` for good
const UNAUTHORISED = 401; // what a TURN server says to wrong or expired credentials
const DISCONNECTED_GRACE_MS = 3000; // Wi-Fi roaming often mends itself within this
const TO_A_PERSON = { maxBitrate: 1_000_000, maxFramerate: 30 };
// The worker looks at a face in 192x192 pixels: 480x360 holds more than that, at half of the work of 640x480.
const TO_THE_WORKER = { maxBitrate: 600_000 };
const LINES_FOR_THE_WORKER = 360;

// What each channel carries: the direction of its video and of its sound.
const DIRECTIONS = {
  publish: { video: "sendrecv", audio: "sendonly" }, // camera and microphone up, one's own generated picture down
  subscribe: { video: "recvonly", audio: "recvonly" },
  direct: { video: "sendrecv", audio: "sendrecv" },
};

/** Whether this browser can hold media sessions: some have no WebRTC, in others it is switched off. */
export function hasWebRtc() {
  return Boolean(globalThis.RTCPeerConnection);
}

/** VP8 first, then the rest as the browser likes them: the worker encodes VP8 four times faster than H264. */
export function preferVp8(codecs) {
  const isVp8 = (codec) => codec.mimeType.toLowerCase() === "video/vp8";
  return [...codecs.filter(isVp8), ...codecs.filter((codec) => !isVp8(codec))];
}

/** By how much the worker's picture is smaller than the camera's, at least 1. */
export function shrinking({ width, height }) {
  return Math.max(1, Math.min(width || LINES_FOR_THE_WORKER, height || LINES_FOR_THE_WORKER) / LINES_FOR_THE_WORKER);
}

/** An id no former session had: 16 hexadecimal digits. */
export function newSessionId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A peer connection under one session id.
 *
 * `onState(state, code)` tells connecting | connected | failed, failed once and last; `onTrack(track)` tells
 * each track that comes in. What is sent up is set by `setTrack` at any time, without negotiation; null
 * sends nothing.
 */
export class PeerSession {
  constructor({ channel, peer, id = newSessionId(), iceServers, tracks, fps, send, onTrack, onState }) {
    Object.assign(this, { channel, peer, id, tracks, fps, send, onTrack, onState });
    this.closed = false;
    this.answered = false;
    this.early = []; // candidates of the other side that came before its description
    this.work = Promise.resolve();
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.pc.onicecandidate = ({ candidate }) => this.#sendCandidate(candidate);
    this.pc.ontrack = ({ track, receiver }) => this.#received(track, receiver);
    this.pc.onconnectionstatechange = () => this.#changed();
    this.relayRefused = false;
    this.pc.onicecandidateerror = ({ errorCode }) => {
      this.relayRefused ||= errorCode === UNAUTHORISED;
    };
    this.timer = setTimeout(() => this.#fail(this.relayRefused ? "relay_refused" : "timeout"), CONNECT_TIMEOUT_MS);
  }

  /** Make the offer. */
  offer() {
    this.onState("connecting", null);
    const stream = new MediaStream();
    for (const kind of ["video", "audio"]) {
      const direction = DIRECTIONS[this.channel][kind];
      const sends = direction.startsWith("send");
      const options = { direction };
      if (sends) options.streams = [stream];
      const outgoing = this.#outgoing(kind, sends);
      if (sends && kind === "video") options.sendEncodings = [this.#encoding(outgoing)];
      const transceiver = this.pc.addTransceiver(outgoing ?? kind, options);
      if (kind === "video") this.#preferVp8(transceiver);
    }
    this.#do(async () => {
      await this.pc.setLocalDescription();
      this.#signal({ description: plain(this.pc.localDescription) });
    });
  }

  /** Answer the other side's offer (direct calls only). */
  answer(description) {
    this.onState("connecting", null);
    this.#do(async () => {
      await this.pc.setRemoteDescription(description);
      for (const transceiver of this.pc.getTransceivers()) {
        const kind = transceiver.receiver.track.kind;
        transceiver.direction = "sendrecv";
        await transceiver.sender.replaceTrack(this.#outgoing(kind, true));
      }
      await this.pc.setLocalDescription();
      this.#signal({ description: plain(this.pc.localDescription) });
      this.answered = true;
      await this.#addEarly();
    });
  }

  /** Take what the other side signalled for this session. */
  take({ description, candidate }) {
    this.#do(async () => {
      if (description?.type === "answer" && this.pc.signalingState === "have-local-offer") {
        await this.pc.setRemoteDescription(description);
        this.answered = true;
        await this.#addEarly();
      }
      if (candidate && this.answered) await this.#addCandidate(candidate);
      else if (candidate) this.early.push(candidate);
    });
  }

  /** Send this track from now on, or nothing. */
  setTrack(kind, track) {
    this.tracks = { ...this.tracks, [kind]: track };
    const sender = this.#sender(kind);
    if (sender) this.#do(() => this.#replace(sender, track));
  }

  /** Send so many of the camera's frames a second from now on (to the worker only). */
  setFps(fps) {
    if (fps === this.fps) return;
    this.fps = fps;
    const sender = this.#sender("video");
    if (sender) this.#do(() => this.#encode(sender));
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.timer);
    this.pc.onicecandidate = this.pc.onicecandidateerror = this.pc.ontrack = this.pc.onconnectionstatechange = null;
    this.pc.close();
  }

  #sender(kind) {
    const sends = ({ receiver, direction }) => receiver.track.kind === kind && direction.startsWith("send");
    return this.pc.getTransceivers().find(sends)?.sender;
  }

  #outgoing(kind, sends) {
    return sends ? (this.tracks[kind] ?? null) : null;
  }

  async #replace(sender, track) {
    await sender.replaceTrack(track);
    if (track?.kind === "video") await this.#encode(sender);
  }

  async #encode(sender) {
    const parameters = sender.getParameters();
    if (!parameters.encodings?.length) return; // not negotiated yet: the offer's encoding stands
    Object.assign(parameters.encodings[0], this.#encoding(sender.track));
    try {
      await sender.setParameters(parameters);
    } catch (error) {
      // How large and how often is a wish: the session goes on as it was.
      console.warn(`media session ${this.channel} ${this.id}:`, error);
    }
  }

  /** How the camera's picture is sent: as small as the worker needs it, or as it is to a person. */
  #encoding(track) {
    if (this.channel !== "publish") return TO_A_PERSON;
    const scaleResolutionDownBy = shrinking(track?.getSettings?.() ?? {});
    return { ...TO_THE_WORKER, maxFramerate: this.fps, scaleResolutionDownBy };
  }

  #preferVp8(transceiver) {
    const codecs = globalThis.RTCRtpReceiver?.getCapabilities?.("video")?.codecs;
    try {
      if (codecs) transceiver.setCodecPreferences?.(preferVp8(codecs));
    } catch {
      // A browser that refuses the order still speaks VP8.
    }
  }

  /** Run the steps of the negotiation one after the other; an error in one ends the session. */
  #do(step) {
    this.work = this.work
      .then(() => (this.closed ? undefined : step()))
      .catch((error) => {
        console.warn(`media session ${this.channel} ${this.id}:`, error);
        this.#fail("negotiation");
      });
  }

  async #addEarly() {
    for (const candidate of this.early.splice(0)) await this.#addCandidate(candidate);
  }

  async #addCandidate(candidate) {
    try {
      await this.pc.addIceCandidate(candidate.candidate ? candidate : undefined);
    } catch {
      // One useless candidate does not make the others useless.
    }
  }

  #sendCandidate(candidate) {
    const { candidate: text = "", sdpMid = null, sdpMLineIndex = null } = candidate?.toJSON() ?? {};
    this.#signal({ candidate: { candidate: text, sdpMid, sdpMLineIndex } });
  }

  #signal(content) {
    if (this.closed) return;
    const message = { type: "media.signal", channel: this.channel, session: this.id, ...content };
    this.send(this.peer ? { ...message, peer: this.peer } : message);
  }

  #received(track, receiver) {
    // The shortest buffer that plays: late frames are dropped by the worker already.
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
    this.onTrack(track);
  }

  #changed() {
    const state = this.pc.connectionState;
    if (state === "failed" || state === "closed") this.#fail("connection");
    if (state === "disconnected") {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.#fail("connection"), DISCONNECTED_GRACE_MS);
    }
    if (state === "connected") {
      clearTimeout(this.timer);
      this.onState("connected", null);
    }
  }

  #fail(code) {
    if (this.closed) return;
    this.close();
    this.onState("failed", code);
  }
}

function plain(description) {
  return { type: description.type, sdp: description.sdp };
}

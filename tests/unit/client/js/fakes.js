// Stand-ins for what browsers give: timers that a test moves on, a WebSocket it speaks through, devices.

/** Timers whose time is moved by `advance`. */
export class FakeTimers {
  constructor() {
    this.now = 0;
    this.entries = new Map();
    this.last = 0;
    this.setTimeout = (callback, wait) => this.#add(callback, wait, null);
    this.setInterval = (callback, wait) => this.#add(callback, wait, wait);
    this.clearTimeout = this.clearInterval = (id) => this.entries.delete(id);
  }

  #add(callback, wait, period) {
    this.last += 1;
    this.entries.set(this.last, { callback, at: this.now + wait, period });
    return this.last;
  }

  advance(milliseconds) {
    const end = this.now + milliseconds;
    for (;;) {
      const due = [...this.entries].filter(([, entry]) => entry.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      const [id, entry] = due;
      this.now = entry.at;
      if (entry.period === null) this.entries.delete(id);
      else entry.at += entry.period;
      entry.callback();
    }
    this.now = end;
  }
}

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  static all = [];

  constructor(url) {
    this.url = url;
    this.sent = [];
    this.closed = false;
    FakeSocket.all.push(this);
  }

  static get last() {
    return FakeSocket.all.at(-1);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  open() {
    this.onopen();
  }

  receive(message) {
    this.onmessage?.({ data: JSON.stringify({ v: 1, ...message }) });
  }

  break() {
    this.onclose?.();
  }

  types() {
    return this.sent.map((message) => message.type);
  }
}

/** Camera and microphone of a fake machine; `refuse[kind]` is the name of the error to fail with. */
export class FakeDevices extends EventTarget {
  constructor() {
    super();
    this.refuse = {};
    this.asked = [];
    this.there = [
      { kind: "videoinput", deviceId: "cam-1", label: "Camera" },
      { kind: "audioinput", deviceId: "mic-1", label: "Microphone" },
    ];
  }

  async enumerateDevices() {
    return this.there;
  }

  async getUserMedia(constraints) {
    this.asked.push(constraints);
    for (const kind of ["video", "audio"]) {
      if (constraints[kind] && this.refuse[kind]) throw Object.assign(new Error("refused"), { name: this.refuse[kind] });
      const exact = constraints[kind]?.deviceId?.exact;
      if (exact && !this.there.some((device) => device.deviceId === exact)) {
        throw Object.assign(new Error("gone"), { name: "OverconstrainedError" });
      }
    }
    const tracks = ["video", "audio"].filter((kind) => constraints[kind]).map((kind) => new FakeTrack(kind));
    return {
      getTracks: () => tracks,
      getVideoTracks: () => tracks.filter((track) => track.kind === "video"),
      getAudioTracks: () => tracks.filter((track) => track.kind === "audio"),
    };
  }
}

export class FakeTrack {
  constructor(kind) {
    this.kind = kind;
    this.enabled = true;
    this.stopped = false;
    this.contentHint = "";
  }

  getSettings() {
    return { deviceId: this.kind === "video" ? "cam-1" : "mic-1" };
  }

  stop() {
    this.stopped = true;
  }

  unplug() {
    this.onended();
  }
}

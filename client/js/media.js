// Camera and microphone: asking for them, choosing among them, and what to say when there is none.

const VIDEO = {
  width: { ideal: 640 },
  height: { ideal: 480 },
  frameRate: { ideal: 30, max: 30 },
  facingMode: "user",
};
const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

const REASONS = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "missing",
  DevicesNotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  TrackStartError: "busy",
  AbortError: "busy",
};

/** Why a device could not be had: denied | missing | busy | insecure | unknown. */
export function reasonOf(error) {
  return REASONS[error?.name] ?? "unknown";
}

/** Constraints for one kind of device, with the preferred one when it is known. */
export function constraintsFor(kind, deviceId) {
  const base = kind === "camera" ? VIDEO : AUDIO;
  if (!deviceId) return base;
  const { facingMode: _, ...rest } = base;
  return { ...rest, deviceId: { exact: deviceId } };
}

/**
 * The camera and the microphone of this person.
 *
 * For each (`camera`, `microphone`): `on` is what the person wants, `track` what there is, `reason` why
 * there is none though wanted. Switching the camera off stops it (its light goes out); muting keeps the
 * microphone and silences its track, so that unmuting is instant. `onChange(kind)` follows every change.
 */
export class Media {
  constructor({ onChange, devices = globalThis.navigator?.mediaDevices }) {
    this.onChange = onChange;
    this.api = devices;
    this.camera = { on: true, track: null, reason: null, deviceId: null };
    this.microphone = { on: true, track: null, reason: null, deviceId: null };
    this.stopped = false;
    this.asking = Promise.resolve();
    this.api?.addEventListener?.("devicechange", () => this.#replugged());
  }

  /** Ask for both at once, so that the browser asks the person once. */
  start() {
    return this.#inTurn(async () => {
      const wanted = ["camera", "microphone"].filter((kind) => this[kind].on && !this[kind].track);
      if (wanted.length === 2 && this.api?.getUserMedia) {
        try {
          const stream = await this.api.getUserMedia({
            video: constraintsFor("camera", this.camera.deviceId),
            audio: constraintsFor("microphone", this.microphone.deviceId),
          });
          this.#took("camera", stream.getVideoTracks()[0]);
          this.#took("microphone", stream.getAudioTracks()[0]);
          return;
        } catch {
          // Which of the two is at fault shows when each is asked for alone.
        }
      }
      for (const kind of wanted) await this.#ask(kind);
    });
  }

  /** Switch a device on or off. */
  set(kind, on) {
    const device = this[kind];
    device.on = on;
    if (kind === "microphone" && device.track) {
      device.track.enabled = on;
      this.onChange(kind);
      return Promise.resolve();
    }
    return this.#inTurn(async () => {
      if (device.on && !device.track) await this.#ask(kind);
      else if (!device.on) this.#release(kind);
      this.onChange(kind);
    });
  }

  /** Use another device of a kind. */
  choose(kind, deviceId) {
    this[kind].deviceId = deviceId || null;
    return this.#inTurn(async () => {
      if (!this[kind].on) {
        // A muted microphone is still had: let it go, so that unmuting asks for the chosen one.
        this.#release(kind);
        this.onChange(kind);
        return;
      }
      // Phones have one camera pipeline: the former camera must be let go first.
      if (kind === "camera") this.#release(kind);
      await this.#ask(kind);
    });
  }

  /** The devices there are, `[{deviceId, label}]`; labels are empty until permission was given. */
  async list(kind) {
    const wanted = kind === "camera" ? "videoinput" : "audioinput";
    try {
      const devices = await this.api.enumerateDevices();
      return devices.filter((device) => device.kind === wanted && device.deviceId);
    } catch {
      return [];
    }
  }

  /** Whether a device is wanted and there. */
  live(kind) {
    return this[kind].on && this[kind].track !== null;
  }

  /** Let both go, for good: what a prompt still brings or somebody plugs in afterwards is not used. */
  stop() {
    this.stopped = true;
    for (const kind of ["camera", "microphone"]) {
      this.#release(kind);
      this[kind].reason = null;
      this.onChange(kind);
    }
  }

  /** One request at a time: two at once make some browsers refuse both. */
  #inTurn(step) {
    this.asking = this.asking.then(step, step);
    return this.asking;
  }

  async #ask(kind) {
    if (this.stopped) return;
    const device = this[kind];
    if (!this.api?.getUserMedia) {
      this.#missed(kind, "insecure");
      return;
    }
    const medium = kind === "camera" ? "video" : "audio";
    const attempt = (deviceId) => this.api.getUserMedia({ [medium]: constraintsFor(kind, deviceId) });
    try {
      const stream = await attempt(device.deviceId).catch((error) => {
        if (this.stopped || !device.deviceId || reasonOf(error) !== "missing") throw error;
        return attempt(null); // the remembered one is unplugged: any other will do
      });
      this.#took(kind, stream.getTracks()[0]);
    } catch (error) {
      this.#missed(kind, reasonOf(error));
    }
  }

  #took(kind, track) {
    if (this.stopped) {
      if (track) this.#end(track);
      return;
    }
    const device = this[kind];
    const former = device.track;
    if (former && former !== track) this.#end(former);
    if (!track) {
      this.#missed(kind, "missing");
      return;
    }
    device.track = track;
    device.reason = null;
    device.deviceId = track.getSettings?.().deviceId ?? device.deviceId;
    track.enabled = kind === "camera" || device.on;
    if ("contentHint" in track && kind === "camera") track.contentHint = "motion";
    track.onended = () => this.#unplugged(kind, track);
    if (kind === "camera" && !device.on) this.#release(kind); // switched off while the browser was asking
    this.onChange(kind);
  }

  #missed(kind, reason) {
    if (this.stopped) return;
    this.#release(kind);
    this[kind].reason = reason;
    this.onChange(kind);
  }

  #release(kind) {
    const device = this[kind];
    if (device.track) this.#end(device.track);
    device.track = null;
  }

  #end(track) {
    track.onended = null;
    track.stop();
  }

  #unplugged(kind, track) {
    if (this[kind].track !== track) return;
    this.#missed(kind, "unplugged");
    this.#another(kind); // one may be there; if not, the reason says so
  }

  /** Use any other device in place of one that is gone; one event of several that tell of it is enough. */
  #another(kind) {
    return this.#inTurn(async () => {
      const device = this[kind];
      if (!device.on || !["unplugged", "missing"].includes(device.reason)) return;
      device.deviceId = null;
      if ((await this.list(kind)).length > 0) await this.#ask(kind);
    });
  }

  #replugged() {
    if (this.stopped) return;
    for (const kind of ["camera", "microphone"]) {
      this.#another(kind);
      this.onChange(kind);
    }
  }
}

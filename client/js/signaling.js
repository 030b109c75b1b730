// The WebSocket to the signaling server: hello and resume, heartbeat, reconnection, answers to requests.

import { backoff } from "./backoff.js";
import { TOKEN_ERRORS } from "./invitation.js";

export const PROTOCOL_VERSION = 1;
const OPEN_TIMEOUT_MS = 8000;
const REQUEST_TIMEOUT_MS = 10000;
const QUEUE_LIMIT = 100;
// Not kept while the line is lost, for what holds by then is told with the welcome: an earlier face or camera must
// not overtake today's, and media sessions are offered anew.
const NEVER_KEPT = new Set(["target.select", "media.set", "media.signal"]);
// After these answers to hello the server has had its last word: trying again would only repeat it.
const HELLO_REFUSED = new Set(["version_unsupported", "unauthorised", ...TOKEN_ERRORS]);

/** A refusal by the server, or a request that went unanswered. */
export class SignalingError extends Error {
  /** @param {string} code the wire's code, or `disconnected` / `timed_out` */
  constructor(code, message) {
    super(message);
    this.name = "SignalingError";
    this.code = code;
  }
}

/**
 * One terminal's line to the server.
 *
 * Emits every server message under its `type` and under `*`, and `status` with
 * `{status, attempt, wait}` where status is idle | connecting | open | lost | closed | fatal.
 * While the line is lost and a resume token is held, what is sent is kept (at most 100 messages) and goes
 * out once the server has given the terminal its old place back; with a new place it is dropped, because
 * it spoke of rooms and sessions that are gone. Of what changes by itself meanwhile (one's face, devices,
 * media sessions) nothing is kept: listeners of `welcome` tell how it is then.
 */
export class Signaling {
  constructor({
    url,
    memory,
    WebSocketClass = globalThis.WebSocket,
    timers = globalThis,
    random = Math.random,
    now = () => Date.now(),
  }) {
    this.url = url;
    this.memory = memory;
    this.WebSocketClass = WebSocketClass;
    this.timers = timers;
    this.random = random;
    this.now = now;
    this.handlers = new Map();
    this.pending = new Map();
    this.queue = [];
    this.status = "idle";
    this.attempt = 0;
    this.name = "";
    this.terminal = null;
    this.lastId = 0;
    this.socket = null;
  }

  /** Call `handler(message)` for each message of `type`; returns a function that ends it. */
  on(type, handler) {
    if (!this.handlers.has(type)) this.handlers.set(type, new Set());
    this.handlers.get(type).add(handler);
    return () => this.handlers.get(type).delete(handler);
  }

  /** Open the line under a display name; a kept resume token is tried first. */
  connect(name) {
    this.name = name;
    this.attempt = 0;
    this.#open();
  }

  /** Use another display name: the same place is taken back under it. */
  rename(name) {
    if (name === this.name) return;
    this.name = name;
    if (this.status === "open") this.reconnectNow();
  }

  /** Try again at once: the network is back, or the page was shown again. */
  reconnectNow() {
    if (this.status === "idle" || this.status === "closed" || this.status === "fatal") return;
    this.attempt = 0;
    this.#open();
  }

  /** Send a message now, or keep it until the old place is back. Returns false when it is dropped. */
  send(message) {
    if (this.status === "open") {
      this.#write(message);
      return true;
    }
    const mayResume = this.status === "lost" || this.status === "connecting";
    if (!mayResume || NEVER_KEPT.has(message.type)) return false;
    if (this.memory.get("resume") === null || this.queue.length >= QUEUE_LIMIT) return false;
    this.queue.push(message);
    return true;
  }

  /**
   * Send a message and wait for the answer that names it.
   *
   * @returns {Promise<object>} the first message whose `re` is this message's id
   * @throws {SignalingError} refused, unanswered in 10 s, or the line was lost
   */
  request(message) {
    this.lastId += 1;
    const id = `m${this.lastId}`;
    return new Promise((resolve, reject) => {
      if (!this.send({ id, ...message })) {
        reject(new SignalingError("disconnected", "There is no connection to the server."));
        return;
      }
      const timer = this.timers.setTimeout(() => {
        this.pending.delete(id);
        // What has been said to have failed must not happen after all when the line is back.
        this.queue = this.queue.filter((kept) => kept.id !== id);
        reject(new SignalingError("timed_out", "The server did not answer."));
      }, REQUEST_TIMEOUT_MS);
      this.pending.set(id, { resolve, reject, timer });
    });
  }

  /** Leave for good: the server forgets this terminal at once. */
  leave() {
    if (this.status === "open") this.send({ type: "bye" });
    this.memory.remove("resume");
    this.#drop();
    this.#refusePending("disconnected", "You left.");
    this.#setStatus("closed");
  }

  #open() {
    this.#drop();
    this.#setStatus(this.status === "lost" || this.status === "open" ? "lost" : "connecting");
    let socket;
    try {
      socket = new this.WebSocketClass(this.url);
    } catch {
      this.#lost();
      return;
    }
    this.socket = socket;
    this.openTimer = this.timers.setTimeout(() => this.#lost(), OPEN_TIMEOUT_MS);
    socket.onopen = () => {
      const resume = this.memory.get("resume");
      const token = this.memory.get("token");
      const hello = { v: PROTOCOL_VERSION, type: "hello", name: this.name };
      socket.send(JSON.stringify({ ...hello, ...(resume && { resume }), ...(token && { token }) }));
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = () => this.#lost();
    socket.onerror = () => {};
  }

  #receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    this.lastHeard = this.now();
    if (message.type === "welcome") this.#welcome(message);
    if (message.type === "error" && this.#isLastWord(message.code)) this.#fatal(message);
    const waiting = message.re === undefined ? undefined : this.pending.get(message.re);
    if (waiting) {
      this.pending.delete(message.re);
      this.timers.clearTimeout(waiting.timer);
      if (message.type === "error") waiting.reject(new SignalingError(message.code, message.message));
      else waiting.resolve(message);
    }
    this.#emit(message.type, message);
    this.#emit("*", message);
    // The kept messages go out after the listeners have heard of the place they speak of.
    if (message.type === "welcome") this.#flush();
  }

  #welcome(message) {
    this.timers.clearTimeout(this.openTimer);
    this.attempt = 0;
    this.terminal = message.terminal;
    this.memory.set("resume", message.resume);
    if (!message.resumed) {
      this.queue = [];
      this.#refusePending("disconnected", "The connection was lost.");
    }
    this.kept = this.queue;
    this.queue = [];
    this.#setStatus("open");
    this.#beat(message.heartbeat_s * 1000);
  }

  #flush() {
    for (const message of this.kept ?? []) if (this.status === "open") this.#write(message);
    this.kept = [];
  }

  #write(message) {
    this.socket.send(JSON.stringify({ v: PROTOCOL_VERSION, ...message }));
  }

  #beat(period) {
    this.timers.clearInterval(this.heartTimer);
    this.heartTimer = this.timers.setInterval(() => {
      // A half-open connection reports nothing for minutes; two silent heartbeats are enough to know.
      if (this.now() - this.lastHeard > 2.2 * period) this.#lost();
      else this.send({ type: "ping" });
    }, period * 0.8);
  }

  #isLastWord(code) {
    return code === "superseded" || (this.status !== "open" && HELLO_REFUSED.has(code));
  }

  #fatal(message) {
    this.memory.remove("resume");
    if (TOKEN_ERRORS.has(message.code)) this.memory.remove("token");
    this.#drop();
    this.#refusePending(message.code, message.message);
    this.#setStatus("fatal");
  }

  #lost() {
    this.#drop();
    const wait = backoff(this.attempt, { random: this.random });
    this.attempt += 1;
    this.#setStatus("lost", { attempt: this.attempt, wait });
    this.retryTimer = this.timers.setTimeout(() => this.#open(), wait);
  }

  /** Let go of the socket and its timers without a word to anybody. */
  #drop() {
    this.timers.clearTimeout(this.openTimer);
    this.timers.clearTimeout(this.retryTimer);
    this.timers.clearInterval(this.heartTimer);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #refusePending(code, message) {
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const { reject, timer } of waiting) {
      this.timers.clearTimeout(timer);
      reject(new SignalingError(code, message));
    }
  }

  #setStatus(status, detail = {}) {
    this.status = status;
    this.#emit("status", { status, attempt: this.attempt, ...detail });
  }

  #emit(type, message) {
    for (const handler of [...(this.handlers.get(type) ?? [])]) handler(message);
  }
}

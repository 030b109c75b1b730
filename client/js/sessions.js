// Keeps the media sessions that the call needs: opens them, renews the failed, closes the rest.

import { backoff } from "./backoff.js";
import { MOST } from "./pace.js";
import { PeerSession } from "./peer.js";
import { UNREACHABLE, slotOf } from "./state.js";

const DIRECT_PATIENCE_MS = 6000; // how long the side that does not offer waits for the offer
const RETRY = { base: 400, cap: 8000 };
const BUSY_RETRY = { base: 3000, cap: 10000 };
const HAND_OVER_MS = 1500; // a new session shows pictures this long before the former one ends: the others move too

/**
 * The media sessions of one terminal, one in each slot (`publish`, `subscribe:<peer>`, `direct:<peer>`).
 *
 * Says what happens through `onState({slot, state, code})` with connecting | connected | failed | closed,
 * and `onTrack({slot, session, track})`.
 */
export class MediaSessions {
  constructor({ send, onTrack, onState, Session = PeerSession, timers = globalThis, random = Math.random }) {
    Object.assign(this, { send, onTrack, onState, Session, timers, random });
    this.terminal = "";
    this.iceServers = [];
    this.tracks = { video: null, audio: null };
    this.fps = MOST;
    this.slots = new Map();
  }

  /** Use these for every session from now on. */
  configure({ terminal, iceServers }) {
    this.terminal = terminal;
    this.iceServers = iceServers;
  }

  /** Hold exactly these sessions: `[{channel, peer}]`. */
  reconcile(wanted) {
    const keys = new Set(wanted.map(({ channel, peer }) => slotOf(channel, peer)));
    for (const slot of [...this.slots.values()]) if (!keys.has(slot.key)) this.#remove(slot);
    for (const { channel, peer } of wanted) {
      const key = slotOf(channel, peer);
      if (this.slots.has(key)) continue;
      const slot = { key, channel, peer, session: null, lastId: null, attempt: 0, timer: null, trouble: null };
      Object.assign(slot, { connected: false, former: null, formerTimer: null });
      this.slots.set(key, slot);
      if (channel === "direct" && !this.#offers(slot)) this.#later(slot, DIRECT_PATIENCE_MS);
      else this.#open(slot);
    }
  }

  /** Take a `media.signal` message. */
  take(message) {
    const slot = this.#slotOfSession(message.session);
    if (slot) {
      slot.session.take(message);
    } else if (message.channel === "direct" && message.description?.type === "offer") {
      this.#offered(message);
    }
  }

  /** An error named one of the sessions: give that session up and try again later. */
  refuse({ session, code }) {
    const slot = this.#slotOfSession(session);
    if (slot) this.#failed(slot, slot.session, code);
  }

  /** Begin anew in these channels: the worker is gone, or this is another terminal now. */
  restart(channels = ["publish", "subscribe", "direct"]) {
    for (const slot of this.#slotsOf(channels)) this.#restart(slot);
  }

  /**
   * Begin anew in these channels beside what plays: the worker is about to stop.
   *
   * The former sessions stay in their slots' place until the new ones have shown pictures for a moment, but
   * no longer than `playsOn` milliseconds.
   */
  move(channels, playsOn) {
    for (const slot of this.#slotsOf(channels)) {
      if (!slot.connected || !(playsOn > 0)) {
        this.#restart(slot);
        continue;
      }
      this.#endFormer(slot);
      slot.former = slot.session;
      slot.session = null;
      slot.attempt = 0;
      slot.formerTimer = this.timers.setTimeout(() => this.#takeOver(slot), playsOn);
      this.#open(slot);
    }
  }

  /**
   * The line is back: try at once what waits for its next try, and anew what was being connected, because what
   * was signalled meanwhile, here or there, is lost. A direct session that the other side offers is left to it.
   */
  hurry() {
    for (const slot of this.slots.values()) {
      const isTheirs = slot.channel === "direct" && !this.#offers(slot);
      if (!slot.session || (!slot.connected && !isTheirs)) this.#open(slot);
    }
  }

  /** What the sending sessions send from now on: a camera's or microphone's track, or null. */
  setTrack(kind, track) {
    this.tracks = { ...this.tracks, [kind]: track };
    for (const { channel, session, former } of this.slots.values()) {
      if (channel === "subscribe") continue;
      session?.setTrack(kind, track);
      former?.setTrack(kind, track);
    }
  }

  /** Send the worker so many of the camera's frames a second from now on. */
  setFps(fps) {
    this.fps = fps;
    for (const { session, former } of this.#slotsOf(["publish"])) {
      session?.setFps(fps);
      former?.setFps(fps);
    }
  }

  /** The peer connection in a slot, for its statistics; null when there is none. */
  connection(key) {
    const slot = this.slots.get(key);
    return (slot?.former ?? slot?.session)?.pc ?? null;
  }

  /** Of two terminals in a direct call the one with the smaller id offers. */
  #offers(slot) {
    return this.terminal < slot.peer;
  }

  #offered({ session, peer, description }) {
    const slot = this.slots.get(slotOf("direct", peer));
    if (!slot) return; // nobody here has agreed to a direct call with that terminal
    const crossed = slot.session && !slot.session.answered;
    if (crossed && this.#offers(slot)) return; // both offered at once: the smaller id's offer stands
    this.#close(slot);
    this.#make(slot, session).answer(description);
  }

  #open(slot) {
    this.#close(slot);
    this.#make(slot).offer();
  }

  #make(slot, id) {
    const session = new this.Session({
      channel: slot.channel,
      peer: slot.peer,
      ...(id ? { id } : {}),
      iceServers: this.iceServers,
      // A subscription sends nothing, whatever happens in it.
      tracks: slot.channel === "subscribe" ? { video: null, audio: null } : this.tracks,
      fps: this.fps,
      send: this.send,
      onTrack: (track) => {
        if (slot.session === session) this.onTrack({ slot: slot.key, session: session.id, track });
      },
      onState: (state, code) => {
        if (slot.former === session && state === "failed") this.#takeOver(slot);
        if (slot.session !== session) return;
        if (state === "failed") this.#failed(slot, session, code);
        else this.#progress(slot, state);
      },
    });
    slot.session = session;
    slot.lastId = session.id;
    return session;
  }

  #progress(slot, state) {
    slot.connected = state === "connected";
    if (slot.connected) Object.assign(slot, { attempt: 0, trouble: null });
    if (!slot.former) {
      this.onState({ slot: slot.key, state, code: slot.trouble }); // why the last try failed stays said
    } else if (slot.connected) {
      this.timers.clearTimeout(slot.formerTimer);
      slot.formerTimer = this.timers.setTimeout(() => this.#takeOver(slot), HAND_OVER_MS);
    }
  }

  /** The slot's new session takes the former one's place, as far as it has come. */
  #takeOver(slot) {
    this.#endFormer(slot);
    if (slot.session) this.onState({ slot: slot.key, state: slot.connected ? "connected" : "connecting", code: null });
    else this.onState({ slot: slot.key, state: "failed", code: "restarting" });
  }

  #endFormer(slot) {
    this.timers.clearTimeout(slot.formerTimer);
    const { former } = slot;
    slot.former = null;
    former?.close();
  }

  #restart(slot) {
    Object.assign(slot, { attempt: 0, trouble: null });
    this.#endFormer(slot);
    this.#close(slot);
    this.#later(slot, 100);
    this.onState({ slot: slot.key, state: "failed", code: "restarting" });
  }

  #failed(slot, session, code) {
    if (slot.session !== session) return;
    this.#close(slot);
    const pace = code === "worker_busy" ? BUSY_RETRY : RETRY;
    const patience = slot.channel === "direct" && !this.#offers(slot) ? DIRECT_PATIENCE_MS : 0;
    this.#later(slot, patience + backoff(slot.attempt, { ...pace, random: this.random }));
    slot.attempt += 1;
    slot.trouble = UNREACHABLE.includes(code) ? code : null;
    if (!slot.former) this.onState({ slot: slot.key, state: "failed", code });
  }

  #later(slot, wait) {
    this.timers.clearTimeout(slot.timer);
    slot.timer = this.timers.setTimeout(() => this.#open(slot), wait);
  }

  /** End the slot's session here. A newer session of the same slot replaces it at the server too. */
  #close(slot) {
    this.timers.clearTimeout(slot.timer);
    const session = slot.session;
    slot.session = null;
    slot.connected = false;
    session?.close();
  }

  #remove(slot) {
    this.slots.delete(slot.key);
    const last = slot.lastId;
    this.#endFormer(slot);
    this.#close(slot);
    if (last && slot.channel !== "direct") this.send({ type: "media.close", session: last });
    this.onState({ slot: slot.key, state: "closed", code: null });
  }

  #slotsOf(channels) {
    return [...this.slots.values()].filter((slot) => channels.includes(slot.channel));
  }

  #slotOfSession(id) {
    return [...this.slots.values()].find((slot) => slot.session?.id === id) ?? null;
  }
}

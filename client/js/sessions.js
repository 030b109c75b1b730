// Keeps the media sessions that the call needs: opens them, renews the failed, closes the rest.

import { backoff } from "./backoff.js";
import { PeerSession } from "./peer.js";
import { slotOf } from "./state.js";

const DIRECT_PATIENCE_MS = 6000; // how long the side that does not offer waits for the offer
const RETRY = { base: 400, cap: 8000 };
const BUSY_RETRY = { base: 3000, cap: 10000 };

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
      const slot = { key, channel, peer, session: null, lastId: null, attempt: 0, timer: null };
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
    for (const slot of this.slots.values()) {
      if (!channels.includes(slot.channel)) continue;
      slot.attempt = 0;
      this.#close(slot);
      this.#later(slot, 100);
      this.onState({ slot: slot.key, state: "failed", code: "restarting" });
    }
  }

  /** Try what is waiting for its next try at once: the network is back. */
  hurry() {
    for (const slot of this.slots.values()) if (!slot.session) this.#open(slot);
  }

  /** What the sending sessions send from now on: a camera's or microphone's track, or null. */
  setTrack(kind, track) {
    this.tracks = { ...this.tracks, [kind]: track };
    for (const { channel, session } of this.slots.values()) {
      if (channel !== "subscribe") session?.setTrack(kind, track);
    }
  }

  /** The peer connection in a slot, for its statistics; null when there is none. */
  connection(key) {
    return this.slots.get(key)?.session?.pc ?? null;
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
      send: this.send,
      onTrack: (track) => {
        if (slot.session === session) this.onTrack({ slot: slot.key, session: session.id, track });
      },
      onState: (state, code) => {
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
    if (state === "connected") slot.attempt = 0;
    this.onState({ slot: slot.key, state, code: null });
  }

  #failed(slot, session, code) {
    if (slot.session !== session) return;
    this.#close(slot);
    const pace = code === "worker_busy" ? BUSY_RETRY : RETRY;
    const patience = slot.channel === "direct" && !this.#offers(slot) ? DIRECT_PATIENCE_MS : 0;
    this.#later(slot, patience + backoff(slot.attempt, { ...pace, random: this.random }));
    slot.attempt += 1;
    this.onState({ slot: slot.key, state: "failed", code });
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
    session?.close();
  }

  #remove(slot) {
    this.slots.delete(slot.key);
    const last = slot.lastId;
    this.#close(slot);
    if (last && slot.channel !== "direct") this.send({ type: "media.close", session: last });
    this.onState({ slot: slot.key, state: "closed", code: null });
  }

  #slotOfSession(id) {
    return [...this.slots.values()].find((slot) => slot.session?.id === id) ?? null;
  }
}

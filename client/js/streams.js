// The MediaStreams that came in, one for each media session's slot, and which element shows which.

/**
 * Remote streams by slot (see sessions.js).
 *
 * When a session is renewed, the former stream stays (frozen on its last frame) until the new one is
 * connected, so that a reconnection shows a still face and not a black tile.
 */
export class Streams {
  #current = new Map(); // slot -> {session, stream}
  #arriving = new Map();
  #shown = new Map(); // media element -> slot

  /** A track came in for a slot. */
  add({ slot, session, track }) {
    const known = [this.#arriving.get(slot), this.#current.get(slot)].find((entry) => entry?.session === session);
    if (known) {
      known.stream.addTrack(track);
      return;
    }
    this.#arriving.set(slot, { session, stream: new MediaStream([track]) });
    if (!this.#current.has(slot)) this.settle(slot);
  }

  /** The slot's newest session is connected: show what it brings. */
  settle(slot) {
    const entry = this.#arriving.get(slot);
    if (!entry) return;
    this.#arriving.delete(slot);
    this.#current.set(slot, entry);
    this.#refresh(slot);
  }

  /** The slot is gone. */
  remove(slot) {
    this.#arriving.delete(slot);
    if (this.#current.delete(slot)) this.#refresh(slot);
  }

  /** Let an element show a slot, now and after each renewal; null shows nothing. */
  show(element, slot) {
    if (this.#shown.get(element) === slot) return;
    if (slot) this.#shown.set(element, slot);
    else this.#shown.delete(element);
    this.#attach(element, slot);
  }

  #refresh(slot) {
    for (const [element, shown] of this.#shown) if (shown === slot) this.#attach(element, slot);
  }

  #attach(element, slot) {
    const stream = slot ? (this.#current.get(slot)?.stream ?? null) : null;
    if (element.srcObject === stream) return;
    element.srcObject = stream;
    if (stream) element.dispatchEvent(new CustomEvent("streamattached"));
  }
}

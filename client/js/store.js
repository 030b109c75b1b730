// Holds the page's state and tells who asked when it changes.

import { INITIAL, reduce } from "./state.js";

/** The state, changed by events alone (see state.js). */
export class Store {
  #state = INITIAL;
  #listeners = new Set();

  get state() {
    return this.#state;
  }

  /** Let an event change the state; listeners run when it did. */
  dispatch(event) {
    const before = this.#state;
    this.#state = reduce(before, event);
    if (this.#state === before) return;
    for (const listener of [...this.#listeners]) listener(this.#state, before);
  }

  /** Call `listener(state, before)` after each change, and once now. */
  subscribe(listener) {
    this.#listeners.add(listener);
    listener(this.#state, this.#state);
    return () => this.#listeners.delete(listener);
  }
}

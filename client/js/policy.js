// What the page decides by itself about calls: pure functions of the state, so that each rule can be tested.

import { othersOnline, remotes } from "./state.js";

/**
 * What to do about a relay request that came in.
 *
 * Whoever opened the room's link wants to be called, so a reenacted call (nobody's face is in it) and a
 * text relay are accepted; an unmodified picture is never sent without asking the person.
 *
 * @returns {"accept" | "ask" | "wait"}
 */
export function answerTo(state, { mode }) {
  if (state.phase !== "room") return "wait";
  return mode === "reenacted" ? "accept" : "ask";
}

/** Whether to ask the others in the room for a reenacted video call now. */
export function shouldCall(state) {
  if (state.phase !== "room" || state.line !== "open") return false;
  const asked = Object.values(state.outgoing).some(({ kind, mode }) => kind === "video" && mode === "reenacted");
  return !asked && uncalled(state).length > 0;
}

/** The others in the room who are there and in no reenacted call with this terminal. */
export function uncalled(state) {
  const called = new Set(remotes(state).filter((peer) => peer.reenacted).map((peer) => peer.terminal));
  return othersOnline(state)
    .map((member) => member.terminal)
    .filter((terminal) => !called.has(terminal));
}

/**
 * The media sessions that the state calls for.
 *
 * A direct session exists only for a call whose id is in `consented`: the calls in which this person has
 * agreed to show their own face.
 *
 * @param {object} state see state.js
 * @param {ReadonlySet<string>} consented ids of direct calls agreed to
 * @returns {{channel: "publish" | "subscribe" | "direct", peer: string | null}[]}
 */
export function wantedSessions(state, consented) {
  if (!state.terminal || state.phase === "ended" || state.phase === "error") return [];
  const wanted = [{ channel: "publish", peer: null }];
  if (state.phase !== "room") return wanted;
  for (const peer of remotes(state)) {
    if (peer.mode === "reenacted" && peer.reenacted) wanted.push({ channel: "subscribe", peer: peer.terminal });
    if (peer.direct && consented.has(peer.direct)) wanted.push({ channel: "direct", peer: peer.terminal });
  }
  return wanted;
}

/** The direct calls this terminal is in without the person's agreement: to be left at once. */
export function unconsented(state, consented) {
  return Object.values(state.calls)
    .filter((call) => call.mode === "direct" && !consented.has(call.id))
    .map((call) => call.id);
}

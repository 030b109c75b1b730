// What the page knows after which messages, and what it says about it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { answerTo, shouldCall, uncalled, unconsented, wantedSessions } from "../modules/policy.js";
import { canReact, INITIAL, isLive, pageState, reduce, remotes, selfSentence, sentence, tileSentence } from "../modules/state.js";

const member = (terminal, more = {}) => ({
  terminal,
  name: terminal.toUpperCase(),
  presence: "online",
  camera: true,
  microphone: true,
  ...more,
});
const play = (events, from = INITIAL) => events.reduce(reduce, from);

const welcome = { type: "welcome", terminal: "me", resumed: false };
const open = { type: "local/line", status: "open" };
const lost = { type: "local/line", status: "lost" };
const joined = { type: "local/join", room: "r" };
const room = (...members) => ({ type: "room.state", room: "r", members: [member("me"), ...members] });
const call = (mode, ...members) => ({
  type: "call.state",
  call: `c-${mode}`,
  kind: "video",
  mode,
  members: [member("me"), ...members],
});
const session = (slot, state, code = null) => ({ type: "local/session", slot, state, code });
const rendered = (slot) => ({ type: "local/rendered", slot });

const WAITING = play([welcome, open, joined, room()]);
const CALLED = play([room(member("ada")), call("reenacted", member("ada"))], WAITING);
const LIVE = play([session("subscribe:ada", "connected"), rendered("subscribe:ada")], CALLED);

test("from the lobby to a live call, in words of data-state", () => {
  assert.equal(pageState(INITIAL), "lobby");
  assert.equal(pageState(WAITING), "ringing");
  assert.equal(pageState(CALLED), "connecting");
  assert.equal(pageState(play([session("subscribe:ada", "connected")], CALLED)), "connecting");
  assert.equal(pageState(LIVE), "live");
  assert.equal(pageState(play([{ type: "local/ended" }], LIVE)), "ended");
  assert.equal(pageState(play([{ type: "local/error", code: "superseded", message: "" }], LIVE)), "error");
});

test("a lost line, a failed session and an absent peer are all reconnecting, each with its sentence", () => {
  assert.equal(pageState(reduce(LIVE, lost)), "reconnecting");
  assert.equal(sentence(reduce(LIVE, lost)).key, "stateLineLost");
  const failed = reduce(LIVE, session("subscribe:ada", "failed", "connection"));
  assert.equal(pageState(failed), "reconnecting");
  assert.equal(sentence(failed).key, "stateReconnecting");
  const away = reduce(LIVE, call("reenacted", member("ada", { presence: "away" })));
  assert.equal(pageState(away), "reconnecting");
  assert.deepEqual(sentence(away), { key: "statePeerAway", values: { name: "ADA" } });
});

test("one of several peers away leaves the call live", () => {
  const three = reduce(LIVE, call("reenacted", member("ada"), member("ben", { presence: "away" })));
  assert.equal(pageState(three), "live");
});

test("a text relay shows nobody's picture", () => {
  const texting = reduce(WAITING, { ...call("reenacted", member("ada")), kind: "text" });
  assert.deepEqual(remotes(texting), []);
  assert.equal(pageState(texting), "ringing");
});

test("the end of the call says who left and waits for them", () => {
  const left = play([{ type: "call.ended", call: "c-reenacted", reason: "alone" }, room()], LIVE);
  assert.equal(pageState(left), "ringing");
  assert.deepEqual(sentence(left), { key: "peerLeft", values: { name: "ADA" } });
  const vanished = play([{ type: "call.ended", call: "c-reenacted", reason: "peer_vanished" }, room()], LIVE);
  assert.equal(sentence(vanished).key, "peerVanished");
});

test("a resume tears nothing down before the server has said what holds", () => {
  const resumed = reduce(LIVE, { ...welcome, resumed: true });
  assert.equal(remotes(resumed).length, 1);
  assert.equal(remotes(reduce(resumed, { type: "local/settled" })).length, 0);
  const confirmed = play([call("reenacted", member("ada")), { type: "local/settled" }], resumed);
  assert.equal(remotes(confirmed).length, 1);
});

test("another terminal is a new start in the same room of the page", () => {
  const anew = reduce(LIVE, { ...welcome, terminal: "me2" });
  assert.equal(anew.phase, "room");
  assert.deepEqual([anew.members, anew.calls, anew.sessions, anew.rendered], [[], {}, {}, {}]);
});

test("events that change nothing give the same object", () => {
  assert.equal(reduce(LIVE, { type: "pong" }), LIVE);
  assert.equal(reduce(LIVE, { type: "toString" }), LIVE);
  assert.equal(reduce(LIVE, rendered("subscribe:ada")), LIVE);
});

test("the generated picture stays until the direct one is connected, and comes back after it", () => {
  const agreed = reduce(LIVE, call("direct", member("ada")));
  assert.equal(remotes(agreed)[0].mode, "reenacted");
  const connected = reduce(agreed, session("direct:ada", "connected"));
  assert.deepEqual([remotes(connected)[0].mode, remotes(connected)[0].slot], ["direct", "direct:ada"]);
  const back = reduce(connected, { type: "call.ended", call: "c-direct", reason: "left" });
  assert.deepEqual([remotes(back)[0].mode, remotes(back)[0].slot], ["reenacted", "subscribe:ada"]);
  assert.equal(back.note, null);
});

test("what a tile says", () => {
  const [ada] = remotes(LIVE);
  const status = (state) => reduce(LIVE, { type: "media.status", terminal: "ada", state });
  assert.equal(isLive(LIVE, ada), true);
  assert.equal(tileSentence(LIVE, ada), null);
  assert.equal(tileSentence(status("no_face"), ada).key, "tileNoFace");
  assert.equal(tileSentence(status("late"), ada).key, "tileLate");
  assert.equal(tileSentence(status("calibrating"), ada), null);
  assert.equal(tileSentence(status("something_new"), ada), null);
  assert.equal(tileSentence(LIVE, { ...ada, camera: false }).key, "tileCameraOff");
  const busy = reduce(CALLED, session("subscribe:ada", "failed", "worker_busy"));
  assert.equal(tileSentence(busy, ada).key, "stateBusy");
});

test("what one's own picture says", () => {
  const own = (...events) => selfSentence(play(events, LIVE))?.key;
  const ready = [session("publish", "connected"), { type: "local/me", camera: true, target: "a" }];
  const status = (state) => ({ type: "media.status", terminal: "me", state });
  assert.equal(own(), "selfConnecting");
  assert.equal(own(...ready), undefined);
  assert.equal(own(...ready, status("no_face")), "selfNoFace");
  assert.equal(own(...ready, status("calibrating")), "selfCalibrating");
  assert.equal(own(...ready, { type: "local/me", camera: false }), "selfCameraOff");
  assert.equal(own(...ready, { type: "local/me", target: null }), "selfNoTarget");
  assert.equal(own(session("publish", "failed", "worker_busy")), "stateBusy");
});

test("statuses of terminals that left are forgotten", () => {
  const told = reduce(LIVE, { type: "media.status", terminal: "ada", state: "live" });
  const gone = reduce(told, { type: "call.ended", call: "c-reenacted", reason: "alone" });
  assert.deepEqual(gone.statuses, {});
});

test("relay requests come and go", () => {
  const asked = reduce(WAITING, { type: "relay.incoming", request: "q", kind: "video", mode: "direct", sender: "ada", name: "Ada" });
  assert.deepEqual(Object.keys(asked.incoming), ["q"]);
  const closed = reduce(asked, { type: "relay.state", request: "q", kind: "video", mode: "direct", state: "closed", reason: "cancelled" });
  assert.deepEqual(closed.incoming, {});
  const sent = { type: "relay.state", request: "p", kind: "video", mode: "reenacted", state: "pending" };
  const pending = reduce(WAITING, sent);
  assert.deepEqual(Object.keys(pending.outgoing), ["p"]);
  const silent = reduce(pending, { ...sent, state: "closed", reason: "timed_out" });
  assert.equal(silent.note.key, "noAnswer");
  assert.deepEqual(silent.outgoing, {});
});

// ------------------------------------------------------------------------------------ policy

test("reenacted calls are accepted, direct ones asked about, in the lobby neither", () => {
  assert.equal(answerTo(WAITING, { mode: "reenacted" }), "accept");
  assert.equal(answerTo(WAITING, { mode: "direct" }), "ask");
  assert.equal(answerTo(INITIAL, { mode: "reenacted" }), "wait");
});

test("those online and in no call with me are called, once", () => {
  const company = reduce(WAITING, room(member("ada"), member("ben", { presence: "away" })));
  assert.deepEqual(uncalled(company), ["ada"]);
  assert.equal(shouldCall(company), true);
  assert.equal(shouldCall(WAITING), false);
  assert.equal(shouldCall(LIVE), false);
  assert.equal(shouldCall(reduce(company, lost)), false);
  const asked = { type: "relay.state", request: "p", kind: "video", mode: "reenacted", state: "pending" };
  assert.equal(shouldCall(reduce(company, asked)), false);
});

test("a publish session from the welcome on, a subscription for each peer of the call", () => {
  assert.deepEqual(wantedSessions(INITIAL, new Set()), []);
  assert.deepEqual(wantedSessions(play([welcome]), new Set()), [{ channel: "publish", peer: null }]);
  assert.deepEqual(wantedSessions(LIVE, new Set()), [
    { channel: "publish", peer: null },
    { channel: "subscribe", peer: "ada" },
  ]);
  assert.deepEqual(wantedSessions(reduce(LIVE, { type: "local/ended" }), new Set()), []);
});

test("no direct session without consent to that very call", () => {
  const agreed = reduce(LIVE, call("direct", member("ada")));
  const direct = (consented) => wantedSessions(agreed, consented).filter(({ channel }) => channel === "direct");
  assert.deepEqual(direct(new Set()), []);
  assert.deepEqual(direct(new Set(["another"])), []);
  assert.deepEqual(direct(new Set(["c-direct"])), [{ channel: "direct", peer: "ada" }]);
  assert.deepEqual(unconsented(agreed, new Set()), ["c-direct"]);
  assert.deepEqual(unconsented(agreed, new Set(["c-direct"])), []);
  assert.deepEqual(unconsented(LIVE, new Set()), []);
});

test("one can react while one's own picture is generated and somebody may see it", () => {
  const ready = play([session("publish", "connected"), { type: "local/me", camera: true, target: "t" }], LIVE);
  assert.ok(canReact(ready));
  const alone = play([session("publish", "connected"), { type: "local/me", camera: true, target: "t" }], WAITING);
  assert.ok(canReact(alone), "one sees oneself");
  assert.ok(!canReact(reduce(ready, { type: "local/me", camera: false })));
  assert.ok(!canReact(reduce(ready, { type: "local/me", target: null })));
  assert.ok(!canReact(reduce(ready, session("publish", "failed"))));
  for (const [picture, able] of [["live", true], ["late", true], ["no_face", false], ["failed", false]]) {
    assert.equal(canReact(reduce(ready, { type: "media.status", terminal: "me", state: picture })), able);
  }
  const direct = play([call("direct", member("ada")), session("direct:ada", "connected")], ready);
  assert.ok(!canReact(direct), "the other sees the camera");
  assert.ok(!canReact(reduce(ready, { type: "local/ended" })));
});

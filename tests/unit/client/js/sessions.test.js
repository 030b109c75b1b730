// Media sessions: what is opened, renewed, closed, and what is never sent.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { PeerSession, preferVp8, shrinking } from "../modules/peer.js";
import { MediaSessions } from "../modules/sessions.js";
import { FakeTimers } from "./fakes.js";

let timers;
let sent;
let states;
let made;
let media;

class FakeSession {
  constructor(options) {
    Object.assign(this, options);
    this.id = options.id ?? `s${made.length}`;
    this.answered = false;
    this.done = [];
    made.push(this);
  }
  offer() {
    this.done.push("offer");
    this.onState("connecting", null);
  }
  answer() {
    this.answered = true;
    this.done.push("answer");
    this.onState("connecting", null);
  }
  take(message) {
    this.done.push(message);
  }
  setTrack(kind, track) {
    this.tracks = { ...this.tracks, [kind]: track };
  }
  setFps(fps) {
    this.fps = fps;
  }
  close() {
    this.closed = true;
  }
}

beforeEach(() => {
  timers = new FakeTimers();
  sent = [];
  states = [];
  made = [];
  media = new MediaSessions({
    send: (message) => sent.push(message),
    onTrack: () => {},
    onState: ({ slot, state, code }) => states.push([slot, state, code]),
    Session: FakeSession,
    timers,
    random: () => 1,
  });
  media.configure({ terminal: "mmm", iceServers: [] });
});

const publish = { channel: "publish", peer: null };
const subscribe = (peer) => ({ channel: "subscribe", peer });
const direct = (peer) => ({ channel: "direct", peer });

test("opens what is wanted, keeps what stays, closes what is not wanted any more", () => {
  media.reconcile([publish, subscribe("ada")]);
  media.reconcile([publish, subscribe("ada"), subscribe("ben")]);
  assert.deepEqual(made.map(({ channel, peer }) => [channel, peer]), [["publish", null], ["subscribe", "ada"], ["subscribe", "ben"]]);
  media.reconcile([publish, subscribe("ben")]);
  assert.equal(made[1].closed, true);
  assert.deepEqual(sent, [{ type: "media.close", session: "s1" }]);
  assert.deepEqual(states.at(-1), ["subscribe:ada", "closed", null]);
});

test("a failed session is tried again, later each time, and at once again after a success", () => {
  media.reconcile([publish]);
  const waits = [];
  for (let round = 0; round < 4; round += 1) {
    made.at(-1).onState("failed", "connection");
    const from = timers.now;
    const count = made.length;
    while (made.length === count) timers.advance(10);
    waits.push(timers.now - from);
  }
  assert.deepEqual(waits, [400, 800, 1600, 3200]);
  made.at(-1).onState("connected", null);
  made.at(-1).onState("failed", "connection");
  timers.advance(400);
  assert.equal(made.length, 6);
});

test("a busy worker is asked less often", () => {
  media.reconcile([publish]);
  media.refuse({ session: made[0].id, code: "worker_busy" });
  assert.deepEqual(states.at(-1), ["publish", "failed", "worker_busy"]);
  timers.advance(2900);
  assert.equal(made.length, 1);
  timers.advance(200);
  assert.equal(made.length, 2);
});

test("words about a session that is gone change nothing", () => {
  media.reconcile([publish]);
  made[0].onState("failed", "connection");
  timers.advance(400);
  made[0].onState("connected", null);
  media.refuse({ session: made[0].id, code: "out_of_order" });
  media.take({ session: made[0].id, channel: "publish", description: { type: "answer", sdp: "" } });
  assert.deepEqual(states.at(-1), ["publish", "connecting", null]);
  assert.deepEqual(made[1].done, ["offer"]);
});

test("a lost worker: publish and subscribe anew, direct calls go on", () => {
  media.reconcile([publish, subscribe("ada"), direct("zoe")]);
  media.move(["publish", "subscribe"], 0);
  timers.advance(100);
  assert.deepEqual(made.map(({ channel, closed }) => [channel, Boolean(closed)]), [
    ["publish", true],
    ["subscribe", true],
    ["direct", false],
    ["publish", false],
    ["subscribe", false],
  ]);
});

test("a worker that is about to stop: what plays goes on until its successor has shown pictures for a moment", () => {
  media.setTrack("video", "camera");
  media.reconcile([publish, subscribe("ada"), direct("zoe")]);
  made[0].onState("connected", null);
  made[1].onState("connected", null);
  states = [];
  media.move(["publish", "subscribe"], 5000);
  assert.deepEqual(made.map(({ channel, closed }) => [channel, Boolean(closed)]), [
    ["publish", false],
    ["subscribe", false],
    ["direct", false],
    ["publish", false],
    ["subscribe", false],
  ]);
  assert.deepEqual(made[4].tracks, { video: null, audio: null });
  media.setTrack("video", null);
  assert.deepEqual([made[0].tracks.video, made[3].tracks.video], [null, null], "the camera is off everywhere at once");
  made[3].onState("connected", null);
  made[4].onState("connected", null);
  timers.advance(1400);
  assert.deepEqual([states, made[0].closed, sent], [[], undefined, []], "nothing is to be noticed");
  timers.advance(200);
  assert.deepEqual([made[0].closed, made[1].closed, made[3].closed], [true, true, undefined]);
  assert.deepEqual(states, [
    ["publish", "connected", null],
    ["subscribe:ada", "connected", null],
  ]);
  media.reconcile([]);
  assert.deepEqual(sent.map(({ session }) => session), ["s3", "s4"]);
});

test("a move that does not succeed in time is said, and goes on", () => {
  media.reconcile([publish]);
  made[0].onState("connected", null);
  media.move(["publish"], 5000);
  made[1].onState("failed", "connection");
  assert.deepEqual(states.at(-1), ["publish", "connected", null], "the former one still plays");
  timers.advance(400);
  assert.equal(made.length, 3);
  timers.advance(4700);
  assert.equal(made[0].closed, true);
  assert.deepEqual(states.at(-1), ["publish", "connecting", null]);
  made[2].onState("connected", null);
  assert.deepEqual(states.at(-1), ["publish", "connected", null]);
});

test("when the worker stops before its successor is connected, that is said at once", () => {
  media.reconcile([publish, subscribe("ada")]);
  made[0].onState("connected", null);
  media.move(["publish", "subscribe"], 5000);
  assert.deepEqual(states.at(-1), ["subscribe:ada", "failed", "restarting"], "what did not play begins anew");
  made[0].onState("failed", "connection");
  assert.deepEqual(states.at(-1), ["publish", "connecting", null]);
  media.move(["publish"], 0);
  assert.equal(made[2].closed, true);
  timers.advance(100);
  assert.equal(made.at(-1).closed, undefined);
});

test("subscriptions are never given a track to send", () => {
  media.setTrack("video", "camera");
  media.reconcile([publish, subscribe("ada"), direct("zoe")]);
  media.setTrack("audio", "microphone");
  const tracks = Object.fromEntries(made.map((session) => [session.channel, session.tracks]));
  assert.deepEqual(tracks.subscribe, { video: null, audio: null });
  assert.deepEqual(tracks.publish, { video: "camera", audio: "microphone" });
  assert.deepEqual(tracks.direct, { video: "camera", audio: "microphone" });
});

test("camera off reaches every session that sends", () => {
  media.setTrack("video", "camera");
  media.reconcile([publish, direct("zoe")]);
  media.setTrack("video", null);
  assert.deepEqual(made.map((session) => session.tracks.video), [null, null]);
});

const offer = (peer, session) => ({ type: "media.signal", channel: "direct", peer, session, description: { type: "offer", sdp: "" } });

test("of two in a direct call the smaller id offers, the other answers", () => {
  media.reconcile([direct("zoe"), direct("ada")]);
  assert.deepEqual(made.map(({ peer, done }) => [peer, done[0]]), [["zoe", "offer"]]);
  media.take(offer("ada", "their-session"));
  assert.deepEqual([made[1].id, made[1].done[0]], ["their-session", "answer"]);
});

test("an offer for a direct call that nobody agreed to is not answered", () => {
  media.reconcile([publish, subscribe("ada")]);
  media.take(offer("ada", "their-session"));
  assert.equal(made.length, 2);
});

test("when offers cross, the one of the smaller id stands", () => {
  media.reconcile([direct("zoe")]);
  media.take(offer("zoe", "crossed"));
  assert.equal(made.length, 1);
  made[0].answered = true; // later: the other side was reloaded and offers anew
  media.take(offer("zoe", "anew"));
  assert.deepEqual([made[0].closed, made[1].id], [true, "anew"]);
});

test("the answering side offers itself when no offer comes", () => {
  media.reconcile([direct("ada")]);
  timers.advance(6000);
  assert.deepEqual(made.map(({ done }) => done[0]), ["offer"]);
});

test("VP8 comes first and nothing is lost", () => {
  const codecs = ["video/H264", "video/VP8", "video/rtx"].map((mimeType) => ({ mimeType }));
  assert.deepEqual(preferVp8(codecs).map((codec) => codec.mimeType), ["video/VP8", "video/H264", "video/rtx"]);
});

test("the worker is sent no more than it looks at", () => {
  assert.equal(shrinking({ width: 1280, height: 720 }), 2);
  assert.equal(shrinking({ width: 480, height: 640 }), 480 / 360); // upright
  assert.equal(shrinking({ width: 320, height: 240 }), 1);
  assert.equal(shrinking({}), 1);
});

test("why no connection could be made stays said while it is tried again, and no longer", () => {
  media.reconcile([publish]);
  made[0].onState("failed", "relay_refused");
  assert.deepEqual(states.at(-1), ["publish", "failed", "relay_refused"]);
  while (made.length === 1) timers.advance(10);
  assert.deepEqual(states.at(-1), ["publish", "connecting", "relay_refused"]);
  made[1].onState("connected", null);
  assert.deepEqual(states.at(-1), ["publish", "connected", null]);
});

test("the camera's pace is that of what goes to the worker, now and later", () => {
  media.reconcile([publish, subscribe("ada"), direct("zoe")]);
  media.setFps(18);
  assert.deepEqual(made.map(({ channel, fps }) => [channel, fps]), [["publish", 18], ["subscribe", 30], ["direct", 30]]);
  made[0].onState("failed", "timeout");
  timers.advance(60_000);
  const again = made.filter(({ channel }) => channel === "publish").at(-1);
  assert.notEqual(again, made[0]);
  assert.equal(again.fps, 18);
});

test("a browser that refuses another frame rate keeps its session", async (context) => {
  context.mock.method(console, "warn", () => {});
  const asked = [];
  const sender = {
    track: null,
    getParameters: () => ({ encodings: [{}] }),
    setParameters: async ({ encodings }) => {
      asked.push(encodings[0].maxFramerate);
      throw new Error("not here");
    },
  };
  globalThis.RTCPeerConnection = class {
    getTransceivers = () => [{ sender, receiver: { track: { kind: "video" } }, direction: "sendrecv" }];
    close() {}
  };
  const said = [];
  const options = { iceServers: [], tracks: {}, send: () => {}, onTrack: () => {}, onState: (state) => said.push(state) };
  const session = new PeerSession({ channel: "publish", fps: 30, ...options });
  session.setFps(20);
  await session.work;
  assert.deepEqual([asked, said, session.closed], [[20], [], false]);
  session.close();
  delete globalThis.RTCPeerConnection;
});

test("when the line is back, what was being connected is offered anew, and what plays goes on", () => {
  media.reconcile([publish, subscribe("ada"), direct("zoe"), direct("abe")]);
  made[0].onState("connected", null);
  media.take({ channel: "direct", session: "theirs", peer: "abe", description: { type: "offer", sdp: "" } });
  const before = made.length;
  media.hurry();
  const anew = made.slice(before).map(({ channel, peer, done }) => [channel, peer, done[0]]);
  assert.deepEqual(anew, [
    ["subscribe", "ada", "offer"],
    ["direct", "zoe", "offer"],
  ]);
  assert.equal(made[1].closed, true);
  assert.equal(made[0].closed, undefined);
});

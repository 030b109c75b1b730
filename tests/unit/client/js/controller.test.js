// What the server says and what is lost of it, turned into the page's state and messages.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Controller } from "../modules/controller.js";
import { Signaling } from "../modules/signaling.js";
import { Memory } from "../modules/storage.js";
import { Store } from "../modules/store.js";
import { FakeSocket, FakeTimers } from "./fakes.js";

const { setTimeout: realSetTimeout } = globalThis;
const ME = { terminal: "me", name: "Me", presence: "online", camera: true, microphone: true };
const ADA = { ...ME, terminal: "ada", name: "Ada" };
const CALL = { type: "call.state", call: "c1", kind: "video", mode: "reenacted", members: [ME, ADA] };
const WELCOME = { type: "welcome", terminal: "me", resume: "token", resume_s: 30, heartbeat_s: 3, ice_servers: [] };

let timers;
let store;
let line;
let wanted; // the media sessions wanted last
let hurried;
let said;
let controller;

beforeEach(() => {
  FakeSocket.all = [];
  timers = new FakeTimers();
  globalThis.setTimeout = timers.setTimeout; // the controller's own waits
  store = new Store();
  const memory = new Memory(null);
  // What is lost here is told by the test alone: heartbeats go unanswered.
  line = new Signaling({ url: "ws://here/ws", memory, WebSocketClass: FakeSocket, timers, random: () => 1, now: () => 0 });
  said = [];
  hurried = 0;
  const sessions = {
    configure() {},
    restart() {},
    setTrack() {},
    hurry: () => (hurried += 1),
    reconcile: (plan) => (wanted = plan.map(({ channel }) => channel)),
  };
  controller = new Controller({
    store,
    signaling: line,
    sessions,
    media: {},
    memory,
    ask: () => {},
    say: (key) => said.push(key),
  });
});

afterEach(() => {
  globalThis.setTimeout = realSetTimeout;
});

/** Let promises settle, and time pass step by step, so that what they begin is timed too. */
async function pass(milliseconds) {
  for (let left = milliseconds; left >= 0; left -= 500) {
    timers.advance(Math.min(left, 500));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function welcome(resumed) {
  FakeSocket.last.open();
  FakeSocket.last.receive({ ...WELCOME, resumed });
}

/** Resume, as the network is back at once. */
function comeBack() {
  FakeSocket.last.break();
  line.reconnectNow();
  welcome(true);
}

function join() {
  line.connect("Me");
  welcome(false);
  controller.join({ room: "r", name: "Me" });
}

const sentNow = (type) => FakeSocket.last.sent.filter((message) => message.type === type);

test("a call that runs goes on though the answer to its join was lost with the line", async () => {
  join();
  assert.equal(sentNow("room.join").length, 1);
  comeBack();
  FakeSocket.last.receive({ type: "room.state", room: "r", members: [ME, ADA] });
  FakeSocket.last.receive(CALL);
  await pass(25000);
  assert.equal(store.state.phase, "room");
  assert.deepEqual(wanted, ["publish", "subscribe"]);
  assert.deepEqual(sentNow("room.leave"), []);
  assert.deepEqual(said, []);
});

test("a server that does not answer is asked again, and then left with the page in the lobby", async () => {
  join();
  await pass(10500);
  assert.equal(sentNow("room.join").length, 2);
  assert.equal(store.state.phase, "room");
  await pass(10500);
  assert.equal(store.state.phase, "lobby");
  assert.equal(sentNow("room.join").length, 2);
  assert.equal(sentNow("room.leave").length, 1);
  assert.deepEqual(said, ["serverSays"]);
  assert.deepEqual(wanted, ["publish"], "what the lobby's preview needs, and nothing of a call");
});

test("while the line is down the room is waited for, however long the answer is due", async () => {
  join();
  FakeSocket.last.break();
  await pass(12000);
  assert.equal(store.state.phase, "room");
  line.reconnectNow();
  welcome(true);
  await pass(2000);
  assert.equal(sentNow("room.join").length, 1);
});

test("a full room leads back to the lobby, and out of whatever room the server knows of", async () => {
  join();
  const [{ id }] = sentNow("room.join");
  FakeSocket.last.receive({ type: "error", re: id, code: "room_full", message: "The room is full." });
  await pass(0);
  assert.equal(store.state.phase, "lobby");
  assert.equal(sentNow("room.leave").length, 1);
  assert.deepEqual(said, ["roomFull"]);
});

test("after a resume the server knows today's face and devices, not those of the lost line", async () => {
  join();
  store.dispatch({ type: "local/me", camera: true, microphone: true });
  FakeSocket.last.break();
  controller.selectTarget("taken-off");
  controller.media = { microphone: { track: null }, live: () => false };
  controller.mediaChanged("microphone");
  controller.selectTarget("worn");
  line.reconnectNow();
  welcome(true);
  await pass(0);
  assert.deepEqual(sentNow("target.select").map(({ target }) => target), ["worn"]);
  assert.deepEqual(sentNow("media.set").map(({ microphone }) => microphone), [false]);
  assert.equal(hurried, 1, "media sessions that were being connected are offered anew");
});

test("joining under another name than the line was opened with takes no longer", () => {
  line.connect("Guest");
  welcome(false);
  controller.join({ room: "r", name: "Me" });
  welcome(true);
  assert.deepEqual(sentNow("room.join").map(({ room }) => room), ["r"]);
});

test("whoever has been told their room does not ask for it again after a resume", async () => {
  join();
  FakeSocket.last.receive({ type: "room.state", re: sentNow("room.join")[0].id, room: "r", members: [ME] });
  comeBack();
  await pass(3000);
  assert.deepEqual(sentNow("room.join"), []);
});

// The line to the server: hello, resume, heartbeat, reconnection, answers.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Signaling, SignalingError } from "../modules/signaling.js";
import { Memory } from "../modules/storage.js";
import { FakeSocket, FakeTimers } from "./fakes.js";

let timers;
let memory;
let line;
let heard;

beforeEach(() => {
  FakeSocket.all = [];
  timers = new FakeTimers();
  memory = new Memory(null);
  line = new Signaling({
    url: "ws://here/ws",
    memory,
    WebSocketClass: FakeSocket,
    timers,
    random: () => 1,
    now: () => timers.now,
  });
  heard = [];
  line.on("*", (message) => heard.push(message.type));
});

const WELCOME = { type: "welcome", terminal: "t1", resume: "token", resumed: false, resume_s: 30, heartbeat_s: 3, ice_servers: [] };

function connect(welcome = {}) {
  line.connect("Ada");
  FakeSocket.last.open();
  FakeSocket.last.receive({ ...WELCOME, ...welcome });
  return FakeSocket.last;
}

test("says hello with the name and without a token it does not have", () => {
  const socket = connect();
  assert.deepEqual(socket.sent, [{ v: 1, type: "hello", name: "Ada" }]);
  assert.equal(line.status, "open");
  assert.equal(line.terminal, "t1");
});

test("a token of an earlier page is offered, as after a reload", () => {
  memory.set("resume", "earlier");
  line.connect("Ada");
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].resume, "earlier");
});

test("reconnects with the token, ever more slowly", () => {
  connect().break();
  assert.equal(line.status, "lost");
  const waits = [];
  for (let attempt = 0; attempt < 6; attempt += 1) {
    const before = FakeSocket.all.length;
    const from = timers.now;
    while (FakeSocket.all.length === before) timers.advance(10);
    waits.push(timers.now - from);
    FakeSocket.last.break();
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 5000]);
  timers.advance(5000);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].resume, "token");
});

test("a connection that never opens is given up and tried again", () => {
  line.connect("Ada");
  timers.advance(8000);
  assert.equal(line.status, "lost");
  assert.equal(FakeSocket.last.closed, true);
  timers.advance(300);
  assert.equal(FakeSocket.all.length, 2);
});

test("what is said while the line is lost goes out after the resume, in order", () => {
  connect().break();
  assert.equal(line.send({ type: "text.send", text: "a" }), true);
  assert.equal(line.send({ type: "call.leave", call: "c" }), true);
  timers.advance(300);
  const socket = FakeSocket.last;
  socket.open();
  socket.receive({ ...WELCOME, resumed: true });
  assert.deepEqual(socket.types(), ["hello", "text.send", "call.leave"]);
});

test("listeners of the welcome speak before the kept messages go out", () => {
  line.on("welcome", () => line.send({ type: "media.set", camera: true, microphone: true }));
  connect().break();
  line.send({ type: "text.send", text: "a" });
  timers.advance(300);
  FakeSocket.last.open();
  FakeSocket.last.receive({ ...WELCOME, resumed: true });
  assert.deepEqual(FakeSocket.last.types(), ["hello", "media.set", "text.send"]);
});

test("a face taken off, devices and media sessions of a lost line are not told after the resume", async () => {
  connect().break();
  for (const type of ["media.set", "media.signal"]) assert.equal(line.send({ type }), false);
  const refused = assert.rejects(line.request({ type: "target.select", target: "a" }), { code: "disconnected" });
  timers.advance(300);
  FakeSocket.last.open();
  FakeSocket.last.receive({ ...WELCOME, resumed: true });
  await refused;
  assert.deepEqual(FakeSocket.last.types(), ["hello"]);
});

test("candidates of a lost line leave room for what was said after them", () => {
  connect().break();
  for (let k = 0; k < 130; k += 1) line.send({ type: "media.signal", session: "s" });
  assert.equal(line.send({ type: "call.leave", call: "c" }), true);
});

test("a request that has timed out on a lost line is not sent after all", async () => {
  connect().break();
  const request = assert.rejects(line.request({ type: "text.send", text: "hi" }), { code: "timed_out" });
  timers.advance(10000);
  await request;
  line.reconnectNow();
  FakeSocket.last.open();
  FakeSocket.last.receive({ ...WELCOME, resumed: true });
  assert.deepEqual(FakeSocket.last.types(), ["hello"]);
});

test("with a new place, what spoke of the old one is dropped and requests fail", async () => {
  connect().break();
  line.send({ type: "media.close", session: "gone" });
  const refused = assert.rejects(line.request({ type: "text.send", text: "hi" }), { code: "disconnected" });
  timers.advance(300);
  FakeSocket.last.open();
  FakeSocket.last.receive(WELCOME);
  await refused;
  assert.deepEqual(FakeSocket.last.types(), ["hello"]);
});

test("nothing is kept before there is a place to come back to", () => {
  line.connect("Ada");
  assert.equal(line.send({ type: "ping" }), false);
});

test("no more than a hundred messages are kept", () => {
  connect().break();
  const kept = Array.from({ length: 130 }, () => line.send({ type: "ping" })).filter(Boolean).length;
  assert.equal(kept, 100);
});

test("pings in time, and takes two silent heartbeats for a lost connection", () => {
  const socket = connect();
  timers.advance(2400);
  assert.deepEqual(socket.types(), ["hello", "ping"]);
  socket.receive({ type: "pong" });
  timers.advance(6500);
  assert.equal(line.status, "open");
  timers.advance(3000);
  assert.equal(line.status, "lost");
  assert.equal(socket.closed, true);
});

test("a request gets the answer that names it, others pass by", async () => {
  const socket = connect();
  const first = line.request({ type: "room.join", room: "r" });
  const second = line.request({ type: "text.send", text: "hi" });
  const [, a, b] = socket.sent;
  assert.notEqual(a.id, b.id);
  socket.receive({ type: "error", re: b.id, code: "out_of_order", message: "Nobody is there." });
  socket.receive({ type: "room.state", re: a.id, room: "r", members: [] });
  assert.equal((await first).room, "r");
  await assert.rejects(second, (error) => error instanceof SignalingError && error.code === "out_of_order");
  assert.deepEqual(heard, ["welcome", "error", "room.state"]);
});

test("a request that nobody answers ends", async () => {
  connect();
  const request = line.request({ type: "ping" });
  timers.advance(10000);
  await assert.rejects(request, { code: "timed_out" });
});

test("superseded by another tab: no fight for the place", () => {
  const socket = connect();
  socket.receive({ type: "error", code: "superseded", message: "Elsewhere." });
  assert.equal(line.status, "fatal");
  assert.equal(memory.get("resume"), null);
  timers.advance(60000);
  line.reconnectNow();
  assert.equal(FakeSocket.all.length, 1);
});

test("an unauthorised message is an error, an unauthorised hello the end", () => {
  connect().receive({ type: "error", code: "unauthorised", message: "Not you.", re: "m9" });
  assert.equal(line.status, "open");
  line.reconnectNow();
  FakeSocket.last.open();
  FakeSocket.last.receive({ type: "error", code: "unauthorised", message: "Not you." });
  assert.equal(line.status, "fatal");
});

test("another name is taken by resuming the same place", () => {
  connect();
  line.rename("Grace");
  FakeSocket.last.open();
  assert.deepEqual(FakeSocket.last.sent, [{ v: 1, type: "hello", name: "Grace", resume: "token" }]);
  assert.equal(FakeSocket.all[0].closed, true);
});

test("the same name needs no new connection", () => {
  connect();
  line.rename("Ada");
  assert.equal(FakeSocket.all.length, 1);
});

test("leaving says bye, forgets the place and stays away", () => {
  const socket = connect();
  line.leave();
  assert.deepEqual(socket.types(), ["hello", "bye"]);
  assert.equal(memory.get("resume"), null);
  timers.advance(60000);
  assert.equal(FakeSocket.all.length, 1);
});

test("text that is no JSON is passed over", () => {
  const socket = connect();
  socket.onmessage({ data: "{" });
  assert.equal(line.status, "open");
});

test("shows the join token of the tab, and forgets one that is refused", () => {
  memory.set("token", "a.b.c");
  line.connect("Ada");
  FakeSocket.last.open();
  assert.deepEqual(FakeSocket.last.sent, [{ v: 1, type: "hello", name: "Ada", token: "a.b.c" }]);
  FakeSocket.last.receive({ type: "error", code: "token_expired", message: "…" });
  assert.equal(line.status, "fatal");
  assert.equal(memory.get("token"), null);
  const opened = FakeSocket.all.length;
  timers.advance(60000);
  assert.equal(FakeSocket.all.length, opened, "a refused invitation is not tried again");
});

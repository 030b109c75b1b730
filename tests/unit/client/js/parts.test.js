// The small parts: rooms, uploads, layout, chat, figures, keys, addresses, memory, words.

import assert from "node:assert/strict";
import { test } from "node:test";

import { claimTab, readAddress } from "../modules/address.js";
import { backoff } from "../modules/backoff.js";
import { pieces } from "../modules/chat.js";
import { actionOfKey } from "../modules/controls.js";
import { between, readReport } from "../modules/figures.js";
import { arrange, bestGrid } from "../modules/layout.js";
import { CameraPace } from "../modules/pace.js";
import { newRoomName, roomFromInput, roomLink } from "../modules/roomname.js";
import { drawingOf } from "../modules/reactions.js";
import { forgetTarget, Memory, ownTargets, rememberTarget } from "../modules/storage.js";
import { t } from "../modules/strings.js";
import { checkPhotos, formatNames, readUpload, UploadError } from "../modules/targets.js";
import { inOrder } from "../modules/templates.js";
import { placeOf } from "../modules/toasts.js";

test("room names are valid, and do not come twice", () => {
  const names = new Set(Array.from({ length: 500 }, () => newRoomName()));
  assert.equal(names.size, 500);
  for (const name of names) assert.match(name, /^[a-z]+-[a-z]+-[a-z0-9]{6}$/);
});

test("a room is read from what people type or paste", () => {
  assert.equal(roomFromInput("  Our tea  room "), "Our-tea-room");
  assert.equal(roomFromInput("https://calls.example/?name=x&room=quiet-otter-k7"), "quiet-otter-k7");
  assert.equal(roomFromInput("Größe/!"), "Groe");
  assert.equal(roomFromInput("…"), "");
  assert.equal(roomFromInput("x".repeat(99)).length, 64);
});

test("the link to a room holds the room alone", () => {
  assert.equal(roomLink("a-b", "https://calls.example"), "https://calls.example/?room=a-b");
});

test("an upload's answer is a target or an error with its photos", () => {
  assert.equal(readUpload(201, '{"id":"t_x","name":"me"}').id, "t_x");
  const refused = JSON.stringify({
    error: { code: "photos_refused", message: "Photo 2: no face." },
    photos: [{ index: 0, ok: true }, { index: 1, file: "b.png", code: "no_face", message: "No face." }],
  });
  assert.throws(
    () => readUpload(422, refused),
    (error) => error instanceof UploadError && error.photos.length === 1 && error.photos[0].index === 1,
  );
  const code = (status, text) => {
    try {
      readUpload(status, text);
    } catch (error) {
      return error.code;
    }
    return null;
  };
  assert.equal(code(413, "<html>too large</html>"), "too_large");
  assert.equal(code(0, ""), "network");
  assert.equal(code(502, "<html>"), "refused");
  assert.equal(code(200, '{"id":"t_x"}'), "refused");
});

test("photos the server would refuse are named before they are sent", () => {
  const limits = { max_photos: 2, max_bytes: 100, formats: ["image/jpeg"] };
  const files = [
    { name: "a.jpg", type: "image/jpeg", size: 50 },
    { name: "b.gif", type: "image/gif", size: 50 },
    { name: "c.jpg", type: "image/jpeg", size: 101 },
  ];
  assert.deepEqual(checkPhotos(files, limits), {
    tooMany: true,
    photos: [
      { index: 1, file: "b.gif", code: "format" },
      { index: 2, file: "c.jpg", code: "too_large" },
    ],
  });
  assert.equal(formatNames(["image/jpeg", "image/avif"]), "JPEG, image/avif");
});

test("the grid gives the largest tiles", () => {
  assert.deepEqual(bestGrid({ width: 1000, height: 500, count: 1 }), { columns: 1, width: 500, height: 500 });
  assert.equal(bestGrid({ width: 1000, height: 500, count: 2 }).columns, 2);
  assert.equal(bestGrid({ width: 400, height: 900, count: 2 }).columns, 1);
  assert.equal(bestGrid({ width: 1000, height: 1000, count: 4 }).columns, 2);
  assert.deepEqual(bestGrid({ width: 0, height: 0, count: 1 }).width, 0);
});

test("tiles make room for oneself when that costs little", () => {
  assert.equal(arrange({ width: 1200, height: 600, count: 1 }, 140).right, 0); // there is room already
  assert.equal(arrange({ width: 800, height: 640, count: 1 }, 140).right, 152);
  assert.equal(arrange({ width: 300, height: 200, count: 2 }, 140).right, 0); // would cost too much
  assert.equal(arrange({ width: 390, height: 420, count: 1 }, 100).bottom, 112);
  const beside = arrange({ width: 1000, height: 640, count: 2 }, 140);
  assert.ok(2 * beside.width + 12 <= 1000 - beside.right);
});

test("links in a message are found, markup is text", () => {
  assert.deepEqual(pieces("see https://a.example/x?y=1. ok"), [
    { text: "see ", link: false },
    { text: "https://a.example/x?y=1", link: true },
    { text: ". ok", link: false },
  ]);
  assert.deepEqual(pieces("<b>javascript:alert(1)</b>"), [{ text: "<b>javascript:alert(1)</b>", link: false }]);
  assert.deepEqual(pieces('https://a.example/"><script>')[0], { text: "https://a.example/", link: true });
});

test("figures are rates between two reports", () => {
  const report = (at, frames, bytes) => [
    { type: "inbound-rtp", kind: "video", timestamp: at, framesDecoded: frames, bytesReceived: bytes, packetsReceived: frames, packetsLost: 0, frameWidth: 256, frameHeight: 256, jitterBufferDelay: frames / 100, jitterBufferEmittedCount: frames },
    { type: "candidate-pair", nominated: true, currentRoundTripTime: 0.02 },
  ];
  const figures = between(readReport(report(1000, 10, 1000)), readReport(report(3000, 60, 26000)));
  assert.equal(figures.fps, 25);
  assert.equal(figures.kbps, 100);
  assert.equal(figures.roundTripMs, 20);
  assert.ok(Math.abs(figures.bufferMs - 10) < 1e-9);
  const first = between(undefined, readReport(report(1000, 10, 1000)));
  assert.deepEqual([first.fps, first.kbps, first.lostShare], [null, null, null]);
  assert.equal(between(undefined, readReport([])).fps, null);
});

test("keys act, but not while typing, with modifiers, held down or under a dialog", () => {
  const press = (key, more = {}, dialog = false) => actionOfKey({ key, target: { tagName: "BODY" }, ...more }, dialog);
  assert.equal(press("m"), "mute");
  assert.equal(press("V"), "camera");
  assert.equal(press("?"), "help");
  assert.equal(press("x"), null);
  assert.equal(press("m", { ctrlKey: true }), null);
  assert.equal(press("m", { repeat: true }), null);
  assert.equal(press("m", {}, true), null);
  for (const tagName of ["TEXTAREA", "SELECT"]) assert.equal(press("m", { target: { tagName } }), null);
  assert.equal(press("m", { target: { tagName: "INPUT", type: "text" } }), null);
  assert.equal(press("m", { target: { tagName: "INPUT", type: "radio" } }), "mute");
});

test("number keys are reactions, under the same conditions", () => {
  const press = (key, more = {}, dialog = false) => actionOfKey({ key, target: { tagName: "BODY" }, ...more }, dialog);
  assert.equal(press("1"), "reaction-1");
  assert.equal(press("9"), "reaction-9");
  assert.equal(press("0"), null);
  assert.equal(press("1", { target: { tagName: "TEXTAREA" } }), null);
  assert.equal(press("1", { ctrlKey: true }), null);
  assert.equal(press("1", { repeat: true }), null);
  assert.equal(press("1", {}, true), null);
});

test("built-in templates come first and keep their numbers, own ones follow by title", () => {
  const list = [
    { name: "z", title: "Grin", built_in: false },
    { name: "happy", title: "Happy", built_in: true },
    { name: "y", title: "Frown", built_in: false },
    { name: "angry", title: "Angry", built_in: true },
  ];
  assert.deepEqual(inOrder(list).map(({ name }) => name), ["happy", "angry", "y", "z"]);
  assert.equal(drawingOf("happy"), "face-happy");
  assert.equal(drawingOf("y"), "sparkle");
});

test("notices stand in the top line, or beside oneself, and never on a panel", () => {
  const box = (left, top, width, height) => ({ left, top, width, height, right: left + width, bottom: top + height });
  const wide = { top: box(0, 0, 1200, 60), before: box(0, 0, 430, 60), after: box(1050, 0, 150, 60), covered: false, height: 800 };
  assert.deepEqual(placeOf(wide), { left: 442, width: 596, top: 6 });
  const stage = box(8, 60, 374, 600);
  const self = box(265, 543, 117, 117);
  const phone = { top: box(0, 0, 390, 60), before: box(0, 0, 250, 60), after: box(300, 0, 90, 60), stage, self, covered: false, height: 844 };
  const beside = placeOf(phone);
  assert.ok(beside.left + beside.width < self.left && beside.bottom > 844 - 660);
  assert.equal(placeOf({ ...phone, covered: true }).top, 12);
  assert.ok(placeOf({ ...phone, stage: null, self: null }).top > 60);
});

test("the address says who joins where as what", () => {
  assert.deepEqual(readAddress("http://h/?room=R&name=N&target=astronaut&join=1"), { room: "R", name: "N", target: "astronaut", join: true });
  assert.deepEqual(readAddress("http://h/"), { room: null, name: null, target: null, join: false });
  assert.equal(readAddress("http://h/?target=../../x").target, null);
});

test("a reloaded tab goes on with its call, a copied one does not", async (context) => {
  context.mock.method(AbortSignal, "timeout", () => assert.fail("not every browser with locks has it"));
  const held = new Set();
  const locks = {
    request: async (key, { signal }, callback) => {
      while (held.has(key)) {
        if (signal.aborted) throw signal.reason;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      held.add(key);
      return callback();
    },
  };
  const tab = new Memory(null);
  assert.equal(await claimTab(tab, locks), null);
  tab.set("call", { room: "r" });
  const copy = new Memory(null);
  for (const key of ["tab", "call"]) copy.set(key, tab.get(key));
  assert.equal(await claimTab(copy, locks), null);
  assert.notEqual(copy.get("tab"), tab.get("tab"));
  held.clear(); // the page is gone, as at a reload
  assert.deepEqual(await claimTab(tab, locks), { room: "r" });
  assert.deepEqual(await claimTab(tab, undefined), { room: "r" });
});

test("own targets are remembered until they expire or are deleted", () => {
  const memory = new Memory(null);
  rememberTarget({ id: "old", expires_at: "2020-01-01T00:00:00Z" }, memory);
  rememberTarget({ id: "a", expires_at: "2999-01-01T00:00:00Z" }, memory);
  rememberTarget({ id: "b", expires_at: 32503680000 }, memory);
  assert.deepEqual(ownTargets(memory).map(({ id }) => id), ["b", "a"]);
  forgetTarget("b", memory);
  assert.deepEqual(ownTargets(memory).map(({ id }) => id), ["a"]);
});

test("a browser that refuses storage, or holds nonsense, does not stop the page", () => {
  const refusing = { getItem: () => { throw new Error("no"); }, setItem: () => { throw new Error("no"); }, removeItem: () => { throw new Error("no"); } };
  const memory = new Memory(refusing);
  memory.set("a", 1);
  memory.remove("a");
  assert.equal(memory.get("a", "otherwise"), "otherwise");
  assert.equal(new Memory({ getItem: () => "{" }).get("a"), null);
});

test("waiting times grow to the cap", () => {
  assert.equal(backoff(0, { random: () => 0 }), 125);
  assert.equal(backoff(0, { random: () => 1 }), 250);
  assert.equal(backoff(1000, { random: () => 1 }), 5000);
});

test("values get into sentences, and nothing else does", () => {
  assert.equal(t("stateRinging", { name: "{evil}" }), "Calling {evil}…");
  assert.equal(t("stateRinging"), "Calling {name}…");
  assert.equal(t("no such key"), "no such key");
  assert.equal(t("toString"), "toString");
});

test("no more camera frames are sent than a worker keeps up with, and a few", () => {
  const pace = new CameraPace();
  const worker = (most) => pace.take(Math.min(most, pace.fps));
  assert.equal(worker(30), 30);
  assert.equal(worker(20), 30); // once may be chance
  assert.equal(worker(20), 23);
  for (let i = 0; i < 10; i += 1) assert.equal(worker(20), 23); // and there it stays
  assert.deepEqual([0, 0, 0].map(() => worker(28)), [30, 30, 30]); // it has less to do: more at once
});

test("a worker that makes nearly nothing still gets frames enough to come back", () => {
  const pace = new CameraPace();
  const sent = [3, 3, 3, 3, 15, 20, 26, 30].map((generated) => pace.take(generated));
  assert.deepEqual(sent, [30, 15, 15, 15, 20, 26, 30, 30]);
});

test("a camera slower than asked for does not lower what is asked for below what it gives", () => {
  const pace = new CameraPace();
  for (let i = 0; i < 20; i += 1) assert.ok(pace.take(24) >= 24);
});

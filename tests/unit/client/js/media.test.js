// Camera and microphone: had, refused, missing, unplugged, switched.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { constraintsFor, Media, reasonOf } from "../modules/media.js";
import { level } from "../modules/meter.js";
import { FakeDevices } from "./fakes.js";

let devices;
let media;

beforeEach(() => {
  devices = new FakeDevices();
  media = new Media({ onChange: () => {}, devices });
});

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

test("asks for both at once", async () => {
  await media.start();
  assert.equal(devices.asked.length, 1);
  assert.equal(media.live("camera") && media.live("microphone"), true);
  assert.equal(media.camera.track.contentHint, "motion");
});

test("a refused camera leaves the microphone, and says why", async () => {
  devices.refuse.video = "NotAllowedError";
  await media.start();
  assert.equal(media.live("camera"), false);
  assert.equal(media.camera.reason, "denied");
  assert.equal(media.live("microphone"), true);
});

test("each reason has its word", () => {
  const reasons = ["NotAllowedError", "NotFoundError", "NotReadableError", "AbortError", "TypeError"].map((name) => reasonOf({ name }));
  assert.deepEqual(reasons, ["denied", "missing", "busy", "busy", "unknown"]);
});

test("a page that browsers do not trust with devices says so", async () => {
  media = new Media({ onChange: () => {}, devices: undefined });
  await media.start();
  assert.equal(media.camera.reason, "insecure");
  assert.deepEqual(await media.list("camera"), []);
});

test("a remembered camera that is not there is replaced by any other", async () => {
  media.camera.deviceId = "gone";
  await media.start();
  assert.equal(media.live("camera"), true);
  assert.equal(media.camera.deviceId, "cam-1");
});

test("camera off stops the camera, muting only silences", async () => {
  await media.start();
  const camera = media.camera.track;
  const microphone = media.microphone.track;
  await media.set("camera", false);
  await media.set("microphone", false);
  assert.deepEqual([camera.stopped, media.camera.track], [true, null]);
  assert.deepEqual([microphone.stopped, microphone.enabled, media.microphone.track], [false, false, microphone]);
  await media.set("microphone", true);
  await media.set("camera", true);
  assert.equal(microphone.enabled, true);
  assert.notEqual(media.camera.track, camera);
});

test("a camera switched off while the browser was asking is not used", async () => {
  let given;
  const ask = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (constraints) => {
    given = await ask(constraints);
    media.camera.on = false;
    return given;
  };
  await media.start();
  assert.equal(media.camera.track, null);
  assert.equal(given.getVideoTracks()[0].stopped, true);
});

test("what a pending prompt brings after the end is not used", async () => {
  const given = [];
  const ask = devices.getUserMedia.bind(devices);
  let answer;
  devices.getUserMedia = async (constraints) => {
    await new Promise((resolve) => (answer = resolve));
    const stream = await ask(constraints);
    given.push(...stream.getTracks());
    return stream;
  };
  const started = media.start();
  await settled();
  media.stop();
  answer();
  await started;
  assert.deepEqual(given.map(({ stopped }) => stopped), [true, true]);
  assert.deepEqual([media.camera.track, media.microphone.track], [null, null]);

  // Refused when it is over: asking for each alone would only show the prompt again.
  media = new Media({ onChange: () => {}, devices });
  devices.refuse.video = "NotAllowedError";
  const refused = media.start();
  await settled();
  media.stop();
  answer();
  await refused;
  assert.deepEqual([devices.asked.length, media.camera.reason], [2, null]);
});

test("a camera plugged in after the end stays off", async () => {
  devices.refuse.video = "NotFoundError";
  await media.start();
  assert.equal(media.camera.reason, "missing");
  media.stop();
  const asked = devices.asked.length;
  delete devices.refuse.video;
  devices.dispatchEvent(new Event("devicechange"));
  await media.set("camera", true);
  await settled();
  assert.deepEqual([devices.asked.length, media.camera.track, media.camera.reason], [asked, null, null]);
});

test("a microphone muted before it came stays muted", async () => {
  const started = media.start();
  await media.set("microphone", false);
  await started;
  assert.deepEqual([media.microphone.track, media.camera.track?.stopped], [null, false]);
  await media.set("microphone", true);
  assert.equal(media.microphone.track.enabled, true);
});

test("another microphone chosen while muted is the one that unmuting brings", async () => {
  devices.there.push({ kind: "audioinput", deviceId: "mic-2", label: "Headset" });
  await media.start();
  const former = media.microphone.track;
  await media.set("microphone", false);
  await media.choose("microphone", "mic-2");
  assert.deepEqual([former.stopped, media.microphone.track], [true, null]);
  await media.set("microphone", true);
  assert.deepEqual(devices.asked.at(-1).audio.deviceId, { exact: "mic-2" });
  assert.equal(media.microphone.track.enabled, true);
});

test("an unplugged camera is replaced when there is another, else reported", async () => {
  await media.start();
  media.camera.track.unplug();
  await settled();
  assert.equal(media.live("camera"), true);
  devices.there = devices.there.filter((device) => device.kind !== "videoinput");
  media.camera.track.unplug();
  await settled();
  assert.deepEqual([media.live("camera"), media.camera.reason], [false, "unplugged"]);
  devices.there.push({ kind: "videoinput", deviceId: "cam-1", label: "Camera" });
  devices.dispatchEvent(new Event("devicechange"));
  await settled();
  assert.equal(media.live("camera"), true);
});

test("of several events that tell of one unplugged camera the first alone asks for another", async () => {
  await media.start();
  const asked = devices.asked.length;
  media.camera.track.unplug();
  for (let k = 0; k < 2; k += 1) devices.dispatchEvent(new Event("devicechange"));
  await settled();
  assert.equal(media.live("camera"), true);
  assert.equal(devices.asked.length, asked + 1);
});

test("a chosen device is asked for exactly", () => {
  assert.deepEqual(constraintsFor("camera", "x").deviceId, { exact: "x" });
  assert.equal("facingMode" in constraintsFor("camera", "x"), false);
  assert.equal(constraintsFor("camera", null).width.ideal, 640);
});

test("the level runs from silence to loud", () => {
  const tone = (amplitude) => Float32Array.from({ length: 1024 }, (_, k) => amplitude * Math.sin(k / 5));
  assert.equal(level(new Float32Array(1024)), 0);
  assert.ok(level(tone(0.01)) < level(tone(0.1)));
  assert.equal(level(tone(1)), 1);
});

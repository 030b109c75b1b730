// Bringing a photo to life: what the server is asked for, and what its answers mean.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fieldsOf, fileName } from "../modules/animate.js";
import { AnimationError, playableFormat, progressOf, readJob, sentenceOf } from "../modules/animation.js";
import { toggled } from "../modules/expressions.js";
import { filmsOf, Previews, spansOf } from "../modules/previews.js";

const CHOICES = {
  face: "ines",
  own: false,
  sequence: ["happy", "sad"],
  follows: false,
  whole: false,
  intensity: 120,
  seconds: 4,
  play: "return",
  size: 256,
  format: "gif",
};

test("choices become the fields of a request", () => {
  assert.deepEqual(fieldsOf(CHOICES, "I may."), {
    target: "ines",
    templates: "happy,sad",
    play: "return",
    intensity: 1.2,
    seconds: 4,
    size: 256,
    format: "gif",
  });
  const clip = fieldsOf({ ...CHOICES, follows: true }, "I may.");
  assert.ok(!("templates" in clip) && !("play" in clip));
  const whole = fieldsOf({ ...CHOICES, own: true, whole: true }, "I may.");
  assert.equal(whole.consent_text, "I may.");
  assert.ok(!("target" in whole), "the photos are sent instead");
});

test("a file's name says what is in it, in plain characters", () => {
  assert.equal(fileName({ name: "Inès, in the studio", what: ["happy"], format: "mp4" }), "ine-s-in-the-studio-happy.mp4");
  assert.equal(fileName({ name: "../", what: [], format: "gif" }), "understudy.gif");
});

test("expressions follow one another as they were chosen, eight at most", () => {
  assert.deepEqual(toggled(["a"], "b"), ["a", "b"]);
  assert.deepEqual(toggled(["a", "b"], "a"), ["b"]);
  assert.equal(toggled([..."abcdefgh"], "i").length, 8);
});

test("previews come in few films, at rest between expressions, and each is found in its film", () => {
  const names = ["happy", "sad", "wink-left", "wink-right", "depressed", "blank"];
  assert.deepEqual(filmsOf(names), [
    ["happy", "blank", "sad", "blank", "wink-left", "blank", "wink-right", "blank"],
    ["depressed", "blank"],
  ]);
  assert.deepEqual(filmsOf(["a", "b"]), [["a", "b"]]);
  assert.deepEqual(filmsOf(["blank"]), [["blank"]]);
  // happy takes 1 s, blank 2 s, each held for half a second
  const spans = spansOf(["happy", "blank"], (name) => ({ happy: 1, blank: 2 })[name], 4);
  assert.equal(spans.happy.begin, 0);
  assert.ok(spans.happy.full > 1 && spans.happy.full < 1.5);
  assert.equal(spans.happy.end, 4);
  assert.equal(spans.blank.begin, 1.5);
});

test("previews are made one film at a time, kept, and tried again later where that helps", async () => {
  URL.createObjectURL = () => "blob:film";
  const tick = (ms = 5) => new Promise((resolve) => setTimeout(resolve, ms));
  const orders = [];
  let crowded = true;
  const shown = [];
  const previews = new Previews({
    onFilm: (face, film) => shown.push([face, film.join()]),
    make: async ({ fields }) => {
      orders.push(fields.templates);
      if (crowded) {
        crowded = false;
        throw new AnimationError("busy", "", 0.01);
      }
      return {};
    },
  });
  globalThis.document = { createElement: () => ({ canPlayType: () => "" }) };
  previews.want("ines", ["a", "b"]);
  previews.resume(0);
  await tick(60);
  assert.deepEqual(orders, ["a,b", "a,b"]);
  assert.deepEqual(shown, [["ines", "a,b"]]);
  previews.want("ines", ["a", "b"]);
  previews.resume(0);
  await tick(30);
  assert.equal(orders.length, 2, "what is there is not made again");
  assert.equal(shown.length, 2);
  previews.pause();
});

test("an answer is a job, or an error with its sentence", () => {
  assert.equal(readJob({ status: 202, text: '{"id":"a_x"}' }).id, "a_x");
  const error = (answer) => {
    try {
      readJob(answer);
    } catch (thrown) {
      return thrown;
    }
    return null;
  };
  const busy = error({ status: 503, text: '{"error":{"code":"busy","message":"Later."}}', retryAfter: 5 });
  assert.ok(busy instanceof AnimationError && busy.retryAfter === 5);
  assert.equal(error({ status: 0, text: "" }).code, "network");
  assert.equal(error({ status: 413, text: "<html>" }).code, "too_large");
  assert.equal(error({ status: 502, text: "<html>" }).code, "refused");
  assert.match(sentenceOf({ code: "driver_several_faces", message: "x" }), /more than one face/);
  assert.equal(sentenceOf({ code: "something_new", message: "As the server says." }), "As the server says.");
});

test("progress is told in words and in a share", () => {
  assert.equal(progressOf({ state: "waiting", stage: "", done: 0, total: null }).key, "animateWaiting");
  const drawing = progressOf({ state: "running", stage: "drawing", done: 5, total: 20 });
  assert.deepEqual(drawing, { key: "stage_drawing", values: { percent: 25 }, share: 0.25 });
  assert.equal(progressOf({ state: "running", stage: "new stage", done: 0, total: null }).share, null);
  assert.equal(playableFormat(() => "probably"), "mp4");
  assert.equal(playableFormat(() => ""), "webm");
});

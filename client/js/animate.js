// The "bring a photo to life" view: a face, expressions or a clip to follow, settings, and what is made of them.

import { animate, AnimationError, playableFormat, sentenceOf } from "./animation.js";
import { $, onAction, setText } from "./dom.js";
import { Expressions } from "./expressions.js";
import { Gallery } from "./gallery.js";
import { Previews } from "./previews.js";
import { Studio } from "./studio.js";
import { t } from "./strings.js";

const SECONDS_EACH = 2;
const MOST_SECONDS = 20;
const CLIP_SECONDS = 10;
const CLIP_BYTES = 50 * 2 ** 20;

/**
 * What the server is asked for.
 *
 * @param {{face: string, own: boolean, sequence: string[], follows: boolean, whole: boolean, intensity: number,
 *   seconds: number, play: string, size: number, format: string}} choices `own`: the photos themselves are sent
 * @param {string} consent the statement that was agreed to when the photos were chosen
 */
export function fieldsOf(choices, consent) {
  const { face, own, sequence, follows, whole, intensity, seconds, play, size, format } = choices;
  return {
    ...(own ? { consent: "true", consent_text: consent } : { target: face }),
    ...(follows ? {} : { templates: sequence.join(), play }),
    ...(whole ? { whole: "true" } : {}),
    intensity: intensity / 100,
    seconds,
    size,
    format,
  };
}

/** A name for the file that says what is in it, in characters that every file system takes. */
export function fileName({ name, what, format }) {
  const plain = [name, ...what].join("-").normalize("NFKD").toLowerCase();
  return `${plain.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) || "understudy"}.${format}`;
}

/** The view. It asks for nothing before it is opened. */
export class AnimateView {
  constructor({ chooser, templates }) {
    Object.assign(this, { chooser, templates });
    this.open = false;
    this.face = null;
    this.photos = new Map(); // target -> the files it was made of, while this page lives
    this.clip = null;
    this.isLengthChosen = false;
    this.making = null; // AbortController
    this.studio = new Studio();
    this.gallery = new Gallery($("#animate-gallery"), {
      onSelect: (id) => this.#choose(id),
      onUpload: () => chooser.upload.open((target, files) => this.#uploaded(target, files)),
      onDelete: (target) => chooser.askDelete(target),
      onRetry: () => chooser.targets.load(),
    });
    this.expressions = new Expressions({ container: $("#expression-list"), templates, onChange: () => this.#update() });
    this.previews = new Previews({
      onFilm: (face, film, url) => face === this.face && this.expressions.show(film, url),
      onFailed: () => setText($("#expression-note"), t("previewsFailed")),
    });
    chooser.subscribe((targets) => this.#targets(targets));
    templates.subscribe(() => this.#preview());
    this.#wire();
  }

  /** The view is shown, or not any more. */
  toggle(open) {
    if (open === this.open) return;
    this.open = open;
    if (!open) {
      this.previews.pause();
      this.studio.pause();
      return;
    }
    if (!this.face) this.#targets(this.chooser.targets);
    else this.#preview();
  }

  // ------------------------------------------------------------------------- choices

  #wire() {
    const form = $("#animate-form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    form.addEventListener("input", (event) => {
      if (event.target.id === "animate-seconds") this.isLengthChosen = true;
      this.#update();
    });
    $("#animate-clip").addEventListener("change", (event) => {
      [this.clip = null] = event.target.files;
      this.#update();
    });
    onAction("animate-cancel", () => this.making?.abort());
    onAction("animate-clear", () => {
      this.expressions.reset();
      $("#expression-list button")?.focus();
    });
    const formats = [...$("#animate-format").options].map(({ value }) => value);
    $("#animate-format").value = formats.includes(playableFormat()) ? playableFormat() : formats[0];
    this.#update();
  }

  #targets(targets) {
    this.gallery.show(targets);
    for (const id of this.photos.keys()) if (!targets.find(id)) this.photos.delete(id);
    if (this.face && targets.find(this.face)) return;
    if (this.face) this.previews.forget(this.face);
    const first = targets.own[0] ?? targets.builtIn[0];
    if (first) this.#choose(first.id);
  }

  #choose(id) {
    this.face = id;
    this.gallery.select(id);
    const target = this.chooser.targets.find(id);
    if (!this.making) this.studio.still(target);
    this.#update();
    this.#preview();
  }

  #uploaded(target, files) {
    this.photos.set(target.id, files);
    this.#choose(target.id);
  }

  #preview() {
    if (!this.open || !this.face || this.templates.list.length === 0) return;
    this.expressions.clear();
    setText($("#expression-note"), "");
    this.previews.want(this.face, this.templates.list.map(({ name }) => name));
    if (this.making) this.previews.pause();
  }

  #choices() {
    const value = (name) => $("#animate-form").elements[name].value;
    const follows = value("motion") === "clip";
    const photos = this.photos.get(this.face) ?? [];
    const whole = photos.length > 0 && value("part") === "whole";
    return {
      face: this.face,
      own: whole,
      photos: whole ? photos : [],
      sequence: this.expressions.sequence,
      follows,
      whole,
      intensity: Number(value("intensity")),
      seconds: Number(value("seconds")),
      play: value("play"),
      size: Number(value("size")),
      format: value("format"),
    };
  }

  /** Show what follows from the choices. */
  #update() {
    if (!this.expressions) return; // while it is being made
    const { follows, sequence, intensity } = this.#choices();
    $("#expressions-part").hidden = follows;
    $("#clip-part").hidden = !follows;
    $("#play-part").hidden = follows;
    if (!this.isLengthChosen) {
      const natural = follows ? CLIP_SECONDS : Math.min(SECONDS_EACH * Math.max(sequence.length, 1), MOST_SECONDS);
      $("#animate-seconds").value = String(natural);
    }
    const seconds = t("seconds", { seconds: Number($("#animate-seconds").value).toFixed(1) });
    setText($("#seconds-label"), t(follows ? "animateFollow" : "animateLength"));
    setText($("#seconds-value"), seconds);
    $("#animate-seconds").setAttribute("aria-valuetext", seconds);
    setText($("#intensity-value"), `${intensity} %`);
    $("#animate-intensity").setAttribute("aria-valuetext", `${intensity} %`);
    const titles = sequence.map((name) => this.templates.find(name)?.title ?? name);
    setText($("#sequence"), titles.length > 0 ? titles.join(" → ") : t("sequenceEmpty"));
    $("#sequence-clear").hidden = titles.length === 0;
    setText($("#clip-name"), this.clip ? this.clip.name : t("clipChoose"));
    const hasPhotos = this.photos.has(this.face);
    for (const input of $("#animate-form").elements.part) {
      if (input.value !== "whole") continue;
      input.disabled = !hasPhotos;
      if (!hasPhotos && input.checked) $("#part-crop").checked = true;
    }
    $("#part-note").hidden = hasPhotos;
  }

  // ------------------------------------------------------------------------- making it

  async #make() {
    if (this.making) return;
    const choices = this.#choices();
    const { follows, sequence } = choices;
    if (!this.face) return this.studio.say(t("animateNoFace"), true);
    if (follows && !this.clip) return this.#refuse("animateNoClip", $("#animate-clip"));
    if (follows && this.clip.size > CLIP_BYTES) return this.#refuse("animate_driver_too_large", $("#animate-clip"));
    if (!follows && sequence.length === 0) return this.#refuse("animateNoExpression", $("#expression-list button"));
    const target = this.chooser.targets.find(this.face);
    const making = (this.making = new AbortController());
    this.previews.pause();
    this.#busy(true);
    this.studio.begin(target);
    try {
      const blob = await animate({
        fields: fieldsOf(choices, t("consent")),
        photos: choices.photos,
        clip: follows ? this.clip : null,
        onProgress: (progress) => this.studio.progress(progress),
        signal: making.signal,
      });
      const name = fileName({ name: target?.name ?? "", what: follows ? [] : sequence, format: choices.format });
      this.studio.result({ blob, name, loops: choices.play === "loop" && !follows, sounds: follows });
    } catch (error) {
      if (!(error instanceof AnimationError)) throw error;
      this.studio.failed(error.code === "cancelled" ? "" : sentenceOf(error), target);
    } finally {
      this.making = null;
      this.#busy(false);
      if (this.open) this.previews.resume();
    }
    return undefined;
  }

  #refuse(key, field) {
    this.studio.say(t(key), true);
    field?.focus();
  }

  #busy(busy) {
    $('[data-action="animate"]').disabled = busy;
    setText($('[data-action="animate"]'), t(busy ? "animateMaking" : "animateMake"));
  }
}

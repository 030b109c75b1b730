// The expressions to choose from, on the chosen face: several may be chosen, and follow one another as chosen.

import { icon, make, setText } from "./dom.js";
import { spansOf } from "./previews.js";
import { drawingOf } from "./reactions.js";
import { t } from "./strings.js";

const MOST = 8; // in a sequence, as the server allows

/** A sequence after a click on one of its buttons: what was in it leaves it, what was not comes last. */
export function toggled(sequence, name) {
  if (sequence.includes(name)) return sequence.filter((other) => other !== name);
  return sequence.length < MOST ? [...sequence, name] : sequence;
}

/** The buttons in a container. `onChange(names)` follows the choice. */
export class Expressions {
  constructor({ container, templates, onChange }) {
    Object.assign(this, { container, templates, onChange });
    this.sequence = [];
    this.faces = 0; // how often the face changed
    this.items = new Map(); // name -> {button, video, badge, span}
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    templates.subscribe(() => this.#render());
  }

  /** Another face: its still picture until previews come. */
  clear() {
    this.faces += 1;
    for (const item of this.items.values()) {
      item.span = null;
      item.video.pause();
      item.video.removeAttribute("src");
      item.video.load();
      item.button.classList.remove("moving");
    }
  }

  /** Show a film in which the face makes these expressions. */
  async show(film, url) {
    const face = this.faces;
    const duration = await durationOf(url);
    if (face !== this.faces) return;
    const spans = spansOf(film, (name) => this.templates.find(name)?.seconds ?? 0, duration);
    for (const [name, span] of Object.entries(spans)) {
      const item = this.items.get(name);
      if (!item || item.span) continue;
      item.span = span;
      item.video.src = url;
      item.video.currentTime = span.full;
      item.video.addEventListener("seeked", () => item.button.classList.add("moving"), { once: true });
    }
  }

  reset() {
    this.#set([]);
  }

  #render() {
    this.items.clear();
    this.container.replaceChildren(...this.templates.list.map((template) => this.#item(template)));
    this.#set(this.sequence.filter((name) => this.items.has(name)));
  }

  #item({ name, title, description }) {
    const video = make("video", { muted: true, playsInline: true, preload: "auto", "aria-hidden": "true", tabIndex: -1 });
    const badge = make("span", { class: "order", "aria-hidden": "true", hidden: true });
    const place = make("span", { class: "unseen" });
    const button = make(
      "button",
      { type: "button", class: "expression", "data-expression": name, "aria-pressed": "false", title: description },
      make("span", { class: "expression-picture" }, icon(drawingOf(name)), video, badge),
      make("span", { class: "expression-name" }, title),
      place,
    );
    const item = { button, video, badge, place, span: null };
    this.items.set(name, item);
    button.addEventListener("click", () => this.#set(toggled(this.sequence, name)));
    for (const [type, plays] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]]) {
      button.addEventListener(type, () => this.#move(item, plays));
    }
    video.addEventListener("timeupdate", () => this.#loop(item));
    video.addEventListener("ended", () => this.#loop(item));
    return button;
  }

  /** Let a preview play while it is looked at, and rest at its full expression otherwise. */
  #move(item, plays) {
    if (!item.span) return;
    const looked = plays && !this.still.matches;
    if (looked && item.video.paused) {
      item.video.currentTime = item.span.begin;
      item.video.play().catch(() => {});
    } else if (!looked && !item.button.matches(":hover, :focus")) {
      item.video.pause();
      item.video.currentTime = item.span.full;
    }
  }

  #loop({ video, span }) {
    if (!span || (video.paused && !video.ended) || (video.currentTime < span.end && !video.ended)) return;
    video.currentTime = span.begin;
    if (video.paused) video.play().catch(() => {});
  }

  #set(sequence) {
    this.sequence = sequence;
    for (const [name, { button, badge, place }] of this.items) {
      const order = sequence.indexOf(name) + 1;
      button.setAttribute("aria-pressed", String(order > 0));
      button.disabled = order === 0 && sequence.length >= MOST;
      badge.hidden = order === 0;
      setText(badge, String(order));
      setText(place, order > 0 && sequence.length > 1 ? t("expressionPlace", { order, count: sequence.length }) : "");
    }
    this.onChange(sequence);
  }
}

/** How long a film is, in seconds. */
function durationOf(url) {
  const video = make("video", { preload: "metadata", muted: true, src: url });
  return new Promise((resolve) => {
    video.addEventListener("loadedmetadata", () => resolve(Number.isFinite(video.duration) ? video.duration : 0), { once: true });
    video.addEventListener("error", () => resolve(0), { once: true });
  });
}

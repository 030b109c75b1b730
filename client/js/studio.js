// The picture of the "bring a photo to life" view: the photo, the progress of its moving, and the result.

import { $, announce, setText } from "./dom.js";
import { t } from "./strings.js";

/** Shows one of them at a time. */
export class Studio {
  constructor() {
    this.frame = $("#studio-frame");
    this.photo = $("#studio-photo");
    this.film = $("#studio-film"); // mp4, webm
    this.moving = $("#studio-moving"); // gif, webp
    this.url = null;
    this.film.addEventListener("error", () => {
      if (this.url && !this.film.hidden) this.say(t("resultNotPlayed"));
    });
  }

  /** The photo at rest. */
  still(target) {
    this.#forget();
    this.#show(this.photo);
    if (target && this.photo.getAttribute("src") !== target.image) this.photo.src = target.image;
    this.photo.alt = target ? t("studioPhoto", { name: target.name }) : "";
    setText($("#studio-tag"), target?.name ?? "");
    this.say("");
  }

  begin(target) {
    this.still(target);
    this.frame.classList.add("working");
    this.progress({ key: "animateStarting", values: {}, share: null });
    $("#studio-work").hidden = false;
    this.frame.scrollIntoView({ block: "nearest" });
  }

  progress({ key, values, share }) {
    const bar = $("#studio-progress");
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    this.say(t(key, values));
  }

  /** The moving picture. */
  result({ blob, name, loops, sounds }) {
    this.#end();
    this.url = URL.createObjectURL(blob);
    const isFilm = blob.type.startsWith("video/");
    this.#show(isFilm ? this.film : this.moving);
    if (isFilm) {
      this.film.loop = loops;
      this.film.muted = !sounds;
      this.film.src = this.url;
      const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (!isCalm) this.film.play().catch(() => {}); // with sound it may wait for the person
    } else {
      this.moving.src = this.url;
    }
    setText($("#studio-tag"), t("studioResult"));
    const link = $("#download");
    link.href = this.url;
    link.download = name;
    link.hidden = false;
    this.say(t("resultReady", { size: Math.max(1, Math.round(blob.size / 1024)) }));
  }

  /** It was not made: why, and the photo again. */
  failed(sentence, target) {
    this.#end();
    this.still(target);
    this.say(sentence || t("animateCancelled"), Boolean(sentence));
  }

  say(sentence, wrong = false) {
    const line = $("#studio-status");
    setText(line, sentence);
    line.classList.toggle("wrong", wrong);
    if (wrong) announce(sentence);
  }

  pause() {
    this.film.pause();
  }

  #end() {
    this.frame.classList.remove("working");
    $("#studio-work").hidden = true;
  }

  #show(element) {
    for (const other of [this.photo, this.film, this.moving]) other.hidden = other !== element;
  }

  #forget() {
    $("#download").hidden = true;
    if (!this.url) return;
    this.film.removeAttribute("src");
    this.film.load();
    this.moving.removeAttribute("src");
    URL.revokeObjectURL(this.url);
    this.url = null;
  }
}

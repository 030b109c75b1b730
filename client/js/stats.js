// The statistics panel: what is shown, how late, how much of it, and what generates it.

import { $, make } from "./dom.js";
import { between, FrameCounter, readReport } from "./figures.js";
import { remotes } from "./state.js";
import { t } from "./strings.js";

const PERIOD_MS = 1000;

const round = (value, digits = 0, unit = "") =>
  value === null || value === undefined || Number.isNaN(value) ? "–" : `${value.toFixed(digits)}${unit}`;

/** Measures every second while open; `figures()` is what it last saw, by terminal. */
export class Stats {
  constructor({ store, sessions, onOpen }) {
    Object.assign(this, { store, sessions, onOpen });
    this.panel = $("#stats");
    this.frames = new FrameCounter();
    this.before = new Map();
    this.timer = null;
  }

  get open() {
    return !this.panel.hidden;
  }

  toggle(open = !this.open) {
    if (open === this.open) return;
    this.panel.hidden = !open;
    clearInterval(this.timer);
    if (open) {
      this.before.clear();
      this.#measure();
      this.timer = setInterval(() => this.#measure(), PERIOD_MS);
    }
    this.onOpen(open);
  }

  async #measure() {
    const { state } = this.store;
    const groups = [];
    for (const peer of remotes(state)) {
      const video = $(`video[data-role="remote"][data-terminal="${CSS.escape(peer.terminal)}"]`);
      groups.push(this.#group(peer.name, await this.#of(peer.slot), video, state.figures[peer.terminal]));
    }
    const own = await this.#of("publish");
    const self = $('video[data-role="self"]');
    groups.push(this.#group(t("statsSelf"), own, self, state.figures[state.terminal], own));
    $("#stats-body").replaceChildren(...groups);
  }

  async #of(slot) {
    const connection = this.sessions.connection(slot);
    if (!connection) return null;
    const after = readReport([...(await connection.getStats()).values()]);
    const former = this.before.get(slot);
    this.before.set(slot, after);
    return between(former, after);
  }

  #group(title, link, video, generated, sent = null) {
    const rows = [
      ["statsRendered", round(video ? (this.frames.rate(video) ?? link?.fps) : null, 1, " /s")],
      ["statsResolution", link?.width ? `${link.width} × ${link.height}` : "–"],
      ["statsBitrate", round(link?.kbps, 0, " kbit/s")],
      ["statsRoundTrip", round(link?.roundTripMs, 0, " ms")],
      ["statsLost", round(link?.lostShare === null ? null : link?.lostShare * 100, 1, " %")],
      ["statsBuffer", round(link?.bufferMs, 0, " ms")],
    ];
    if (sent) rows.push(["statsSent", `${round(sent.sentFps, 0, " /s")}, ${round(sent.sentKbps, 0, " kbit/s")}`]);
    if (generated) {
      rows.push(
        ["statsGenerator", `${generated.generator}, ${generated.size} px`],
        ["statsGenerated", round(generated.fps, 1, " /s")],
        ["statsFrameTime", round(generated.frame_ms, 1, " ms")],
        ["statsAge", round(generated.age_ms, 1, " ms")],
      );
    }
    const list = make("dl", {}, ...rows.flatMap(([key, value]) => [make("dt", {}, t(key)), make("dd", {}, value)]));
    return make("section", {}, make("h3", {}, title), list);
  }
}

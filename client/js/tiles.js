// The others' pictures in a call: one tile each, in a grid, with what is to be said about each.

import { $, icon, make, setText } from "./dom.js";
import { arrange } from "./layout.js";
import { isLive, remotes, tileSentence } from "./state.js";
import { t } from "./strings.js";

/** Calls back once when an element shows a picture after it was given a stream. */
function onFirstFrame(video, callback) {
  const seen = () => {
    if (video.videoWidth > 0) callback();
  };
  // A hidden tab renders no frames, yet its call is live: data that can be played counts too.
  video.addEventListener("loadeddata", seen);
  video.addEventListener("resize", seen);
  video.addEventListener("streamattached", () => video.requestVideoFrameCallback?.(seen));
}

/** One peer's tile. */
class Tile {
  constructor(peer, { streams, onRendered, onBlocked }) {
    this.streams = streams;
    this.slot = null;
    this.video = make("video", { "data-role": "remote", "data-terminal": peer.terminal, playsInline: true, autoplay: true });
    this.video.playsInline = true;
    this.name = make("span", { class: "tile-name" });
    this.mic = make("span", { class: "tile-mic", role: "img" }, icon("mic-off"));
    this.notice = make("p", { class: "notice", "data-role": "notice" });
    this.state = make("p", { class: "tile-state", role: "status" });
    const who = make("p", { class: "tile-who" }, this.mic, this.name);
    const caption = make("figcaption", {}, this.state, make("div", { class: "tile-tags" }, who, this.notice));
    this.element = make("figure", { class: "tile", "data-terminal": peer.terminal }, this.video, caption);
    onFirstFrame(this.video, () => onRendered(this.slot));
    this.video.addEventListener("streamattached", () => this.play(onBlocked));
  }

  /** Start playing; when the browser refuses sound without a gesture, the picture plays silently. */
  async play(onBlocked) {
    try {
      await this.video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return;
      this.video.muted = true;
      onBlocked();
      this.video.play().catch(() => {});
    }
  }

  update(state, peer) {
    if (this.slot !== peer.slot) {
      this.slot = peer.slot;
      this.streams.show(this.video, peer.slot);
    }
    const direct = peer.mode === "direct";
    this.element.classList.toggle("direct", direct);
    this.element.classList.toggle("waiting-picture", !isLive(state, peer));
    this.element.classList.toggle("off", direct && !peer.camera);
    setText(this.name, peer.name);
    this.mic.hidden = peer.microphone;
    this.mic.setAttribute("aria-label", t("micOff", { name: peer.name }));
    this.video.setAttribute("aria-label", t(direct ? "remoteDirectLabel" : "remoteLabel", { name: peer.name }));
    setText(this.notice, t(direct ? "directPicture" : "generated"));
    this.notice.title = direct ? "" : t("generatedLong", { name: peer.name });
    const said = tileSentence(state, peer);
    setText(this.state, said ? t(said.key, said.values) : "");
    this.state.hidden = !said;
  }

  remove() {
    this.streams.show(this.video, null);
    this.element.remove();
  }
}

/** All tiles. `onRendered(slot)` when a picture was seen, `onBlocked()` when sound needs a gesture. */
export class Tiles {
  constructor({ streams, onRendered, onBlocked }) {
    this.options = { streams, onRendered, onBlocked };
    this.container = $("#tiles");
    this.tiles = new Map();
    new ResizeObserver(() => this.#arrange()).observe($("#stage"));
  }

  update(state) {
    const peers = remotes(state);
    const present = new Set(peers.map((peer) => peer.terminal));
    for (const [terminal, tile] of this.tiles) {
      if (present.has(terminal)) continue;
      tile.remove();
      this.tiles.delete(terminal);
    }
    for (const peer of peers) {
      if (!this.tiles.has(peer.terminal)) {
        const tile = new Tile(peer, this.options);
        this.tiles.set(peer.terminal, tile);
        this.container.append(tile.element);
      }
      this.tiles.get(peer.terminal).update(state, peer);
    }
    this.direct = peers.length > 0 && peers.every((peer) => peer.mode === "direct");
    this.#arrange();
  }

  /** After a gesture: let everything be heard. */
  unmute() {
    for (const { video } of this.tiles.values()) {
      video.muted = false;
      video.play().catch(() => {});
    }
  }

  #arrange() {
    const { clientWidth: width, clientHeight: height } = $("#stage");
    this.container.classList.toggle("upright", width <= height);
    const stage = { width, height, count: this.tiles.size, ratio: this.direct ? 4 / 3 : 1 };
    const grid = arrange(stage, $("#self").offsetWidth);
    this.container.style.setProperty("inset", `0 ${grid.right}px ${grid.bottom}px 0`);
    this.container.style.setProperty("--columns", grid.columns);
    this.container.style.setProperty("--tile-width", `${grid.width}px`);
    this.container.style.setProperty("--tile-height", `${grid.height}px`);
  }
}

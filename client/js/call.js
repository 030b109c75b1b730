// The call's screen: tiles, oneself as others see it, what is said about the state, panels, full screen.

import { $, announce, setText } from "./dom.js";
import { roomLink } from "./roomname.js";
import { pageState, remotes, selfSentence, sentence, slotOf } from "./state.js";
import { knows, t } from "./strings.js";
import { Tiles } from "./tiles.js";

const PILLS = {
  ringing: "pillRinging",
  connecting: "pillConnecting",
  live: "pillLive",
  reconnecting: "pillReconnecting",
};

/** Follows the state on the call's screen. */
export class CallView {
  constructor({ streams, media, controls, chat, onRendered }) {
    Object.assign(this, { streams, media, controls, chat });
    this.self = $('video[data-role="self"]');
    this.directSelf = $('video[data-role="direct-self"]');
    this.tiles = new Tiles({ streams, onRendered, onBlocked: () => this.#blocked(true) });
    this.self.addEventListener("streamattached", () => this.self.play().catch(() => {}));
    this.wakeLock = null;
    document.addEventListener("visibilitychange", () => this.#stayAwake());
    const canFill = document.fullscreenEnabled && document.documentElement.requestFullscreen;
    if (!canFill) controls.withoutFullscreen();
    document.addEventListener("fullscreenchange", () => controls.expanded("fullscreen", Boolean(document.fullscreenElement)));
  }

  update(state) {
    const inCall = state.phase === "room";
    if (inCall !== this.inCall) {
      this.inCall = inCall;
      this.#stayAwake();
      this.streams.show(this.self, inCall ? "publish" : null);
      if (!inCall) this.#showOwnFace(false);
    }
    this.tiles.update(state);
    if (!inCall) return;
    const page = pageState(state);
    const peers = remotes(state);
    const said = sentence(state);
    const words = said.key ? t(said.key, said.values) : "";
    const alone = page === "ringing" && state.members.length < 2;
    setText($("#status-pill"), t(alone ? "pillAlone" : (PILLS[page] ?? "")));
    setText($("#room-label"), state.room ?? "");
    setText($("#call-title"), words);
    setText($("#waiting-text"), words);
    setText($("#waiting-link"), state.room ? roomLink(state.room) : "");
    $("#waiting").hidden = peers.length > 0;
    $("#waiting").classList.toggle("calling", !alone);
    announce(words);
    this.#updateSelf(state);
    this.chat.audience(peers.length);
    this.controls.update(state, this.media);
    if (peers.length === 0) this.#blocked(false);
  }

  /** A gesture allows sound. */
  hear() {
    this.#blocked(false);
    this.tiles.unmute();
  }

  async toggleFullscreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await document.documentElement.requestFullscreen({ navigationUI: "hide" }).catch(() => {});
  }

  #updateSelf(state) {
    // As soon as a direct session exists the camera may be on its way, connected or not.
    const watcher = remotes(state).find((peer) => state.sessions[slotOf("direct", peer.terminal)]);
    const showsFace = Boolean(watcher);
    this.#showOwnFace(showsFace);
    $("#direct-banner").hidden = !showsFace;
    setText($("#direct-text-line"), t("directBanner", { name: watcher?.name ?? "" }));
    setText($("#self-caption"), t(showsFace ? "directSelfCaption" : "selfCaption"));
    const said = showsFace ? null : selfSentence(state);
    const short = said && `${said.key}Short`; // little room, and the tile is small because it is oneself
    setText($("#self-note"), said ? t(knows(short) ? short : said.key, said.values) : "");
    $("#self-note").title = said ? t(said.key, said.values) : "";
    $("#self-note").hidden = !said;
    $("#self").classList.toggle("direct", showsFace);
  }

  /** In a direct call others see the camera: then, and only then, it stands in an element of its own. */
  #showOwnFace(shown) {
    const track = shown && this.media.live("camera") ? this.media.camera.track : null;
    if (this.directSelf.srcObject?.getTracks()[0] !== track) {
      this.directSelf.srcObject = track ? new MediaStream([track]) : null;
      if (track) this.directSelf.play().catch(() => {});
    }
    this.directSelf.hidden = !shown;
    this.self.hidden = shown;
  }

  #blocked(blocked) {
    $('[data-action="hear"]').hidden = !blocked;
  }

  /** The screen stays on during a call, where browsers can do that. */
  async #stayAwake() {
    try {
      if (this.inCall && document.visibilityState === "visible") {
        this.wakeLock ??= await navigator.wakeLock?.request("screen");
        this.wakeLock?.addEventListener("release", () => (this.wakeLock = null), { once: true });
      } else {
        await this.wakeLock?.release();
      }
    } catch {
      // Low battery or no permission: the screen may go dark, the call goes on.
    }
  }
}

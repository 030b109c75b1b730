// The lobby: who one is, which room, which camera, which face, and how others will see it, before joining.

import { $, copyLink, make, onAction, setIcon, setText } from "./dom.js";
import { Meter } from "./meter.js";
import { hasWebRtc } from "./peer.js";
import { roomFromInput, roomLink } from "./roomname.js";
import { selfSentence } from "./state.js";
import { local, tab } from "./storage.js";
import { t } from "./strings.js";

const KINDS = { camera: { action: "lobby-camera", icon: "camera" }, microphone: { action: "lobby-mute", icon: "mic" } };

/** The lobby's form. `onJoin({room, name})` when it is complete. */
export class Lobby {
  constructor({ media, streams, onJoin }) {
    Object.assign(this, { media, streams, onJoin });
    this.self = $('video[data-role="lobby-self"]');
    this.preview = $('video[data-role="preview"]');
    this.meter = new Meter((value) => this.#level(value));
    this.visible = false;
    this.canCall = hasWebRtc(); // without it the lobby says so, and asks for no camera
    $('[data-action="join"]').disabled = !this.canCall;
    $(".devices").hidden = !this.canCall;
    $("#lobby-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#join();
    });
    for (const [kind, { action }] of Object.entries(KINDS)) {
      onAction(action, () => media.set(kind, !media[kind].on));
      $(`#${kind}-select`).addEventListener("change", (event) => this.#choose(kind, event.target.value));
    }
    onAction("copy-link", () => {
      const room = this.room();
      if (room) copyLink(roomLink(room), tab.get("token") ? "linkCopiedUninvited" : "linkCopied");
    });
    this.self.addEventListener("streamattached", () => this.self.play().catch(() => {}));
  }

  fill({ room, name }) {
    $("#room").value = room;
    $("#name").value = name;
  }

  room() {
    return roomFromInput($("#room").value);
  }

  name() {
    return $("#name").value.trim();
  }

  /** Show or hide what the lobby alone may show: the raw camera never leaves this element. */
  update(state) {
    const visible = state.phase === "lobby";
    if (visible !== this.visible) {
      this.visible = visible;
      this.streams.show(this.self, visible ? "publish" : null);
      for (const kind of Object.keys(KINDS)) this.deviceChanged(kind);
    }
    if (!visible) return;
    const said = this.canCall ? selfSentence(state) : { key: "noWebRtc" };
    setText($("#mirror-wait"), said ? t(said.key, said.values) : "");
    $("#mirror-wait").hidden = !said;
    this.self.classList.toggle("flowing", state.sessions.publish?.state === "connected");
  }

  /** A camera or microphone came, went, or was switched. */
  async deviceChanged(kind) {
    const device = this.media[kind];
    const button = $(`[data-action="${KINDS[kind].action}"]`);
    const live = this.media.live(kind);
    const words = kind === "camera" ? ["cameraOff", "cameraOn"] : ["mute", "unmute"];
    button.setAttribute("aria-label", t(words[device.on ? 0 : 1]));
    button.classList.toggle("off", !device.on);
    setIcon(button, KINDS[kind].icon + (live ? "" : "-off"));
    if (kind === "camera") {
      const track = this.visible && live ? device.track : null;
      if (this.preview.srcObject?.getTracks()[0] !== track) {
        this.preview.srcObject = track ? new MediaStream([track]) : null;
        if (track) this.preview.play().catch(() => {});
      }
      $("#raw").hidden = !track;
    } else {
      this.meter.watch(this.visible ? device.track : null);
    }
    this.#problems();
    await this.#devices(kind);
  }

  async #devices(kind) {
    const devices = await this.media.list(kind);
    const name = t(kind);
    const options = devices.map(({ deviceId, label }, index) =>
      make("option", { value: deviceId, textContent: label || t("unnamedDevice", { kind: name, number: index + 1 }) }),
    );
    const select = $(`#${kind}-select`);
    select.replaceChildren(...(options.length ? options : [make("option", { value: "", textContent: t("noDevice") })]));
    select.disabled = options.length === 0;
    if (this.media[kind].deviceId) select.value = this.media[kind].deviceId;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
  }

  #choose(kind, deviceId) {
    local.set("devices", { ...local.get("devices", {}), [kind]: deviceId });
    this.media.choose(kind, deviceId);
  }

  #problems() {
    const sentences = Object.keys(KINDS)
      .filter((kind) => this.media[kind].on && this.media[kind].reason)
      .map((kind) => t(`${kind}_${this.media[kind].reason}`));
    const box = $("#device-problems");
    if ([...box.children].map((child) => child.textContent).join() === sentences.join()) return;
    box.replaceChildren(...sentences.map((sentence) => make("p", { class: "problem" }, sentence)));
  }

  #level(value) {
    const bar = $("#level span");
    bar.style.setProperty("--level", value.toFixed(3));
    const percent = String(Math.round(value * 10) * 10);
    if ($("#level").getAttribute("aria-valuenow") !== percent) $("#level").setAttribute("aria-valuenow", percent);
  }

  #join() {
    const name = this.name();
    const room = this.room();
    const nameWrong = this.#complain("name", name ? "" : t("nameMissing"));
    const roomWrong = this.#complain("room", room ? "" : t("roomMissing"));
    if (nameWrong || roomWrong) {
      $(nameWrong ? "#name" : "#room").focus();
      return;
    }
    this.onJoin({ room, name });
  }

  #complain(field, sentence) {
    const input = $(`#${field}`);
    setText($(`#${field}-error`), sentence);
    input.setAttribute("aria-invalid", String(Boolean(sentence)));
    if (sentence) input.setAttribute("aria-describedby", `${field}-error`);
    return Boolean(sentence);
  }
}

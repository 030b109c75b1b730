// The row of buttons of a call, and the keys that do the same. A button whose name changes with what it would do
// has no aria-pressed beside: "Unmute, pressed" says the opposite of what holds.

import { $, icon, make, setIcon, setText } from "./dom.js";
import { directCall, remotes } from "./state.js";
import { local } from "./storage.js";
import { t } from "./strings.js";

// In the order they stand. `key` is the keyboard shortcut; `rare` ones stand apart on wide screens.
const BUTTONS = [
  { action: "mute", icon: "mic", words: "micButton", key: "m" },
  { action: "camera", icon: "camera", words: "cameraButton", key: "v" },
  { action: "target", icon: "face", words: "targetButton", key: "t" },
  { action: "react", icon: "sparkle", words: "reactButton" },
  { action: "recalibrate", icon: "aim", words: "recalibrateButton", key: "r" },
  { action: "chat", icon: "chat", words: "chatButton", key: "c" },
  { action: "stats", icon: "stats", words: "statsButton", key: "s" },
  { action: "fullscreen", icon: "expand", words: "fullscreenButton", key: "f" },
  { action: "direct", icon: "eye", words: "directButton" },
  { action: "leave", icon: "leave", words: "leaveButton", tone: "danger" },
];

const HELP = [
  ["M", "keyMute"],
  ["V", "keyCamera"],
  ["T", "keyTarget"],
  ["1 – 9", "keyReact"],
  ["R", "keyRecalibrate"],
  ["C", "keyChat"],
  ["S", "keyStats"],
  ["F", "keyFullscreen"],
  ["?", "keyHelp"],
  ["Esc", "keyEscape"],
];

/** Which action a key press asks for (`reaction-1` to `-9` for the number keys); null while typing, with modifiers, or while a dialog is open. */
export function actionOfKey({ key, ctrlKey, metaKey, altKey, repeat, target }, dialogOpen) {
  if (ctrlKey || metaKey || altKey || repeat || dialogOpen) return null;
  const tag = target?.tagName;
  if (tag === "TEXTAREA" || tag === "SELECT" || target?.isContentEditable) return null;
  if (tag === "INPUT" && !["radio", "checkbox", "button"].includes(target.type)) return null;
  if (key === "?") return "help";
  if (/^[1-9]$/.test(key)) return `reaction-${key}`;
  return BUTTONS.find((button) => button.key === key.toLowerCase())?.action ?? null;
}

/** The call's buttons, as the state says. */
export class Controls {
  constructor() {
    this.buttons = new Map();
    for (const { action, icon: drawing, words, key, tone } of BUTTONS) {
      const label = make("span", { class: "label" }, t(words));
      const button = make(
        "button",
        { type: "button", class: `control ${tone ?? ""}`.trim(), "data-action": action, "aria-keyshortcuts": key?.toUpperCase() },
        make("span", { class: "disc" }, icon(drawing)),
        label,
      );
      if (key) button.title = `${t(words)} (${key.toUpperCase()})`;
      this.buttons.set(action, { button, label });
      $("#controls").append(button);
    }
    this.badge = make("span", { class: "badge", "aria-hidden": "true", hidden: true });
    $(".disc", this.buttons.get("chat").button).append(this.badge);
    // Speech input types what it hears, and hands tremble: single keys can be switched off (WCAG 2.2, 2.1.4).
    this.keysOn = $("#keys-on");
    this.keysOn.checked = local.get("keys", true);
    this.keysOn.addEventListener("change", () => local.set("keys", this.keysOn.checked));
    $("#help-keys").append(
      ...HELP.flatMap(([key, words]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, t(words))]),
    );
  }

  /** Which action a key press asks for, unless this person has switched the keys off. */
  actionOf(event, dialogOpen) {
    return this.keysOn.checked ? actionOfKey(event, dialogOpen) : null;
  }

  /** Follow the state; `media` tells what the person wants, also while a device is missing. */
  update(state, media) {
    this.#toggle("mute", !state.me.microphone, ["mic", "mic-off"], ["micButton", "micButtonOff"]);
    this.#toggle("camera", !state.me.camera, ["camera", "camera-off"], ["cameraButton", "cameraButtonOff"]);
    for (const [action, kind] of [["mute", "microphone"], ["camera", "camera"]]) {
      const { reason, on } = media[kind];
      const problem = on && reason ? t(`${kind}_${reason}`) : "";
      const { button } = this.buttons.get(action);
      button.classList.toggle("troubled", Boolean(problem));
      if (problem) button.title = problem;
    }
    const direct = directCall(state);
    const waiting = Object.values(state.outgoing).some(({ mode }) => mode === "direct");
    const { button, label } = this.buttons.get("direct");
    button.disabled = remotes(state).length === 0;
    button.classList.toggle("on", Boolean(direct));
    setText(label, t(direct ? "directHide" : waiting ? "directWaiting" : "directButton"));
    this.buttons.get("recalibrate").button.disabled = !state.me.camera;
  }

  /** Show how many messages are unread. */
  unread(count) {
    this.badge.hidden = count === 0;
    setText(this.badge, count > 9 ? "9+" : String(count));
    const { button } = this.buttons.get("chat");
    if (count > 0) button.setAttribute("aria-label", t("chatUnread", { count }));
    else button.removeAttribute("aria-label");
  }

  /** Show whether a panel (chat, stats) or full screen is open. */
  expanded(action, open) {
    const { button, label } = this.buttons.get(action);
    if (action === "fullscreen") {
      setIcon(button, open ? "shrink" : "expand");
      setText(label, t(open ? "fullscreenEnd" : "fullscreenButton"));
    } else {
      button.setAttribute("aria-expanded", String(open));
    }
  }

  /** Let a button open a popover. */
  opens(action, popover) {
    const { button } = this.buttons.get(action);
    button.popoverTargetElement = popover;
    popover.addEventListener("toggle", ({ newState }) => button.setAttribute("aria-expanded", String(newState === "open")));
  }

  /** Whether a button can be used; `title` says what it does, or why it does nothing. */
  enable(action, able, title) {
    const { button } = this.buttons.get(action);
    button.disabled = !able;
    button.title = title;
  }

  /** Light a button up while what it did goes on. */
  lit(action, on) {
    this.buttons.get(action).button.classList.toggle("lit", on);
  }

  /** Where a button stands in the window. */
  box(action) {
    return this.buttons.get(action).button.getBoundingClientRect();
  }

  focus(action) {
    this.buttons.get(action).button.focus();
  }

  /** Not every phone can show an element in full screen. */
  withoutFullscreen() {
    this.buttons.get("fullscreen").button.hidden = true;
  }

  #toggle(action, off, icons, words) {
    const { button, label } = this.buttons.get(action);
    button.classList.toggle("off", off);
    setIcon(button, icons[off ? 1 : 0]);
    setText(label, t(words[off ? 1 : 0]));
    const key = button.getAttribute("aria-keyshortcuts");
    button.title = `${label.textContent} (${key})`;
  }
}

// Reactions in a call: expressions that one's own target makes at the press of a button or a number key.

import { $, icon, make, setText } from "./dom.js";
import { canReact } from "./state.js";
import { t } from "./strings.js";

const KEYS = 9;
const AFTER_MS = 1100; // the server holds the full expression for 0.8 s and blends back within 0.3 s
const DRAWN = new Set(["happy", "sad", "wink-left", "wink-right", "depressed", "blank", "surprised", "angry", "wink-smile"]);

/** The drawing of a template; those that people add share one. */
export function drawingOf(name) {
  return DRAWN.has(name) ? `face-${name}` : "sparkle";
}

/** The popover with every template. `onReact(name)` is called for what is to be played. */
export class Reactions {
  constructor({ store, templates, controls, onReact, say }) {
    Object.assign(this, { store, templates, controls, onReact, say });
    this.box = $("#reactions");
    this.grid = $("#reaction-list");
    this.timer = null;
    controls.opens("react", this.box);
    this.box.addEventListener("beforetoggle", (event) => {
      if (event.newState === "open") this.#place();
    });
    this.box.addEventListener("toggle", (event) => {
      if (event.newState === "open") (this.#buttons()[0] ?? $("button", this.box))?.focus();
    });
    this.grid.addEventListener("keydown", (event) => this.#move(event));
    addEventListener("resize", () => this.open && this.#place());
    templates.subscribe(() => this.#render());
  }

  get open() {
    return Boolean(this.box.showPopover) && this.box.matches(":popover-open");
  }

  close() {
    if (this.open) this.box.hidePopover();
  }

  /** Follow the state: without a generated picture there is nothing to react with. */
  update(state) {
    const able = canReact(state);
    this.controls.enable("react", able, t(able ? "reactButton" : "reactionsOff"));
    if (!able) this.close();
  }

  /** Play the template that has this number key (1 to 9). */
  playNumber(number) {
    const template = this.templates.list[number - 1];
    if (template) this.play(template);
  }

  play(template) {
    if (!canReact(this.store.state)) {
      this.say("reactionsOff");
      return;
    }
    this.onReact(template.name);
    this.#acknowledge(template);
    this.close();
  }

  /** Say on one's own picture what it does now, for about as long as it does. */
  #acknowledge(template) {
    const chip = $("#self-reaction");
    clearTimeout(this.timer);
    chip.replaceChildren(icon(drawingOf(template.name)), make("span", {}, template.title));
    chip.hidden = false;
    this.controls.lit("react", true);
    this.timer = setTimeout(() => {
      chip.hidden = true;
      chip.replaceChildren();
      this.controls.lit("react", false);
    }, template.seconds * 1000 + AFTER_MS);
  }

  #render() {
    const { list, failed } = this.templates;
    this.grid.replaceChildren(
      ...list.map((template, index) => {
        const key = index < KEYS ? String(index + 1) : null;
        const button = make(
          "button",
          { type: "button", class: "reaction", "data-template": template.name, "aria-keyshortcuts": key, title: template.description },
          icon(drawingOf(template.name)),
          make("span", {}, template.title),
          key && make("kbd", { "aria-hidden": "true" }, key),
        );
        button.addEventListener("click", () => this.play(template));
        return button;
      }),
    );
    $("#reaction-problem").hidden = !failed;
    setText($("#reaction-hint"), list.length > 0 ? t("reactionsHint", { count: Math.min(list.length, KEYS) }) : "");
  }

  #buttons() {
    return [...this.grid.children];
  }

  #move(event) {
    const buttons = this.#buttons();
    const columns = buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (!step) return;
    event.preventDefault();
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  }

  /** Above its button, inside the window. */
  #place() {
    const anchor = this.controls.box("react");
    this.box.style.setProperty("--middle", `${anchor.left + anchor.width / 2}px`);
    this.box.style.setProperty("--above", `${innerHeight - anchor.top + 8}px`);
  }
}

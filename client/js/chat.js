// Text messages of a call: the log, the line to write in, unread ones.

import { $, make, toast } from "./dom.js";
import { t } from "./strings.js";

/** Pieces of a text, links apart: `[{text, link}]`. Nothing a peer sends is ever read as markup. */
export function pieces(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(/https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}']/g)) {
    if (match.index > end) found.push({ text: text.slice(end, match.index), link: false });
    found.push({ text: match[0], link: true });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ text: text.slice(end), link: false });
  return found;
}

/** The chat panel. `send(text)` returns a promise; `onUnread(count)` and `onOpen(open)` follow. */
export class Chat {
  constructor({ send, onUnread, onOpen }) {
    Object.assign(this, { send, onUnread, onOpen });
    this.panel = $("#chat");
    this.log = $('[data-role="chat-log"]');
    this.input = $('[data-role="chat-input"]');
    this.unread = 0;
    this.others = 0;
    $("#chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.input.addEventListener("input", () => this.#grow());
  }

  get open() {
    return !this.panel.hidden;
  }

  toggle(open = !this.open) {
    if (open === this.open) return;
    this.panel.hidden = !open;
    if (open) {
      this.#count(0);
      this.input.focus();
      this.log.scrollTop = this.log.scrollHeight;
    }
    this.onOpen(open);
  }

  /** How many can read what is written. */
  audience(others) {
    this.others = others;
  }

  /** A message came in. */
  received({ name, text, at }) {
    this.#append({ name, text, at: new Date(at * 1000), own: false });
    if (this.open) return;
    this.#count(this.unread + 1);
    toast("chatFrom", { name, text: text.length > 120 ? `${text.slice(0, 119)}…` : text });
  }

  async #submit() {
    const text = this.input.value.trim();
    if (!text) return;
    this.input.value = "";
    this.#grow();
    const entry = this.#append({ name: t("chatYou"), text, at: new Date(), own: true });
    try {
      if (this.others === 0) throw new Error(t("chatAlone"));
      await this.send(text);
    } catch (error) {
      entry.classList.add("failed");
      entry.append(make("p", { class: "chat-failed" }, t("chatNotSent", { reason: error.message })));
    }
  }

  #append({ name, text, at, own }) {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    const time = make("time", { dateTime: at.toISOString() }, at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    const body = make("p", { class: "chat-text" });
    for (const piece of pieces(text)) {
      body.append(
        piece.link
          ? make("a", { href: piece.text, target: "_blank", rel: "noopener noreferrer nofollow" }, piece.text)
          : piece.text,
      );
    }
    const entry = make("li", { class: own ? "own" : "theirs" }, make("p", { class: "chat-who" }, make("b", {}, name), time), body);
    this.log.append(entry);
    while (this.log.children.length > 500) this.log.firstChild.remove();
    if (atEnd || own) this.log.scrollTop = this.log.scrollHeight;
    return entry;
  }

  #count(unread) {
    this.unread = unread;
    this.onUnread(unread);
  }

  #grow() {
    this.input.style.setProperty("height", "auto");
    this.input.style.setProperty("height", `${Math.min(this.input.scrollHeight, 140)}px`);
  }
}

// The pictures of the targets, as a group of radio buttons: choose one, add one's own, delete one's own.

import { icon, make } from "./dom.js";
import { t } from "./strings.js";

let groups = 0;

/** One view of the targets in a container. `onSelect(id)`, `onUpload()` and `onDelete(target)` follow the person. */
export class Gallery {
  constructor(container, { onSelect, onUpload, onDelete, onRetry }) {
    Object.assign(this, { container, onSelect, onUpload, onDelete, onRetry });
    groups += 1;
    this.group = `target-${groups}`;
    this.selected = null;
    container.addEventListener("change", (event) => {
      if (event.target.name === this.group) this.onSelect(event.target.value);
    });
  }

  /** Show these targets. */
  show({ builtIn, own, failed }) {
    const focused = document.activeElement?.closest?.("[data-target]")?.dataset.target;
    const items = [...own.map((target) => this.#item(target, true)), ...builtIn.map((target) => this.#item(target, false))];
    const upload = make("button", { type: "button", class: "target upload", "data-action": "open-upload" });
    upload.append(make("span", { class: "target-picture" }, icon("upload")), make("span", { class: "target-name" }, t("uploadTile")));
    upload.addEventListener("click", () => this.onUpload());
    const problem = failed ? this.#problem() : null;
    this.container.replaceChildren(...items, upload, ...(problem ? [problem] : []));
    this.select(this.selected);
    if (focused && this.container.contains(document.activeElement) === false) {
      this.container.querySelector(`[data-target="${CSS.escape(focused)}"] input`)?.focus();
    }
  }

  /** Mark a target as the chosen one. */
  select(id) {
    this.selected = id;
    for (const input of this.container.querySelectorAll("input")) input.checked = input.value === id;
  }

  #item(target, own) {
    const input = make("input", { type: "radio", name: this.group, value: target.id, class: "unseen" });
    const picture = make("img", { alt: "", src: target.image, width: 96, height: 96, loading: "lazy", draggable: false });
    picture.addEventListener("error", () => picture.classList.add("missing"));
    const name = make("span", { class: "target-name" }, target.name);
    const item = make("label", { class: "target", "data-target": target.id }, input, make("span", { class: "target-picture" }, picture), name);
    if (target.credit) item.title = t("creditOf", { credit: target.credit, licence: target.licence ?? "" });
    if (!own) return item;
    name.append(make("span", { class: "unseen" }, ` (${t("yourOwn")})`));
    const remove = make("button", { type: "button", class: "target-delete", "aria-label": t("deleteTarget", { name: target.name }) }, icon("trash"));
    remove.addEventListener("click", () => this.onDelete(target));
    return make("div", { class: "target-own" }, item, remove);
  }

  #problem() {
    const again = make("button", { type: "button" }, t("retry"));
    again.addEventListener("click", () => this.onRetry());
    return make("p", { class: "gallery-problem", role: "alert" }, t("galleryFailed"), " ", again);
  }
}

// Choosing the face others see, in the lobby and during a call: galleries, uploads, deleting.

import { $, onAction, openDialog, setText, toast } from "./dom.js";
import { Gallery } from "./gallery.js";
import { local } from "./storage.js";
import { t } from "./strings.js";
import { Targets } from "./targets.js";
import { UploadDialog } from "./upload.js";

/** Both galleries over one list of targets. `onSelect(id)` puts a target on this person's picture. */
export class TargetChooser {
  constructor({ store, onSelect }) {
    Object.assign(this, { store, onSelect });
    this.targets = new Targets({ onChange: () => this.#render() });
    this.upload = new UploadDialog({ targets: this.targets, onReady: (target) => this.#ready(target) });
    const handlers = {
      onSelect: (id) => this.choose(id),
      onUpload: () => this.upload.open(),
      onDelete: (target) => this.askDelete(target),
      onRetry: () => this.targets.load(),
    };
    this.galleries = ["#lobby-gallery", "#call-gallery"].map((selector) => new Gallery($(selector), handlers));
    this.listeners = [];
    this.doomed = null;
    onAction("delete-confirm", () => this.#delete());
  }

  /** Fetch what there is, and choose the first if nothing is chosen yet. */
  async load() {
    await Promise.all([this.targets.load(), this.#limits()]);
    const { target } = this.store.state.me;
    if (!target && this.targets.builtIn.length > 0) this.onSelect(this.targets.builtIn[0].id);
    await this.targets.refreshOwn();
    this.#fallBack();
  }

  /** Call `listener(targets)` after each change of the lists. */
  subscribe(listener) {
    this.listeners.push(listener);
  }

  #ready(target) {
    this.choose(target.id);
    if (this.store.state.phase !== "room") toast("uploadDone", { name: target.name });
  }

  open() {
    openDialog($("#target-dialog"));
    $("#call-gallery input:checked")?.focus();
  }

  choose(id) {
    if (id === this.store.state.me.target) return;
    local.set("target", id);
    this.onSelect(id);
    const target = this.targets.find(id);
    if (target && this.store.state.phase === "room") toast("targetChanged", { name: target.name });
  }

  update(state) {
    for (const gallery of this.galleries) if (gallery.selected !== state.me.target) gallery.select(state.me.target);
  }

  async #limits() {
    try {
      const { upload } = await (await fetch("/api/config")).json();
      if (upload) this.targets.limits = { ...this.targets.limits, ...upload };
    } catch {
      // The usual limits are shown; the server has the last word anyway.
    }
  }

  #render() {
    for (const gallery of this.galleries) gallery.show(this.targets);
    this.update(this.store.state);
    for (const listener of this.listeners) listener(this.targets);
  }

  /** Ask whether an upload is to be deleted, and delete it. */
  askDelete(target) {
    this.doomed = target;
    setText($("#delete-text"), t("deleteText", { name: target.name }));
    openDialog($("#delete-dialog"));
  }

  async #delete() {
    const target = this.doomed;
    $("#delete-dialog").close();
    if (!target) return;
    const gone = await this.targets.remove(target.id);
    toast(gone ? "deleted" : "deleteFailed", { name: target.name });
    if (gone) this.#fallBack();
  }

  /** What was chosen in this browser and is gone cannot be worn. Ids that came by link are the server's to judge. */
  #fallBack() {
    const { target } = this.store.state.me;
    const gone = target && target === local.get("target") && !this.targets.find(target);
    if (gone && this.targets.builtIn.length > 0) this.choose(this.targets.builtIn[0].id);
  }
}

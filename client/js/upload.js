// The dialog that makes a target of one's own photos: choosing, consent, progress, what is wrong with which photo.

import { $, icon, make, openDialog, setText } from "./dom.js";
import { knows, t } from "./strings.js";
import { checkPhotos, formatNames, UploadError } from "./targets.js";

/** The upload dialog. `onReady(target, files)` is called with each new target and the photos it was made of. */
export class UploadDialog {
  constructor({ targets, onReady }) {
    Object.assign(this, { targets, onReady });
    this.dialog = $("#upload-dialog");
    this.files = [];
    this.problems = new Map(); // File -> sentence
    this.abort = null;
    $("#photos").addEventListener("change", (event) => {
      this.#add([...event.target.files]);
      event.target.value = "";
    });
    $("#upload-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.dialog.addEventListener("close", () => this.abort?.abort());
    this.#wireDrop();
  }

  /** Let a person choose photos; `onReady` instead of the usual one is told of the target this time. */
  open(onReady = this.onReady) {
    this.ready = onReady;
    const { max_photos: max, ttl_h: hours = 24 } = this.targets.limits;
    setText($("#upload-hint"), t("uploadHint", { max, hours, formats: this.#formats(), size: this.#megabytes() }));
    $("#photos").accept = this.targets.limits.formats.join(",");
    $("#target-name").value = t("ownTargetName");
    $("#consent").checked = false;
    this.files = [];
    this.problems.clear();
    this.#status("");
    this.#progress(null);
    this.#render();
    openDialog(this.dialog);
  }

  #formats() {
    return formatNames(this.targets.limits.formats);
  }

  #megabytes() {
    return Math.floor(this.targets.limits.max_bytes / 2 ** 20);
  }

  #wireDrop() {
    const drop = $("#drop");
    for (const type of ["dragenter", "dragover"]) {
      drop.addEventListener(type, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", !this.abort);
      });
    }
    for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#add([...event.dataTransfer.files]);
    });
  }

  #add(files) {
    if (this.abort) return; // the server will speak of the photos on their way by their place in the list
    const isNew = (file) => !this.files.some((known) => known.name === file.name && known.size === file.size);
    this.files.push(...files.filter(isNew));
    this.#check();
    this.#render();
  }

  /** Say at once what the server would refuse anyway. */
  #check() {
    const { tooMany, photos } = checkPhotos(this.files, this.targets.limits);
    for (const { index, code } of photos) {
      this.problems.set(this.files[index], t(`photo_${code}`, { formats: this.#formats(), size: this.#megabytes() }));
    }
    this.#status(tooMany ? t("upload_too_many", { max: this.targets.limits.max_photos }) : "", tooMany);
    return !tooMany && photos.length === 0;
  }

  #render() {
    const list = $("#photo-list");
    list.replaceChildren(
      ...this.files.map((file) => {
        const problem = this.problems.get(file);
        const remove = make(
          "button",
          { type: "button", class: "quiet icon-only", "aria-label": t("removePhoto", { name: file.name }) },
          icon("close"),
        );
        remove.addEventListener("click", () => this.#remove(file));
        return make(
          "li",
          { class: problem ? "wrong" : null },
          this.#thumbnail(file),
          make(
            "div",
            {},
            make("span", { class: "photo-name" }, file.name),
            problem ? make("span", { class: "photo-problem" }, problem) : null,
          ),
          remove,
        );
      }),
    );
  }

  #thumbnail(file) {
    const picture = make("img", { alt: "", width: 56, height: 56, src: URL.createObjectURL(file) });
    picture.onload = picture.onerror = () => URL.revokeObjectURL(picture.src);
    return picture;
  }

  #remove(file) {
    if (this.abort) return;
    this.files = this.files.filter((other) => other !== file);
    this.problems.delete(file);
    this.#check();
    this.#render();
    ($("#photo-list button") ?? $("#photos")).focus();
  }

  async #send() {
    if (this.abort) return;
    if (this.files.length === 0) return this.#refuse(t("photosMissing"), $("#photos"));
    if (!this.#check()) return undefined;
    if (!$("#consent").checked) return this.#refuse(t("consentMissing"), $("#consent"));
    this.problems.clear();
    this.#render();
    this.abort = new AbortController();
    const { signal } = this.abort;
    const files = [...this.files];
    this.#busy(true);
    try {
      const target = await this.targets.upload({
        files,
        name: $("#target-name").value.trim() || t("ownTargetName"),
        consent: t("consent"),
        onProgress: (share) => this.#progress(share),
        signal,
      });
      const known = this.targets.find(target.id) ?? target;
      this.abort = null;
      this.dialog.close();
      this.ready(known, files);
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    } finally {
      this.abort = null;
      this.#busy(false);
    }
    return undefined;
  }

  #failed(error) {
    if (!(error instanceof UploadError)) throw error;
    for (const { index, message } of error.photos) {
      if (this.files[index]) this.problems.set(this.files[index], message);
    }
    this.#render();
    this.#progress(null);
    const own = knows(`upload_${error.code}`) ? t(`upload_${error.code}`, { max: this.targets.limits.max_photos }) : "";
    this.#status(error.message || own || t("upload_refused"), true);
  }

  #refuse(sentence, field) {
    this.#status(sentence, true);
    field.focus();
  }

  #busy(busy) {
    for (const element of $("#upload-form").querySelectorAll("input, [data-action=upload], .photos button")) {
      element.disabled = busy;
    }
  }

  #progress(share) {
    const bar = $("#upload-progress");
    bar.hidden = share === null;
    if (share === null) return;
    if (share < 1) bar.value = share;
    else bar.removeAttribute("value"); // all is sent; how long the search takes is not known
    this.#status(share < 1 ? t("uploading", { percent: Math.round(share * 100) }) : t("uploadChecking"));
  }

  #status(sentence, wrong = false) {
    const line = $("#upload-status");
    setText(line, sentence);
    line.classList.toggle("wrong", wrong);
  }
}

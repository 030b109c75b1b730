// Targets: the built-in gallery, one's own uploads, uploading photos with progress, deleting.

import { bearing } from "./invitation.js";
import { forgetTarget, ownTargets, rememberTarget, tab } from "./storage.js";

const DEFAULT_LIMITS = { max_photos: 8, max_bytes: 10 * 2 ** 20, formats: ["image/jpeg", "image/png", "image/webp"] };
const PATH = "/api/targets";

/** A refused upload: a code and a sentence, and one such pair for each photo at fault. */
export class UploadError extends Error {
  /** @param {{code: string, message: string, photos?: {index: number, file?: string, code: string, message: string}[]}} details */
  constructor({ code, message, photos = [] }) {
    super(message);
    this.name = "UploadError";
    this.code = code;
    this.photos = photos;
  }
}

/** What an HTTP answer to an upload means: the target, or the error to show. */
export function readUpload(status, text) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy's page instead of an answer of ours.
  }
  if (status === 201 && body?.id) return body;
  if (body?.error?.code) {
    const photos = (body.photos ?? []).filter((photo) => Number.isInteger(photo.index) && photo.ok !== true);
    throw new UploadError({ code: body.error.code, message: body.error.message ?? "", photos });
  }
  if (status === 413) throw new UploadError({ code: "too_large", message: "" });
  throw new UploadError({ code: status === 0 ? "network" : "refused", message: "" });
}

/** Media types as people call them. */
export function formatNames(types) {
  const names = { "image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WebP" };
  return types.map((type) => names[type] ?? type).join(", ");
}

/** What is wrong with chosen files before they are sent: `[{index, file, code}]`, and `too_many` overall. */
export function checkPhotos(files, limits = DEFAULT_LIMITS) {
  const formats = limits.formats ?? DEFAULT_LIMITS.formats;
  const photos = [];
  files.forEach((file, index) => {
    if (!formats.includes(file.type)) photos.push({ index, file: file.name, code: "format" });
    else if (file.size > limits.max_bytes) photos.push({ index, file: file.name, code: "too_large" });
  });
  return { tooMany: files.length > limits.max_photos, photos };
}

/** All targets one may choose; `onChange()` follows every change of the lists. */
export class Targets {
  constructor({ onChange = () => {} } = {}) {
    this.builtIn = [];
    this.own = ownTargets();
    this.limits = DEFAULT_LIMITS;
    this.failed = false;
    this.onChange = onChange;
  }

  /** Fetch the gallery. */
  async load() {
    try {
      const response = await fetch(PATH);
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      this.builtIn = (await response.json()).targets;
      this.failed = false;
    } catch {
      this.failed = this.builtIn.length === 0;
    }
    this.own = ownTargets();
    this.onChange();
  }

  find(id) {
    return [...this.own, ...this.builtIn].find((target) => target.id === id) ?? null;
  }

  /** Forget own targets that the server does not have any more. */
  async refreshOwn() {
    await Promise.all(
      this.own.map(async ({ id }) => {
        const response = await fetch(`${PATH}/${encodeURIComponent(id)}`).catch(() => null);
        if (response?.status === 404 || response?.status === 410) forgetTarget(id);
      }),
    );
    this.own = ownTargets();
    this.onChange();
  }

  /**
   * Send photos of one person.
   *
   * @param {{files: File[], name: string, consent: string, onProgress: (share: number) => void, signal?: AbortSignal}} upload
   *   `consent` is the statement that was agreed to; the share sent goes from 0 to 1
   * @returns {Promise<object>} the new target, remembered in this browser
   * @throws {UploadError}
   */
  async upload({ files, name, consent, onProgress, signal }) {
    const form = new FormData();
    form.append("consent", "true");
    form.append("consent_text", consent);
    if (name) form.append("name", name);
    for (const file of files) form.append("photos", file, file.name);
    const { status, text } = await postForm(PATH, form, onProgress, signal);
    const target = readUpload(status, text);
    const { id, image, expires_at } = target;
    rememberTarget({ id, name: target.name || name, image, expires_at });
    this.own = ownTargets();
    this.onChange();
    return target;
  }

  /** Delete an upload, on the server and here. Returns whether the server agreed. */
  async remove(id) {
    const response = await fetch(`${PATH}/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(() => null);
    if (!response || (!response.ok && response.status !== 404 && response.status !== 410)) return false;
    forgetTarget(id);
    this.own = ownTargets();
    this.onChange();
    return true;
  }
}

/**
 * Send a form; fetch() tells nothing of an upload's progress, XMLHttpRequest does.
 *
 * @returns {Promise<{status: number, text: string, retryAfter: number}>} `status` 0 without an answer; seconds
 */
export function postForm(path, form, onProgress, signal) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(bearing(tab))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    const done = (status, text) =>
      resolve({ status, text, retryAfter: Number(status && request.getResponseHeader("Retry-After")) || 0 });
    request.onload = () => done(request.status, request.responseText);
    request.onerror = request.onabort = request.ontimeout = () => done(0, "");
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

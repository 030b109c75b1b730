// Moving pictures made by the server: starting a job, following it to its end, cancelling, fetching the result.

import { postForm } from "./targets.js";
import { knows, t } from "./strings.js";

const PATH = "/api/animate";

/** What went wrong with a job: a code for programs, and the server's sentence. */
export class AnimationError extends Error {
  constructor(code, message = "", retryAfter = 0) {
    super(message);
    this.name = "AnimationError";
    this.code = code;
    this.retryAfter = retryAfter; // seconds, 0 where trying again later is of no use
  }
}

/** The sentence for people: ours where there is one, else the server's. */
export function sentenceOf({ code, message }) {
  return knows(`animate_${code}`) ? t(`animate_${code}`) : message || t("animate_refused");
}

/** What an HTTP answer to a new job means: the job, or the error to show. */
export function readJob({ status, text, retryAfter = 0 }) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy's page instead of an answer of ours.
  }
  if (status === 202 && body?.id) return body;
  if (body?.error?.code) throw new AnimationError(body.error.code, body.error.message, retryAfter);
  if (status === 413) throw new AnimationError("too_large");
  throw new AnimationError(status === 0 ? "network" : "refused", "", retryAfter);
}

/** What a job's progress means: a key of strings.js with values, and the share done (null while unknown). */
export function progressOf({ state, stage, done, total }) {
  if (state === "waiting") return { key: "animateWaiting", values: {}, share: null };
  const share = total ? done / total : null;
  const key = `stage_${stage.replace(/ /g, "_")}`;
  return { key: knows(key) ? key : "animateStarting", values: { percent: Math.round(100 * (share ?? 0)) }, share };
}

/**
 * Make one moving picture.
 *
 * @param {{fields: Record<string, string | number>, photos?: File[], clip?: File | null,
 *   onProgress?: (progress: {key: string, values: object, share: number | null}) => void, signal?: AbortSignal}} order
 *   `fields` as POST /api/animate takes them; aborting cancels the job on the server too
 * @returns {Promise<Blob>} the file; the server has forgotten it by then
 * @throws {AnimationError} code `cancelled` when it was aborted
 */
export async function animate({ fields, photos = [], clip = null, onProgress = () => {}, signal }) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
  for (const photo of photos) form.append("photos", photo, photo.name);
  if (clip) form.append("clip", clip, clip.name);
  const sending = (share) => {
    const isUpload = photos.length > 0 || clip;
    if (isUpload) onProgress({ key: "animateSending", values: { percent: Math.round(share * 100) }, share });
  };
  const answer = await postForm(PATH, form, sending, signal);
  if (signal?.aborted) {
    forget(answer); // it may have been taken before it was aborted
    throw new AnimationError("cancelled");
  }
  const job = readJob(answer);
  try {
    const finished = await follow(job, onProgress, signal);
    return await fetchResult(finished.result, signal);
  } finally {
    remove(job.id);
  }
}

/** Wait for a job's end. */
function follow(job, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(job.events);
    const end = (settle, value) => {
      events.close();
      settle(value);
    };
    const stop = () => end(reject, new AnimationError("cancelled"));
    if (signal?.aborted) return stop();
    signal?.addEventListener("abort", stop, { once: true });
    events.addEventListener("progress", ({ data }) => onProgress(progressOf(JSON.parse(data))));
    events.addEventListener("finished", ({ data }) => end(resolve, JSON.parse(data)));
    events.addEventListener("failed", ({ data }) => {
      const { code, message } = JSON.parse(data).error;
      end(reject, new AnimationError(code, message));
    });
    // The browser connects again by itself, unless the server says that there is no such job any more.
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) end(reject, new AnimationError("job_unknown"));
    });
    return undefined;
  });
}

async function fetchResult(path, signal) {
  try {
    const response = await fetch(path, { signal });
    if (!response.ok) throw new AnimationError("job_unknown");
    return await response.blob();
  } catch (error) {
    if (error instanceof AnimationError) throw error;
    throw new AnimationError(signal?.aborted ? "cancelled" : "network");
  }
}

function remove(id) {
  fetch(`${PATH}/${encodeURIComponent(id)}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

function forget(answer) {
  try {
    remove(readJob(answer).id);
  } catch {
    // There was no job.
  }
}

/** The format that this browser surely plays: for previews, and what is offered first. */
export function playableFormat(canPlay = (type) => document.createElement("video").canPlayType(type)) {
  return canPlay('video/mp4; codecs="avc1.42E01E"') ? "mp4" : "webm";
}

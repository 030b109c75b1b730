// Small films of a face that makes every expression: made on the server a few at a time, kept while the page lives.

import { animate, AnimationError, playableFormat } from "./animation.js";

const MOST = 8; // templates in one film, as the server allows
const REST = "blank"; // a face without expression, between two others
const FPS = 8;
const KEPT = 6; // faces
const PATIENCE_MS = 700; // a face that is only passed on the way to another one costs nothing
const TRIES = 3;

/**
 * Which templates go into which film: `[[name, …], …]`.
 *
 * Between two of them the face comes to rest, so that each is seen to begin from there.
 */
export function filmsOf(names) {
  if (!names.includes(REST)) return slices(names, MOST);
  const others = names.filter((name) => name !== REST);
  if (others.length === 0) return [[REST]];
  return slices(others, MOST / 2).map((slice) => slice.flatMap((name) => [name, REST]));
}

const slices = (list, size) =>
  Array.from({ length: Math.ceil(list.length / size) }, (_, k) => list.slice(k * size, (k + 1) * size));

/**
 * Where in a film each expression is: `{name: {begin, full, end}}` in seconds.
 *
 * The server gives each template its own time and the same time more in which it is held.
 *
 * @param {string[]} film names, as of filmsOf()
 * @param {(name: string) => number} secondsOf a template's own time
 * @param {number} duration of the film
 */
export function spansOf(film, secondsOf, duration) {
  const own = film.reduce((sum, name) => sum + secondsOf(name), 0);
  const held = Math.max(0, duration - own) / film.length;
  const spans = {};
  let begin = 0;
  film.forEach((name, index) => {
    const full = begin + secondsOf(name) + held;
    const rest = film[index + 1] === REST ? secondsOf(REST) + held : 0;
    spans[name] ??= { begin, full: full - 1.5 / FPS, end: Math.min(full + rest, duration) };
    begin = full;
  });
  return spans;
}

/** Makes previews, one film at a time. `onFilm(face, film, url)` is told of each, `onFailed(error)` of failures. */
export class Previews {
  constructor({ onFilm, onFailed = () => {}, make = animate }) {
    Object.assign(this, { onFilm, onFailed, make });
    this.kept = new Map(); // face -> Map(film as text -> url)
    this.wanted = null; // {face, films}
    this.running = null; // AbortController
    this.timer = null;
  }

  /** Show a face's previews: those there are at once, the others as they are made. Null: none. */
  want(face, names) {
    this.wanted = face ? { face, films: filmsOf(names) } : null;
    this.pause();
    if (!face) return;
    const there = this.kept.get(face);
    for (const film of this.wanted.films) if (there?.has(film.join())) this.onFilm(face, film, there.get(film.join()));
    this.resume();
  }

  /** Make nothing for now: something else needs the server. */
  pause() {
    clearTimeout(this.timer);
    this.running?.abort();
    this.running = null;
  }

  /** Go on with what is missing. */
  resume(wait = PATIENCE_MS) {
    this.pause();
    this.timer = setTimeout(() => this.#next(0), wait);
  }

  /** Forget a face. */
  forget(face) {
    for (const url of this.kept.get(face)?.values() ?? []) URL.revokeObjectURL(url);
    this.kept.delete(face);
  }

  async #next(failures) {
    const { face, films } = this.wanted ?? {};
    const film = films?.find((one) => !this.kept.get(face)?.has(one.join()));
    if (!film) return;
    const running = (this.running = new AbortController());
    const fields = { target: face, templates: film.join(), format: playableFormat(), fps: FPS, size: 256 };
    try {
      const blob = await this.make({ fields, signal: running.signal });
      if (this.running !== running) return;
      this.#keep(face, film, URL.createObjectURL(blob));
      this.#next(0);
    } catch (error) {
      if (!(error instanceof AnimationError)) throw error;
      if (this.running !== running) return;
      const later = error.retryAfter > 0 && failures < TRIES;
      if (later) this.timer = setTimeout(() => this.#next(failures + 1), error.retryAfter * 1000);
      else this.onFailed(error);
    }
  }

  #keep(face, film, url) {
    const films = this.kept.get(face) ?? new Map();
    this.kept.delete(face);
    this.kept.set(face, films.set(film.join(), url)); // the newest stands last
    while (this.kept.size > KEPT) this.forget(this.kept.keys().next().value);
    this.onFilm(face, film, url);
  }
}

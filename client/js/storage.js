// What this browser remembers: preferences and own targets (local), the present call (this tab alone).

const PREFIX = "understudy.";

/** One Web Storage area with JSON values; works (forgetting) where storage is refused. */
export class Memory {
  /** @param {Storage | null} area localStorage, sessionStorage, or null to keep in memory only */
  constructor(area) {
    this.area = area;
    this.fallback = new Map();
  }

  get(key, otherwise = null) {
    try {
      const text = this.area ? this.area.getItem(PREFIX + key) : this.fallback.get(key);
      return text == null ? otherwise : JSON.parse(text);
    } catch {
      return otherwise;
    }
  }

  set(key, value) {
    const text = JSON.stringify(value);
    try {
      if (this.area) this.area.setItem(PREFIX + key, text);
      else this.fallback.set(key, text);
    } catch {
      // Full or forbidden: the page works without remembering.
    }
  }

  remove(key) {
    try {
      this.area?.removeItem(PREFIX + key);
    } catch {
      // As above.
    }
    this.fallback.delete(key);
  }
}

/** The named storage area, or null where the browser refuses it (private windows, blocked cookies). */
export function area(name) {
  try {
    return globalThis[name] ?? null;
  } catch {
    return null;
  }
}

export const local = new Memory(area("localStorage"));
export const tab = new Memory(area("sessionStorage"));

/** Targets uploaded from this browser that have not expired; the expired are forgotten. */
export function ownTargets(memory = local, now = Date.now()) {
  const kept = (memory.get("targets", []) ?? []).filter(
    (target) => target && target.id && (!target.expires_at || expiry(target) > now),
  );
  memory.set("targets", kept);
  return kept;
}

/** When a target expires, in ms since the epoch; the server gives ISO 8601 or seconds. */
export function expiry(target) {
  const at = target.expires_at;
  return typeof at === "number" ? at * 1000 : Date.parse(at);
}

export function rememberTarget(target, memory = local) {
  memory.set("targets", [target, ...ownTargets(memory).filter((other) => other.id !== target.id)].slice(0, 24));
}

export function forgetTarget(id, memory = local) {
  memory.set(
    "targets",
    ownTargets(memory).filter((target) => target.id !== id),
  );
}

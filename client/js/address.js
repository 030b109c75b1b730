// What the page's address asks for, and whether this tab may go on with the call it remembers.

const CLAIM_MS = 1500;

/**
 * `/?room=R&name=N&target=ID&join=1`: what is missing is null.
 *
 * @returns {{room: string | null, name: string | null, target: string | null, join: boolean}}
 */
export function readAddress(href) {
  const query = new URL(href).searchParams;
  const target = query.get("target");
  return {
    room: query.get("room")?.trim() || null,
    name: query.get("name")?.trim().slice(0, 64) || null,
    target: target && /^[A-Za-z0-9_-]{1,64}$/.test(target) ? target : null,
    join: query.get("join") === "1",
  };
}

/**
 * The call this tab was in before a reload, or null.
 *
 * Duplicating a tab copies its session storage: two tabs would then fight for one terminal. A lock that
 * lives as long as the page tells them apart; a reload gets it as soon as the former page is gone.
 */
export async function claimTab(memory, locks = globalThis.navigator?.locks) {
  const call = memory.get("call");
  if (!call) {
    hold(memory, locks);
    return null;
  }
  if (!locks) return call;
  return (await hold(memory, locks)) ? call : null;
}

/** Hold this tab's lock for as long as the page lives. Resolves whether it was free. */
function hold(memory, locks) {
  if (!locks) return Promise.resolve(true);
  const key = memory.get("tab") ?? newKey(memory);
  const patience = new AbortController(); // AbortSignal.timeout() came to browsers later than locks
  const timer = setTimeout(() => patience.abort(), CLAIM_MS);
  return new Promise((resolve) => {
    locks
      .request(`understudy.${key}`, { signal: patience.signal }, () => {
        clearTimeout(timer);
        resolve(true);
        return new Promise(() => {});
      })
      .catch(() => {
        resolve(false);
        // Held by the tab this one was copied from: from now on this is a tab of its own.
        newKey(memory);
      });
  });
}

function newKey(memory) {
  const key = crypto.randomUUID();
  memory.set("tab", key);
  return key;
}

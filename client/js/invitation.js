// The join token that brought somebody here: taken out of the address at once, kept by this tab alone.

const LONGEST = 4096; // what the server takes

/** Error codes that speak of the token: the page says so in its own words. */
export const TOKEN_ERRORS = new Set(["token_missing", "token_refused", "token_expired"]);

/**
 * The token of `/?room=R&token=T` or `/?room=R#token=T`, or null.
 *
 * Behind the # it is sent to no server at all, so that no access log on the way has it.
 */
export function tokenOf(href) {
  const url = new URL(href);
  const behind = new URLSearchParams(url.hash.slice(1));
  return (behind.get("token") ?? url.searchParams.get("token"))?.trim().slice(0, LONGEST) || null;
}

/** The address without its token: for the address bar, the history, and everybody it is copied to. */
export function withoutToken(href) {
  const url = new URL(href);
  url.searchParams.delete("token");
  const behind = new URLSearchParams(url.hash.slice(1));
  if (behind.has("token")) {
    behind.delete("token");
    url.hash = behind.toString();
  }
  return url.href.endsWith("#") ? url.href.slice(0, -1) : url.href;
}

/**
 * Room and name that the token speaks of, to fill the lobby in before the server has confirmed them.
 *
 * Nothing is verified here; what the token allows is for the server to say.
 *
 * @returns {{room: string | null, name: string | null}}
 */
export function claimsOf(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    const { room, name } = JSON.parse(new TextDecoder().decode(bytes));
    return { room: typeof room === "string" ? room : null, name: typeof name === "string" ? name.slice(0, 64) : null };
  } catch {
    return { room: null, name: null };
  }
}

/**
 * Take the token out of the address and remember it for this tab (a reload goes on with it).
 *
 * @returns {{room: string | null, name: string | null}} what the tab's token speaks of
 */
export function acceptInvitation(memory, { location = globalThis.location, history = globalThis.history } = {}) {
  const token = tokenOf(location.href);
  if (token) memory.set("token", token);
  const bare = withoutToken(location.href);
  if (bare !== location.href) history.replaceState(null, "", bare);
  const kept = memory.get("token");
  return kept ? claimsOf(kept) : { room: null, name: null };
}

/** The header by which an HTTP request shows the tab's token. */
export function bearing(memory) {
  const token = memory.get("token");
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// Names of rooms: readable to say on the phone, and with enough chance in them not to be guessed.

const FIRST = (
  "amber autumn brave bright calm clear coastal copper coral cosy crisp dawn early fair fern gentle golden grand " +
  "green hazel honest ivory jolly kind lively lunar maple mellow merry mild misty noble north olive opal open pearl " +
  "plain proud quick quiet rapid rosy royal sandy silver smooth snowy soft solar spring steady still stone sunny " +
  "swift tidal velvet warm wild winter"
).split(" ");

const SECOND = (
  "anchor badger bay beacon beech birch bison bridge brook canyon cedar cliff cloud cove crane creek dale delta dove " +
  "falcon field finch fjord forest garden glade grove harbour heron hill island lagoon lake lantern lark lynx " +
  "meadow moor mountain oak orchard otter owl pine plover pond prairie puffin raven reef ridge river robin seal " +
  "shore sparrow stream summit swan thicket valley wren"
).split(" ");

// No vowels (no words by accident) and no characters that look alike.
const TAIL = "bcdfghjkmnpqrstvwxz23456789";

/** A uniformly drawn index below `n`, by rejection. */
function draw(n, fill) {
  const bytes = new Uint32Array(1);
  const limit = Math.floor(2 ** 32 / n) * n;
  do fill(bytes);
  while (bytes[0] >= limit);
  return bytes[0] % n;
}

/** A new room's name, such as `quiet-heron-k7mv3q` (about 40 bits of chance). */
export function newRoomName(fill = (array) => crypto.getRandomValues(array)) {
  const tail = Array.from({ length: 6 }, () => TAIL[draw(TAIL.length, fill)]).join("");
  return `${FIRST[draw(FIRST.length, fill)]}-${SECOND[draw(SECOND.length, fill)]}-${tail}`;
}

/**
 * What a person typed or pasted, made into a room's name the server takes (`[A-Za-z0-9_-]{1,64}`).
 *
 * A whole link of this page is understood too. Returns an empty string when nothing usable is left.
 */
export function roomFromInput(text) {
  const typed = text.trim();
  const linked = /[?&]room=([A-Za-z0-9_-]{1,64})/.exec(typed);
  if (linked) return linked[1];
  return typed
    .normalize("NFKD")
    .replace(/\s+/g, "-")
    .replace(/[^A-Za-z0-9_-]/g, "")
    .slice(0, 64);
}

/** The link that brings somebody else into a room. Carries the room alone: a target's id is a capability. */
export function roomLink(room, origin = location.origin) {
  return `${origin}/?room=${encodeURIComponent(room)}`;
}

// Where short notices stand: in the top line where it has room, else where they lie over nobody's face.

const LEAST = 260; // pixels that a notice needs to be read in a few words a line
const GAP = 12;

/**
 * Where notices may stand: `{left, width, top}` or `{left, width, bottom}` in pixels of the window.
 *
 * @param {{top: DOMRect, before: DOMRect, after: DOMRect, stage?: DOMRect, self?: DOMRect, covered: boolean, height: number}} boxes
 *   the top line, what stands in it before and after the free space; in a call also its stage and oneself on it;
 *   whether a panel covers all of it; the window's height
 */
export function placeOf({ top, before, after, stage = null, self = null, covered, height }) {
  const free = after.left - before.right - 2 * GAP;
  if (covered) return { left: GAP, width: top.width - 2 * GAP, top: GAP };
  if (free >= LEAST) return { left: before.right + GAP, width: free, top: top.top + GAP / 2 };
  const beside = stage && self ? self.left - stage.left - 2 * GAP : 0;
  if (beside >= LEAST / 2) return { left: stage.left + GAP, width: beside, bottom: height - stage.bottom + GAP };
  return { left: GAP, width: top.width - 2 * GAP, top: top.bottom + GAP / 2 };
}

const shown = (element) => element && element.getClientRects().length > 0;

/** Put the box of notices where it hides nothing. */
export function placeToasts(box) {
  const find = (selector) => document.querySelector(selector);
  const line = find(".top");
  const before = [...line.children].filter((child) => shown(child) && !child.matches(".top-actions")).at(-1) ?? line;
  const stage = shown(find("#stage")) ? find("#stage").getBoundingClientRect() : null;
  const top = line.getBoundingClientRect();
  const panel = [...document.querySelectorAll(".panel")].find(shown)?.getBoundingClientRect();
  const place = placeOf({
    top,
    before: before.getBoundingClientRect(),
    after: find(".top-actions").getBoundingClientRect(),
    stage,
    self: stage && shown(find("#self")) ? find("#self").getBoundingClientRect() : null,
    covered: Boolean(panel && panel.width >= top.width - 2),
    height: innerHeight,
  });
  box.style.left = `${place.left}px`;
  box.style.width = `${place.width}px`;
  box.style.top = place.top === undefined ? "auto" : `${place.top}px`;
  box.style.bottom = place.bottom === undefined ? "auto" : `${place.bottom}px`;
  document.body.style.setProperty("--notices", `${Math.ceil(box.getBoundingClientRect().height) + 2 * GAP}px`);
}

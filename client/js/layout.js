// How large the tiles of a call can be: the best grid of equal tiles in a given space.

/**
 * The number of columns that makes `count` tiles of width:height = `ratio` largest in a stage.
 *
 * @returns {{columns: number, width: number, height: number}} in pixels, never negative
 */
export function bestGrid({ width, height, count, ratio = 1, gap = 12 }) {
  let best = { columns: 1, width: 0, height: 0 };
  for (let columns = 1; columns <= Math.max(1, count); columns += 1) {
    const rows = Math.ceil(count / columns);
    const room = { width: (width - gap * (columns - 1)) / columns, height: (height - gap * (rows - 1)) / rows };
    const tile = Math.max(0, Math.min(room.width, room.height * ratio));
    if (tile > best.width) best = { columns, width: Math.floor(tile), height: Math.floor(tile / ratio) };
  }
  return best;
}

// What the tiles may lose for a strip beside or below them in which oneself covers nothing of anybody.
const WORTH_A_STRIP = 0.75;

/**
 * The grid of a stage in whose right lower corner oneself stands, `self` pixels wide and high. On upright
 * stages the tiles stand at the top, on others in the middle.
 *
 * @returns {{columns: number, width: number, height: number, right: number, bottom: number}} as bestGrid,
 *   and what is to be left free of tiles on the right and below
 */
export function arrange(stage, self) {
  const { width, height, count, gap = 12 } = stage;
  const upright = width <= height;
  const grid = bestGrid(stage);
  const rows = Math.ceil(count / grid.columns);
  const free = upright
    ? height - rows * grid.height - (rows - 1) * gap
    : (width - grid.columns * grid.width - (grid.columns - 1) * gap) / 2;
  const strip = self + gap;
  const whole = { ...grid, right: 0, bottom: 0 };
  if (free >= strip) return whole;
  const right = upright ? 0 : strip;
  const bottom = upright ? strip : 0;
  const beside = bestGrid({ ...stage, width: width - right, height: height - bottom });
  return beside.width >= WORTH_A_STRIP * grid.width ? { ...beside, right, bottom } : whole;
}

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

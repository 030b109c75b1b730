// Waiting times between tries: exponential with full jitter on the upper half, and a cap.

/**
 * How long to wait before try number `attempt` (0 is the first retry).
 *
 * @param {number} attempt tries already made in a row
 * @param {{base?: number, cap?: number, random?: () => number}} options milliseconds, and a source in [0, 1)
 * @returns {number} milliseconds, between half of the exponential step and the whole of it
 */
export function backoff(attempt, { base = 250, cap = 5000, random = Math.random } = {}) {
  const step = Math.min(cap, base * 2 ** Math.min(attempt, 16));
  return Math.round(step / 2 + (step / 2) * random());
}

// How many camera frames a second are sent: the worker's time is not spent on frames that are never shown.

/** The most frames a second; what is sent until the worker has reported. */
export const MOST = 30;
const LEAST = 15;
const OVERTAKEN = 0.85; // less than this share of the frames sent comes back generated: too many are sent
const KEPT_UP = 0.93; // more than this: perhaps more would
const ROOM = 1.15; // how many more than are generated are sent, so that the newest one is never waited for

/**
 * The camera's frame rate, by the rate at which the worker generates pictures of it.
 *
 * A worker that has too much to do leaves frames out, but it has received and decoded them by then, and this
 * machine has encoded them. So no more are sent than it keeps up with, and a few on top; once it keeps up with
 * all, more are tried.
 */
export class CameraPace {
  constructor() {
    this.fps = MOST;
    this.overtaken = 0; // how many times in a row
  }

  /** Take a report of the frames generated a second; returns how many to send from now on. */
  take(generated) {
    const share = generated / this.fps;
    this.overtaken = share < OVERTAKEN ? this.overtaken + 1 : 0;
    if (this.overtaken >= 2) {
      this.fps = Math.min(this.fps, Math.max(LEAST, Math.ceil(generated * ROOM))); // one report may be chance
      this.overtaken = 0;
    } else if (share > KEPT_UP) {
      this.fps = Math.min(MOST, Math.ceil(this.fps * 1.3));
    }
    return this.fps;
  }
}

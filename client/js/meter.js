// The level of a microphone, from 0 to 1, many times a second.

/** Loudness of samples in [-1, 1] on a scale that follows the ear: -54 dBFS is 0, -6 dBFS is 1. */
export function level(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibel = 10 * Math.log10(sum / samples.length + 1e-12);
  return Math.min(1, Math.max(0, (decibel + 54) / 48));
}

/** Watches one audio track at a time and calls `onLevel(value)` at each animation frame. */
export class Meter {
  constructor(onLevel) {
    this.onLevel = onLevel;
    this.context = null;
    this.source = null;
    this.frame = 0;
  }

  /** Watch this track; null stops. */
  watch(track) {
    this.stop();
    const Context = globalThis.AudioContext ?? globalThis.webkitAudioContext;
    if (!track || !Context) return;
    this.context ??= new Context();
    const context = this.context;
    // Without a gesture yet, browsers start the context suspended.
    const wake = () => context.resume().catch(() => {});
    wake();
    addEventListener("pointerdown", wake, { once: true });
    this.source = context.createMediaStreamSource(new MediaStream([track]));
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    this.source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let shown = 0;
    const step = () => {
      analyser.getFloatTimeDomainData(samples);
      shown = Math.max(level(samples), shown * 0.9);
      this.onLevel(track.enabled ? shown : 0);
      this.frame = requestAnimationFrame(step);
    };
    step();
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.source?.disconnect();
    this.source = null;
    this.onLevel(0);
  }
}

// Looks at the pictures that a page shows: every rendered frame for the camera's colour, some frames whole.
// Runs in the page before anything else; tests read window.probe.
(() => {
  const SMALL = 48; // side of the picture that is searched for the camera's colour
  const WHOLE = 256; // side of the pictures that are kept
  const KEPT = 200;

  const surface = (side) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    return canvas.getContext("2d", { willReadFrequently: true });
  };
  const small = surface(SMALL);
  const whole = surface(WHOLE);

  // The camera's background is magenta: much red and blue, little green.
  const magentaShare = (video) => {
    // A video that is just being given another stream draws nothing: not what another one drew before, then.
    small.clearRect(0, 0, SMALL, SMALL);
    small.drawImage(video, 0, 0, SMALL, SMALL);
    const { data } = small.getImageData(0, 0, SMALL, SMALL);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      if (Math.min(data[i], data[i + 2]) - data[i + 1] > 70) count += 1;
    }
    return count / (SMALL * SMALL);
  };

  /** The middle of a video's picture, undistorted. */
  const draw = (video) => {
    const side = Math.min(video.videoWidth, video.videoHeight);
    const left = (video.videoWidth - side) / 2;
    const top = (video.videoHeight - side) / 2;
    whole.clearRect(0, 0, WHOLE, WHOLE);
    whole.drawImage(video, left, top, side, side, 0, 0, WHOLE, WHOLE);
  };

  const records = {}; // role -> what its videos showed since the last reset
  const fresh = () => ({ frames: 0, magenta: 0, magentaFrames: 0, kept: [], keptAt: 0 });
  const seen = (video) => {
    if (video.videoWidth === 0) return;
    const record = (records[video.dataset.role] ??= fresh());
    record.frames += 1;
    const share = magentaShare(video);
    record.magenta = Math.max(record.magenta, share);
    if (share > 0.02) record.magentaFrames += 1;
    const now = Date.now();
    if (probe.keepEvery === 0 || now - record.keptAt < probe.keepEvery) return;
    record.keptAt = now;
    draw(video);
    record.kept.push([now, whole.canvas.toDataURL("image/jpeg", 0.92)]);
    if (record.kept.length > KEPT) record.kept.shift();
  };

  const followed = new WeakSet();
  const follow = (video) => {
    if (followed.has(video)) return;
    followed.add(video);
    const step = () => {
      seen(video);
      video.requestVideoFrameCallback(step);
    };
    video.requestVideoFrameCallback(step);
  };
  setInterval(() => document.querySelectorAll("video[data-role]").forEach(follow), 50);

  // The camera the page asked for, to compare what the driver does with what the peer sees.
  const devices = navigator.mediaDevices;
  const getUserMedia = devices?.getUserMedia.bind(devices);
  if (getUserMedia) {
    devices.getUserMedia = async (constraints) => {
      const stream = await getUserMedia(constraints);
      const [track] = stream.getVideoTracks();
      if (track) {
        const video = document.createElement("video");
        video.dataset.role = "probe-camera";
        video.muted = true;
        video.srcObject = new MediaStream([track.clone()]);
        track.addEventListener("ended", () => video.srcObject?.getTracks().forEach((copy) => copy.stop()));
        await video.play().catch(() => {});
        follow(video);
      }
      return stream;
    };
  }

  const probe = {
    keepEvery: 0, // milliseconds between kept pictures; 0 keeps none
    /** Forget what was seen, and keep a picture every so many milliseconds from now on. */
    reset(keepEvery = 0) {
      for (const role of Object.keys(records)) delete records[role];
      probe.keepEvery = keepEvery;
    },
    /** What the videos of a role showed: {frames, magenta, magentaFrames, kept: [[ms, dataUrl]]}. */
    record: (role) => records[role] ?? fresh(),
    /** The picture a role's first video shows now, as a data URL; null without one. */
    picture(role) {
      const video = document.querySelector(`video[data-role="${role}"]`);
      if (!video || video.videoWidth === 0) return null;
      draw(video);
      return whole.canvas.toDataURL("image/png");
    },
    /** Loudness (root mean square, 0..1) of the sound a role's first video plays, over some time. */
    async loudness(role, milliseconds) {
      const stream = document.querySelector(`video[data-role="${role}"]`)?.srcObject;
      if (!stream || stream.getAudioTracks().length === 0) return 0;
      const context = new AudioContext();
      await context.resume();
      const analyser = context.createAnalyser();
      analyser.fftSize = 2048;
      context.createMediaStreamSource(new MediaStream(stream.getAudioTracks())).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      let loudest = 0;
      const until = performance.now() + milliseconds;
      while (performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        analyser.getFloatTimeDomainData(samples);
        loudest = Math.max(loudest, Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length));
      }
      await context.close();
      return loudest;
    },
  };
  Object.defineProperty(window, "probe", { value: probe });
})();

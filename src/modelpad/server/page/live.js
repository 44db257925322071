// Paints what the camera sees, picture after picture: one request at a time, at the size that is fluent.

import { make } from "./dom.js";
import { adaptRate, SIDES, startRate } from "./frame-rate.js";
import { cameras } from "./picture-source.js";

const JPEG = "image/jpeg", QUALITY = 0.85, LAST_QUALITY = 0.95;
const PAUSE_MS = 1000; // when the server has too many requests
const SMOOTHING = 0.2;

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

const nextFrame = (video) => new Promise((resolve) => {
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
  else requestAnimationFrame(resolve);
});

// What the camera shows, with at most `side` pixels on the longer side; null for all of them.
const capture = (video, side) => {
  const { videoWidth: width, videoHeight: height } = video;
  const fit = Math.min(1, (side ?? Infinity) / Math.max(width, height));
  const sheet = make("canvas", { width: Math.round(width * fit), height: Math.round(height * fit) });
  sheet.getContext("2d").drawImage(video, 0, 0, sheet.width, sheet.height);
  return sheet;
};

const toBlob = (sheet) => new Promise((resolve) => { sheet.toBlob(resolve, JPEG, QUALITY); });

const draw = (bitmap) => {
  const sheet = make("canvas", { width: bitmap.width, height: bitmap.height });
  sheet.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return sheet;
};

// `on` has paint(blob, signal), show(before, after, words), began(), ended(blob) and fail(error). Returns
// { isOn(), start(), stop(), finish() }: what finishes ends with the last picture as a Blob, else with null.
export const liveCamera = (on) => {
  let running = null;

  const film = async (video, signal) => {
    let rate = startRate(), interval = null, before = null;
    while (!signal.aborted) {
      await nextFrame(video);
      if (signal.aborted) return;
      const start = performance.now();
      const frame = capture(video, SIDES[rate.level]);
      try {
        const painted = draw(await createImageBitmap(await on.paint(await toBlob(frame), signal)));
        if (signal.aborted) return;
        const now = performance.now();
        rate = adaptRate(rate, now - start);
        if (before !== null) interval = interval === null ? now - before : interval + SMOOTHING * (now - before - interval);
        before = now;
        on.show(frame, painted, interval === null ? "" : `${Math.round(1000 / interval)} frames/s at ${frame.width} × ${frame.height}`);
      } catch (error) {
        if (signal.aborted) return;
        if (error.status !== 429) throw error;
        await pause(PAUSE_MS);
      }
    }
  };
  // The last picture; null if there was none.
  const end = () => {
    const { video, stream, ending } = running;
    running = null;
    cameras.delete(finish);
    ending.abort();
    const last = video?.videoWidth ? capture(video, null) : null;
    stream?.getTracks().forEach((track) => track.stop());
    return last;
  };
  const stop = () => {
    if (!running) return;
    end();
    on.ended(null);
  };
  const finish = () => {
    if (!running) return;
    const last = end();
    if (last) last.toBlob(on.ended, JPEG, LAST_QUALITY);
    else on.ended(null);
  };
  const start = async () => {
    const mine = running = { ending: new AbortController(), stream: null, video: null };
    on.began();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
      if (mine !== running) return stream.getTracks().forEach((track) => track.stop()); // stopped meanwhile
      mine.stream = stream;
      cameras.add(finish);
      mine.video = make("video", { playsinline: true, muted: true });
      mine.video.srcObject = stream;
      await mine.video.play();
      await film(mine.video, mine.ending.signal);
    } catch (error) {
      if (mine !== running) return;
      end();
      on.fail(error.status === undefined ? { message: "The camera is not available.", hint: "Allow this page to use it, and check that no other program does." } : error);
    }
  };
  document.addEventListener("visibilitychange", () => { if (document.hidden) finish(); });
  return { isOn: () => Boolean(running), start, stop, finish };
};

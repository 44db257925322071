// A sound: recorded, or from a file. A WAV file is sent as it is; anything else becomes one at the model's rate.

import { readAsDataUrl } from "./api.js";
import { make, svg } from "./dom.js";
import { acceptDrops } from "./drops.js";

const LONGEST_S = 30; // of a recording, where the model takes any length
const COLUMNS = 200; // of the wave
const FORMATS = ["audio/webm;codecs=pcm", "audio/webm;codecs=opus", "audio/mp4"]; // lossless, where there is a choice
const PLAIN = { channelCount: 1, echoCancellation: false, noiseSuppression: false };

const seconds = (count) => `${count.toFixed(1)} s`;

const isWav = async (blob) => /^RIFF....WAVE/s.test(await blob.slice(0, 12).text());

// The samples of any sound that the browser plays: one channel at this rate.
const decode = async (blob, rate) => {
  const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await blob.arrayBuffer());
  const channels = Array.from({ length: sound.numberOfChannels }, (_, index) => sound.getChannelData(index));
  return channels.length === 1 ? channels[0] : channels[0].map((_, index) => channels.reduce((sum, channel) => sum + channel[index], 0) / channels.length);
};

// A WAV file of one channel in 16 bits.
const writeWav = (samples, rate) => {
  const head = new DataView(new ArrayBuffer(44)), bytes = 2 * samples.length;
  const put = (at, text) => { for (let index = 0; index < text.length; index++) head.setUint8(at + index, text.charCodeAt(index)); };
  put(0, "RIFF");
  head.setUint32(4, 36 + bytes, true);
  put(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  put(36, "data");
  head.setUint32(40, bytes, true);
  const data = new DataView(new ArrayBuffer(bytes));
  samples.forEach((sample, index) => data.setInt16(2 * index, Math.max(-32768, Math.min(32767, Math.round(32768 * sample))), true));
  return new Blob([head, data], { type: "audio/wav" });
};

// The loudest sample of each column, 0..1.
const peaks = (samples) => Array.from({ length: COLUMNS }, (_, column) => {
  const [from, to] = [column, column + 1].map((edge) => Math.floor(edge * samples.length / COLUMNS));
  return samples.slice(from, Math.max(to, from + 1)).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
});

const wave = (samples, rate) => {
  const path = peaks(samples).map((peak, column) => `M${column + .5} ${-Math.max(peak, .01)}V${Math.max(peak, .01)}`).join("");
  return svg("svg", { class: "wave", viewBox: `0 -1 ${COLUMNS} 2`, preserveAspectRatio: "none", role: "img", "aria-label": `A sound of ${seconds(samples.length / rate)}` },
    svg("path", { d: path }));
};

const recordings = new Set(); // what stops each one that is on

// A page that is left, or kept for the Back button, listens to nobody.
addEventListener("pagehide", () => { for (const stop of recordings) stop(); });

// Records until `finish` of what it returns, or for so many seconds; `take` gets the sound, `tell` how long it is so far.
const record = async (limit, take, tell) => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: PLAIN });
  const recorder = new MediaRecorder(stream, { mimeType: FORMATS.find((format) => MediaRecorder.isTypeSupported(format)) });
  const start = performance.now(), parts = [];
  let isKept = true;
  const end = (keep) => {
    clearInterval(clock);
    recordings.delete(stop);
    isKept &&= keep;
    if (recorder.state !== "inactive") recorder.stop();
    stream.getTracks().forEach((track) => track.stop());
  };
  const finish = () => end(true), stop = () => end(false);
  const clock = setInterval(() => {
    const lasted = (performance.now() - start) / 1000;
    if (lasted >= limit) finish();
    else tell(lasted);
  }, 50);
  recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
  recorder.addEventListener("stop", () => { if (isKept) take(new Blob(parts, { type: recorder.mimeType })); });
  recordings.add(stop);
  recorder.start();
  return { finish, stop };
};

export const soundInput = (field, onChange) => {
  const longest = field.length ? field.length / field.rate : null;
  const limit = longest ?? LONGEST_S;
  const id = `${field.name}-file`;
  let value, samples = null, recording = null, asked = 0;
  const stage = make("div", { class: "drop sound", "aria-live": "polite" });
  const player = make("audio", { controls: true, "aria-label": `Play ${field.name}` });
  const rest = () => stage.replaceChildren(samples ? wave(samples, field.rate) : "Record, drop or choose a sound.");
  const put = (next, heard, blob) => {
    [value, samples] = [next, heard];
    if (player.src) URL.revokeObjectURL(player.src);
    if (blob) player.src = URL.createObjectURL(blob);
    else player.removeAttribute("src");
    player.load();
    rest();
    onChange();
  };
  const stop = () => {
    asked++;
    recording?.stop();
    recording = null;
    button.textContent = "Record";
    button.classList.remove("on");
    rest();
  };
  // A recording may be a little longer than was asked for.
  const take = async (blob, isRecorded = false) => {
    stop();
    const mine = asked;
    try {
      const heard = (await decode(blob, field.rate)).slice(0, isRecorded ? field.length ?? undefined : undefined);
      const file = (await isWav(blob)) ? blob : writeWav(heard, field.rate);
      const url = await readAsDataUrl(new Blob([file], { type: "audio/wav" }));
      if (mine === asked) put(url, heard, file);
    } catch { if (mine === asked) stage.replaceChildren("The file is not a sound that this browser can read."); }
  };
  const button = make("button", { type: "button", onclick: async () => {
    if (recording) return recording.finish();
    stop();
    const mine = asked;
    try {
      const tell = (lasted) => { if (mine === asked) clock.textContent = seconds(lasted); };
      const clock = make("output", { "aria-live": "off" }, seconds(0));
      const started = await record(limit, (blob) => { if (mine === asked) take(blob, true); }, tell);
      if (mine !== asked) return started.stop(); // left meanwhile
      recording = started;
      button.textContent = "Stop";
      button.classList.add("on");
      stage.replaceChildren(make("span", {}, "Recording …"), clock);
    } catch { if (mine === asked) stage.replaceChildren("The microphone is not available."); }
  } }, "Record");
  const file = make("input", { type: "file", accept: "audio/*", class: "sr", id, tabindex: -1, onchange: () => {
    if (file.files[0]) take(file.files[0]);
    file.value = "";
  } });
  acceptDrops(stage, ({ type }) => type.startsWith("audio/"), ([dropped]) => take(dropped));
  rest();
  const form = `${(field.rate / 1000).toLocaleString("en")} kHz${longest ? `, at most ${seconds(longest)}` : ""}`;
  return {
    element: make("div", { class: "field" }, make("label", { for: id }, field.name, " ", make("small", {}, form)), stage, player, file,
      make("div", { class: "tools" }, navigator.mediaDevices && window.MediaRecorder ? button : null,
        make("button", { type: "button", onclick: () => file.click() }, "Choose a file"),
        make("button", { type: "button", onclick: () => { stop(); put(undefined, null); } }, "Clear"))),
    read: () => value,
    stop,
    // A file, its data: URL, or samples as numbers.
    show: async (sound) => {
      if (sound instanceof Blob) return take(sound);
      if (Array.isArray(sound)) { stop(); return put(sound, sound, writeWav(sound, field.rate)); }
      if (!String(sound).startsWith("data:audio/wav;base64,")) throw new TypeError("not a sound");
      const bytes = Uint8Array.from(atob(sound.slice(sound.indexOf(",") + 1)), (each) => each.charCodeAt(0));
      await take(new Blob([bytes], { type: "audio/wav" }));
    },
    thumb: (side) => {
      const sheet = make("canvas", { width: side, height: side }), pen = sheet.getContext("2d");
      pen.fillStyle = getComputedStyle(stage).getPropertyValue("--accent");
      peaks(samples ?? []).forEach((peak, column) => pen.fillRect(column * side / COLUMNS, side * (1 - peak) / 2, 1, Math.max(1, side * peak)));
      return sheet.toDataURL("image/png");
    },
  };
};

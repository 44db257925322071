// A video for a picture-to-picture model: it is sent in parts, painted by a job, and shown.
// The page remembers the last job of each model, and finds it again after a reload.

import { fetchResult, sendVideo, submitJob } from "./api.js";
import { make, percent } from "./dom.js";
import { acceptDrops } from "./drops.js";
import { jobPanel } from "./job-panel.js";

const KEPT = "modelpad-videos";
const SUFFIXES = /\.(mp4|m4v|mov|mkv|webm|avi|3gp|mts|m2ts|mpe?g)$/i;

export const paintsVideos = (model) =>
  !model.local && model.outputs.length === 1 && model.outputs[0].kind === "image" && model.inputs.filter(({ kind }) => kind === "image").length === 1;

const isVideo = ({ type, name }) => type.startsWith("video/") || SUFFIXES.test(name);

const recall = () => { try { return JSON.parse(localStorage.getItem(KEPT)) ?? {}; } catch { return {}; } };
const keep = (model, job) => { try { localStorage.setItem(KEPT, JSON.stringify({ ...recall(), [model.name]: job })); } catch { /* it is forgotten on reload */ } };

const nameResult = (name) => `${name.replace(/\.[^.]*$/, "") || "video"}-painted.mp4`;

// What is at hand once a job is done: the video, and a link that saves it.
const resultView = async (job, name) => {
  const url = URL.createObjectURL(await fetchResult(job.id));
  const hint = make("p", { class: "hint", hidden: true }, "This browser cannot play it. Download it.");
  const video = make("video", { src: url, controls: true, loop: true, playsinline: true, "aria-label": "The painted video", onerror: () => { video.hidden = true; hint.hidden = false; } });
  return [video, hint, make("p", { class: "actions" }, make("a", { class: "button main", href: url, download: nameResult(name) }, "Download the video"))];
};

// `readSettings` gives the model's other inputs as they are now.
export const videoPanel = (model, readSettings, showError) => {
  const status = make("p", { class: "hint", role: "status", "aria-live": "polite" });
  const problem = make("div"), place = make("div");
  const announce = (words) => { status.textContent = words; };
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Sent" });
  const stop = make("button", { type: "button" }, "Cancel");
  const sending = make("div", { class: "job-row", hidden: true }, bar, stop);
  let running = new AbortController();

  const follow = (job, name) => {
    const panel = jobPanel(job, {
      title: "Painting a video", signal: running.signal, announce: () => {}, showError,
      ended: async (last) => {
        if (last.state !== "done") return;
        announce("The video is painted.");
        try { panel.conclude(...await resultView(last, name)); } catch (error) { panel.conclude(showError(error)); }
      },
      lost: () => keep(model, undefined),
    });
    place.replaceChildren(panel.element);
  };
  const paint = async (file) => {
    running.abort();
    const mine = running = new AbortController();
    stop.onclick = () => mine.abort();
    problem.replaceChildren();
    place.replaceChildren();
    sending.hidden = false;
    bar.value = 0;
    announce(`Sending ${file.name} …`);
    try {
      const video = await sendVideo(file, (share) => { bar.value = share; announce(`Sending ${file.name}: ${percent(share, 0)}`); }, mine.signal);
      const job = await submitJob("video", { video, model: model.name, inputs: readSettings() });
      if (mine !== running) return;
      announce("");
      keep(model, { id: job.id, name: file.name });
      follow(job, file.name);
    } catch (error) {
      if (mine !== running) return;
      announce(error.name === "AbortError" ? "Cancelled." : "");
      if (error.name !== "AbortError") problem.replaceChildren(showError(error, () => paint(file)));
    } finally {
      if (mine === running) sending.hidden = true;
    }
  };

  const file = make("input", { type: "file", accept: "video/*,.mkv", class: "sr", tabindex: -1, "aria-label": "Video file",
    onchange: () => { if (file.files[0]) paint(file.files[0]); file.value = ""; } });
  const drop = make("div", { class: "drop low" }, "Drop a video here, or",
    make("div", { class: "tools" }, make("button", { type: "button", onclick: () => file.click() }, "Choose a video")));
  acceptDrops(drop, isVideo, ([dropped]) => paint(dropped));
  const before = recall()[model.name];
  if (before) follow({ id: before.id, state: "queued", fraction: 0, step: "" }, before.name);
  return make("section", { class: "panel wide", id: "video", "aria-labelledby": "video-title" },
    make("h2", { id: "video-title" }, "Paint a video"),
    make("p", { class: "about" }, "Every frame is painted with the settings above. Sound, length and rotation are kept. You can close the page while it is painted."),
    drop, file, status, sending, problem, place);
};

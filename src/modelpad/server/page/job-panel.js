// A job: its progress as it happens, its log, and how it ended.

import { cancelJob, followJob, showPicture } from "./api.js";
import { make, percent } from "./dom.js";

const MAX_LINES = 200;
const WORDS = { queued: "Waiting for its turn …", running: "Starting …", cancelled: "Cancelled. Nothing was changed.", done: "Done." };

// `on` has: title, signal, announce(words), showError(error), ended(job), lost() if the server has no such job.
export const jobPanel = (job, on) => {
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const step = make("p", { class: "step" });
  const preview = make("img", { class: "picture", alt: "How far it is", hidden: true });
  const lines = make("pre", { class: "log", tabindex: 0, "aria-label": "Log" });
  const log = make("details", { hidden: true }, make("summary", {}, "Log"), lines);
  const problem = make("div", {});
  const cancel = make("button", { type: "button", onclick: async () => {
    cancel.disabled = true;
    try {
      update(await cancelJob(job.id));
    } catch (error) {
      cancel.disabled = false;
      problem.replaceChildren(on.showError(error));
    }
  } }, "Cancel");
  const row = make("div", { class: "job-row" }, bar, cancel);
  const outcome = make("div", { class: "outcome" });
  const element = make("div", { class: "job", role: "group", "aria-label": on.title, "data-job": job.id }, row, step, preview, problem, outcome, log);
  let shown = "", ended = false;

  const update = (now) => {
    if (ended) return;
    ended = !["queued", "running"].includes(now.state);
    element.dataset.state = now.state;
    const words = now.state === "running" && now.step ? now.step : WORDS[now.state] ?? "";
    bar.value = now.state === "queued" ? 0 : now.fraction;
    step.textContent = now.state === "running" && now.fraction ? `${words} · ${percent(now.fraction, 0)}` : words;
    if (now.attempt > 1 && !ended) step.append(" · resumed after an interruption");
    if (words !== shown) on.announce(words);
    shown = words;
    if (now.preview) {
      preview.hidden = false;
      showPicture(preview, now.preview);
    }
    if (!ended) return;
    row.hidden = true;
    if (now.error) problem.replaceChildren(on.showError(now.error));
    on.ended(now);
  };
  const append = (text) => {
    log.hidden = false;
    lines.append(`${text}\n`);
    while (lines.childNodes.length > MAX_LINES) lines.firstChild.remove();
    lines.scrollTop = lines.scrollHeight;
  };
  update(job);
  followJob(job.id, (event, data) => (event === "job" ? update(data) : append(data.text)), on.signal).catch((error) => {
    if (on.signal.aborted) return;
    if (error.status === 404) {
      element.remove();
      on.lost();
    } else problem.replaceChildren(on.showError(error));
  });
  return {
    element,
    conclude: (...parts) => { step.hidden = preview.hidden = true; outcome.replaceChildren(...parts); },
    append: (...parts) => outcome.append(...parts),
  };
};

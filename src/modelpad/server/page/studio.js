// "New model": collects pictures in classes, trains on them in a job, and shows what came of it.
// The server keeps the pictures; this page remembers which collection and which job are its own.

import { createCollection, deleteCollection, listJobs, readCollection, submitJob } from "./api.js";
import { classCard } from "./class-card.js";
import { make, percent } from "./dom.js";
import { jobPanel } from "./job-panel.js";

const KEPT = "modelpad-studio";
const FIRST = ["Class 1", "Class 2"];
const SERVED_MS = 500, SERVED_TRIES = 60;
const ACCURACY = "cross_validated_accuracy";

const recall = () => { try { return JSON.parse(localStorage.getItem(KEPT)) ?? {}; } catch { return {}; } };
const keep = (state) => { try { localStorage.setItem(KEPT, JSON.stringify(state)); } catch { /* it is lost when the page is closed */ } };

// A name that models may have.
export const toModelName = (text) => text.toLowerCase().normalize("NFD").replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40).replace(/-+$/, "");

// What is missing before a training can start; "" if nothing is. `counts` are of [name, pictures].
export const describeNeed = (counts, needs) => {
  const filled = counts.filter(([, count]) => count);
  const few = counts.filter(([, count]) => count < needs.pictures && (count || counts.length <= needs.classes));
  if (!filled.length) return `Add pictures: at least ${needs.pictures} of each class.`;
  if (counts.length < needs.classes) return "Add a second class: a model tells things apart.";
  if (filled.length < needs.classes && filled.every(([, count]) => count >= needs.pictures)) {
    const empty = counts.find(([, count]) => !count);
    return `Add at least ${needs.pictures} pictures of “${empty[0]}”: a model needs ${needs.classes} classes.`;
  }
  return few.map(([name, count]) => `“${name}” needs ${needs.pictures - count} more.`).join(" ");
};

const accuracyOf = (metrics) => metrics?.[ACCURACY] ?? metrics?.test_accuracy;

// Shows the view in `main`; returns what ends it.
export const showStudio = (main, { showError, findModel }) => {
  document.title = "New model · modelpad";
  const end = new AbortController();
  const state = { collection: null, job: null, name: "", classes: FIRST, ...recall() };
  let needs = { classes: 2, pictures: 5 };
  let cards = [];
  let running = false;
  const save = () => keep({ ...state, classes: cards.map((card) => card.name()) });

  const notice = make("div", { class: "notices" });
  const report = (error) => notice.replaceChildren(showError(error, () => notice.replaceChildren()));
  const status = make("p", { class: "sr", role: "status", "aria-live": "polite" });
  const announce = (words) => { status.textContent = words; };
  const grid = make("div", { class: "classes" });
  const need = make("p", { class: "need", id: "need" });
  const name = make("input", { id: "model-name", value: state.name, maxlength: 60, autocomplete: "off", placeholder: "my-pets", oninput: () => { state.name = name.value; save(); update(); } });
  const called = make("p", { class: "called" });
  const train = make("button", { type: "button", class: "main", "aria-describedby": "need", onclick: () => start() }, "Train");
  const more = make("button", { type: "button", onclick: () => { addCard(nextName()).focus(); update(); save(); } }, "Add a class");
  const afresh = make("button", { type: "button", class: "quiet", onclick: () => reset() }, "Start over");
  const place = make("div", { class: "job-place" });

  // The collection is made when the first picture comes.
  let making = null;
  const collect = async () => {
    making ??= (state.collection ? Promise.resolve(state.collection) : createCollection().then(({ id }) => id));
    try {
      state.collection = await making;
    } catch (error) {
      making = null;
      throw error;
    }
    save();
    return state.collection;
  };

  const nextName = () => {
    const known = new Set(cards.map((card) => card.name()));
    for (let number = cards.length + 1; ; number++) if (!known.has(`Class ${number}`)) return `Class ${number}`;
  };
  const addCard = (title, pictures = []) => {
    const card = classCard(title, pictures, {
      collect, announce, report: (error) => report(error), changed: () => { save(); update(); },
      isTaken: (words) => cards.some((other) => other !== card && other.name() === words),
      remove: () => { cards = cards.filter((other) => other !== card); card.element.remove(); save(); update(); more.focus(); },
      collection: () => state.collection,
    });
    cards.push(card);
    grid.append(card.element);
    return card;
  };
  const update = () => {
    const missing = describeNeed(cards.map((card) => [card.name(), card.count()]), needs);
    const wanted = toModelName(name.value);
    const unnamed = wanted ? "" : "Give the model a name.";
    called.textContent = wanted && wanted !== name.value ? `It will be called ${wanted}.` : "";
    need.textContent = running ? "" : [missing, unnamed].filter(Boolean).join(" ");
    train.disabled = running || Boolean(missing || unnamed) || cards.some((card) => card.isBusy());
    afresh.hidden = running;
  };

  const start = async () => {
    notice.replaceChildren();
    try {
      running = true;
      update();
      const job = await submitJob("train", { collection: state.collection, name: toModelName(name.value) });
      state.job = job.id;
      save();
      follow(job);
    } catch (error) {
      running = false;
      update();
      report(error);
    }
  };
  const follow = (job) => {
    running = true;
    update();
    const panel = jobPanel(job, {
      title: "Training job", signal: end.signal, announce, showError,
      ended: (last) => { running = false; update(); if (last.state === "done") celebrate(panel, last); else train.focus(); },
      lost: () => { running = false; state.job = null; save(); update(); },
    });
    place.replaceChildren(panel.element);
    panel.element.scrollIntoView?.({ block: "nearest" });
  };

  // Waits until the new version is served, and links to it.
  const celebrate = async (panel, job) => {
    const { model, version, metrics } = job.result;
    const link = make("a", { class: "button main", href: `/m/${encodeURIComponent(model)}` }, `Try ${model}`);
    const waiting = make("p", { class: "hint" }, "The server is loading it …");
    const accuracy = accuracyOf(metrics);
    const words = `${model}, version ${version}, is ready.`;
    const title = make("h2", {}, `${model}, version ${version}, is trained.`);
    panel.conclude(title,
      accuracy == null ? "" : make("p", {}, `Of pictures that it was not trained on, ${percent(accuracy)} were right. With few pictures, that is a rough estimate.`), waiting);
    for (let tries = 0; tries < SERVED_TRIES && !end.signal.aborted; tries++) {
      if (await findModel(model, version).catch(() => null)) {
        waiting.replaceWith(make("p", { class: "actions" }, link, make("span", { class: "hint" }, "Or add pictures, and train the next version.")));
        title.textContent = words;
        announce(words);
        return showVersions(panel, job);
      }
      await new Promise((resolve) => { setTimeout(resolve, SERVED_MS); });
    }
    if (!end.signal.aborted) waiting.textContent = "The server has not loaded it yet. Reload the page in a moment.";
  };
  const showVersions = async (panel, job) => {
    const jobs = (await listJobs().catch(() => [])).filter(({ state: how, params, result }) => how === "done" && result && params.collection === job.params.collection);
    if (jobs.length < 2) return;
    panel.append(make("h3", {}, "Versions"), make("ul", { class: "rows" }, jobs.map(({ result, finished }) =>
      make("li", {}, `Version ${result.version}: ${accuracyOf(result.metrics) == null ? "" : `${percent(accuracyOf(result.metrics))} right, `}${new Date(finished).toLocaleString()}`))));
  };

  const reset = async () => {
    if (!confirm("Delete these pictures, and start over? Models that were trained on them stay.")) return;
    try {
      if (state.collection) await deleteCollection(state.collection);
    } catch (error) {
      if (error.status !== 404) return report(error);
    }
    Object.assign(state, { collection: null, job: null, name: "" });
    making = null;
    name.value = "";
    place.replaceChildren();
    notice.replaceChildren();
    fill(FIRST, []);
    save();
    cards[0].focus();
  };
  const fill = (names, classes) => {
    cards.forEach((card) => card.stop());
    cards = [];
    grid.replaceChildren();
    const known = new Map(classes.map((each) => [each.name, each.pictures]));
    for (const title of new Set([...names, ...known.keys()])) addCard(title, known.get(title));
    update();
  };
  const load = async () => {
    let classes = [];
    if (state.collection) {
      try {
        ({ classes, needs } = await readCollection(state.collection));
      } catch (error) {
        if (error.status !== 404) report(error);
        else Object.assign(state, { collection: null, job: null });
      }
    }
    if (end.signal.aborted) return;
    fill(state.classes, classes);
    if (state.job) follow({ id: state.job, state: "queued", fraction: 0, step: "" });
  };

  main.replaceChildren(
    make("div", { class: "intro" }, make("h1", {}, "New model"),
      make("p", {}, "Show examples of two or more things, and train a model that tells them apart. The pictures stay on the machine that runs this server; a few become examples on the page of the model.")),
    notice, grid,
    make("div", { class: "studio-actions" }, more, afresh),
    make("section", { class: "panel wide", "aria-label": "Training" },
      make("div", { class: "train-row" },
        make("div", { class: "train-name" }, make("label", { for: name.id }, "Name of the model"), name),
        train),
      called, need, place),
    status);
  load();
  return () => { end.abort(); cards.forEach((card) => card.stop()); };
};

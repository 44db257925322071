// The page: routes to a model, the gallery of several, or a new model. A model's view is kept while the
// page is open, so that its inputs are there when the person comes back.

import "./theme.js";
import { listModels } from "./api.js";
import { cardView, warningsView } from "./card.js";
import { csvPanel, takesCsv } from "./csv-panel.js";
import { make } from "./dom.js";
import { galleryView, pathOf, unknownView } from "./gallery.js";
import { currentKey, forgetKey, onKeyChange } from "./key.js";
import { later } from "./later.js";
import { predictionView } from "./prediction.js";
import { isShared, readFragment } from "./share.js";
import { snippets } from "./snippets.js";
import { showStudio } from "./studio.js";
import { paintsVideos, videoPanel } from "./video-job.js";
import { writerView } from "./writer.js";

const main = document.querySelector("#main");
const nav = document.querySelector("#models");
const STUDIO = "#/new"; // no model has a slash in its name
const MODEL_PATH = /^\/m\/([^/]+)\/?$/;

const showError = (error, retry) =>
  make("div", { class: error.needsKey ? "error notice" : "error", role: "alert" }, error.message, error.hint ? make("small", {}, error.hint) : null,
    error.needsKey ? make("button", { type: "button", onclick: retry }, "Enter a key") : null);

const byline = ({ author, licence, backend, runs_in: runsIn }) => {
  const words = [author ? `By ${author}` : null, licence ? `Licence: ${licence}` : null, backend === "native" ? `Runs in ${runsIn}.` : null].filter(Boolean);
  return words.length ? make("p", { class: "byline" }, words.join(" · ")) : null;
};

const intro = (model) =>
  make("div", { class: "intro" }, make("h1", {}, model.title || model.name), model.summary ? make("p", {}, model.summary) : null, warningsView(model));

// A model that makes one picture of another, with settings that have widgets of their own.
const isPainter = ({ inputs, outputs }) =>
  outputs.length === 1 && outputs[0].kind === "image" && inputs.filter(({ kind }) => kind === "image").length === 1 && inputs.every(({ kind }) => ["image", "blend", "number", "choice"].includes(kind));

const openView = async (model, { feedback }) => {
  if (model.task === "text-generation") return writerView(model, showError);
  if (!isPainter(model)) return predictionView(model, feedback, showError);
  const { paintingView } = await import("./painting.js");
  return paintingView(model, showError);
};

const modelView = async (model, offers) => {
  const view = await openView(model, offers);
  const elements = [intro(model), view.element, byline(model), takesCsv(model) && model.task !== "text-generation" ? csvPanel(model, showError) : null,
    offers.videos && paintsVideos(model) ? videoPanel(model, view.settings, showError) : null, snippets(model), later(() => cardView(model), make("p", { class: "hint" }, "The model card cannot be shown."))];
  return { ...view, elements: elements.filter(Boolean) };
};

const forget = document.querySelector("#forget");
forget.addEventListener("click", () => { forgetKey(); location.reload(); });
onKeyChange(() => { forget.hidden = !currentKey(); });

const decode = (text) => { try { return decodeURIComponent(text); } catch { return text; } };

// The inputs that the address or the history entry has for a model.
const inputsFor = (model) => {
  const shared = readFragment(location.hash);
  if (shared) return shared;
  return history.state?.model === model.name ? history.state.saved : null;
};

const start = async () => {
  let served = await listModels();
  let leave = null; // stops what the view before this one does
  let turn = 0; // of the view that is wanted
  const views = new Map();
  const link = (href, words, isCurrent) => make("a", { href, "aria-current": isCurrent ? "page" : null }, words);

  const showNav = (model, makes) => {
    const { models, studio } = served;
    nav.replaceChildren(
      ...(models.length > 1 || studio ? models.map((each) => link(pathOf(each), each.name, each === model)) : []),
      ...(studio ? [link(`/${STUDIO}`, "New model", makes)] : []));
    nav.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  };
  const showModel = async (model, mine) => {
    const key = `${model.name} ${model.version}`;
    const view = views.get(key) ?? await modelView(model, served);
    if (mine !== turn) return;
    const isNew = !views.has(key);
    views.set(key, view);
    document.title = `${model.title || model.name} · modelpad`;
    main.replaceChildren(...view.elements);
    leave = view.leave;
    try {
      if (isNew || isShared(location.hash)) view.open?.(inputsFor(model));
    } catch {
      view.reject?.({ message: "The input in this link cannot be read.", hint: "The link may be cut off." });
    }
  };
  const route = () => {
    leave?.();
    leave = null;
    turn++;
    const { models, studio } = served;
    const named = MODEL_PATH.exec(location.pathname)?.[1];
    const old = decode(location.hash.slice(1)); // as links were: #NAME
    if (named === undefined && models.some(({ name }) => name === old)) history.replaceState(null, "", `/m/${encodeURIComponent(old)}`);
    const wanted = decode(MODEL_PATH.exec(location.pathname)?.[1] ?? "");
    const makes = studio && location.hash === STUDIO;
    const model = makes ? null : models.find(({ name }) => name === wanted) ?? (models.length === 1 && (!wanted || models[0].local) ? models[0] : null);
    showNav(model, makes);
    if (makes) leave = showStudio(main, { showError, findModel });
    else if (model) {
      const mine = turn;
      showModel(model, mine).catch((error) => { if (mine === turn) main.replaceChildren(showError({ message: "A part of the page cannot be loaded.", hint: `Is the server still running? ${error.message}` })); });
    }
    else {
      document.title = "modelpad";
      main.replaceChildren(...(wanted ? unknownView(models, wanted) : galleryView(models)));
    }
  };
  // A model that has just been trained, once it is served.
  const findModel = async (name, version) => {
    served = await listModels();
    return served.models.find((model) => model.name === name && model.version >= version);
  };
  addEventListener("popstate", route);
  document.addEventListener("click", (event) => {
    const target = event.target.closest?.("a[href]");
    if (!target || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || target.target) return;
    const { origin, pathname, hash } = new URL(target.href);
    if (origin !== location.origin || !(pathname === "/" || MODEL_PATH.test(pathname)) || (pathname === location.pathname && hash && hash !== STUDIO)) return;
    event.preventDefault();
    history.pushState(null, "", pathname + hash);
    scrollTo(0, 0);
    route();
    main.focus({ preventScroll: true });
  });
  route();
};
const open = () => start().catch((error) => main.replaceChildren(showError(error, open)));
open();

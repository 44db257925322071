// The view of a model that makes a picture of a picture: the result over what it was made of, and what it
// is made by beside them. The file that was given is sent as it is; while a setting is moved, a smaller one.

import { predictPicture, readAsDataUrl, readFile } from "./api.js";
import { makeAsker } from "./asker.js";
import { besidePanel } from "./beside.js";
import { comparison } from "./comparison.js";
import { make } from "./dom.js";
import { saveFile } from "./download.js";
import { earlierPanel } from "./earlier.js";
import { inputWidget } from "./inputs.js";
import { liveCamera } from "./live.js";
import { pictureSource, readPicture } from "./picture-source.js";
import { keepInHistory, keepPresent } from "./present.js";
import { sampleRow } from "./samples.js";
import { sliderInput } from "./slider.js";
import { describeStyle, stylePicker } from "./style-picker.js";

const DRAFT_SIDE = 1024; // pixels of the longer side, while a setting is moved
const MAX_KEPT_BYTES = 2_000_000; // of a picture that the history or the API's reference begins with
const FORMATS = [["image/jpeg", "JPEG", "jpg"], ["image/png", "PNG", "png"], ["image/webp", "WebP", "webp"]];
const NOTHING = "\u00a0"; // as high as a line
const PROMPT = "Drop, paste or choose a picture.";

const settingWidget = (model, field, onChange) => {
  if (field.kind === "blend") return stylePicker(model, field, onChange);
  const hasBounds = field.kind === "number" && field.minimum != null && field.maximum != null && !field.nullable;
  return hasBounds ? sliderInput(field, onChange) : inputWidget(field, onChange);
};

// { element, revoke() }: a picture on the page, of its natural size; null for what no browser reads.
const showBlob = async (blob, alt) => {
  const url = URL.createObjectURL(blob);
  const element = make("img", { src: url, alt, draggable: "false" });
  const isRead = await element.decode().then(() => true, () => false);
  if (!isRead) URL.revokeObjectURL(url);
  return isRead ? { element, width: element.naturalWidth, height: element.naturalHeight, revoke: () => URL.revokeObjectURL(url) } : null;
};

// A smaller one of a large picture, else the picture itself.
const makeDraft = async (blob, shown) => {
  const fit = DRAFT_SIDE / Math.max(shown?.width ?? 0, shown?.height ?? 0);
  if (fit >= 1) return blob;
  const sheet = make("canvas", { width: Math.max(1, Math.round(shown.width * fit)), height: Math.max(1, Math.round(shown.height * fit)) });
  sheet.getContext("2d").drawImage(shown.element, 0, 0, sheet.width, sheet.height);
  return new Promise((resolve) => { sheet.toBlob((draft) => resolve(draft ?? blob), blob.type === "image/jpeg" ? "image/jpeg" : "image/webp", 0.9); });
};

const thumbOf = (shown) => (side) => {
  const sheet = make("canvas", { width: side, height: side });
  const fit = side / Math.min(shown.width, shown.height);
  sheet.getContext("2d").drawImage(shown.element, (side - shown.width * fit) / 2, (side - shown.height * fit) / 2, shown.width * fit, shown.height * fit);
  return sheet.toDataURL("image/jpeg");
};

const suffixOf = (type) => FORMATS.find(([each]) => each === type)?.[2] ?? type.split("/").at(-1);

// { element, open(saved), reject(error), leave(), settings() }: settings are the inputs that are no picture.
export const paintingView = (model, showError) => {
  const crops = (field) => field.height != null && field.fit === "crop"; // what is beyond the model's square
  const photo = model.inputs.find(({ kind }) => kind === "image"), settings = model.inputs.filter((field) => field !== photo);
  const status = make("p", { class: "sr", role: "status", "aria-live": "polite" });
  const compared = comparison({ before: "Original", after: "Result", label: "How much of the original is shown" }, crops(photo));
  const words = make("p", { class: "prompt" }, PROMPT), rate = make("span", { class: "rate tag" }), problem = make("div", { class: "problems" });
  const stage = make("div", { id: "answer", class: "stage", "data-state": "waiting" }, words, rate, problem);
  const took = make("p", { class: "took" }, NOTHING);
  const widgets = Object.create(null);
  let picture = null; // { blob, name, shown, draft }
  let result = null; // { blob, version, values, ms, shown }
  let isQuiet = false, series = 0, drafted = "";

  const setState = (state) => {
    stage.dataset.state = state;
    stage.setAttribute("aria-busy", String(state === "asking"));
    save.disabled = format.disabled = state !== "done";
  };
  const lay = () => {
    const one = picture?.shown, other = result?.shown ?? one;
    words.hidden = Boolean(other);
    words.textContent = picture ? "This browser cannot show the picture." : PROMPT;
    if (!other) compared.sheet.remove();
    else if (!compared.sheet.isConnected) stage.prepend(compared.sheet);
    compared.show(one?.element ?? null, result?.shown.element ?? null, other ?? { width: 4, height: 3 });
    clear.disabled = !picture;
  };
  const put = (next) => {
    result?.shown?.revoke();
    result = next;
    problem.replaceChildren();
    lay();
  };
  const fail = (error) => {
    setState("error");
    took.textContent = NOTHING;
    problem.replaceChildren(showError(error, () => ask()));
  };
  const readSettings = () => Object.fromEntries(settings.map(({ name }) => [name, widgets[name].read()]));
  const paint = async (blob, values, signal) => {
    const start = performance.now();
    const painted = await predictPicture(model.name, { ...values, [photo.name]: blob }, { signal });
    return { ...painted, values, ms: performance.now() - start };
  };
  // Shown only once it is decoded, so that the last one stays until then.
  const decode = async (painted, signal) => {
    const shown = await showBlob(painted.blob, describe(painted.values));
    if (signal.aborted) shown?.revoke();
    signal.throwIfAborted();
    if (!shown) throw Object.assign(new Error("This browser cannot show the result."), { hint: "Send the picture to the API instead.", status: 0 });
    return { ...painted, shown };
  };
  const describe = (values) => settings.filter(({ kind }) => kind === "blend").map(({ name }) => describeStyle(values[name])).join(", ") || "result";

  const ask = makeAsker({
    read: () => {
      const values = readSettings();
      return picture && !live.isOn() && Object.values(values).every((value) => value !== undefined) ? values : null;
    },
    wait: () => { put(null); setState("waiting"); status.textContent = ""; took.textContent = NOTHING; },
    begin: (isLive) => setState(isLive ? "drawing" : "asking"),
    send: async (values, signal, isLive) => {
      const { blob } = picture, draft = await picture.draft, key = JSON.stringify([series, values]);
      if (isLive || (draft !== blob && drafted !== key)) {
        const rough = await decode(await paint(draft, values, signal), signal);
        drafted = key;
        if (isLive) return rough;
        put(rough);
      }
      return decode(await paint(blob, values, signal), signal);
    },
    show: (values, painted, isLive) => {
      put(painted);
      if (isLive) return;
      setState("done");
      const { ms, blob: { type } } = painted;
      if (![...format.options].some(({ value }) => value === type)) format.append(make("option", { value: type }, suffixOf(type).toUpperCase()));
      format.value = type;
      const { width, height } = painted.shown;
      took.textContent = `${model.name}${painted.version ? `, version ${painted.version}` : ""}: ${width} × ${height} pixels in ${ms < 10_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1000)} s`}.`;
      status.textContent = `Done: ${describe(values)}.`;
      remember(values, painted);
    },
    fail,
  });
  const change = (isLive) => { if (!isQuiet && !live.isOn()) ask(isLive); };

  const remember = async (values, painted) => {
    if (!element.isConnected) return;
    const { blob } = picture;
    const read = async () => ({ ...values, [photo.name]: await readAsDataUrl(blob) });
    earlier.add(`${series} ${describe(values)}`, { result: { thumb: thumbOf(painted.shown) } }, { ...values, [photo.name]: blob }, "", describe(values));
    beside?.ask(read, {});
    if (blob.size > MAX_KEPT_BYTES) return keepInHistory(model.name, values);
    const sent = await read();
    if (blob !== picture?.blob) return;
    keepPresent(model.name, sent);
    keepInHistory(model.name, sent);
  };
  const take = async (blob) => {
    const mine = ++series;
    live.stop();
    const shown = await showBlob(blob, `The picture for ${photo.name}`);
    if (mine !== series) return shown?.revoke();
    picture?.shown?.revoke();
    picture = { blob, shown, name: (blob.name ?? "").replace(/\.[^.]*$/, ""), draft: makeDraft(blob, shown) };
    if (result && (!shown || result.shown.width * shown.height !== result.shown.height * shown.width)) put(null); // of another shape
    else lay();
    if (!isQuiet) ask();
  };
  // Puts several inputs in, and asks once.
  const fill = async (inputs) => {
    isQuiet = true;
    try {
      for (const { name } of settings) if (Object.hasOwn(inputs, name)) widgets[name].show(inputs[name]);
      const given = inputs[photo.name];
      if (given) await take(typeof given === "string" ? await readPicture(given) : given);
    } finally { isQuiet = false; }
    ask();
  };
  const restore = (inputs) => fill(inputs).catch(() => fail({ message: "The link has no input that this model takes.", hint: "It may be cut off, or made for another version." }));
  const showSample = async (sample) => {
    try {
      const inputs = {};
      for (const [name, { url, value }] of Object.entries(sample.inputs)) inputs[name] = url ? await readFile(url) : value;
      await fill(inputs);
    } catch (error) { fail(error); }
  };

  const live = liveCamera({
    began: () => {
      ask(); // drops what is in flight
      setState("live");
      compared.suggest(0);
      liveButton.textContent = "Stop";
      status.textContent = "Painting what the camera sees.";
    },
    paint: async (blob, signal) => (await predictPicture(model.name, { ...readSettings(), [photo.name]: blob }, { signal, type: "image/jpeg" })).blob,
    show: (before, after, said) => {
      words.hidden = true;
      if (!compared.sheet.isConnected) stage.prepend(compared.sheet);
      compared.show(before, after, after);
      rate.textContent = said;
    },
    ended: (blob) => {
      rest();
      if (blob) take(blob);
      else ask();
    },
    fail: (error) => {
      rest();
      lay();
      fail(error);
    },
  });
  const rest = () => {
    liveButton.textContent = "Live";
    rate.textContent = "";
  };

  const format = make("select", { "aria-label": "Format of the file" }, FORMATS.map(([type, name]) => make("option", { value: type }, name)));
  const save = make("button", { type: "button", class: "main", onclick: async () => {
    const { values, blob } = result, type = format.value, source = picture;
    save.disabled = true;
    try {
      const file = blob.type === type ? blob : (await predictPicture(model.name, { ...values, [photo.name]: source.blob }, { type })).blob;
      saveFile(`${[source.name, describe(values).replaceAll(" ", "-")].filter(Boolean).join("-")}.${suffixOf(file.type)}`, file);
    } catch (error) {
      fail(error);
    }
    save.disabled = stage.dataset.state !== "done";
  } }, "Download");
  const stageSlot = { element: stage, show: () => {}, rest: () => {} };
  const source = pictureSource(`${photo.name}-file`, stage, stageSlot, take);
  source.file.setAttribute("aria-label", photo.name);
  const choose = make("button", { type: "button", onclick: source.choose }, "Choose a file");
  const liveButton = make("button", { type: "button", title: "Paint what the camera sees", onclick: () => (live.isOn() ? live.finish() : live.start()) }, "Live");
  const clear = make("button", { type: "button", onclick: () => {
    live.stop();
    series++;
    picture?.shown?.revoke();
    picture = null;
    ask();
  } }, "Clear");
  for (const field of settings) widgets[field.name] = settingWidget(model, field, change);
  const earlier = earlierPanel(restore), beside = besidePanel(model);

  const element = make("div", { class: "try painting" },
    make("section", { class: "panel answer", "aria-label": "Picture" }, make("h2", { class: "sr" }, "Picture"), stage, compared.range, source.file,
      make("div", { class: "tools" }, choose, navigator.mediaDevices ? liveButton : null, clear)),
    make("section", { class: "panel input", "aria-label": "Settings" }, make("h2", { class: "sr" }, "Settings"), settings.map(({ name }) => widgets[name].element),
      make("div", { class: "save-row" }, save, format), took, beside?.element ?? null, status),
    make("div", { class: "more" }, sampleRow(model, showSample), earlier.element));
  setState("waiting");
  lay();
  return {
    element,
    open: (given) => {
      if (given) restore(given);
      else if (model.samples.length) showSample(model.samples[0]); // the page begins with a result
    },
    reject: fail,
    settings: readSettings,
    leave: () => live.stop(),
  };
};

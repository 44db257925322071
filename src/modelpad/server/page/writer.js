// A model that continues texts: a prompt, its continuations as they are written, and how surprising each word is.

import { complete } from "./completions.js";
import { make } from "./dom.js";
import { keepPresent } from "./present.js";

const BITS = [1, 3, 5, 8]; // of surprise: the edges between the shades
const SIDE_BY_SIDE = 5;
const REASONS = { length: "at the length you chose", stop: "by itself" };

let count = 0; // ids of controls

const slider = (name, { min, max, step, value, unit = "" }) => {
  const id = `writer-${count++}`;
  const shown = make("span", { class: "value" });
  const input = make("input", { id, type: "range", min, max, step, value, oninput: () => show() });
  const show = () => { shown.textContent = `${input.value}${unit}`; };
  show();
  return { element: make("div", { class: "slider" }, make("label", { for: id }, name), input, shown), read: () => input.valueAsNumber };
};

const shade = (logprob) => {
  if (logprob === null || logprob === undefined) return null;
  const bits = -logprob / Math.LN2;
  return `bits-${BITS.filter((edge) => bits >= edge).length}`;
};

const surprise = (logprob) => (logprob === null || logprob === undefined ? null : `chosen with a probability of ${(100 * Math.exp(logprob)).toPrecision(2)} %`);

// One continuation: what was asked, softly, then what the model writes.
const sheet = (prompt) => {
  const text = make("p", { class: "written" }, make("span", { class: "asked" }, prompt));
  return {
    element: make("article", { class: "sheet-of-text" }, text),
    add: (pieces) => text.append(...pieces.map(({ text: words, logprob }) => make("span", { class: shade(logprob), title: surprise(logprob) }, words))),
    end: () => text.classList.add("finished"),
    read: () => text.textContent,
  };
};

const legend = () => make("p", { class: "hint surprises" }, "likely ", BITS.map((_, index) => make("span", { class: `bits-${index + 1}` }, "\u2003")), " surprising");

const controls = () => ({
  length: slider("Length", { min: 10, max: 400, step: 10, value: 80, unit: " tokens" }),
  temperature: slider("Temperature", { min: 0, max: 1.5, step: 0.05, value: 0.8 }),
});

// { element, leave() }: what stops the writing.
export const writerView = (model, showError) => {
  const field = model.inputs[0];
  const prompt = make("textarea", { id: "prompt", maxlength: field.max_length, placeholder: "The beginning of a text …", "aria-describedby": "prompt-hint" });
  const { length, temperature } = controls();
  const sheets = make("div", { class: "sheets" });
  const status = make("p", { class: "took", role: "status", "aria-live": "polite" });
  const colours = make("input", { type: "checkbox", onchange: () => { sheets.classList.toggle("coloured", colours.checked); key.hidden = !colours.checked; } });
  const key = legend();
  key.hidden = true;
  let running = null, last = 1;

  const isEmpty = () => !prompt.value.trim();
  const allow = () => { for (const button of starts) button.disabled = isEmpty(); };
  const setBusy = (busy) => {
    stop.disabled = !busy;
    sheets.setAttribute("aria-busy", String(busy));
    retry.hidden = busy || !sheets.childElementCount;
  };

  const write = async (n) => {
    allow();
    if (isEmpty()) return;
    running?.abort();
    const mine = running = new AbortController();
    const started = performance.now(), asked = prompt.value;
    const written = Array.from({ length: n }, () => sheet(asked));
    const settings = { max_tokens: length.read(), temperature: temperature.read(), n };
    let first = null, tokens = 0, usage = null;
    const reasons = new Set();
    last = n;
    keepPresent(model.name, { [field.name]: asked });
    sheets.replaceChildren(...written.map(({ element }) => element));
    status.textContent = "Writing …";
    setBusy(true);
    sheets.scrollIntoView({ block: "nearest" });
    try {
      const stream = complete(model.name, asked, settings, mine.signal);
      for (;;) {
        const { done, value } = await stream.next();
        if (done) { usage = value; break; }
        first ??= performance.now() - started;
        tokens += value.pieces.length;
        written[value.index].add(value.pieces);
        if (value.finish) { reasons.add(value.finish); written[value.index].end(); }
      }
      const seconds = (performance.now() - started) / 1000, total = usage?.completion_tokens ?? tokens;
      const ends = reasons.size === 1 ? `, ended ${REASONS[[...reasons][0]] ?? [...reasons][0]}` : "";
      status.textContent = `${total} tokens in ${seconds.toFixed(1)} s (${Math.round(total / seconds)} a second)${ends}; the first after ${Math.round(first ?? 0)} ms.`;
    } catch (error) {
      if (error.name === "AbortError") { if (mine === running) status.textContent = `Stopped after ${tokens} tokens.`; }
      else { status.textContent = ""; sheets.append(showError(error, () => write(n))); }
    } finally {
      if (mine === running) setBusy(false);
    }
  };

  const stop = make("button", { type: "button", disabled: true, onclick: () => running?.abort() }, "Stop");
  const retry = make("button", { type: "button", hidden: true, onclick: () => write(last) }, "Write again");
  prompt.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); write(last); } });

  prompt.addEventListener("input", allow);
  const starts = [
    make("button", { type: "button", class: "main", disabled: true, onclick: () => write(1) }, "Write"),
    make("button", { type: "button", disabled: true, onclick: () => write(SIDE_BY_SIDE) }, `Write ${SIDE_BY_SIDE} side by side`)];

  const samples = model.samples.map(({ inputs }) => inputs[field.name]?.value).filter((words) => typeof words === "string");
  const input = [
    make("div", { class: "field" }, make("label", { for: "prompt" }, "Prompt"), prompt, make("p", { id: "prompt-hint", class: "hint" }, "The model continues it. Ctrl+Enter writes.")),
    make("div", { class: "tools wide-tools" }, starts, stop)];
  const more = [
    samples.length ? make("div", { class: "samples", role: "group", "aria-label": "Examples" }, samples.map((words) =>
      make("button", { type: "button", class: "words", onclick: () => { prompt.value = words; write(last); } }, words.length > 60 ? `${words.slice(0, 59)}…` : words))) : null,
    length.element, temperature.element];
  const output = [sheets, status, make("div", { class: "tools wide-tools" }, retry, make("label", { class: "switch" }, colours, "Colour by surprise")), key];
  const element = make("div", { class: "try writing" },
    make("section", { class: "panel input", "aria-label": "Input" }, input),
    make("section", { class: "panel answer", "aria-label": "Text" }, make("h2", {}, "Text"), output),
    make("div", { class: "more" }, more));
  return { element, leave: () => running?.abort() };
};

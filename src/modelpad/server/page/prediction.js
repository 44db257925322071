// The view of a model that predicts: its inputs, the prediction beside them, and what belongs to both.

import { predict } from "./api.js";
import { makeAsker } from "./asker.js";
import { besidePanel } from "./beside.js";
import { make } from "./dom.js";
import { earlierPanel } from "./earlier.js";
import { feedbackPanel } from "./feedback.js";
import { heatSwitch } from "./heatmap.js";
import { inputWidget } from "./inputs.js";
import { answerView, describeAnswer, nameAnswer } from "./outputs.js";
import { keepInHistory, keepPresent } from "./present.js";
import { fillWidgets, inShort, sampleRow } from "./samples.js";
import { shareOn } from "./share.js";
import { wordMarks } from "./word-marks.js";

export const isTable = (model) => model.inputs.every(({ kind }) => kind === "number" || kind === "choice");

// A place for what comes with a prediction, which has its size before there is one.
const slot = (build, values, answer) => {
  const sleeper = build(values, answer);
  if (!sleeper) return null;
  const element = make("div", { class: "slot" }, sleeper);
  const sleep = () => element.toggleAttribute("inert", true);
  const wake = (content) => {
    if (content) element.replaceChildren(content);
    element.toggleAttribute("inert", !content);
  };
  sleep();
  return { element, sleep, wake, build };
};

// A prediction of the model as it could be, to measure by.
const imagine = (model) => {
  const answers = model.outputs.map(({ name, kind, classes }) => [name, kind === "label" ? { label: classes[0], confidence: 0, scores: {} } : null]);
  const values = Object.fromEntries(model.inputs.map(({ name, kind }) => [name, kind === "text" ? "two words" : null]));
  return [values, answers.length === 1 && answers[0][1] ? answers[0][1] : { outputs: Object.fromEntries(answers) }];
};

const aboutClasses = ({ classes }) => (classes?.length > 10 ? `Tells ${classes.length} classes apart.` : "\u00a0");

// { element, open(saved), leave(), settings() }: `saved` are inputs from a link or from before the page was left,
// settings those that are no picture.
export const predictionView = (model, takesFeedback, showError) => {
  const status = make("p", { class: "sr", role: "status", "aria-live": "polite" });
  const announce = (words) => { status.textContent = words; };
  const view = answerView(model), widgets = Object.create(null);
  const problem = make("div", { class: "problems" });
  const took = make("p", { class: "took" }, aboutClasses(model.outputs[0]));
  const share = make("button", { type: "button", class: "quiet copy-link", disabled: true }, "Copy link");
  const heat = model.outputs.map(({ heatmap }) => heatmap?.over).find(Boolean);
  const result = make("div", { id: "answer", "data-state": "waiting" }, problem, view.element,
    make("div", { class: "took-row" }, took, share), heat ? heatSwitch() : null);
  const slots = [
    slot((values, answer) => wordMarks(model, values, answer, showError), ...imagine(model)),
    takesFeedback ? slot((values, answer) => feedbackPanel(model, values, answer, announce, showError), ...imagine(model)) : null,
  ].filter(Boolean);
  const beside = besidePanel(model);
  let series = 0, restored = null;

  const setState = (state) => {
    result.dataset.state = state;
    result.setAttribute("aria-busy", String(state === "asking"));
    if (state !== "done") slots.forEach((each) => each.sleep());
  };
  const clear = () => { problem.replaceChildren(); view.element.hidden = false; };
  const report = (error, retry) => {
    setState("error");
    problem.replaceChildren(showError(error, retry));
    view.element.hidden = true;
  };
  const saved = () => Object.fromEntries(model.inputs.map(({ name }) => [name, widgets[name].save?.() ?? widgets[name].read()]));

  const ask = makeAsker({
    read: () => {
      const values = Object.fromEntries(Object.entries(widgets).map(([name, widget]) => [name, widget.read()]));
      return Object.values(values).some((value) => value === undefined) ? null : values;
    },
    send: (values, signal) => predict(model.name, values, signal),
    wait: () => {
      series++;
      clear();
      view.wait();
      setState("waiting");
      announce("");
      beside?.wait();
      share.disabled = true;
      took.textContent = aboutClasses(model.outputs[0]);
    },
    begin: (isLive) => setState(isLive ? "drawing" : "asking"),
    fail: (error) => report(error, () => ask()),
    show: (values, answer, isLive, ms) => {
      clear();
      view.show(answer);
      if (isLive) return;
      setState("done");
      keepPresent(model.name, values);
      beside?.ask(() => values, answer);
      took.textContent = `${answer.model}, version ${answer.version}, responded in ${Math.round(ms)} ms.`;
      share.disabled = false;
      if (heat && answer.heatmap) widgets[heat]?.explain?.(answer.heatmap);
      slots.forEach((each) => each.wake(each.build(values, answer)));
      announce(describeAnswer(answer));
      const now = saved();
      if (!element.isConnected) return;
      keepInHistory(model.name, now);
      earlier.add(series, widgets, now, inShort(Object.values(values).filter((value) => value != null).map(String).join(", "), 60), nameAnswer(answer));
      if (Object.values(model.inputs).some(({ kind }) => kind === "image")) series++;
    },
  });

  const restore = async (inputs) => {
    series++;
    restored = inputs;
    try {
      for (const { name, kind } of model.inputs) {
        if (!Object.hasOwn(inputs, name)) continue;
        if (kind === "text" && typeof inputs[name] !== "string") throw new TypeError("not a text");
        await (widgets[name].load ?? widgets[name].show)(inputs[name]);
      }
    } catch {
      if (restored === inputs) report({ message: "The link has no input that this model takes.", hint: "It may be cut off, or made for another version." });
    }
  };
  const showSample = async (sample) => {
    series++;
    try { await fillWidgets(widgets, sample); } catch (error) { report(error, () => showSample(sample)); }
  };

  for (const field of model.inputs) widgets[field.name] = inputWidget(field, ask);
  const fields = Object.values(widgets).map(({ element: one }) => one);
  const inputs = isTable(model) ? make("div", { class: "cells", role: "group", "aria-label": "Columns" }, fields) : fields;
  const earlier = earlierPanel(restore);
  shareOn(share, saved);
  const element = make("div", { class: isTable(model) ? "try table" : "try" },
    make("section", { class: "panel input", "aria-label": "Input" }, inputs),
    make("section", { class: "panel answer", "aria-label": "Prediction" }, make("h2", {}, "Prediction"), result, slots.map((each) => each.element), beside?.element ?? null, status),
    make("div", { class: "more" }, sampleRow(model, showSample), Object.values(widgets).map(({ hint }) => hint ?? null), earlier.element));
  return {
    element,
    open: (given) => {
      if (given) restore(given);
      else if (isTable(model) && model.samples.length) showSample(model.samples[0]); // a row is shown with its prediction from the start
    },
    reject: (error) => report(error),
    settings: () => Object.fromEntries(model.inputs.filter(({ kind }) => kind !== "image").map(({ name }) => [name, widgets[name].read()])),
    leave: () => { for (const widget of Object.values(widgets)) widget.stop?.(); },
  };
};

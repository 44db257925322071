// Asks whether a prediction is right, if the server collects feedback, and lets the person undo it.

import { sendFeedback, undoFeedback } from "./api.js";
import { make } from "./dom.js";

const MAX_OPTIONS = 200; // longer lists of classes are typed, with suggestions
const NOUNS = { image: "picture", sketch: "drawing", text: "text" };

let count = 0; // ids of controls

const nounOf = ({ inputs }) => (inputs.length === 1 ? NOUNS[inputs[0].kind] ?? "input" : "input");

// Lists the other classes; `read` gives the chosen one, "" while there is none.
const classChooser = (classes, onChange) => {
  const id = `feedback-${count++}`;
  if (classes.length <= MAX_OPTIONS) {
    const select = make("select", { id, onchange: onChange }, make("option", { value: "" }, "Choose …"),
      classes.map((name, index) => make("option", { value: index }, name === "" ? "(empty)" : name)));
    return { id, elements: [select], read: () => (select.value === "" ? "" : classes[Number(select.value)]), chosen: () => select.value !== "" };
  }
  const list = make("datalist", { id: `${id}-list` }, classes.map((name) => make("option", { value: name })));
  const input = make("input", { id, list: list.id, autocomplete: "off", placeholder: "Type a class …", oninput: onChange });
  const known = new Set(classes);
  return { id, elements: [input, list], read: () => input.value, chosen: () => known.has(input.value) };
};

// The panel below a prediction; null if the model does not predict exactly one label.
export const feedbackPanel = (model, values, answer, announce, showError) => {
  const labels = model.outputs.filter(({ kind, multiple }) => kind === "label" && !multiple);
  if (labels.length !== 1) return null;
  const prediction = (answer.scores ? answer : answer.outputs[labels[0].name]).label;
  const note = `Sends this ${nounOf(model)} and your answer to the operator of this server.`;
  const panel = make("div", { class: "feedback", role: "group", "aria-label": "Is this right?" });

  const attempt = async (work, retry) => {
    for (const control of panel.querySelectorAll("button, select, input")) control.disabled = true;
    try {
      await work();
    } catch (error) {
      panel.replaceChildren(showError(error, retry), make("button", { type: "button", onclick: () => ask(true) }, "Back"));
    }
  };
  const send = (correct) => attempt(async () => thank(await sendFeedback(model.name, { inputs: values, prediction, correct, version: answer.version, note })), () => send(correct));
  const undo = (stored) => attempt(async () => {
    await undoFeedback(model.name, stored.id, stored.token);
    ask(true);
    announce("Your answer was deleted.");
  }, () => undo(stored));

  const thank = (stored) => {
    const button = make("button", { type: "button", onclick: () => undo(stored) }, "Undo");
    const focused = panel.contains(document.activeElement) || document.activeElement === document.body;
    panel.replaceChildren(make("p", { class: "thanks" }, "Thank you. Saved as ", make("strong", {}, stored.label), "."), button);
    announce(`Thank you. Saved as ${stored.label}.`);
    if (focused) button.focus();
  };

  const ask = (focus) => {
    const right = make("button", { type: "button", onclick: () => send(true) }, "Right");
    const chooser = classChooser(labels[0].classes.filter((name) => name !== prediction), () => { wrong.disabled = !chooser.chosen(); });
    const wrong = make("button", { type: "button", disabled: true, onclick: () => send(chooser.read()) }, "Send");
    panel.replaceChildren(
      right,
      make("div", { class: "choices" }, make("label", { for: chooser.id }, "Wrong, it is"), chooser.elements, wrong),
      make("p", { class: "hint" }, note));
    if (focus) right.focus();
  };
  ask(false);
  return panel;
};

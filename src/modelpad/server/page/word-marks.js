// Which words moved a text's label: each is left out in turn, and the change of the score is shown as a mark.

import { predictList } from "./api.js";
import { make } from "./dom.js";

const MAX_PIECES = 200; // longer texts are divided into as many groups of words
const AT_ONCE = 50;
const LEVELS = 4;
const EDGE = 1e-6; // scores of 0 and 1 have no log-odds

const logOdds = (share) => {
  const held = Math.min(Math.max(share, EDGE), 1 - EDGE);
  return Math.log(held / (1 - held));
};

// The text in pieces of one or more words, each with the space that follows it.
const divide = (text) => {
  const words = text.match(/\s*\S+\s*/g) ?? [];
  const size = Math.ceil(words.length / MAX_PIECES);
  return Array.from({ length: Math.ceil(words.length / size) }, (_, index) => words.slice(index * size, (index + 1) * size).join(""));
};

const labelOf = (answer, output) => (answer.scores ? answer : answer.outputs[output]);

// The mark of a piece: towards the label or against it, in steps of the strongest.
const mark = (piece, effect, strongest, label) => {
  const level = strongest ? Math.round(LEVELS * Math.min(Math.abs(effect) / strongest, 1)) : 0;
  if (!level) return [piece];
  const side = effect > 0 ? "for" : "against";
  const words = `${effect > 0 ? "more" : "less"} likely ${label}`;
  const body = piece.trimEnd();
  return [make("mark", { class: `${side} level-${level}`, title: words }, body, make("span", { class: "sr" }, ` (${words}) `)), piece.slice(body.length)];
};

const measure = async (model, field, output, text, label, signal, onProgress) => {
  const pieces = divide(text);
  const rest = pieces.map((_, index) => pieces.filter((_, other) => other !== index).join(""));
  const ask = async (texts) => {
    const answers = await predictList(model.name, texts.map((one) => ({ [field]: one })), signal);
    return answers.map((answer) => (answer.error ? null : logOdds(labelOf(answer, output).scores[label])));
  };
  const [whole] = await ask([text]);
  const effects = [];
  for (let from = 0; from < pieces.length; from += AT_ONCE) {
    effects.push(...(await ask(rest.slice(from, from + AT_ONCE))).map((odds) => (odds === null ? 0 : whole - odds)));
    onProgress(effects.length / pieces.length);
  }
  return { pieces, effects };
};

// The button below a prediction and, once it was pressed, the text with marks; null for other models.
export const wordMarks = (model, values, answer, showError) => {
  const labels = model.outputs.filter(({ kind }) => kind === "label");
  if (model.inputs.length !== 1 || model.inputs[0].kind !== "text" || labels.length !== 1) return null;
  const field = model.inputs[0].name, { label } = labelOf(answer, labels[0].name);
  const text = values[field];
  if (text.trim().split(/\s+/).length < 2) return null;
  const panel = make("div", { class: "marks" });
  const show = async () => {
    const state = make("p", { class: "hint", role: "status" }, "Reading without each word …");
    panel.replaceChildren(state);
    try {
      const { pieces, effects } = await measure(model, field, labels[0].name, text, label, undefined,
        (share) => { state.textContent = `Reading without each word: ${Math.round(100 * share)} %`; });
      const strongest = Math.max(...effects.map(Math.abs));
      panel.replaceChildren(
        make("p", { class: "marked" }, pieces.flatMap((piece, index) => mark(piece, effects[index], strongest, label))),
        make("p", { class: "hint" }, make("mark", { class: "for level-3" }, `more likely ${label}`), " ", make("mark", { class: "against level-3" }, "less likely"),
          " Each part was left out in turn."));
    } catch (error) {
      panel.replaceChildren(showError(error, show));
    }
  };
  panel.append(make("button", { type: "button", onclick: show }, "Which words matter?"));
  return panel;
};

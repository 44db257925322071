// The model card: warnings, metrics with intervals, scores by class, data, curves, confusion matrix, mistakes, limitations.

import { fileUrl, showPicture } from "./api.js";
import { make, percent, svg } from "./dom.js";
import { markdown } from "./markdown.js";

const MAX_TICKS = 12; // on the axis of epochs
const WIDTH = 380, HEIGHT = 200, LEFT = 44, BOTTOM = 24;

const short = (value) => (typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : String(value));
const figure = (name, value) => (name.endsWith("accuracy") ? percent(value, 2) : short(value));
const words = (name) => name.replaceAll("_", " ").replace(/\b(auc|f1|mae|rmse)\b/g, (word) => word.toUpperCase());
const ends = ([low, high], format) => `${format(low)} to ${format(high)}`;

const chart = (history, metric) => {
  const series = [[metric, "line-a"], [`val_${metric}`, "line-b"]].filter(([name]) => history.every((row) => Number.isFinite(row[name])));
  if (!series.length) return null;
  const values = series.flatMap(([name]) => history.map((row) => row[name]));
  let low = Math.min(...values), high = Math.max(...values);
  if (high - low < 1e-6) { low -= 0.5; high += 0.5; }
  const x = (index) => LEFT + (index * (WIDTH - LEFT - 10)) / Math.max(1, history.length - 1);
  const y = (value) => 10 + ((high - value) * (HEIGHT - BOTTOM - 10)) / (high - low);
  const ticks = [low, (low + high) / 2, high];
  const every = Math.ceil(history.length / MAX_TICKS);
  const story = series.map(([name]) => `${name === metric ? "training" : "validation"} from ${short(history[0][name])} to ${short(history.at(-1)[name])}`).join(", ");
  return make("figure", { class: "plain" }, make("h3", {}, words(metric)),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${metric} by epoch: ${story}` },
      ticks.map((tick) => svg("line", { class: "grid", x1: LEFT, x2: WIDTH - 10, y1: y(tick), y2: y(tick) })),
      ticks.map((tick) => svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(3))),
      history.filter((_, index) => index % every === 0).map((row, index) => svg("text", { x: x(index * every), y: HEIGHT - 6, "text-anchor": "middle" }, String(row.epoch))),
      series.map(([name, style]) => svg("polyline", { class: style, points: history.map((row, index) => `${x(index)},${y(row[name])}`).join(" ") })),
      series.map(([name, style]) => history.map((row, index) => svg("circle", { class: `point ${style}`, r: 3, cx: x(index), cy: y(row[name]) },
        svg("title", {}, `${name.startsWith("val_") ? "Validation" : "Training"}, epoch ${row.epoch}: ${short(row[name])}`))))),
    make("div", { class: "legend" }, make("span", {}, "┄ training"), make("span", {}, "━ validation")));
};

const confusionChart = ({ labels, matrix }) => {
  const most = matrix.flat().reduce((most, number) => Math.max(most, number), 0), size = 34;
  const names = labels.map((label) => (label.length > 12 ? `${label.slice(0, 11)}…` : label));
  const longest = Math.max(...names.map((name) => name.length)), left = Math.max(30, 14 + longest * 7), slanted = longest > 4;
  const edge = left + labels.length * size, width = Math.max(edge + (slanted ? left / 2 : 0), WIDTH);
  const cells = matrix.flatMap((row, truth) => row.map((number, answer) => {
    if (!number) return [];
    const strength = 0.12 + 0.88 * (Math.log1p(number) / Math.log1p(most));
    const at = { x: left + answer * size, y: left + truth * size };
    return [
      svg("rect", { class: "cell", ...at, width: size - 2, height: size - 2, rx: 4, "fill-opacity": strength.toFixed(2) },
        svg("title", {}, `${labels[truth]} predicted as ${labels[answer]}: ${number}`)),
      svg("text", { class: strength > 0.6 ? "on" : "off", x: at.x + size / 2 - 1, y: at.y + size / 2 + 3, "text-anchor": "middle" }, String(number)),
    ];
  })).flat();
  const wrong = matrix.flatMap((row, truth) => row.map((number, answer) => [number, labels[truth], labels[answer]])).filter(([number, truth, answer]) => number && truth !== answer);
  const worst = wrong.sort(([one], [other]) => other - one).slice(0, 3).map(([number, truth, answer]) => `${truth} taken for ${answer} (${number})`);
  const mistakes = worst.length ? `Most frequent mistakes: ${worst.join(", ")}.` : "There are no mistakes.";
  return make("figure", { class: "plain" }, make("h3", {}, "Confusion matrix: rows are true classes, columns are predictions"),
    svg("svg", { viewBox: `0 0 ${width} ${edge}`, role: "img", "aria-label": "Confusion matrix: how often each class was predicted as each other class" },
      names.map((name, index) => {
        const x = left + index * size + size / 2, y = left - 8;
        return svg("text", slanted ? { transform: `translate(${x} ${y}) rotate(-45)` } : { x, y, "text-anchor": "middle" }, name);
      }),
      names.map((name, index) => svg("text", { x: left - 8, y: left + index * size + size / 2 + 4, "text-anchor": "end" }, name)), cells),
    make("figcaption", { class: "hint" }, mistakes));
};

const list = (title, rows) => (rows?.length ? [make("h3", {}, title), make("ul", { class: "rows" }, rows.map((row) => make("li", {}, row)))] : []);

const imageView = (model, { title, file, caption, alt }) => {
  const image = make("img", { class: "picture", alt: alt || `${title} of ${model.name}`, title: alt });
  const url = fileUrl(model.name, file);
  if (url) showPicture(image, url);
  return make("figure", { class: "plain" }, image, caption ? make("figcaption", {}, caption) : null);
};

// Pictures with one title stand side by side below it.
const galleries = (model, pictures) => {
  const titles = [...new Set(pictures.map(({ title }) => title))];
  return titles.map((title) => {
    const group = pictures.filter((picture) => picture.title === title);
    return make("section", { class: group.length > 1 ? "gallery" : "alone", "aria-label": title }, make("h3", {}, title),
      make("div", {}, group.map((picture) => imageView(model, picture))));
  });
};

const share = (value) => (value == null ? "" : value.toFixed(3));
const COLUMNS = ["class", "precision", "recall", "F1", "AUC", "95 % interval", "items"];

const classTable = (classes) => make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Scores by class" }, make("table", { class: "scores" },
  make("caption", {}, "Scores by class"),
  make("thead", {}, make("tr", {}, COLUMNS.map((name) => make("th", { scope: "col" }, name)))),
  make("tbody", {}, classes.map((row) => make("tr", {}, make("th", { scope: "row" }, row.name),
    [share(row.precision), share(row.recall), share(row.f1), share(row.auc), row.auc_interval ? ends(row.auc_interval, share) : "", String(row.support)]
      .map((cell) => make("td", {}, cell)))))));

// What everyone who uses the model must know first.
export const warningsView = (model) => {
  const warnings = Array.isArray(model.card?.warnings) ? model.card.warnings : [];
  return warnings.length ? make("div", { class: "warnings", role: "note", "aria-label": "Warning" }, warnings.map((line) => make("p", {}, String(line)))) : null;
};

const NOUNS = { image: "pictures", sketch: "drawings", text: "texts", number: "rows", choice: "rows" };

// How good it is, in a sentence: for people who do not read metrics.
const inPlainWords = (model, { test_accuracy: tested, cross_validated_accuracy: validated }) => {
  const items = NOUNS[model.inputs[0]?.kind] ?? "items";
  if (typeof tested === "number") return `It was right for ${percent(tested)} of test ${items} that it was not trained on.`;
  if (typeof validated === "number") return `It was right for ${percent(validated)} of ${items}, each predicted by a model that was not trained on it.`;
  return null;
};

const factList = (facts, intervals = {}) => make("dl", { class: "facts" },
  Object.entries(facts).filter(([, value]) => value != null && typeof value !== "object").map(([name, value]) => make("div", {}, make("dt", {}, words(name)), make("dd", {}, figure(name, value)),
    intervals[name]?.every(Number.isFinite) ? make("dd", { class: "interval" }, `95 %: ${ends(intervals[name], (end) => (name.endsWith("accuracy") ? percent(end) : end.toFixed(3)))}`) : null)));

// { element, parts }: the card, and functions that fill it; null without a card. Charts are many elements.
export const cardView = (model) => {
  const card = model.card;
  if (!card) return null;
  const element = make("section", { class: "panel wide", id: "card" }, make("h2", {}, "Model card"));
  const charts = make("div", { class: "charts" });
  const plain = inPlainWords(model, card.metrics ?? {});
  const training = { parameters: card.parameters?.toLocaleString("en"), ...card.training };
  const add = (build, to = element) => () => to.append(...[build()].flat(Infinity).filter((part) => part != null));
  const parts = [
    add(() => [
      plain ? make("p", { class: "lead" }, plain) : null,
      card.text ? markdown(card.text) : null,
      list("Limitations", card.limits),
      factList(card.metrics ?? {}, card.intervals),
    ]),
    add(() => [
      card.classes?.length > 1 ? classTable(card.classes) : null,
      list("Training and test data", card.data?.map(({ name, examples, licence, role }) => `${name}${examples ? `: ${examples.toLocaleString("en")} examples` : ""} (${role}; ${licence})`)),
      list("Notes", card.notes),
      Object.keys(card.training ?? {}).length ? make("details", { class: "trained" }, make("summary", {}, "How it was trained"), factList(training)) : null,
      charts,
    ]),
    ...(card.history?.length > 1 ? ["loss", "accuracy"].map((metric) => add(() => chart(card.history, metric), charts)) : []),
    add(() => (card.confusion && card.confusion.labels.length <= 20 ? confusionChart(card.confusion) : null), charts),
    add(() => (card.pictures ? galleries(model, card.pictures) : null)),
  ];
  return { element, parts };
};

// CSV in, CSV out: choose or drop a file of rows, see predictions, download the file with them.

import { ApiError } from "./api-error.js";
import { predictCsv } from "./api.js";
import { readPieces, readRows, writeRow } from "./csv.js";
import { make } from "./dom.js";
import { saveFile } from "./download.js";
import { acceptDrops } from "./drops.js";

const MAX_SHOWN = 10, MAX_LISTED = 12;
const KINDS = new Set(["number", "choice", "text"]);

export const takesCsv = (model) => !model.local && model.inputs.every(({ kind }) => KINDS.has(kind));

// What a file must look like. The template has all columns, also where they are too many to list.
const describe = (fields) => {
  const listed = fields.slice(0, MAX_LISTED).flatMap(({ name }, index) => [index ? ", " : null, make("code", {}, name)]);
  const words = fields.length === 1 ? "names the column: " : `names these ${fields.length} columns, in any order: `;
  return make("p", { class: "about" }, "Each row becomes a prediction. The first row ", words, listed, fields.length > MAX_LISTED ? ", … The template has all of them." : ".");
};

// The header and a row for each example.
const template = (model) => [
  writeRow(model.inputs.map(({ name }) => name)),
  ...model.samples.map(({ inputs }) => writeRow(model.inputs.map(({ name }) => String(inputs[name]?.value ?? "")))),
];

const sheet = (header, rows, given) => {
  const kind = (index) => (index === header.length - 1 ? "bad" : index >= given ? "out" : null);
  return make("table", {},
    make("thead", {}, make("tr", {}, header.map((name, index) => make("th", { scope: "col", class: kind(index) }, name)))),
    make("tbody", {}, rows.map((row) => make("tr", {}, row.map((value, index) => make("td", { class: kind(index) }, value))))));
};

const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

export const csvPanel = (model, showError) => {
  const status = make("p", { class: "hint", role: "status", "aria-live": "polite" });
  const result = make("div");
  const given = model.inputs.length;
  let running = null;

  const predictFile = async (file) => {
    running?.abort();
    const mine = running = new AbortController();
    const parts = [], shown = [];
    let header = null, rows = 0, failed = 0;
    const show = (state) => {
      const errors = failed ? `, ${count(failed, "row")} with an error` : "";
      status.textContent = `${file.name}: ${count(rows, "row")}${errors}${state}`;
      if (header) sheetBox.replaceChildren(sheet(header, shown, given));
    };
    const sheetBox = make("div", { class: "sheet", role: "region", tabindex: 0, "aria-label": "First rows with predictions" });
    result.replaceChildren(sheetBox);
    try {
      for await (const piece of readPieces(file)) {
        const answer = await predictCsv(model.name, piece, mine.signal);
        let from = 0;
        for (const { cells, end } of readRows(answer)) {
          if (!from) { from = parts.length ? end : -1; header ??= cells; continue; }
          rows += 1;
          failed += cells.at(-1) !== "";
          if (shown.length < MAX_SHOWN) shown.push(cells);
        }
        parts.push(from > 0 ? answer.slice(from) : answer);
        if (!running || running !== mine) return;
        show(" …");
      }
      show(rows > MAX_SHOWN ? `. The first ${MAX_SHOWN} are shown.` : ".");
      result.append(make("button", { type: "button", class: "main", onclick: () => saveFile(`${file.name.replace(/\.csv$/i, "")}-predictions.csv`, new Blob(parts, { type: "text/csv" })) }, "Download predictions"));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (rows) show(" before the error.");
      else { status.textContent = ""; sheetBox.remove(); }
      result.prepend(showError(error instanceof ApiError ? error : new ApiError("The file cannot be read.", "Choose it again."), () => predictFile(file)));
    }
  };

  const file = make("input", { type: "file", accept: ".csv,text/csv", class: "sr", tabindex: -1, "aria-label": "CSV file",
    onchange: () => { if (file.files[0]) predictFile(file.files[0]); file.value = ""; } });
  const drop = make("div", { class: "drop low" }, "Drop a CSV file here, or",
    make("div", { class: "tools" },
      make("button", { type: "button", onclick: () => file.click() }, "Choose a CSV file"),
      make("button", { type: "button", class: "quiet", onclick: () => saveFile(`${model.name}-template.csv`, new Blob(template(model), { type: "text/csv" })) }, "Download a template")));
  acceptDrops(drop, ({ type, name }) => type === "text/csv" || name.endsWith(".csv"), ([dropped]) => predictFile(dropped));
  return make("section", { class: "panel wide", id: "csv", "aria-labelledby": "csv-title" },
    make("h2", { id: "csv-title" }, "Predict a CSV file"),
    describe(model.inputs),
    drop, file, status, result);
};

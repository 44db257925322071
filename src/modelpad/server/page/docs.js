// The API's reference, made from /openapi.json: protocols, their operations, and a form for each. What is
// folded is built when it is opened.

import "./theme.js";
import { listModels, readJson } from "./api.js";
import { outline, resolve } from "./docs-schema.js";
import { tryForm } from "./docs-try.js";
import { make } from "./dom.js";
import { currentKey, forgetKey, onKeyChange } from "./key.js";
import { readPresent } from "./present.js";

const about = document.querySelector("#about");
const place = document.querySelector("#operations");
const find = document.querySelector("#find");
const METHODS = { get: "GET", post: "POST", put: "PUT", delete: "DELETE", head: "HEAD", patch: "PATCH" };

const forget = document.querySelector("#forget");
forget.addEventListener("click", () => { forgetKey(); location.reload(); });
onKeyChange(() => { forget.hidden = !currentKey(); });

const folded = (words, build) => {
  const details = make("details", { class: "more" }, make("summary", {}, words));
  details.addEventListener("toggle", () => { if (details.open && details.childElementCount === 1) details.append(build()); });
  return details;
};

const schemaFold = (words, content, named) => {
  const schema = content?.["application/json"]?.schema;
  if (!schema) return null;
  const listed = outline(schema, named);
  return folded(words, () => make("div", {}, listed.childElementCount ? listed : null,
    folded("JSON schema", () => make("pre", { tabindex: 0 }, JSON.stringify(resolve(schema, named), null, 2)))));
};

const statuses = (responses) => make("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Statuses" }, make("table", {},
  make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Status"), make("th", { scope: "col" }, "Meaning"))),
  make("tbody", {}, Object.entries(responses).map(([status, { description }]) => make("tr", {}, make("th", { scope: "row" }, status), make("td", {}, description))))));

const inside = (id, method, path, operation, known) => {
  const { named } = known;
  const success = Object.entries(operation.responses).find(([status]) => status.startsWith("2"))?.[1];
  const accepted = Object.keys(operation.requestBody?.content ?? {});
  return make("div", { class: "inside" },
    operation.description ? make("p", {}, operation.description) : null,
    accepted.length > 1 ? make("p", { class: "hint" }, `Accepts ${accepted.join(", ")}.`) : null,
    tryForm(id, method, path, operation, known),
    schemaFold("Request", operation.requestBody?.content, named),
    schemaFold("Response", success?.content, named),
    folded("Statuses", () => statuses(operation.responses)));
};

// What fills an operation when it is opened. On loading, that is before the operation is shown, so that nothing moves.
const fills = new WeakMap();
const unfold = (operation) => {
  operation.closest(".group").open = true;
  fills.get(operation)();
  operation.open = true;
};

const operationFold = ({ id, method, path, operation }, known) => {
  const details = make("details", { class: "operation", id }, make("summary", { onclick: () => history.replaceState(history.state, "", `#${id}`) },
    make("span", { class: `method ${method}` }, METHODS[method] ?? method), make("code", {}, path), make("span", { class: "what" }, operation.summary ?? "")));
  fills.set(details, () => { if (details.childElementCount === 1) details.append(inside(id, method, path, operation, known)); });
  details.addEventListener("toggle", () => { if (details.open) fills.get(details)(); });
  return { element: details, text: `${method} ${path} ${operation.summary ?? ""}`.toLowerCase() };
};

const groupFold = ({ name, description }, operations, known) => {
  const rows = operations.map((each) => operationFold(each, known));
  const count = make("span", { class: "count" }, `${rows.length}`);
  const element = make("details", { class: "panel group" }, make("summary", {}, make("h2", {}, name), count, make("span", { class: "what" }, description ?? "")), rows.map((row) => row.element));
  // Shows the operations that have all words; gives how many there are.
  const filter = (words) => {
    for (const row of rows) row.element.hidden = !words.every((word) => row.text.includes(word));
    const found = rows.filter((row) => !row.element.hidden).length;
    element.hidden = !found;
    if (words.length) element.open = found > 0;
    return found;
  };
  return { element, filter };
};

const openTarget = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target?.matches(".operation")) return;
  unfold(target);
  target.scrollIntoView({ block: "start" });
  target.querySelector("summary").focus({ preventScroll: true });
};

const start = async () => {
  const [api, { models }] = await Promise.all([readJson("/openapi.json"), listModels()]);
  const present = readPresent();
  const known = { models, present, named: api.components.schemas };
  const operations = Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ id: operation.operationId, method, path, operation })));
  const tags = api.tags ?? [];
  const groups = tags.map((tag) => groupFold(tag, operations.filter(({ operation }) => operation.tags?.includes(tag.name)), known));
  about.replaceChildren(`${api.info.description}. Version ${api.info.version}. `, make("a", { href: "/openapi.json" }, "OpenAPI document"));
  if (present && models.some(({ name }) => name === present.model)) document.querySelector("#back").href = `/m/${encodeURIComponent(present.model)}`;
  const listed = document.createDocumentFragment();
  listed.append(...groups.map(({ element }) => element));
  groups[0].element.open = true;
  const wanted = decodeURIComponent(location.hash.slice(1)) || (present && `predict_${present.model}`);
  const first = (wanted && listed.getElementById(wanted)) || (location.hash ? null : listed.querySelector(".operation"));
  if (first?.matches(".operation")) unfold(first);
  place.replaceChildren(listed);
  const nothing = document.querySelector("#nothing");
  find.disabled = false;
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const count = groups.reduce((sum, { filter }) => sum + filter(words), 0);
    nothing.textContent = words.length ? (count ? `${count} found` : "No operation has these words.") : "";
    if (!words.length) groups.forEach(({ element }, index) => { element.open = !index; });
  });
  openTarget();
  addEventListener("hashchange", openTarget);
};

start().catch((error) => { about.textContent = `The API's description could not be loaded. ${error.message} ${error.hint ?? ""}`; });

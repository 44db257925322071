// The API reference, generated from /openapi.json: one collapsible section per operation.

import { readJson } from "./api.js";

const make = (tag, text = "", className = "") => {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
};

const schemaBlock = (title, schema) => {
  const box = make("div");
  box.append(make("h3", title), make("pre", JSON.stringify(schema, null, 2)));
  return box;
};

const statusTable = (responses) => {
  const table = make("table");
  const head = make("tr");
  head.append(make("th", "Status"), make("th", "Meaning"));
  table.append(head);
  for (const [status, answer] of Object.entries(responses)) {
    const row = make("tr");
    row.append(make("td", status), make("td", answer.description));
    table.append(row);
  }
  return table;
};

const resolve = (schema, named) => named[schema.$ref?.split("/").pop()] ?? schema;

const fold = (method, path, operation, named) => {
  const details = make("details");
  const summary = make("summary");
  summary.append(make("span", method.toUpperCase(), "method"), make("code", path), ` · ${operation.summary}`);
  const inside = make("div", "", "inside");
  if (operation.description) inside.append(make("p", operation.description));
  if (operation.requestBody) {
    const content = operation.requestBody.content;
    inside.append(make("p", `Accepts: ${Object.keys(content).join(", ")}`));
    const json = content["application/json"]?.schema;
    if (json) inside.append(schemaBlock("JSON body", resolve(json, named)));
  }
  inside.append(statusTable(operation.responses));
  const answer = Object.entries(operation.responses).find(([status]) => status.startsWith("2"))?.[1].content?.["application/json"]?.schema;
  if (operation.requestBody && answer) inside.append(schemaBlock("Response", resolve(answer, named)));
  details.append(summary, inside);
  details.open = path.startsWith("/predict");
  return details;
};

const about = document.querySelector("#about");
try {
  const api = await readJson("/openapi.json");
  about.textContent = `${api.info.description}. Version ${api.info.version}. The OpenAPI document is at /openapi.json.`;
  const operations = document.querySelector("#operations");
  const rows = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [method, path, operation]));
  const rank = (path) => ["/predict", "/v1", "/v2"].findIndex((start) => path.startsWith(start)) + 1 || 4;
  rows.sort(([, a], [, b]) => rank(a) - rank(b));
  operations.append(...rows.map((row) => fold(...row, api.components.schemas)));
} catch (error) {
  about.textContent = `The API description could not be loaded: ${error.message}`;
}

// A JSON schema as an outline: each property with its type and description.

import { make } from "./dom.js";

const MAX_CHOICES = 8;
const MAX_DEPTH = 4;

export const resolve = (schema, named) => named[schema?.$ref?.split("/").pop()] ?? schema ?? {};

const typeOf = (given, named) => {
  const schema = resolve(given, named);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.slice(0, MAX_CHOICES).map((each) => JSON.stringify(each)).join(" or ") + (schema.enum.length > MAX_CHOICES ? " or …" : "");
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return [...new Set(either.map((each) => typeOf(each, named)))].join(" or ");
  const type = [schema.type ?? "any"].flat().join(" or ");
  return type === "array" && schema.items ? `array of ${typeOf(schema.items, named)}` : type;
};

const inner = (given, named) => {
  const schema = resolve(given, named);
  return schema.properties ? schema : schema.items ? inner(schema.items, named) : {};
};

export const outline = (schema, named, depth = 0) => {
  const { properties = {}, required = [] } = inner(schema, named);
  return make("ul", { class: "outline" }, Object.entries(properties).map(([name, property]) => make("li", {},
    make("code", {}, name), ` ${typeOf(property, named)}`, required.includes(name) ? make("strong", {}, " required") : null,
    resolve(property, named).description ? ` · ${resolve(property, named).description}` : null,
    depth < MAX_DEPTH && inner(property, named).properties ? outline(property, named, depth + 1) : null)));
};

// What the body of a request without an example could be: its required properties.
export const exampleOf = (given, named, known = {}, name = "") => {
  const schema = resolve(given, named);
  if (name in known) return known[name];
  for (const key of ["const", "default", "example"]) if (key in schema) return schema[key];
  if (schema.enum) return schema.enum[0];
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return exampleOf(either[0], named, known, name);
  const [type] = [schema.type].flat();
  if (schema.properties || type === "object") return Object.fromEntries((schema.required ?? []).map((each) => [each, exampleOf(schema.properties?.[each], named, known, each)]));
  if (type === "array") return schema.items ? [exampleOf(schema.items, named, known)] : [];
  return { string: "text", number: 0, integer: schema.minimum ?? 1, boolean: true }[type] ?? null;
};

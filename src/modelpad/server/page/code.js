// Code that sends a request, in curl, Python and JavaScript. Names and values come from bundles and
// from people and end up in a shell or a program, so they are quoted as literals.

export const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
export const literal = JSON.stringify;

// A value in Python, which writes null, true and false in another way.
export const python = (value) =>
  Array.isArray(value) ? `[${value.map(python).join(", ")}]`
    : value && typeof value === "object" ? `{${Object.entries(value).map(([name, one]) => `${literal(name)}: ${python(one)}`).join(", ")}}`
      : value === null ? "None" : typeof value === "boolean" ? (value ? "True" : "False") : literal(value);

const MAX_INLINE = 16_000; // characters of a body that is written into the code; longer ones are read from a file

export const inputFile = ({ type }) => (type.includes("json") ? "input.json" : "input.txt");
export const isLong = ({ body }) => (body?.length ?? 0) > MAX_INLINE;

const parsed = ({ body, type }) => {
  if (!type.includes("json")) return undefined;
  try { return JSON.parse(body); } catch { return undefined; }
};

// `request` is { method, url, headers, type, body, answers }: `type` is the body's, `answers` the response's.
export const writeCode = (request, keyed) => {
  const { method, url, headers, type, body, answers } = request;
  const sent = { ...headers, ...(body === null ? {} : { "content-type": type }) };
  const file = body !== null && isLong(request) ? inputFile(request) : null;
  const usual = body === null ? "GET" : "POST";
  const value = body === null ? undefined : parsed(request);
  const data = value === undefined ? body : JSON.stringify(value); // in one line
  const curl = ["curl", ...(method === usual ? [] : ["-X", method]), ...(keyed ? ['-H "x-api-key: $MODELPAD_KEY"'] : []),
    ...Object.entries(sent).flatMap(([name, value]) => ["-H", shell(`${name}: ${value}`)]),
    ...(body === null ? [] : file ? ["--data-binary", `@${file}`] : ["-d", shell(data)]), shell(url)].join(" ");
  const pythonHeaders = Object.entries(value === undefined ? sent : headers).map(([name, one]) => `${literal(name)}: ${literal(one)}`).concat(keyed ? ['"x-api-key": key'] : []);
  const given = [literal(url)];
  if (file) given.push(value === undefined ? "data=body" : "json=body");
  else if (body !== null) given.push(value === undefined ? `data=${literal(body)}` : `json=${python(value)}`);
  if (pythonHeaders.length) given.push(`headers={${pythonHeaders.join(", ")}}`);
  const opened = file ? `with open("${file}") as file:\n    body = ${value === undefined ? "file.read()" : "json.load(file)"}\n` : "";
  const shown = answers.includes("json") ? "response.json()" : answers.startsWith("text/") ? "response.text" : "response.content";
  const imports = file && value !== undefined ? "import json\n\nimport requests" : "import requests";
  const pythonCode = `${imports}\n\n${opened}response = requests.${method.toLowerCase()}(${given.join(", ")})\nresponse.raise_for_status()\nprint(${shown})`;

  const scriptHeaders = Object.entries(sent).map(([name, one]) => `${literal(name)}: ${literal(one)}`).concat(keyed ? ['"x-api-key": key'] : []);
  const options = [method === "GET" ? null : `  method: ${literal(method)},`, scriptHeaders.length ? `  headers: { ${scriptHeaders.join(", ")} },` : null,
    body === null ? null : file ? `  body: await (await fetch("${file}")).text(),` : value === undefined ? `  body: ${literal(body)},` : `  body: JSON.stringify(${JSON.stringify(value)}),`].filter(Boolean);
  const read = answers.includes("json") ? "json" : answers.startsWith("text/") ? "text" : "blob";
  const script = `const response = await fetch(${literal(url)}${options.length ? `, {\n${options.join("\n")}\n}` : ""});\nif (!response.ok) throw new Error(await response.text());\nconsole.log(await response.${read}());`;
  return { curl, Python: pythonCode, JavaScript: script };
};

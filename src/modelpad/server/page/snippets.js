// Code that sends the same request: curl, Python, JavaScript.

import { literal, python, shell } from "./code.js";
import { codeTabs } from "./code-tabs.js";
import { make } from "./dom.js";
import { takesCsv } from "./csv-panel.js";
import { currentKey } from "./key.js";

const MAX_EXAMPLE = 80; // characters of a sample's value

// The value of the first sample if it is short, else one of the right kind.
const exampleOf = (model, { name, kind, shape, minimum, choices }) => {
  const sample = model.samples[0]?.inputs[name];
  if (sample && !sample.url && literal(sample.value ?? null).length <= MAX_EXAMPLE) return sample.value;
  if (kind === "text") return "some text";
  if (kind === "number") return minimum ?? 0;
  if (kind === "choice") return choices[0];
  return kind === "tensor" && shape.length === 1 && shape[0] <= 8 ? Array(shape[0]).fill(0) : "...";
};

const writeCompletions = (model) => {
  const body = { model: model.name, prompt: model.samples[0]?.inputs[model.inputs[0].name]?.value ?? "Once upon a time", max_tokens: 50 };
  const url = `${location.origin}/v1/completions`, key = currentKey() ? "$MODELPAD_KEY" : null;
  return {
    curl: `curl ${key ? `-H "authorization: Bearer ${key}" ` : ""}-H 'content-type: application/json' -d ${shell(literal({ ...body, stream: true }))} --no-buffer ${url}`,
    Python: `from openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key=${key ? "key" : '"none"'})\nstream = client.completions.create(model=${literal(body.model)}, prompt=${literal(body.prompt)}, max_tokens=50, stream=True)\nfor part in stream:\n    print(part.choices[0].text, end="", flush=True)`,
    JavaScript: `const answer = await (await fetch("${url}", {\n  method: "POST",\n  headers: { "content-type": "application/json"${key ? ', authorization: `Bearer ${key}`' : ""} },\n  body: JSON.stringify(${literal(body)}),\n})).json();\nconsole.log(answer.choices[0].text);`,
  };
};

const write = (model) => {
  if (model.task === "text-generation") return writeCompletions(model);
  const field = model.inputs[0];
  const url = `${location.origin}/predict/${encodeURIComponent(model.name)}`;
  const keyed = Boolean(currentKey());
  const curlKey = keyed ? '-H "x-api-key: $MODELPAD_KEY" ' : "";
  const pythonKey = keyed ? ', headers={"x-api-key": key}' : "";
  const isImage = field.kind === "sketch" || field.kind === "image";
  const isFile = isImage || field.kind === "audio", sent = isImage ? "image.png" : "sound.wav";
  const needed = model.inputs.filter((each) => each.kind !== "blend" && each.default == null);
  if (isImage && needed.length === 1 && model.outputs.length === 1 && model.outputs[0].kind === "image") return {
    curl: `curl ${curlKey}-F ${shell(`${field.name}=@photo.jpg`)} ${url} -o picture.jpg`,
    Python: `import requests\n\nwith open("photo.jpg", "rb") as file:\n    response = requests.post("${url}", files={${literal(field.name)}: file}${pythonKey})\nresponse.raise_for_status()\nwith open("picture.jpg", "wb") as file:\n    file.write(response.content)`,
    JavaScript: `const form = new FormData();\nform.append(${literal(field.name)}, file); // a File or Blob\nconst response = await fetch("${url}", { method: "POST", body: form${keyed ? ', headers: { "x-api-key": key }' : ""} });\nimage.src = URL.createObjectURL(await response.blob());`,
  };
  if (isFile && needed.length === 1) return {
    curl: `curl ${curlKey}-F ${shell(`${field.name}=@${sent}`)} ${url}`,
    Python: `import requests\n\nwith open("${sent}", "rb") as file:\n    answer = requests.post("${url}", files={${literal(field.name)}: file}${pythonKey}).json()\nprint(answer)`,
    JavaScript: `const form = new FormData();\nform.append(${literal(field.name)}, file); // a File or Blob\nconst answer = await (await fetch("${url}", { method: "POST", body: form${keyed ? ', headers: { "x-api-key": key }' : ""} })).json();\nconsole.log(answer);`,
  };
  const example = Object.fromEntries(model.inputs.map((each) => [each.name, exampleOf(model, each)]));
  const body = JSON.stringify(example);
  return {
    curl: `curl ${curlKey}-H 'content-type: application/json' -d ${shell(body)} ${url}`,
    Python: `import requests\n\nanswer = requests.post("${url}", json=${python(example)}${pythonKey}).json()\nprint(answer)`,
    JavaScript: `const answer = await (await fetch("${url}", {\n  method: "POST",\n  headers: { "content-type": "application/json"${keyed ? ', "x-api-key": key' : ""} },\n  body: JSON.stringify(${body}),\n})).json();\nconsole.log(answer);`,
    ...(takesCsv(model) ? { CSV: `curl ${curlKey}-H 'content-type: text/csv' --data-binary @rows.csv ${url}` } : {}),
  };
};

// Empty for a model that runs in the page itself.
export const snippets = (model) => {
  if (model.local) return "";
  const code = codeTabs("snippet", write(model));
  return make("section", { class: "panel wide" }, make("h2", {}, "Use the API"), code.element);
};

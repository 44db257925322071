// Runs an exported model with ONNX Runtime's WebAssembly build, from the values of its fields to
// the values of its outputs. As modelpad's engine/typed.py and engine/session.py.

import { env, InferenceSession, Tensor } from "../runtime/ort.wasm.bundle.min.mjs";
import { InvalidInput } from "./errors.js";
import { openFiles } from "./files.js";
import { decodeImage } from "./image.js";
import { array } from "./numbers.js";
import { encodeOutputs } from "./outputs.js";
import { decodeSketch } from "./sketch.js";
import { applySteps, placeBatch } from "./steps.js";
import { convert, DECODERS, defaultOf } from "./values.js";

const RUNTIME = "runtime/ort-wasm-simd-threaded.wasm.gz";

const decodeField = async (field, value) => {
  const decode = { sketch: decodeSketch, image: decodeImage, ...DECODERS }[field.kind];
  const { shape, ...rest } = await decode(field, value);
  return applySteps(field.steps, { ...rest, shape: [1, ...shape] });
};

// The columns of a table, (1,) each, as one row.
const join = (columns) => {
  const dtype = columns.every((column) => column.dtype === columns[0].dtype) ? columns[0].dtype : "float64";
  return array(dtype, [1, columns.length], convert(columns.map(({ data }) => data[0]), dtype));
};

const decodeInputs = async (fields, given) => {
  const values = { ...Object.fromEntries(fields.map((field) => [field.name, defaultOf(field)])), ...given };
  const missing = fields.find(({ name }) => values[name] === undefined), unknown = Object.keys(values).find((name) => !fields.some((field) => field.name === name));
  if (missing || unknown !== undefined) throw new InvalidInput(missing ? `The field '${missing.name}' is missing.` : `There is no field '${unknown}'.`, `Give: ${fields.map(({ name }) => name).join(", ")}.`);
  const tensors = {};
  for (const tensor of new Set(fields.map((field) => field.tensor))) {
    const group = fields.filter((field) => field.tensor === tensor).sort((left, right) => (left.column ?? 0) - (right.column ?? 0));
    const parts = [];
    for (const field of group) parts.push(await decodeField(field, values[field.name]));
    tensors[tensor] = placeBatch(group[0].column === null ? parts[0] : join(parts), group[0].batch_axis);
  }
  return tensors;
};

const startRuntime = async (read) => {
  env.wasm.numThreads = 1;
  env.logLevel = "error";
  env.wasm.wasmBinary ??= (await read(RUNTIME)).buffer;
};

const openGraph = async (read, { graph }) => {
  const [main, ...weights] = graph;
  const [bytes, ...others] = await Promise.all([read(`model/${main}.gz`), ...weights.map((name) => read(`model/${name}.gz`)), startRuntime(read)]);
  const externalData = weights.map((path, index) => ({ path, data: others[index] }));
  return InferenceSession.create(bytes, { executionProviders: ["wasm"], ...(externalData.length ? { externalData } : {}) });
};

// Opens the model of an exported folder, or of this page: { description, predict(values) }.
// `predict` takes values by field name, or the value of the only field, and gives values by output name.
export const load = async (base) => {
  const read = openFiles(base === undefined ? undefined : new URL(base, document.baseURI));
  const description = JSON.parse(new TextDecoder().decode(await read("model/model.json")));
  const session = openGraph(read, description);
  session.catch(() => {}); // reported by the first prediction
  let last = session;
  const predict = async (given) => {
    const { inputs } = description, names = inputs.map(({ name }) => name);
    const named = given && Object.getPrototypeOf(given) === Object.prototype && Object.keys(given).every((name) => names.includes(name));
    const tensors = await decodeInputs(inputs, named ? given : { [names[0]]: given });
    const feeds = Object.fromEntries(Object.entries(tensors).map(([name, { dtype, shape, data }]) => [name, new Tensor(dtype, data, shape)]));
    const running = last.catch(() => {}).then(async () => (await session).run(feeds)); // one at a time
    last = running;
    const found = await running;
    return encodeOutputs(description, Object.fromEntries(Object.entries(found).map(([name, { type, dims, data }]) => [name, array(type, [...dims], data)])));
  };
  return { description, predict, read, ready: session };
};

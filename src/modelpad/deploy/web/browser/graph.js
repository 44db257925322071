// Opens a model's graph with ONNX Runtime's WebAssembly build.

import { env, InferenceSession } from "../runtime/ort.wasm.bundle.min.mjs";

const RUNTIME = "runtime/ort-wasm-simd-threaded.wasm.gz";

const startRuntime = async (read) => {
  env.wasm.numThreads = 1;
  env.logLevel = "error";
  env.wasm.wasmBinary ??= (await read(RUNTIME)).buffer;
};

const createSession = async (read, { graph }) => {
  const [main, ...weights] = graph;
  const [bytes, ...others] = await Promise.all([read(`model/${main}.gz`), ...weights.map((name) => read(`model/${name}.gz`)), startRuntime(read)]);
  const externalData = weights.map((path, index) => ({ path, data: others[index] }));
  return InferenceSession.create(bytes, { executionProviders: ["wasm"], ...(externalData.length ? { externalData } : {}) });
};

// Gives { run(feeds, names), ready }: the tensors by name, one run at a time, and a promise of the loaded graph.
export const openGraph = (read, description) => {
  const session = createSession(read, description);
  session.catch(() => {}); // reported by the first run
  let last = session;
  const run = (feeds, names) => last = last.catch(() => {}).then(async () => { // one at a time
    const opened = await session;
    return opened.run(feeds, names ?? opened.outputNames);
  });
  return { run, ready: session };
};

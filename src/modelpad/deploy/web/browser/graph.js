// Opens a model's graph with ONNX Runtime Web: by WebGPU where the export offers it and the browser has it, else
// by WebAssembly.

import { env, InferenceSession } from "../runtime/ort.mjs";

const RUNTIME = "runtime/ort.wasm.gz";

let last = Promise.resolve();

// Does one thing of the runtime at a time: with WebGPU it cannot do two, even for different graphs.
const inTurn = (work) => last = last.catch(() => {}).then(work);

const startRuntime = async (read) => {
  env.wasm.numThreads = 1;
  env.logLevel = "error";
  env.wasm.wasmBinary ??= (await read(RUNTIME)).buffer;
};

// Gives { session, device } on `device`, or by WebAssembly where that fails.
const createSession = async (read, { graph }, device) => {
  const [main, ...weights] = graph;
  const [bytes, ...others] = await Promise.all([read(`model/${main}.gz`), ...weights.map((name) => read(`model/${name}.gz`)), startRuntime(read)]);
  const externalData = weights.map((path, index) => ({ path, data: others[index] }));
  const create = async (provider) => ({ session: await InferenceSession.create(bytes, { executionProviders: [provider], ...(externalData.length ? { externalData } : {}) }), device: provider });
  if (device !== "webgpu" || !await globalThis.navigator?.gpu?.requestAdapter().catch(() => null)) return create("wasm");
  return create("webgpu").catch(() => create("wasm"));
};

// Gives { run(feeds, names), ready }: the tensors by name, and a promise of { device } once the graph is loaded.
export const openGraph = (read, description, device = description.webgpu ? "webgpu" : "wasm") => {
  let opened = inTurn(() => createSession(read, description, device));
  const ready = opened.then(({ device: used }) => ({ device: used }));
  ready.catch(() => {}); // reported by the first run
  const runOnce = async (feeds, names) => {
    const { session } = await opened;
    return session.run(feeds, names ?? session.outputNames);
  };
  const run = (feeds, names) => inTurn(async () => {
    try {
      return await runOnce(feeds, names);
    } catch (error) { // the graphics card may be gone, or too small
      if ((await opened).device === "wasm") throw error;
      opened = createSession(read, description, "wasm");
      return runOnce(feeds, names);
    }
  });
  return { run, ready };
};

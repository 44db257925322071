/** A value of a field: a picture as a drawable, Blob, ImageData or data: URL; a number, text or nested list. */
export type Value = CanvasImageSource | Blob | ImageData | string | number | boolean | null | readonly Value[] | Readonly<Record<string, number>>;

/** What a label's output holds; `unknown` only where the model tells what is like none of its classes, `tokens_read` where it reads text. */
export interface LabelScores {
  label: string;
  confidence: number;
  scores: Record<string, number>;
  labels?: string[];
  unknown?: boolean;
  heatmap?: number[][];
  tokens_read?: number;
}

/** How a text is continued; a seed gives the same text each time. `n` texts are written side by side. */
export interface Settings {
  max_tokens?: number;
  temperature?: number;
  top_k?: number;
  top_p?: number;
  min_p?: number;
  stop?: string | readonly string[];
  seed?: number;
  n?: number;
}

/** The next piece of the text with number `index`; `logprob` is that of its token at temperature 1. */
export interface Piece {
  index: number;
  text: string;
  logprob: number | null;
  /** Why the text ends with this piece: by itself or a stop string, or at `max_tokens`. */
  finish: "stop" | "length" | null;
}

/** What runs the graph: WebGPU, if the page was exported with `--webgpu` and the browser has it, or WebAssembly. */
export type Device = "webgpu" | "wasm";

export interface Model {
  /** Name, version, fields, samples and card, as modelpad's `GET /models` describes them. */
  readonly description: { name: string; version: number; inputs: object[]; outputs: object[] } & Record<string, unknown>;
  /** Resolves when the graph is loaded, with what runs it; `predict` waits for it anyway. */
  readonly ready: Promise<{ device: Device }>;
  /** The outputs by name, for values by field name or the value of the only field. */
  predict(values: Value | Record<string, Value>): Promise<Record<string, LabelScores | unknown>>;
  /** Models that write: continues a prompt, piece by piece. */
  write?(prompt: string, settings?: Settings, signal?: AbortSignal): AsyncGenerator<Piece>;
  /** Models that write: the log probability of each token of a text. */
  score?(text: string | Record<string, string>): Promise<(number | null)[]>;
}

/** Opens the model in an exported folder. */
export function load(folder?: string, options?: { device?: Device }): Promise<Model>;

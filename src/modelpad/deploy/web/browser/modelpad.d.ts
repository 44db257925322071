/** A value of a field: a picture as a drawable, Blob, ImageData or data: URL; a number, text or nested list. */
export type Value = CanvasImageSource | Blob | ImageData | string | number | boolean | null | readonly Value[] | Readonly<Record<string, number>>;

/** What a label's output holds; `unknown` only where the model tells what is like none of its classes. */
export interface LabelScores {
  label: string;
  confidence: number;
  scores: Record<string, number>;
  labels?: string[];
  unknown?: boolean;
  heatmap?: number[][];
}

export interface Model {
  /** Name, version, fields, samples and card, as modelpad's `GET /models` describes them. */
  readonly description: { name: string; version: number; inputs: object[]; outputs: object[] } & Record<string, unknown>;
  /** Resolves when the graph is loaded; `predict` waits for it anyway. */
  readonly ready: Promise<unknown>;
  /** The outputs by name, for values by field name or the value of the only field. */
  predict(values: Value | Record<string, Value>): Promise<Record<string, LabelScores | unknown>>;
}

/** Opens the model in an exported folder. */
export function load(folder?: string): Promise<Model>;

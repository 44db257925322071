// How a text is to be continued, by the names of OpenAI's API. As modelpad's engine/text/options.py.

import { InvalidInput } from "./errors.js";

const MAX_NEW_TOKENS = 16_384, MAX_TEXTS = 16, MAX_STOPS = 16, MAX_STOP_UNITS = 500;
// Of each number: what it is without a setting, the least and the most; whole ones.
const NUMBERS = {
  max_tokens: [16, 0, MAX_NEW_TOKENS], n: [1, 1, MAX_TEXTS], top_k: [0, 0, 2 ** 31], seed: [null, -(2 ** 53), 2 ** 53],
  temperature: [1, 0, 100], top_p: [1, 0, 1], min_p: [0, 0, 1],
};
const WHOLE = new Set(["max_tokens", "n", "top_k", "seed"]);

const refuse = (name, expected) => { throw new InvalidInput(`${name} must be ${expected}.`, `Give ${name} as ${expected}.`); };

const readNumber = (name, value) => {
  const [initial, low, high] = NUMBERS[name], number = typeof value === "string" && value.trim() ? Number(value) : value;
  if (value === undefined || value === null) return initial;
  if (typeof number !== "number" || !(number >= low && number <= high) || (WHOLE.has(name) && !Number.isInteger(number))) refuse(name, `a ${WHOLE.has(name) ? "whole " : ""}number from ${low} to ${high}`);
  return number;
};

const readStops = (given = []) => {
  const stops = typeof given === "string" ? [given] : given;
  if (!Array.isArray(stops) || stops.length > MAX_STOPS || !stops.every((stop) => typeof stop === "string" && stop.length <= MAX_STOP_UNITS)) refuse("stop", `a string, or at most ${MAX_STOPS} strings of at most ${MAX_STOP_UNITS} characters`);
  return stops.filter(Boolean);
};

export const readSettings = ({ stop, ...given }) => {
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(NUMBERS, name));
  if (unknown !== undefined) throw new InvalidInput(`Unknown setting '${unknown}'.`, `Known: ${[...Object.keys(NUMBERS), "stop"].join(", ")}.`);
  return { ...Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, readNumber(name, given[name])])), stop: readStops(stop ?? undefined) };
};

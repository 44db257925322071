// Numbers, choices, texts and tensors as arrays, without a batch axis. As modelpad's fields/*.py.

import { InvalidInput } from "./errors.js";
import { array, rint } from "./numbers.js";

const KINDS = {
  bool: Uint8Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array,
  int64: BigInt64Array, uint64: BigUint64Array, float32: Float32Array, float64: Float64Array, string: Array,
};
const LIMITS = { int8: [-128, 127], uint8: [0, 255], int16: [-32768, 32767], uint16: [0, 65535], int32: [-2147483648, 2147483647], uint32: [0, 4294967295], int64: [-(2n ** 63n), 2n ** 63n - 1n], uint64: [0n, 2n ** 64n - 1n], bool: [0, 1] };
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const MISSING = new Set(["", "na", "nan", "null"]);

const refuse = (field, problem, expected) => { throw new InvalidInput(`The field '${field.name}' ${problem}.`, `Send ${expected}.`); };

export const isWide = (dtype) => dtype === "int64" || dtype === "uint64";

// Values in an array of a dtype; fractions become whole numbers within its range.
export const convert = (values, dtype) => {
  const Kind = KINDS[dtype];
  if (dtype === "string" || dtype.startsWith("float")) return Kind.from(values, dtype === "string" ? String : Number);
  const [low, high] = LIMITS[dtype];
  return Kind.from(values, (value) => {
    if (isWide(dtype)) {
      const whole = typeof value === "bigint" ? value : BigInt(rint(value));
      return whole < low ? low : whole > high ? high : whole;
    }
    const whole = rint(Number(value));
    return dtype === "bool" ? whole !== 0 : whole < low ? low : whole > high ? high : whole;
  });
};

const shapeOf = (value) => (Array.isArray(value) ? [value.length, ...(value.length ? shapeOf(value[0]) : [])] : []);
const isEven = (value, [side, ...rest]) => (side === undefined ? !Array.isArray(value) : Array.isArray(value) && value.length === side && value.every((each) => isEven(each, rest)));

export const decodeNumbers = (field, value) => {
  const { dtype, shape: wanted } = field, shape = shapeOf(value), sides = `${dtype} of shape [${wanted.map((side) => side ?? "any").join(", ")}] as nested lists`;
  if (!isEven(value, shape)) refuse(field, "has rows of different lengths", sides);
  if (shape.length !== wanted.length || !shape.every((side, axis) => wanted[axis] === null || wanted[axis] === side)) refuse(field, "has the wrong shape", sides);
  const values = shape.length ? value.flat(Infinity) : [value];
  if (dtype === "string") {
    if (!values.every((each) => typeof each === "string")) refuse(field, "does not consist of text", sides);
    return array(dtype, shape, values);
  }
  if (!values.every((each) => typeof each === "boolean" || Number.isFinite(each))) refuse(field, "does not consist of finite numbers", sides);
  if (!dtype.startsWith("float")) {
    const [low, high] = LIMITS[dtype];
    if (!values.every((each) => Number.isInteger(Number(each)) && each >= low && each <= high)) refuse(field, `must contain whole numbers that fit into ${dtype}`, sides);
  }
  const data = convert(values.map(Number), dtype);
  if (dtype.startsWith("float") && !data.every(Number.isFinite)) refuse(field, `does not fit into ${dtype}`, sides);
  return array(dtype, shape, data);
};

const decodeNumber = (field, value) => {
  const text = typeof value === "string" ? value.trim() : value, isMissing = text === null || Number.isNaN(text) || (typeof text === "string" && MISSING.has(text.toLowerCase()));
  const expected = `a ${field.whole ? "whole " : ""}number${field.minimum === null ? "" : ` of at least ${field.minimum}`}${field.maximum === null ? "" : ` of at most ${field.maximum}`}`;
  if (field.nullable && isMissing) return array("float64", [], Float64Array.of(NaN));
  if (isMissing) refuse(field, "is missing", expected);
  const number = typeof text === "string" && DECIMAL.test(text) ? Number(text) : text;
  if (typeof number !== "number" || !Number.isFinite(number)) refuse(field, "is not a number", expected);
  if (field.whole && !Number.isInteger(number)) refuse(field, "is not a whole number", expected);
  if ((field.minimum !== null && number < field.minimum) || (field.maximum !== null && number > field.maximum)) refuse(field, "is out of range", expected);
  if (!field.whole || field.nullable) return array("float64", [], Float64Array.of(number));
  const whole = typeof text === "string" && /^[+-]?\d+$/.test(text) ? BigInt(text.replace("+", "")) : BigInt(number);
  if (whole < LIMITS.int64[0] || whole > LIMITS.int64[1]) refuse(field, "is too large", expected);
  return array("int64", [], BigInt64Array.of(whole));
};

const decodeChoice = (field, value) => {
  const isText = typeof field.choices[0] === "string";
  const found = isText ? value : typeof value === "string" && /^\s*[+-]?\d{1,19}(\.0*)?\s*$/.test(value) ? Math.trunc(Number(value)) : value;
  const fits = isText ? typeof found === "string" : Number.isInteger(found);
  if (!field.choices.includes(found) && !(field.allow_other && fits && found !== "")) refuse(field, fits && found !== "" ? "is not one of its choices" : "is missing", field.allow_other ? "one" : `one of ${field.choices.slice(0, 12).join(", ")}`);
  return isText ? array("string", [], [found]) : array("int64", [], BigInt64Array.of(BigInt(found)));
};

// `wave`, `wave:2,scream:1` or JSON as an object of weights; null for anything else.
const parseBlend = (text) => {
  if (!text.startsWith("{")) return Object.fromEntries(text.split(",").map((part) => part.split(":").map((each) => each.trim())).map(([name, weight = 1]) => [name, weight]));
  try { return JSON.parse(text); } catch { return null; }
};

const decodeBlend = (field, value) => {
  const given = typeof value === "string" ? parseBlend(value.trim()) : value, weights = field.choices.map((name) => Number(given?.[name] ?? 0));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!(total > 0) || !weights.every((weight) => weight >= 0) || !Object.keys(given).every((name) => field.choices.includes(name))) refuse(field, "is not one of its choices", `one of ${field.choices.slice(0, 12).join(", ")}`);
  return array("float32", [weights.length], Float32Array.from(weights, (weight) => weight / total));
};

export const DECODERS = { tensor: decodeNumbers, number: decodeNumber, choice: decodeChoice, blend: decodeBlend, score: (field, value) => decodeNumbers({ name: field.name, dtype: "float32", shape: [] }, value) };

// What a field stands for in a request without it; undefined if it must be given.
export const defaultOf = (field) => (field.kind === "blend" ? field.choices[0] : field.default ?? undefined);

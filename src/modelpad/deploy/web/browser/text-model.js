// A model that reads or writes text, token by token. As modelpad's engine/text/session.py and jobs.py.

import { makeTokenizer } from "./byte-pairs.js";
import { InvalidInput } from "./errors.js";
import { array } from "./numbers.js";
import { encodeOutputs } from "./outputs.js";
import { logProbability, makeSampler } from "./sampling.js";
import { textGraph } from "./text-graph.js";
import { readSettings } from "./text-settings.js";
import { textStream } from "./text-stream.js";

const PIECE = 32; // tokens that are read at once
const DEFAULTS = { max_tokens: 256, temperature: 0.8, top_p: 0.95 }; // of predict(), as in the typed API
const EMPTY = /^[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$/;
const LONE = /\p{Surrogate}/u;

const checkText = ({ name, max_length: most }, value) => {
  const refuse = (problem, hint = "Send a string.") => { throw new InvalidInput(`The field '${name}' ${problem}.`, hint); };
  if (typeof value !== "string") refuse(value === undefined ? "is missing" : "is not text");
  if (EMPTY.test(value)) refuse("is empty");
  if (LONE.test(value)) refuse("has half of a surrogate pair, which is no character", "Send whole characters.");
  if (value.length > most && [...value].length > most) refuse(`has more than ${most} characters`, "Send a shorter text.");
  return value;
};

// Lets the page show what has come, and take clicks, before more is computed.
const breathe = () => new Promise((resolve) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => { port1.close(); resolve(); };
  port2.postMessage(null);
});

const countShared = (left, right) => {
  const end = left.findIndex((token, index) => token !== right[index]);
  return end < 0 ? left.length : end;
};

// One text that is being written: choose(logits) gives its next piece, { index, text, logprob, finish }.
const writing = (index, options, tokenizer, end, banned) => {
  const choose = makeSampler(options, index), stream = textStream(options.stop);
  const self = { count: 0, token: null };
  self.choose = (all) => {
    if (!options.max_tokens) return { index, text: "", logprob: null, finish: "length" };
    const logits = all.slice(0, tokenizer.size);
    for (const token of banned) logits[token] = -Infinity;
    const token = self.token = choose(logits), isEnd = end.has(token);
    self.count++;
    let text = isEnd ? "" : stream.add(tokenizer.contents[token]);
    const isLast = isEnd || stream.stopped || self.count >= options.max_tokens;
    if (isLast && !stream.stopped) text += stream.finish();
    return { index, text, logprob: isEnd ? null : logProbability(all.subarray(0, tokenizer.size), token), finish: isEnd || stream.stopped ? "stop" : isLast ? "length" : null };
  };
  return self;
};

// Gives { predict(values) } of a model that reads; of one that writes also { write(prompt, settings, signal), score(text) }.
export const openText = async (description, read, run) => {
  const { sequence: model, inputs: [field], outputs } = description;
  const tokenizer = makeTokenizer(JSON.parse(new TextDecoder().decode(await read(`model/${model.tokenizer}.gz`))), model.pattern);
  const graph = textGraph(model, run), end = new Set(model.end), grows = model.states.some(({ shape }) => shape.includes(-1));
  const banned = tokenizer.contents.flatMap((content, token) => (!content.length || (tokenizer.special.has(token) && !end.has(token)) ? [token] : []));
  const writes = model.positions !== null;
  let last = { tokens: [], marks: [] }; // the text that was read last, and its states after each whole piece

  const encode = (text, most = 0) => {
    const tokens = tokenizer.encode(text), all = model.start === null || tokens[0] === model.start ? tokens : [model.start, ...tokens];
    if (model.context !== null && all.length + most > model.context) throw new InvalidInput(`This model's maximum context length is ${model.context} tokens; ${all.length + most} were requested.`, "Give a shorter text, or ask for fewer tokens.");
    return all;
  };

  const isObject = (given) => given !== null && typeof given === "object" && Object.getPrototypeOf(given) === Object.prototype;
  const nameValues = (given) => (isObject(given) ? given : { [field.name]: given });

  // Reads a text, from behind what it shares with the one before; gives { output, states } after its last token.
  const readText = async (tokens, signal) => {
    const shared = Math.min(countShared(tokens, last.tokens), tokens.length - 1), { marks } = last = { tokens, marks: last.marks.filter(({ length }) => length <= shared) };
    let found = { states: marks.at(-1) ?? graph.start() };
    while (found.states.length < tokens.length) {
      await breathe();
      signal?.throwIfAborted();
      const piece = tokens.slice(found.states.length, found.states.length + PIECE), isLast = found.states.length + piece.length === tokens.length;
      found = await graph.advance([piece], found.states, isLast ? [piece.length - 1] : []);
      if (piece.length === PIECE && !grows) marks.push(found.states);
    }
    return found;
  };

  async function* write(prompt, settings = {}, signal = undefined) {
    const text = checkText(field, prompt), options = readSettings(settings);
    let { output, states } = await readText(encode(text, options.max_tokens), signal);
    let texts = Array.from({ length: options.n }, (_, index) => writing(index, options, tokenizer, end, banned));
    let logits = texts.map(() => output.data);
    for (let rows = texts.map(() => 0); ;) {
      const going = [];
      for (const [row, each] of texts.entries()) {
        const piece = each.choose(logits[row]);
        yield piece;
        if (!piece.finish) going.push(row);
      }
      if (!going.length) return;
      states = graph.take(states, going.map((row) => rows[row]));
      texts = going.map((row) => texts[row]);
      rows = texts.map((_, row) => row);
      await breathe();
      signal?.throwIfAborted();
      ({ output, states } = await graph.advance(texts.map(({ token }) => [token]), states, [0]));
      const side = output.shape.at(-1);
      logits = texts.map((_, row) => output.data.subarray(row * side, (row + 1) * side));
    }
  }

  // The log probability of each token of a text; null for the first, if nothing is before it.
  const score = async (given) => {
    const tokens = encode(checkText(field, nameValues(given)[field.name])), scores = model.start === null ? [null] : [];
    let states = graph.start();
    while (states.length < tokens.length - 1) {
      const from = states.length, piece = tokens.slice(from, Math.min(from + PIECE, tokens.length - 1)), found = await graph.advance([piece], states, [...piece.keys()]);
      const side = found.output.shape.at(-1);
      piece.forEach((_, place) => scores.push(logProbability(found.output.data.subarray(place * side, place * side + tokenizer.size), tokens[from + place + 1])));
      states = found.states;
    }
    return scores;
  };

  const classify = async (given) => {
    const { [field.name]: text, ...others } = nameValues(given), [unknown] = Object.keys(others);
    if (unknown !== undefined) throw new InvalidInput(`There is no field '${unknown}'.`, `Give: ${field.name}.`);
    const tokens = encode(checkText(field, text)), { output } = await readText(tokens);
    const encoded = encodeOutputs(description, { [outputs[0].tensor]: array(output.dtype, output.shape, output.data) });
    return { ...encoded, [outputs[0].name]: { ...encoded[outputs[0].name], tokens_read: tokens.length } };
  };

  const writeWhole = async (given) => {
    const { [field.name]: prompt, ...settings } = nameValues(given);
    let text = prompt;
    for await (const piece of write(prompt, { ...DEFAULTS, ...settings, n: 1 })) text += piece.text;
    return { [outputs[0].name]: text };
  };

  return writes ? { predict: writeWhole, write, score } : { predict: classify };
};

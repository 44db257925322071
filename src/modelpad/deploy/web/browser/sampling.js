// Chooses the next token of a text from its logits. As modelpad's engine/text/sampling.py, but for
// its random numbers: the same seed gives the same text in every page, and another one on a server.

const MIN_TEMPERATURE = 1e-4; // below it, the likeliest token is taken
const FRACTIONS = [1e-2, 1e-4, 0]; // of the likeliest: only tokens above one are sorted, if they are enough

// Numbers from 0 to 1 that follow from a text: its FNV-1a hash, then SplitMix32.
const makeRandom = (text) => {
  let state = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) state = Math.imul(state ^ text.charCodeAt(index), 0x01000193);
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 4294967296;
  };
};

export const findLargest = (values) => {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index] > values[best]) best = index;
  return best;
};

const sumOf = (weights) => weights.reduce((sum, weight) => sum + weight, 0);

// The place in weights at which a share of their sum is reached.
const draw = (weights, share) => {
  let left = share * sumOf(weights);
  const found = weights.findIndex((weight) => (left -= weight) < 0);
  return found < 0 ? weights.length - 1 : found;
};

// The tokens that the filters keep, the likeliest first. Weights are relative to the largest, 1.
const keepLikeliest = (weights, { top_k: topK, top_p: topP, min_p: minP }) => {
  const total = sumOf(weights);
  let tokens;
  for (const fraction of FRACTIONS) {
    tokens = [];
    for (let token = 0; token < weights.length; token++) if (weights[token] >= Math.max(fraction, minP)) tokens.push(token);
    const isEnough = topK ? tokens.length >= topK : sumOf(tokens.map((token) => weights[token])) >= topP * total;
    if (isEnough || minP >= fraction) break;
  }
  tokens.sort((left, right) => weights[right] - weights[left] || left - right);
  if (topK) tokens.length = Math.min(topK, tokens.length);
  if (topP < 1) {
    const wanted = topP * (topK ? sumOf(tokens.map((token) => weights[token])) : total);
    let sum = 0;
    const last = tokens.findIndex((token) => (sum += weights[token]) >= wanted);
    if (last >= 0) tokens.length = last + 1;
  }
  return tokens;
};

// The log probability of a token, at temperature 1.
export const logProbability = (logits, token) => {
  const most = logits[findLargest(logits)];
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return logits[token] - most - Math.log(sum);
};

// Gives choose(logits) for a text, the one with number `index` of several for a prompt.
export const makeSampler = (options, index) => {
  const random = options.seed === null ? Math.random : makeRandom(`${options.seed} ${index}`);
  return (logits) => {
    if (options.temperature < MIN_TEMPERATURE || options.top_k === 1) return findLargest(logits);
    const most = logits[findLargest(logits)], weights = logits.map((logit) => Math.exp((logit - most) / options.temperature));
    if (!options.top_k && options.top_p >= 1 && !options.min_p) return draw(weights, random());
    const tokens = keepLikeliest(weights, options);
    return tokens[draw(tokens.map((token) => weights[token]), random())];
  };
};

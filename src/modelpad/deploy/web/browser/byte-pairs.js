// Byte-level byte-pair encoding: text to tokens, and tokens to bytes. As modelpad's
// fields/byte_pairs.py, which explains it; the pattern has the characters of each class written out.

const MAX_CACHED_WORDS = 50_000, MAX_CACHED_UNITS = 40;

// The characters that stand for bytes in a vocabulary: printable ones, as GPT-2 chose them.
const byteCharacters = () => {
  const isPlain = (byte) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  let other = 256;
  return new Map(Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(isPlain(byte) ? byte : other++), byte]));
};

const escape = (text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
const matchAny = (names) => (names.length ? new RegExp(names.toSorted((left, right) => right.length - left.length).map(escape).join("|"), "gu") : null);

const nameBytes = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

// What a pattern matches, and what is between the matches: [part, is a match].
function* divide(text, pattern) {
  let end = 0;
  for (const { 0: part, index } of text.matchAll(pattern)) {
    if (index > end) yield [text.slice(end, index), false];
    if (part) yield [part, true];
    end = index + part.length;
  }
  if (end < text.length) yield [text.slice(end), false];
}

// Gives { size, contents, special, encode(text), decode(tokens) } for a parsed tokenizer.json.
export const makeTokenizer = ({ model, added_tokens: addedTokens }, source) => {
  const bytes = byteCharacters(), utf8 = new TextEncoder(), pattern = new RegExp(source, "gu");
  const added = new Map((addedTokens ?? []).map(({ content, id }) => [content, id]));
  const special = new Set((addedTokens ?? []).filter((each) => each.special).map(({ id }) => id));
  const vocabulary = new Map(Object.entries(model.vocab));
  const size = [...vocabulary.values(), ...added.values()].reduce((most, token) => Math.max(most, token + 1), 0);
  const contents = new Array(size).fill(new Uint8Array());
  for (const [name, token] of vocabulary) if (!added.has(name)) contents[token] = Uint8Array.from(name, (char) => bytes.get(char));
  for (const [name, token] of added) contents[token] = utf8.encode(name);
  const tokenOfByte = [];
  for (const [char, byte] of bytes) tokenOfByte[byte] = vocabulary.get(char);
  const whole = new Map(model.ignore_merges ? contents.map((content, token) => [nameBytes(content), token]) : []);
  const ranks = new Map(), merged = [];
  model.merges.forEach((merge, rank) => {
    const [left, right] = typeof merge === "string" ? merge.split(" ") : merge;
    ranks.set(vocabulary.get(left) * size + vocabulary.get(right), rank);
    merged[rank] = vocabulary.get(left + right);
  });
  const rankOf = (left, right) => ranks.get(left * size + right) ?? Infinity;
  const splitter = matchAny([...added.keys()].filter((name) => !special.has(added.get(name))));
  const words = new Map();

  // Merges all places of a pair from the left, unless one of them makes an earlier pair.
  const mergePair = (tokens, rank) => {
    const next = [];
    let isEarlier = false;
    for (let at = 0; at < tokens.length; at++) {
      if (isEarlier || rankOf(tokens[at], tokens[at + 1]) !== rank) { next.push(tokens[at]); continue; }
      isEarlier = rankOf(next.at(-1), merged[rank]) < rank || rankOf(merged[rank], tokens[at + 2]) < rank;
      next.push(merged[rank]);
      at++;
    }
    return next;
  };
  const merge = (word) => {
    let tokens = Array.from(utf8.encode(word), (byte) => tokenOfByte[byte]);
    for (;;) {
      let best = Infinity;
      for (let at = 1; at < tokens.length; at++) best = Math.min(best, rankOf(tokens[at - 1], tokens[at]));
      if (best === Infinity) return tokens;
      tokens = mergePair(tokens, best);
    }
  };
  const encodeWord = (word) => {
    if (words.size > MAX_CACHED_WORDS) words.clear();
    let tokens = words.get(word);
    if (tokens) return tokens;
    const known = whole.size ? whole.get(nameBytes(utf8.encode(word))) : undefined;
    tokens = known === undefined ? merge(word) : [known];
    if (word.length <= MAX_CACHED_UNITS) words.set(word, tokens);
    return tokens;
  };
  const encodePlain = (text) => Array.from(divide(text, pattern), ([word]) => encodeWord(word)).flat();

  return {
    size, contents, special,
    encode: (text) => (splitter ? Array.from(divide(text, splitter), ([part, isAdded]) => (isAdded ? added.get(part) : encodePlain(part))).flat() : encodePlain(text)),
    decode: (tokens) => Uint8Array.from(tokens.filter((token) => token < size && !special.has(token)).flatMap((token) => [...contents[token]])),
  };
};

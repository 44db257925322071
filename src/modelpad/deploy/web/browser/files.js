// Where an exported model's files are: beside the page, or within it.

// A file within the page is the base64 text of a <script data-file="PATH">, which runs nothing.
const find = (path) => document.querySelector(`script[data-file="${CSS.escape(path)}"]`);

const decode = (text) => {
  const characters = atob(text), bytes = new Uint8Array(characters.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = characters.charCodeAt(index);
  return bytes;
};

// The bytes of gzip; what a server has already decompressed is left as it is.
const inflate = async (bytes) => {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
};

// Gives a function that reads the files of the model in a folder, or in this page, by their path.
export const openFiles = (base) => async (path) => {
  const within = base === undefined && typeof document !== "undefined" ? find(path) : null;
  if (within) return inflate(decode(within.textContent));
  const response = await fetch(new URL(path, base ?? document.baseURI));
  if (!response.ok) throw new Error(`${path} cannot be loaded (status ${response.status}).`);
  return inflate(new Uint8Array(await response.arrayBuffer()));
};

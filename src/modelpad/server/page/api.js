// The server's API, as this page uses it.

export class ApiError extends Error {
  constructor(message, hint) {
    super(message);
    this.hint = hint ?? "";
  }
}

const read = async (response) => {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(body.error?.message ?? `The server answered ${response.status}.`, body.error?.hint);
  return body;
};

const reach = (request) => request.catch((error) => {
  if (error.name === "AbortError") throw error;
  throw new ApiError("The server cannot be reached.", "Is it still running?");
});

// Where the server wants a key, the person is asked for it once; a cookie of this page alone keeps it.
const ask = async (url, options) => {
  const response = await reach(fetch(url, options));
  if (response.status !== 401) return read(response);
  const key = prompt("This server wants an API key:");
  if (!key) return read(response);
  document.cookie = `modelpad_key=${encodeURIComponent(key.trim())}; path=/; SameSite=Strict`;
  return read(await reach(fetch(url, options)));
};

export const listModels = async () => (await ask("/models")).models;

export const predict = async (model, values, signal) =>
  ask(`/predict/${encodeURIComponent(model)}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(values),
    signal,
  });

export const readAsDataUrl = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(new ApiError("The file cannot be read.", "Choose another."));
  reader.readAsDataURL(blob);
});

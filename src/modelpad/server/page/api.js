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

export const listModels = async () => (await read(await reach(fetch("/models")))).models;

export const predict = async (model, values, signal) =>
  read(await reach(fetch(`/predict/${encodeURIComponent(model)}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(values),
    signal,
  })));

export const readAsDataUrl = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(new ApiError("The file cannot be read.", "Choose another."));
  reader.readAsDataURL(blob);
});

// How the page reaches its server: with the API key, if one is needed, and errors as ApiError.
// A page without a server has another module in its place, with the same exports: see deploy/web.

import { ApiError } from "./api-error.js";
import { currentKey, keyHeader, obtainKey, wantsKey } from "./key.js";

const fail = async (response) => {
  const { error } = await response.json().catch(() => ({}));
  const needsKey = wantsKey(response);
  throw new ApiError(error?.message ?? `The server responded with status ${response.status}.`, needsKey ? "" : error?.hint, needsKey, response.status);
};

const reach = (request) => request.catch((error) => {
  if (error.name === "AbortError") throw error;
  throw new ApiError("The server cannot be reached.", "Is it still running?");
});

// A URL from a bundle could be anything, but the key must be sent to this server only.
const own = (url) => {
  const target = new URL(url, location.origin);
  if (target.origin !== location.origin) throw new ApiError("This URL is not on this server.", target.origin);
  return target;
};

export const ask = async (url, options = {}) => {
  const target = own(url);
  for (;;) {
    const used = currentKey();
    const response = await reach(fetch(target, { ...options, headers: { ...options.headers, ...keyHeader(used) } }));
    if (response.ok) return response;
    if (!wantsKey(response) || !(await obtainKey(used))) return fail(response);
  }
};

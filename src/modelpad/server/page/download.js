// Saves a file that the page has made.

import { make } from "./dom.js";

export const saveFile = (name, blob) => {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
};

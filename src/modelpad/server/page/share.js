// Inputs in the fragment of a link, which browsers do not send to any server.

const PREFIX = "#in=";
const MAX_CHARS = 30_000; // of JSON; longer links break in other programs

// The fragment with these inputs; null if they are too large for a link.
export const writeFragment = (saved) => {
  const text = JSON.stringify(saved);
  if (text.length > MAX_CHARS) return null;
  const bytes = new TextEncoder().encode(text);
  return PREFIX + btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
};

export const isShared = (fragment) => fragment.startsWith(PREFIX);

// The inputs in a fragment; null if it has none. Throws on one that is damaged.
export const readFragment = (fragment) => {
  if (!isShared(fragment)) return null;
  const text = atob(fragment.slice(PREFIX.length).replaceAll("-", "+").replaceAll("_", "/"));
  const saved = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(text, (each) => each.charCodeAt(0))));
  if (saved === null || typeof saved !== "object") throw new TypeError("not inputs");
  return saved;
};

// A button that copies the link to the present input; `save()` gives the input.
export const shareOn = (button, save) => {
  const said = button.textContent;
  let timer = 0;
  button.addEventListener("click", async () => {
    const fragment = writeFragment(save());
    if (fragment) history.replaceState(history.state, "", fragment);
    const done = fragment && (await navigator.clipboard?.writeText(location.href).then(() => true, () => false));
    button.textContent = done ? "Copied" : fragment ? "It is in the address bar" : "Too large for a link";
    clearTimeout(timer);
    timer = setTimeout(() => { button.textContent = said; }, 2500);
  });
};

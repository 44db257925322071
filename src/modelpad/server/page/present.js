// The input that was predicted last, for the API's reference: kept in this tab only, until it is closed.

const NAME = "modelpad-input";
const MAX_CHARS = 3_000_000; // browsers keep five million

// `values` are as they are sent to /predict.
export const keepPresent = (model, values) => {
  try {
    const text = JSON.stringify({ model, values });
    if (text.length <= MAX_CHARS) sessionStorage.setItem(NAME, text);
    else sessionStorage.removeItem(NAME);
  } catch { /* storage is blocked or full: the reference shows an example instead */ }
};

// { model, values }, or null.
export const readPresent = () => {
  try { return JSON.parse(sessionStorage.getItem(NAME)); } catch { return null; }
};

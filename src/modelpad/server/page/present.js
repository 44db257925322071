// The input that was predicted last, for the API's reference and for Back: kept in this tab only, until
// it is closed.

const NAME = "modelpad-input";
const MAX_CHARS = 3_000_000; // browsers keep five million
const MAX_IN_HISTORY = 500_000; // characters

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

// Keeps inputs as they are saved in this entry of the history; a shared input is no longer the present one.
export const keepInHistory = (model, saved) => {
  const isSmall = JSON.stringify(saved).length <= MAX_IN_HISTORY;
  history.replaceState(isSmall ? { model, saved } : null, "", location.pathname);
};

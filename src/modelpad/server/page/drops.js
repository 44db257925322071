// Files dropped on the page. A drop beside a target goes to the only place that takes such a file, and
// never opens the file in place of the page.

const places = new Set(); // { target, accepts(file), take(files) }

const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

const shown = () => [...places].filter(({ target }) => target.isConnected);

const placeAt = (node) => shown().find(({ target }) => target.contains(node));

const mark = (place) => { for (const { target } of places) target.classList.toggle("over", target === place?.target); };

const onlyPlaceFor = (file) => {
  const able = shown().filter(({ accepts }) => file && accepts(file));
  return able.length === 1 ? able[0] : null;
};

document.addEventListener("dragover", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  mark(placeAt(event.target));
}, true);
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(null); }, true);
document.addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  mark(null);
  const files = [...event.dataTransfer.files];
  (placeAt(event.target) ?? onlyPlaceFor(files[0]))?.take(files);
}, true);

export const acceptDrops = (target, accepts, take) => { places.add({ target, accepts, take }); };

// A widget for each kind of input: { element, read() -> value, show(sample) }. The value is undefined
// while there is none; null is a missing value, where it is allowed. The sample of an image is a Blob.
// Where what is kept of an input is not its value, `save()` gives it and `load(saved)` shows it again.
// `hint` belongs below the input, `thumb(side)` is a small picture of it, and `stop()` ends its camera.

import { make } from "./dom.js";
import { readAsDataUrl } from "./api.js";
import { drawingPad } from "./drawing-pad.js";
import { heatCanvas } from "./heatmap.js";
import { acceptDrops } from "./drops.js";
import { soundInput } from "./microphone.js";
import { decodePicture, pictureSource } from "./picture-source.js";
import { choiceInput, numberInput } from "./table-inputs.js";

const imageInput = (field, onChange) => {
  let url = null;
  const shown = make("div", { class: "drop" });
  const stage = { element: shown, show: (content) => shown.replaceChildren(content), rest: () => restore() };
  const image = make("img", { alt: `The image for ${field.name}` });
  const restore = () => stage.show(url ? make("div", { class: "seen" }, image) : "Drop, paste or choose an image.");
  const put = (next) => {
    url = next;
    if (url) image.src = url;
    restore();
    onChange();
  };
  const take = async (blob) => put(await readAsDataUrl(blob));
  // Lays a heat map over the image, for as long as the image is shown.
  const explain = async (rows) => {
    const of = image.src;
    await image.decode().catch(() => null);
    if (image.src !== of || !image.naturalWidth) return;
    image.nextSibling?.remove();
    image.after(heatCanvas(rows, image, field.fit === "crop"));
  };
  const source = pictureSource(`${field.name}-file`, shown, stage, take);
  restore();
  const choose = make("button", { type: "button", onclick: source.choose }, "Choose a file");
  const clear = make("button", { type: "button", onclick: () => { source.stop(); put(null); } }, "Clear");
  return {
    element: make("div", { class: "field" }, make("label", { for: source.file.id }, field.name), shown, source.file,
      make("div", { class: "tools" }, choose, source.camera, clear)),
    read: () => url ?? undefined,
    stop: () => source.stop(),
    show: (sample) => { source.stop(); return take(sample); },
    load: async (saved) => { await decodePicture(saved); source.stop(); put(saved); },
    thumb: (side) => {
      const sheet = make("canvas", { width: side, height: side });
      const fit = side / Math.max(1, Math.min(image.naturalWidth, image.naturalHeight));
      const [width, height] = [image.naturalWidth * fit, image.naturalHeight * fit];
      sheet.getContext("2d").drawImage(image, (side - width) / 2, (side - height) / 2, width, height);
      return sheet.toDataURL("image/jpeg");
    },
    explain,
  };
};

const textBox = (field, onChange) => {
  let timer = 0;
  const box = make("textarea", { id: `${field.name}-text`, maxlength: field.max_length, placeholder: "Type some text …",
    oninput: () => { clearTimeout(timer); timer = setTimeout(() => onChange(), 350); } });
  acceptDrops(box, ({ type, name }) => type === "text/plain" || name.endsWith(".txt"), async ([file]) => { box.value = await file.text(); onChange(); });
  return {
    element: make("div", { class: "field" }, make("label", { for: box.id }, field.name), box),
    read: () => (box.value.trim() ? box.value : undefined),
    show: (sample) => { box.value = sample; onChange(); },
  };
};

const count = (shape) => shape.reduce((product, side) => product * (side ?? Infinity), 1);

const tensorEditor = (field, onChange) => {
  const words = `${field.dtype} of shape [${field.shape.map((side) => side ?? "any").join(", ")}]`;
  if (field.shape.length === 1 && count(field.shape) <= 32) {
    const cells = Array.from({ length: field.shape[0] }, (_, index) =>
      make("input", { type: "number", step: "any", value: 0, "aria-label": `${field.name} ${index}`, oninput: () => onChange() }));
    return {
      element: make("div", { class: "field" }, make("span", { class: "label" }, `${field.name}: ${words}`), make("div", { class: "numbers" }, cells)),
      read: () => (cells.every(({ value }) => value !== "") ? cells.map(({ valueAsNumber }) => valueAsNumber) : undefined),
      show: (sample) => { cells.forEach((cell, index) => { cell.value = sample[index]; }); onChange(); },
    };
  }
  let timer = 0;
  const box = make("textarea", { id: `${field.name}-json`, class: "code", spellcheck: "false", placeholder: "JSON, for example [1.0, 2.0, …]",
    oninput: () => { clearTimeout(timer); timer = setTimeout(() => onChange(), 350); } });
  return {
    element: make("div", { class: "field" }, make("label", { for: box.id }, `${field.name}: ${words}`), box),
    read: () => { try { return JSON.parse(box.value); } catch { return undefined; } },
    show: (sample) => { box.value = JSON.stringify(sample); onChange(); },
  };
};

const WIDGETS = { "drawing-pad": drawingPad, image: imageInput, microphone: soundInput, "text-box": textBox, "tensor-editor": tensorEditor, number: numberInput, choice: choiceInput };

export const inputWidget = (field, onChange) => (Object.hasOwn(WIDGETS, field.widget) ? WIDGETS[field.widget] : tensorEditor)(field, onChange);

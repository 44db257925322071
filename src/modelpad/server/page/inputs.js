// A widget for each kind of input: { element, read() -> value, show(sample) }. The value is undefined
// while there is none; null is a missing value, where it is allowed. The sample of an image is a Blob.

import { make } from "./dom.js";
import { readAsDataUrl } from "./api.js";
import { drawingPad } from "./drawing-pad.js";
import { choiceInput, numberInput } from "./table-inputs.js";

const imageInput = (field, onChange) => {
  let url = null, stream = null;
  const shown = make("div", { class: "drop" });
  const file = make("input", { type: "file", accept: "image/*", class: "sr", id: `${field.name}-file`, onchange: () => file.files[0] && take(file.files[0]) });
  const stop = () => { stream?.getTracks().forEach((track) => track.stop()); stream = null; };
  const put = (value) => {
    stop();
    url = value;
    shown.replaceChildren(make("img", { src: value, alt: `The image for ${field.name}` }));
    onChange();
  };
  const take = async (blob) => put(await readAsDataUrl(blob));
  const rest = () => shown.replaceChildren("Drop, paste or choose an image.");
  const camera = make("button", { type: "button", onclick: async () => {
    if (stream) {
      const video = shown.querySelector("video");
      const sheet = make("canvas", { width: video.videoWidth, height: video.videoHeight });
      sheet.getContext("2d").drawImage(video, 0, 0);
      camera.textContent = "Camera";
      return put(sheet.toDataURL("image/png"));
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      const video = make("video", { autoplay: true, playsinline: true, muted: true });
      video.srcObject = stream;
      shown.replaceChildren(video);
      camera.textContent = "Take image";
    } catch { shown.replaceChildren("The camera is not available."); }
  } }, "Camera");
  shown.addEventListener("dragover", (event) => { event.preventDefault(); shown.classList.add("over"); });
  shown.addEventListener("dragleave", () => shown.classList.remove("over"));
  shown.addEventListener("drop", (event) => {
    event.preventDefault();
    shown.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (pasted && shown.isConnected) take(pasted);
  });
  rest();
  const choose = make("button", { type: "button", onclick: () => file.click() }, "Choose a file");
  const clear = make("button", { type: "button", onclick: () => { stop(); url = null; file.value = ""; rest(); onChange(); } }, "Clear");
  return {
    element: make("div", { class: "field" }, make("label", { for: file.id }, field.name), shown, file,
      make("div", { class: "tools" }, choose, navigator.mediaDevices ? camera : null, clear)),
    read: () => url ?? undefined,
    show: take,
  };
};

const textBox = (field, onChange) => {
  let timer = 0;
  const box = make("textarea", { id: `${field.name}-text`, maxlength: field.max_length, placeholder: "Type some text …",
    oninput: () => { clearTimeout(timer); timer = setTimeout(onChange, 350); } });
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
      make("input", { type: "number", step: "any", value: 0, "aria-label": `${field.name} ${index}`, oninput: onChange }));
    return {
      element: make("div", { class: "field" }, make("span", { class: "label" }, `${field.name}: ${words}`), make("div", { class: "numbers" }, cells)),
      read: () => (cells.every(({ value }) => value !== "") ? cells.map(({ valueAsNumber }) => valueAsNumber) : undefined),
      show: (sample) => { cells.forEach((cell, index) => { cell.value = sample[index]; }); onChange(); },
    };
  }
  let timer = 0;
  const box = make("textarea", { id: `${field.name}-json`, class: "code", spellcheck: "false", placeholder: "JSON, for example [1.0, 2.0, …]",
    oninput: () => { clearTimeout(timer); timer = setTimeout(onChange, 350); } });
  return {
    element: make("div", { class: "field" }, make("label", { for: box.id }, `${field.name}: ${words}`), box),
    read: () => { try { return JSON.parse(box.value); } catch { return undefined; } },
    show: (sample) => { box.value = JSON.stringify(sample); onChange(); },
  };
};

const WIDGETS = { "drawing-pad": drawingPad, image: imageInput, "text-box": textBox, "tensor-editor": tensorEditor, number: numberInput, choice: choiceInput };

export const inputWidget = (field, onChange) => (Object.hasOwn(WIDGETS, field.widget) ? WIDGETS[field.widget] : tensorEditor)(field, onChange);

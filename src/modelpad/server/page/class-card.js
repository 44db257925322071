// One class of a new model: its name, its pictures, and where more of them come from.

import { addPicture, removePicture, renameClass, showPicture } from "./api.js";
import { make } from "./dom.js";
import { drawingPad } from "./drawing-pad.js";
import { pictureSource } from "./picture-source.js";

const SIDE = 512; // pixels of a picture's longer side, as it is sent
const QUALITY = 0.92;

let count = 0; // ids of controls

// A picture as it is sent: not larger than needed, upright, and without what a camera adds to it.
const shrink = async (blob) => {
  const image = await createImageBitmap(blob).catch(() => null);
  if (!image) return null;
  const fit = Math.min(1, SIDE / Math.max(image.width, image.height));
  const sheet = make("canvas", { width: Math.max(1, Math.round(image.width * fit)), height: Math.max(1, Math.round(image.height * fit)) });
  const target = sheet.getContext("2d");
  target.fillStyle = "#fff";
  target.fillRect(0, 0, sheet.width, sheet.height);
  target.drawImage(image, 0, 0, sheet.width, sheet.height);
  return new Promise((resolve) => { sheet.toBlob(resolve, "image/jpeg", QUALITY); });
};

const toBlob = (dataUrl) => {
  const bytes = Uint8Array.from(atob(dataUrl.slice(dataUrl.indexOf(",") + 1)), (each) => each.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
};

// A dialog with a pad: each drawing is added, until it is closed.
const openPad = (title, add) => {
  const pad = drawingPad({ name: "drawing" }, (isDrawing) => { if (!isDrawing) ok.disabled = pad.read() === undefined; });
  const ok = make("button", { type: "button", class: "main", disabled: true, onclick: () => {
    add(toBlob(pad.read()));
    added.textContent = `Added ${++drawn}.`;
    pad.clear();
  } }, "Add drawing");
  const added = make("span", { class: "hint", role: "status" });
  let drawn = 0;
  const dialog = make("dialog", { class: "draw", "aria-label": `Draw ${title}` },
    make("h2", {}, `Draw “${title}”`), pad.element, pad.hint,
    make("div", { class: "draw-actions" }, added, make("button", { type: "button", onclick: () => dialog.close() }, "Close"), ok));
  dialog.addEventListener("close", () => { pad.stop(); dialog.remove(); });
  document.body.append(dialog);
  dialog.showModal();
};

// `pictures` are the names of those that the server has. `studio` has: collect() -> the collection's
// id, collection(), changed(), announce(words), report(error), isTaken(name), remove().
export const classCard = (title, pictures, studio) => {
  const id = `class-${count++}`;
  let saved = title, busy = 0;
  const input = make("input", { id, value: title, maxlength: 40, autocomplete: "off", onchange: () => rename(), onkeydown: (event) => { if (event.key === "Enter") input.blur(); } });
  const problem = make("p", { class: "problem", role: "alert" });
  const shelf = make("ul", { class: "shelf", "aria-label": `Pictures of ${title}` });
  const amount = make("span", { class: "amount" });
  const screen = make("div", { class: "screen" });
  const stage = {
    element: screen,
    show: (content) => { screen.replaceChildren(typeof content === "string" ? make("p", { class: "problem", role: "alert" }, content) : content); },
  };
  const away = make("button", { type: "button", class: "quiet", onclick: () => discard() }, "Remove class");
  const element = make("section", { class: "panel class", tabindex: -1, "aria-label": `Class ${title}` });

  const tell = () => {
    amount.textContent = busy ? `${shelf.children.length} + ${busy} …` : `${shelf.children.length} ${shelf.children.length === 1 ? "picture" : "pictures"}`;
    shelf.hidden = !shelf.children.length;
    studio.changed();
  };
  const complain = (words) => { problem.textContent = words; };

  const rename = async () => {
    const wanted = input.value.trim();
    complain("");
    if (!wanted || studio.isTaken(wanted)) {
      complain(wanted ? `There is a class “${wanted}” already.` : "A class needs a name.");
      input.value = saved;
      return;
    }
    try {
      if (shelf.children.length && wanted !== saved) await renameClass(studio.collection(), saved, wanted);
      saved = wanted;
    } catch (error) {
      complain(`${error.message} ${error.hint}`);
    }
    input.value = saved;
    element.setAttribute("aria-label", `Class ${saved}`);
    shelf.setAttribute("aria-label", `Pictures of ${saved}`);
    studio.changed();
  };

  const show = (picture, blob) => {
    const image = make("img", { alt: `Picture ${shelf.children.length + 1} of ${saved}` });
    if (blob) image.src = URL.createObjectURL(blob);
    else showPicture(image, `/collections/${studio.collection()}/pictures/${picture}`);
    const remove = make("button", { type: "button", "aria-label": `Remove this picture of ${saved}`, onclick: () => drop(item, picture) }, "✕");
    const item = make("li", { "data-picture": picture }, image, remove);
    shelf.prepend(item);
  };
  const drop = async (item, picture) => {
    const next = item.nextElementSibling ?? item.previousElementSibling;
    try {
      await removePicture(studio.collection(), picture);
    } catch (error) {
      if (error.status !== 404) return complain(`${error.message} ${error.hint}`);
    }
    item.remove();
    (next?.querySelector("button") ?? choose).focus();
    studio.announce(`Removed a picture of ${saved}.`);
    tell();
  };
  const discard = async () => {
    if (shelf.children.length && !confirm(`Remove “${saved}” with its ${amount.textContent}?`)) return;
    try {
      for (const item of [...shelf.children]) {
        await removePicture(studio.collection(), item.dataset.picture);
        item.remove();
      }
    } catch (error) {
      complain(`${error.message} ${error.hint}`);
      return tell();
    }
    source.stop();
    studio.remove();
  };

  // One at a time, so that pictures keep their order and a full server is noticed at once.
  let queue = Promise.resolve();
  const add = (blob, name) => {
    busy++;
    tell();
    queue = queue.then(async () => {
      try {
        const picture = await addPicture(await studio.collect(), saved, blob);
        if (!shelf.querySelector(`[data-picture="${picture}"]`)) show(picture, blob);
        studio.announce(`${shelf.children.length} pictures of ${saved}.`);
      } catch (error) {
        if (error.needsKey) studio.report(error);
        else complain(`${name ? `${name}: ` : ""}${error.message} ${error.hint}`);
      }
      busy--;
      tell();
    });
  };
  const take = async (blob) => {
    complain("");
    const small = await shrink(blob);
    if (small) add(small, blob.name);
    else complain(`${blob.name ?? "This file"} is not a picture that the browser can read. Choose a PNG or JPEG file.`);
  };

  const source = pictureSource(`${id}-files`, element, stage, take, true);
  source.file.setAttribute("aria-label", `Pictures of ${title}`);
  const stop = () => { source.stop(); screen.replaceChildren(); };
  const choose = make("button", { type: "button", onclick: source.choose, title: "Choose pictures on this device" }, "Files");
  const draw = make("button", { type: "button", onclick: () => { stop(); openPad(saved, (blob) => add(blob)); } }, "Draw");
  const off = make("button", { type: "button", class: "quiet camera-off", onclick: () => { stop(); choose.focus(); } }, "Camera off");
  element.append(...[
    make("div", { class: "class-head" }, make("label", { for: id, class: "sr" }, "Name of the class"), input, amount),
    make("div", { class: "tools" }, choose, source.camera, off, draw),
    source.file, screen, problem,
    make("p", { class: "hint" }, "Or drop or paste pictures here."), shelf,
    make("div", { class: "class-foot" }, away),
  ].filter(Boolean));
  for (const picture of pictures) show(picture);
  amount.textContent = `${shelf.children.length} ${shelf.children.length === 1 ? "picture" : "pictures"}`;
  shelf.hidden = !shelf.children.length;
  return {
    element, stop,
    name: () => saved,
    count: () => shelf.children.length,
    isBusy: () => busy > 0,
    focus: () => { input.focus(); input.select(); },
  };
};

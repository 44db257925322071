// A drawing pad for mouse, touch, pen and keyboard, which also takes a photograph of a drawing.
// Strokes are stored as vectors; the model gets them dark on white at SIZE pixels, whatever the
// screen's resolution, and no wider than a share of the whole drawing: a small one is no blot.
// Calls onChange(true) while a stroke is drawn, and onChange(false) when it has ended.

import { make } from "./dom.js";
import { decodePicture, pictureSource } from "./picture-source.js";

const SIZE = 280;
const STEP = 6;
const WIDEST = 0.16; // stroke, as a share of the drawing's longer side
const THINNEST = 3;
const PHOTO_SIZE = 640; // pixels of a photograph's longer side, as it is sent
const KEYS = "keys"; // the keyboard, as a pointer
const MAX_UNDO = 100;
const MAX_POINTS = 20_000; // of a drawing that comes from a link
const FAINTEST = 0.4; // width of a pen's lightest touch, as a share of the brush

// A pen presses; a mouse and a finger only touch.
const pressureOf = (event) => (event.pointerType === "pen" && event.pressure > 0 ? FAINTEST + (1 - FAINTEST) * event.pressure : 1);

const readStroke = ([width, ...places]) => {
  const points = Array.from({ length: Math.floor(places.length / 2) }, (_, index) => [places[2 * index], places[2 * index + 1], 1]);
  if (!points.length || ![width, ...points.flat()].every((value) => Number.isFinite(value) && Math.abs(value) < 2 * SIZE)) throw new TypeError("not a stroke");
  return { width, points };
};

export const drawingPad = (field, onChange) => {
  const canvas = make("canvas", {
    class: "pad", width: 2 * SIZE, height: 2 * SIZE, tabindex: 0, role: "application",
    "aria-label": `Drawing pad for ${field.name}. Draw with the pointer, or move with the arrow keys and press the space bar to start and stop drawing.`,
    "aria-describedby": `${field.name}-keys`,
  });
  const context = canvas.getContext("2d");
  const brush = make("input", { type: "range", min: 8, max: 36, value: 20, id: `${field.name}-brush`, "aria-label": "Brush width" });
  const undo = make("button", { type: "button", onclick: () => stepBack(), title: "Ctrl+Z" }, "Undo");
  const clear = make("button", { type: "button", onclick: () => wipe(), title: "Delete" }, "Clear");
  let strokes = [], picture = null, photo = null, past = [];
  const open = new Map(); // a stroke for each pointer that draws, and for the keyboard
  let cursor = { x: SIZE / 2, y: SIZE / 4, down: false, shown: false };

  const limitWidth = () => {
    const spans = [0, 1].map((axis) => {
      const places = strokes.flatMap(({ points }) => points.map((point) => point[axis]));
      return Math.max(...places) - Math.min(...places);
    });
    return Math.max(THINNEST, WIDEST * Math.max(...spans));
  };
  const paint = (target, scale, widest = Infinity) => {
    target.setTransform(scale, 0, 0, scale, 0, 0);
    target.fillStyle = "#fff";
    target.fillRect(0, 0, SIZE, SIZE);
    if (picture) {
      const fit = SIZE / Math.max(picture.width, picture.height);
      const [width, height] = [picture.width * fit, picture.height * fit];
      target.imageSmoothingEnabled = Boolean(photo);
      target.drawImage(picture, (SIZE - width) / 2, (SIZE - height) / 2, width, height);
    }
    target.strokeStyle = target.fillStyle = "#111";
    target.lineCap = target.lineJoin = "round";
    for (const { width, points } of strokes) {
      const isEven = points.every(([, , pressure]) => pressure === 1);
      const lines = isEven ? [points] : points.slice(1).map((point, index) => [points[index], point]);
      for (const [[x, y, pressure], ...rest] of lines.length ? lines : [points]) {
        target.lineWidth = Math.min(width, widest) * pressure;
        target.beginPath();
        target.moveTo(x, y);
        for (const point of rest) target.lineTo(point[0], point[1]);
        if (!rest.length) target.lineTo(x + 0.01, y);
        target.stroke();
      }
    }
  };
  const redraw = () => {
    paint(context, 2);
    if (cursor.shown) {
      context.strokeStyle = cursor.down ? "#4f46e5" : "#888";
      context.lineWidth = 2;
      context.beginPath();
      context.arc(cursor.x, cursor.y, brush.value / 2 + 2, 0, 7);
      context.stroke();
    }
    clear.disabled = empty();
    undo.disabled = !past.length;
  };
  const empty = () => !strokes.length && !picture;
  const changed = () => { stage.close(); redraw(); onChange(false); };
  const remember = () => { past = [...past.slice(1 - MAX_UNDO), { strokes: [...strokes], picture, photo }]; };
  const put = (next) => { open.clear(); ({ strokes, picture, photo } = { strokes: [], picture: null, photo: null, ...next }); changed(); };
  const replace = (next) => { source.stop(); if (!empty()) remember(); put(next); };
  const stepBack = () => { const before = past.pop(); if (before) { source.stop(); put(before); } };
  const wipe = () => { if (empty()) source.stop(); else replace({}); };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIZE) / box.width, ((event.clientY - box.top) * SIZE) / box.height, pressureOf(event)];
  };
  const begin = (point, pointer) => {
    source.stop();
    remember();
    if (picture) strokes = [];
    picture = photo = null;
    const stroke = { width: Number(brush.value), points: [point] };
    open.set(pointer, stroke);
    strokes.push(stroke);
    redraw();
  };
  const extend = (points, pointer) => {
    open.get(pointer).points.push(...points);
    redraw();
    onChange(true);
  };
  const lift = (pointer) => { if (open.delete(pointer)) changed(); };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    cursor.shown = false;
    begin(place(event), event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!open.has(event.pointerId)) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    extend((steps.length ? steps : [event]).map(place), event.pointerId);
  });
  canvas.addEventListener("pointerup", (event) => lift(event.pointerId));
  canvas.addEventListener("pointercancel", (event) => lift(event.pointerId));
  canvas.addEventListener("blur", () => { cursor = { ...cursor, shown: false, down: false }; lift(KEYS); redraw(); });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") stepBack();
    else if (event.key === "Delete" || event.key === "Backspace") wipe();
    else if (event.key === " ") {
      cursor.shown = true;
      cursor.down = !cursor.down;
      if (cursor.down) begin([cursor.x, cursor.y, 1], KEYS);
      else lift(KEYS);
      redraw();
    } else if (moves[event.key]) {
      cursor.shown = true;
      cursor.x = Math.min(SIZE, Math.max(0, cursor.x + moves[event.key][0]));
      cursor.y = Math.min(SIZE, Math.max(0, cursor.y + moves[event.key][1]));
      if (open.has(KEYS)) extend([[cursor.x, cursor.y, 1]], KEYS);
      else redraw();
    } else return;
    event.preventDefault();
  });

  const frame = make("div", { class: "frame" }, canvas);
  const stage = {
    element: frame,
    show: (content) => { stage.close(); canvas.hidden = true; frame.append(make("div", { class: "drop" }, content)); },
    close: () => { canvas.hidden = false; frame.querySelector(".drop")?.remove(); },
    rest: () => stage.close(),
  };
  const takePhoto = async (blob) => {
    const image = await createImageBitmap(blob).catch(() => null);
    if (!image) return stage.show(make("p", { role: "alert" }, "This file is not an image that the browser can read. Choose a PNG or JPEG file."));
    const fit = Math.min(1, PHOTO_SIZE / Math.max(image.width, image.height));
    const sheet = make("canvas", { width: Math.max(1, Math.round(image.width * fit)), height: Math.max(1, Math.round(image.height * fit)) });
    sheet.getContext("2d").drawImage(image, 0, 0, sheet.width, sheet.height);
    replace({ picture: sheet, photo: sheet });
  };
  const source = pictureSource(`${field.name}-photo`, frame, stage, takePhoto);
  source.file.setAttribute("aria-label", "Photo of a drawing");
  const choose = make("button", { type: "button", onclick: source.choose, title: "Choose, drop or paste a photo of a drawing" }, "Photo");
  const toSheet = (image, filter) => {
    const sheet = make("canvas", { width: image.width, height: image.height });
    const target = sheet.getContext("2d");
    target.filter = filter;
    target.drawImage(image, 0, 0);
    return sheet;
  };
  const element = make("div", { class: "field" }, frame, source.file,
    make("div", { class: "tools" }, undo, clear, choose, source.camera, make("label", { for: brush.id }, make("span", {}, "Brush"), brush)));
  const hint = make("p", { class: "hint", id: `${field.name}-keys` }, "Draw with a mouse, finger or pen. On the keyboard: arrow keys move, space lowers and lifts the pen, Ctrl+Z undoes, Delete clears. A photo of a drawing on paper can be dropped or pasted here.");
  redraw();
  return {
    element,
    hint,
    clear: wipe,
    stop: () => source.stop(),
    read: () => {
      if (empty()) return undefined;
      if (photo) return photo.toDataURL("image/png");
      const sheet = make("canvas", { width: SIZE, height: SIZE });
      paint(sheet.getContext("2d"), 1, limitWidth());
      return sheet.toDataURL("image/png");
    },
    // Samples are light ink on black; the pad shows them as dark ink on paper.
    show: async (sample) => replace({ picture: toSheet(await createImageBitmap(sample), "invert(1)") }),
    thumb: (side) => {
      const sheet = make("canvas", { width: side, height: side });
      paint(sheet.getContext("2d"), side / SIZE);
      return sheet.toDataURL("image/png");
    },
    // What a link or this session's history keeps of the pad: its strokes, or its picture.
    save: () => (picture ? { picture: picture.toDataURL("image/png"), photo: Boolean(photo) }
      : { strokes: strokes.map(({ width, points }) => [width, ...points.flatMap(([x, y]) => [Math.round(x), Math.round(y)])]) }),
    load: async (saved) => {
      if (saved.picture) {
        const sheet = toSheet(await decodePicture(saved.picture), "none");
        return replace({ picture: sheet, photo: saved.photo ? sheet : null });
      }
      if (saved.strokes.flat().length > 2 * MAX_POINTS) throw new TypeError("too many points");
      replace({ strokes: saved.strokes.map(readStroke) });
    },
  };
};

// A drawing pad for mouse, touch, pen and keyboard, which also takes a photograph of a drawing.
// Strokes are stored as vectors; the model gets them dark on white at SIZE pixels, whatever the
// screen's resolution, and no wider than a share of the whole drawing: a small one is no blot.

import { make } from "./dom.js";
import { pictureSource } from "./picture-source.js";

const SIZE = 280;
const STEP = 6;
const WIDEST = 0.16; // stroke, as a share of the drawing's longer side
const THINNEST = 3;
const PHOTO_SIZE = 640; // pixels of a photograph's longer side, as it is sent

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
  let strokes = [], stroke = null, picture = null, photo = null;
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
      target.lineWidth = Math.min(width, widest);
      target.beginPath();
      target.moveTo(...points[0]);
      for (const point of points.slice(1)) target.lineTo(...point);
      if (points.length === 1) target.lineTo(points[0][0] + 0.01, points[0][1]);
      target.stroke();
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
    undo.disabled = clear.disabled = !strokes.length && !picture;
  };
  const empty = () => !strokes.length && !picture;
  const changed = () => { stage.close(); redraw(); onChange(); };
  const stepBack = () => { if (strokes.pop() === undefined) picture = photo = null; changed(); };
  const wipe = () => { source.stop(); strokes = []; picture = photo = null; changed(); };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIZE) / box.width, ((event.clientY - box.top) * SIZE) / box.height];
  };
  const begin = (point) => {
    source.stop();
    picture = photo = null;
    stroke = { width: Number(brush.value), points: [point] };
    strokes.push(stroke);
    redraw();
  };
  const lift = () => { if (stroke) { stroke = null; changed(); } };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    cursor.shown = false;
    begin(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke || !(event.buttons & 1)) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const step of steps.length ? steps : [event]) stroke.points.push(place(step));
    redraw();
  });
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("blur", () => { cursor = { ...cursor, shown: false, down: false }; lift(); redraw(); });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") stepBack();
    else if (event.key === "Delete" || event.key === "Backspace") wipe();
    else if (event.key === " ") {
      cursor.shown = true;
      cursor.down = !cursor.down;
      if (cursor.down) begin([cursor.x, cursor.y]);
      else lift();
      redraw();
    } else if (moves[event.key]) {
      cursor.shown = true;
      cursor.x = Math.min(SIZE, Math.max(0, cursor.x + moves[event.key][0]));
      cursor.y = Math.min(SIZE, Math.max(0, cursor.y + moves[event.key][1]));
      if (cursor.down && stroke) stroke.points.push([cursor.x, cursor.y]);
      redraw();
    } else return;
    event.preventDefault();
  });

  const frame = make("div", { class: "frame" }, canvas);
  const stage = {
    element: frame,
    show: (content) => { stage.close(); canvas.hidden = true; frame.append(make("div", { class: "drop" }, content)); },
    close: () => { canvas.hidden = false; frame.querySelector(".drop")?.remove(); },
  };
  const takePhoto = async (blob) => {
    const image = await createImageBitmap(blob).catch(() => null);
    if (!image) return stage.show(make("p", { role: "alert" }, "This file is not an image that the browser can read. Choose a PNG or JPEG file."));
    const fit = Math.min(1, PHOTO_SIZE / Math.max(image.width, image.height));
    photo = make("canvas", { width: Math.max(1, Math.round(image.width * fit)), height: Math.max(1, Math.round(image.height * fit)) });
    photo.getContext("2d").drawImage(image, 0, 0, photo.width, photo.height);
    strokes = [];
    picture = photo;
    changed();
  };
  const source = pictureSource(`${field.name}-photo`, frame, stage, takePhoto);
  source.file.setAttribute("aria-label", "Photo of a drawing");
  const choose = make("button", { type: "button", onclick: source.choose, title: "Choose, drop or paste a photo of a drawing" }, "Photo");
  const element = make("div", { class: "field" }, frame, source.file,
    make("div", { class: "tools" }, undo, clear, choose, source.camera, make("label", { for: brush.id }, "Brush", brush)),
    make("p", { class: "hint", id: `${field.name}-keys` }, "Draw with a mouse, finger or pen. On the keyboard: arrow keys move, space lowers and lifts the pen, Ctrl+Z undoes, Delete clears. A photo of a drawing on paper can be dropped or pasted here."));
  redraw();
  return {
    element,
    clear: wipe,
    stop: () => source.stop(),
    read: () => {
      if (empty()) return undefined;
      if (photo) return photo.toDataURL("image/png");
      const sheet = make("canvas", { width: SIZE, height: SIZE });
      paint(sheet.getContext("2d"), 1, limitWidth());
      return sheet.toDataURL("image/png");
    },
    show: async (sample) => {
      const image = await createImageBitmap(sample);
      source.stop();
      strokes = [];
      photo = null;
      // Samples are light ink on black; the pad shows them as dark ink on paper.
      const sheet = make("canvas", { width: image.width, height: image.height });
      const target = sheet.getContext("2d");
      target.filter = "invert(1)";
      target.drawImage(image, 0, 0);
      picture = sheet;
      changed();
    },
  };
};

// A drawing pad for mouse, touch, pen and keyboard. Strokes are stored as vectors; the model gets
// them dark on white at SIZE pixels, whatever the screen's resolution.

import { make } from "./dom.js";

const SIZE = 280;
const STEP = 6;

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
  let strokes = [], stroke = null, picture = null;
  let cursor = { x: SIZE / 2, y: SIZE / 4, down: false, shown: false };

  const paint = (target, scale) => {
    target.setTransform(scale, 0, 0, scale, 0, 0);
    target.fillStyle = "#fff";
    target.fillRect(0, 0, SIZE, SIZE);
    if (picture) {
      target.imageSmoothingEnabled = false;
      target.drawImage(picture, 0, 0, SIZE, SIZE);
    }
    target.strokeStyle = target.fillStyle = "#111";
    target.lineCap = target.lineJoin = "round";
    for (const { width, points } of strokes) {
      target.lineWidth = width;
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
  const changed = () => { redraw(); onChange(); };
  const stepBack = () => { if (strokes.pop() === undefined) picture = null; changed(); };
  const wipe = () => { strokes = []; picture = null; changed(); };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIZE) / box.width, ((event.clientY - box.top) * SIZE) / box.height];
  };
  const begin = (point) => {
    if (picture) picture = null;
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

  const element = make("div", { class: "field" }, canvas,
    make("div", { class: "tools" }, undo, clear, make("label", { for: brush.id }, "Brush", brush)),
    make("p", { class: "hint", id: `${field.name}-keys` }, "Draw with a mouse, finger or pen. On the keyboard: arrow keys move, space lowers and lifts the pen, Ctrl+Z undoes, Delete clears."));
  redraw();
  return {
    element,
    read: () => {
      if (empty()) return undefined;
      const sheet = make("canvas", { width: SIZE, height: SIZE });
      paint(sheet.getContext("2d"), 1);
      return sheet.toDataURL("image/png");
    },
    show: async (sample) => {
      const image = await createImageBitmap(sample);
      strokes = [];
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

// Reads pictures: any that the browser can decode, upright, as 8 bits each of red, green, blue and alpha.

import { InvalidInput } from "./errors.js";

const MAX_PIXELS = 25_000_000;

export const toBlob = (value) => {
  if (value instanceof Blob) return value;
  if (typeof value !== "string") return null;
  const [head, payload] = value.startsWith("data:") ? [value.slice(5, value.indexOf(",")), value.slice(value.indexOf(",") + 1)] : [";base64", value];
  try {
    const text = head.toLowerCase().endsWith(";base64") ? atob(payload.replace(/\s/g, "")) : decodeURIComponent(payload);
    return new Blob([Uint8Array.from(text, (each) => each.charCodeAt(0))], { type: head.split(";")[0] });
  } catch { return null; }
};

// Whether a file has grey levels alone: a PNG of that colour type with at most 8 bits.
const isGreyFile = async (blob) => {
  const head = new Uint8Array(await blob.slice(0, 26).arrayBuffer());
  return head[1] === 0x50 && head[2] === 0x4e && head[3] === 0x47 && head[25] === 0 && [2, 4, 8].includes(head[24]);
};

const draw = (image, width, height) => {
  const sheet = typeof OffscreenCanvas === "undefined" ? Object.assign(document.createElement("canvas"), { width, height }) : new OffscreenCanvas(width, height);
  const context = sheet.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, width, height).data;
};

// `value` is a Blob, a data: URL, base64, ImageData, or anything that a canvas can draw.
// Gives { width, height, data, isGrey }; data has four bytes a pixel.
export const readPicture = async (value, field) => {
  if (value instanceof ImageData) return { width: value.width, height: value.height, data: value.data, isGrey: false };
  const blob = toBlob(value);
  let image = blob || typeof value !== "object" ? null : value;
  try {
    if (blob) image = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  } catch { /* reported below */ }
  const width = image?.videoWidth ?? image?.naturalWidth ?? image?.width, height = image?.videoHeight ?? image?.naturalHeight ?? image?.height;
  if (!width || !height) throw new InvalidInput(`The value of '${field}' is not a picture that the browser can read.`, "Choose a PNG or JPEG file.");
  if (width * height > MAX_PIXELS) throw new InvalidInput(`The picture in '${field}' has ${width} x ${height} pixels; at most ${MAX_PIXELS.toLocaleString("en")} are allowed.`, "Choose a smaller one.");
  return { width, height, data: draw(image, width, height), isGrey: blob ? await isGreyFile(blob) : false };
};

// Grey levels, as Pillow converts colours to them.
export const toGrey = ({ width, height, data }, Kind = Uint8Array) => {
  const levels = new Kind(width * height);
  for (let pixel = 0; pixel < levels.length; pixel++) levels[pixel] = (data[4 * pixel] * 19595 + data[4 * pixel + 1] * 38470 + data[4 * pixel + 2] * 7471 + 0x8000) >> 16;
  return levels;
};

export const isOpaque = ({ data }) => {
  for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) return false;
  return true;
};

// The picture on paper of one level, 0 or 255, with Pillow's rounding.
export const flatten = ({ width, height, data, ...rest }, paper) => {
  const flat = new Uint8Array(data.length);
  for (let at = 0; at < data.length; at += 4) {
    const alpha = data[at + 3];
    for (let channel = 0; channel < 3; channel++) {
      const sum = 128 * (data[at + channel] * alpha + paper * (255 - alpha)) + 16384;
      flat[at + channel] = alpha ? ((sum >> 8) + sum) >> 15 : paper;
    }
    flat[at + 3] = 255;
  }
  return { width, height, data: flat, ...rest };
};

// Photographs and other pictures, resized as the model's field says. As modelpad's fields/image.py.

import { decodeNumbers } from "./values.js";
import { flatten, isOpaque, readPicture, toGrey } from "./picture.js";
import { crop, resize, toArray } from "./resample.js";

const MAX_SIDE = 5000;

export const decodeImage = async (field, value) => {
  if (Array.isArray(value)) return decodeNumbers({ name: field.name, dtype: "float32", shape: [field.height, field.width, field.channels] }, value);
  const picture = await readPicture(value, field.name);
  const pixels = takeChannels(isOpaque(picture) ? picture : flatten(picture, 255), field.channels);
  return toArray(field.height === null ? pixels : fit(field, pixels));
};

const takeChannels = ({ width, height, data }, channels) => {
  if (channels === 1) return { width, height, channels, data: toGrey({ width, height, data }) };
  const colours = new Uint8Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel++) for (let channel = 0; channel < 3; channel++) colours[3 * pixel + channel] = data[4 * pixel + channel];
  return { width, height, channels, data: colours };
};

const fit = ({ height, width, fit: how, resize: side, resample }, pixels) => {
  const [across, down] = how === "crop" ? scaleShorter(pixels, side ?? Math.max(height, width)) : side ? [side, side] : [width, height];
  const sized = resize(pixels, across, down, resample);
  return across === width && down === height ? sized : crop(sized, (across - width) >> 1, (down - height) >> 1, width, height);
};

const scaleShorter = ({ width, height }, shorter) => {
  const longer = Math.min(Math.floor((shorter * Math.max(width, height)) / Math.min(width, height)), Math.floor((MAX_SIDE * MAX_SIDE) / shorter));
  return width <= height ? [shorter, longer] : [longer, shorter];
};

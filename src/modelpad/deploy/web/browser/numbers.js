// Arithmetic as NumPy and Python do it, so that results agree to the last bit where they can.

export const f32 = Math.fround;

// Rounds halves to even, as NumPy's rint and Python's round.
export const rint = (value) => {
  const low = Math.floor(value), part = value - low;
  return part < 0.5 ? low : part > 0.5 ? low + 1 : low % 2 ? low + 1 : low;
};

export const clip = (value, low, high) => (value < low ? low : value > high ? high : value);

export const largest = (values) => {
  let found = -Infinity;
  for (const value of values) if (value > found) found = value;
  return found;
};

export const smallest = (values) => {
  let found = Infinity;
  for (const value of values) if (value < found) found = value;
  return found;
};

// Of float32 numbers, in float32.
export const median = (values) => {
  const sorted = Float32Array.from(values).sort(), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : f32((sorted[middle - 1] + sorted[middle]) / 2);
};

export const count = (values, test) => {
  let found = 0;
  for (const value of values) if (test(value)) found++;
  return found;
};

// An array of the graph, or of a field: data in rows, and without a batch axis until it has one.
export const array = (dtype, shape, data) => ({ dtype, shape, data });

export const sizeOf = (shape) => shape.reduce((product, side) => product * side, 1);

// Grey levels or ink: one number for each pixel.
export const plane = (width, height, data = new Float32Array(width * height)) => ({ width, height, data });

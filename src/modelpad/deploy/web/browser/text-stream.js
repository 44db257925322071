// Turns tokens into text as they come, and ends it before a stop string. As modelpad's
// engine/text/text_stream.py: nobody has to take back what was shown.

// How many characters at the end of `text` are the beginning of `stop`.
const countBegun = (text, stop) => {
  for (let count = Math.min(text.length, stop.length - 1); count > 0; count--) if (text.endsWith(stop.slice(0, count))) return count;
  return 0;
};

// Gives { add(bytes), finish(), stopped } of one text; bytes that are not UTF-8 become U+FFFD.
export const textStream = (stops) => {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let held = "", stopped = false;
  const release = (text) => {
    if (stopped) return "";
    held += text;
    const starts = stops.map((stop) => held.indexOf(stop)).filter((start) => start >= 0);
    stopped = starts.length > 0;
    const length = stopped ? Math.min(...starts) : held.length - Math.max(0, ...stops.map((stop) => countBegun(held, stop)));
    const released = held.slice(0, length);
    held = held.slice(length);
    return released;
  };
  return {
    add: (bytes) => release(decoder.decode(bytes, { stream: true })),
    finish: () => {
      const text = release(decoder.decode());
      return stopped ? text : text + held;
    },
    get stopped() { return stopped; },
  };
};

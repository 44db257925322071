// CSV as text: its rows, and a file cut into pieces of whole rows.

import { ApiError } from "./api-error.js";

// Larger pieces could block: a browser reads no response before it has sent the whole request.
const PIECE = 256 * 1024;

// The complete rows of a text: their cells, and where they end.
export function* readRows(text) {
  let at = 0;
  while (at < text.length) {
    const cells = [];
    for (let open = true; open;) {
      let cell = "";
      if (text[at] === '"') {
        let end = text.indexOf('"', at + 1);
        while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
        if (end < 0) return;
        cell = text.slice(at + 1, end).replaceAll('""', '"');
        at = end + 1;
      }
      const from = at;
      while (at < text.length && text[at] !== "," && text[at] !== "\n") at++;
      if (at === text.length) return;
      cells.push(cell + text.slice(from, at).replace(/\r$/, ""));
      open = text[at++] === ",";
    }
    yield { cells, end: at };
  }
}

export const writeRow = (cells) =>
  `${cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")}\n`;

// Where the last row ends that is complete within `most` characters; the first row's end if that is longer.
const findCut = (text, most) => {
  let cut = 0;
  for (const { end } of readRows(text)) {
    if (cut && end > most) break;
    cut = end;
  }
  return cut;
};

// The file's rows in pieces, each below the file's header.
export async function* readPieces(file) {
  const reader = file.stream().pipeThrough(new TextDecoderStream("utf-8", { fatal: true })).getReader();
  let rest = "", header = null, yielded = false;
  for (let done = false; !done;) {
    const part = await reader.read().catch(() => { throw new ApiError("The file is not valid UTF-8 text.", "In a spreadsheet, save it as “CSV UTF-8”."); });
    done = part.done;
    rest += done ? (rest === "" || rest.endsWith("\n") ? "" : "\n") : part.value;
    if (header === null) {
      const end = readRows(rest).next().value?.end ?? 0;
      if (!end) continue;
      header = rest.slice(0, end);
      rest = rest.slice(end);
    }
    while (rest.length >= PIECE || (done && rest)) {
      const cut = findCut(rest, PIECE) || (done ? rest.length : 0);
      if (!cut) break;
      yielded = true;
      yield header + rest.slice(0, cut);
      rest = rest.slice(cut);
    }
  }
  if (!yielded) yield (header ?? "") + rest;
}

// A safe subset of Markdown as elements: headings, lists, tables, quotes, code, emphasis and links.
// HTML is shown as text, and images as their description: a bundle must not load or run anything.

import { make } from "./dom.js";

// Bounded, so that no text takes long.
const INLINE = /`([^`\n]{1,500})`|\*\*([^*\n]{1,500})\*\*|(?<![\w*])\*([^*\s][^*\n]{0,500})\*(?!\w)|(?<!\w)_([^_\s][^_\n]{0,500})_(?!\w)|!?\[([^\]\n]{0,500})\]\(([^()\s]{1,500})\)/g;

const link = (words, url) => {
  let target = null;
  try { target = new URL(url); } catch { /* a relative link leads nowhere from here */ }
  return ["http:", "https:"].includes(target?.protocol) ? make("a", { href: target.href, rel: "noopener noreferrer nofollow", target: "_blank" }, words) : words;
};

const inline = (text) => {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, strong, star, score, words, url] = found;
    parts.push(text.slice(at, found.index));
    at = found.index + whole.length;
    if (code != null) parts.push(make("code", {}, code));
    else if (strong != null) parts.push(make("strong", {}, strong));
    else if (star != null || score != null) parts.push(make("em", {}, star ?? score));
    else parts.push(whole.startsWith("!") ? words : link(words, url));
  }
  return [...parts, text.slice(at)];
};

const splitCells = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").map((cell) => cell.trim());

const table = ([head, , ...rows]) => make("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Table" },
  make("table", {}, make("thead", {}, make("tr", {}, splitCells(head).map((cell) => make("th", { scope: "col" }, inline(cell))))),
    make("tbody", {}, rows.map((row) => make("tr", {}, splitCells(row).map((cell) => make("td", {}, inline(cell))))))));

// Blocks by their lines: whether a line belongs to one, and what its lines become.
const BLOCKS = [
  [/^\s*[-*+]\s+\S/, (lines) => make("ul", { class: "rows" }, lines.map((line) => make("li", {}, inline(line.replace(/^\s*[-*+]\s+/, "")))))],
  [/^\s*\d{1,9}[.)]\s+\S/, (lines) => make("ol", { class: "rows" }, lines.map((line) => make("li", {}, inline(line.replace(/^\s*\d+[.)]\s+/, "")))))],
  [/^\s*>/, (lines) => make("blockquote", {}, inline(lines.map((line) => line.replace(/^\s*>\s?/, "")).join(" ")))],
  [/^\s*\|/, (lines) => (/^[\s|:-]+$/.test(lines[1] ?? "") ? table(lines) : make("p", {}, inline(lines.join(" "))))],
];
const HEADING = /^(#{1,6})\s+(.*)$/;
const plain = (line) => line.trim() && !HEADING.test(line) && !line.startsWith("```") && !BLOCKS.some(([pattern]) => pattern.test(line));

export const markdown = (text) => {
  const lines = String(text).replaceAll("\r", "").replace(/<!--[^]{0,2000}?-->/g, "").split("\n");
  const elements = [];
  let at = 0;
  const take = (accepts) => {
    const from = at;
    while (at < lines.length && accepts(lines[at])) at++;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const heading = HEADING.exec(line);
    const block = BLOCKS.find(([pattern]) => pattern.test(line));
    if (!line.trim() || /^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) at++;
    else if (heading) { at++; elements.push(make(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2]))); }
    else if (line.startsWith("```")) { at++; elements.push(make("pre", { tabindex: 0 }, take((each) => !each.startsWith("```")).join("\n"))); at++; }
    else if (block) elements.push(block[1](take((each) => block[0].test(each))));
    else elements.push(make("p", {}, inline(take(plain).join(" "))));
  }
  return make("div", { class: "markdown" }, elements);
};

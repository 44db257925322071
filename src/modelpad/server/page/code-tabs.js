// Code in several languages, one at a time: tabs that arrow keys change, and a button that copies.

import { make } from "./dom.js";

// { element, show(texts) }: `texts` are the code by language; the chosen language stays.
export const codeTabs = (id, texts) => {
  const code = make("pre", { id, tabindex: 0, role: "tabpanel" });
  const tabs = Object.keys(texts).map((name) => make("button", { type: "button", role: "tab", id: `${id}-${name}`, "aria-controls": id, onclick: () => select(name) }, name));
  let chosen = tabs[0].textContent;
  const move = (event) => {
    const to = { ArrowRight: 1, ArrowLeft: -1, Home: -tabs.indexOf(event.target), End: -1 - tabs.indexOf(event.target) }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const tab = tabs.at((tabs.indexOf(event.target) + to) % tabs.length);
    tab.focus();
    select(tab.textContent);
  };
  const copy = make("button", { type: "button", class: "copy", onclick: async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      copy.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  } }, "Copy");
  const select = (name) => {
    chosen = name;
    code.textContent = texts[name];
    code.setAttribute("aria-labelledby", `${id}-${name}`);
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab.textContent === name));
      tab.tabIndex = tab.textContent === name ? 0 : -1;
    }
  };
  select(chosen);
  const bar = make("div", { class: "tabs" }, make("div", { role: "tablist", class: "tabs", "aria-label": "Language", onkeydown: move }, tabs), copy);
  return { element: make("div", {}, bar, code), show: (next) => { texts = next; select(chosen); } };
};

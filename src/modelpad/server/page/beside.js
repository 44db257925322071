// Another loaded version beside the one that answers: its prediction of the same input.

import { predict } from "./api.js";
import { make } from "./dom.js";
import { answerView, nameAnswer } from "./outputs.js";

const NOBODY = "";

// { element, ask(read, answer), wait() }; null where only one version is loaded. `read` gives the input as JSON.
export const besidePanel = (model) => {
  const others = (model.versions ?? []).filter((version) => version !== model.version);
  if (!others.length) return null;
  const place = make("div", { class: "beside", hidden: true }), said = make("p", { class: "took" });
  let view = null, latest = null, running = null;

  const compare = async () => {
    running?.abort();
    if (!view || !latest) return;
    const mine = running = new AbortController();
    said.textContent = "Predicting …";
    try {
      const answer = await predict(`${model.name}@${choice.value}`, await latest.read(), mine.signal);
      view.show(answer);
      for (const each of place.querySelectorAll("[id]")) each.removeAttribute("id"); // the main prediction has them
      const agrees = nameAnswer(answer) === nameAnswer(latest.answer);
      said.textContent = nameAnswer(answer) ? `Version ${answer.version} ${agrees ? "agrees" : "predicts otherwise"}.` : `By version ${answer.version}.`;
    } catch (error) {
      if (error.name === "AbortError") return;
      view.wait();
      said.textContent = [error.message, error.hint].filter(Boolean).join(" ");
    }
  };
  const choose = () => {
    place.hidden = choice.value === NOBODY;
    view = place.hidden ? null : answerView(model);
    place.replaceChildren(...(view ? [make("h3", {}, `Version ${choice.value}`), view.element, said] : []));
    compare();
  };
  const choice = make("select", { id: "beside", onchange: choose }, make("option", { value: NOBODY }, "no other version"), others.map((version) => make("option", { value: version }, `version ${version}`)));
  return {
    element: make("div", {}, make("div", { class: "beside-row" }, make("label", { for: "beside" }, "Compare with"), choice), place),
    ask: (read, answer) => { latest = { read, answer }; compare(); },
    wait: () => { latest = null; running?.abort(); view?.wait(); said.textContent = ""; },
  };
};

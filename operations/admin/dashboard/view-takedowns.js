// Takedowns that have their answer: the last ones of each outcome.

import { attribute, button, h, keyed, text } from "./dom.js";
import { OUTCOMES, STATUS, WORDS, clockTime, count, seconds } from "./format.js";

export class TakedownsView {
  #page;
  #outcomes = new Set();
  #selected = -1;
  #timer = 0;
  #search = h("input", {
    type: "search", placeholder: "itemId or takedownId", "aria-label": "Filter by id",
    autocomplete: "off", spellcheck: "false", maxlength: "36", "aria-keyshortcuts": "/",
    on: { input: () => this.#changed() },
  });
  #hint = h("span.hint", { role: "alert" });
  #chips = h("div.chips", { role: "group", "aria-label": "Outcomes" });
  #shown = h("output.shown");
  #rows = h("tbody");
  #empty = h("p.empty");

  constructor(page) {
    this.#page = page;
    for (const name of OUTCOMES) {
      this.#chips.append(button("", () => {
        if (!this.#outcomes.delete(name)) this.#outcomes.add(name);
        this.#changed();
      }, { class: "chip", "data-outcome": name, title: WORDS[name] },
      h("i", { "aria-hidden": "true" }), h("span", {}, `${STATUS[name]} ${WORDS[name]}`)));
    }
    const titles = ["Answered", "Answer", "Item", "Took", "Containers", "Late", "Why"];
    this.element = h("div.view.takedowns", {},
      h("h1.unseen", {}, "Takedowns that have their answer"),
      h("section.table", { "aria-label": "Takedowns that have their answer" },
        h("div.toolbar", { role: "search" },
          h("div.search", {}, this.#search, h("kbd", { "aria-hidden": "true" }, "/")),
          this.#chips, this.#hint, this.#shown),
        h("div.over", { tabindex: "0", role: "group", "aria-label": "Takedowns, newest first" }, h("table.list", {},
          h("thead", {}, h("tr", {}, titles.map((title, at) =>
            h(`th.c${at}${at > 2 && at < 6 ? ".number" : ""}`, { scope: "col" }, title)))),
          this.#rows), this.#empty)));
  }

  open(query) {
    this.#search.value = query.get("id") ?? "";
    const known = (query.get("outcome") ?? "").split(",").filter((name) => OUTCOMES.includes(name));
    this.#outcomes = new Set(known);
    this.#press();
  }

  #press() {
    for (const chip of this.#chips.children) {
      attribute(chip, "aria-pressed", String(this.#outcomes.has(chip.dataset.outcome)));
    }
  }

  #changed() {
    this.#press();
    const id = this.#search.value.trim();
    const valid = /^[0-9A-Fa-f-]*$/.test(id);
    attribute(this.#search, "aria-invalid", !valid);
    text(this.#hint, valid ? "" : "An id is made of 0–9, a–f and -");
    if (!valid) return;
    this.#page.keep({ id, outcome: [...this.#outcomes].join(",") });
    if (this.#page.paused) this.#page.pause(false);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#page.restream(), 120);
  }

  watching() {
    const id = this.#search.value.trim();
    return {
      views: ["recent"],
      parameters: {
        outcome: [...this.#outcomes].join(","), id: /^[0-9A-Fa-f-]*$/.test(id) ? id : "", limit: 100,
      },
    };
  }

  show({ recent }) {
    if (!recent) return;
    text(this.#shown, `${count(recent.takedowns.length)} of ${count(recent.total)} kept`);
    text(this.#empty, recent.total ? "" : "No such takedown is kept.");
    keyed(this.#rows, recent.takedowns, (each) => each.takedownId, (each) => this.#row(each),
      (node, each) => text(node.children[5], each.lateEvents ? count(each.lateEvents) : ""));
  }

  #row(each) {
    const done = each.containersTotal === null
      ? "–" : `${each.containersDone} / ${each.containersTotal}`;
    return h("tr", { "data-outcome": each.outcome, on: { click: (event) => {
      if (!event.target.closest("a")) this.#page.go("takedowns", each.takedownId);
    } } },
    h("td", {}, clockTime(each.answeredAt)),
    h("td", {}, h("span.answer", { "data-outcome": each.outcome },
      h("i", { "aria-hidden": "true" }), h("b", {}, String(each.status)), ` ${WORDS[each.outcome]}`)),
    h("td.id", {}, h("a", { href: `#/takedowns/${each.takedownId}` }, each.itemId)),
    h("td.number", {}, seconds(each.elapsedSeconds)),
    h("td.number", {}, done), h("td.number"), h("td.words", { title: each.detail }, each.detail ?? ""));
  }

  key(event) {
    const links = [...this.#rows.querySelectorAll("a")];
    if (event.key === "/") {
      this.#search.focus();
      this.#search.select();
    } else if (["j", "k", "ArrowDown", "ArrowUp"].includes(event.key) && links.length) {
      const step = event.key === "j" || event.key === "ArrowDown" ? 1 : -1;
      const at = links.indexOf(document.activeElement);
      this.#selected = at < 0 ? Math.max(0, Math.min(links.length - 1, this.#selected)) : at + step;
      this.#selected = Math.max(0, Math.min(links.length - 1, this.#selected));
      links[this.#selected].focus();
    } else return false;
    return true;
  }

  escape(typing) {
    if (!typing || !this.#search.value) return;
    this.#search.value = "";
    this.#changed();
  }

  close() {
    clearTimeout(this.#timer);
  }
}

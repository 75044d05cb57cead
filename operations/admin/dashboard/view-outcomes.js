// Outcomes and latency of the last minutes, and whom takedowns waited for.

import { chart } from "./chart.js";
import { attribute, button, card, h, keyed, text } from "./dom.js";
import { OUTCOMES, STATUS, WORDS, count, percent, rate, seconds } from "./format.js";

const PHASES = [
  ["located", "Where is it?", "the catalogue, from accepted to located"],
  ["acknowledged", "Kafka’s ack", "from publishing to the last acknowledgement"],
  ["deleted", "Deletions", "from publishing to the last deletion: the Items service"],
];

export class OutcomesView {
  #page;
  #minutes = 15;
  #span = h("div.chips", { role: "group", "aria-label": "How far back" });
  #answers = h("div.canvas");
  #latency = h("div.canvas");
  #flight = h("div.canvas");
  #events = h("div.canvas");
  #legend = h("div.legend");
  #phases = h("tbody");
  #totals = h("tbody");
  #history = null;
  #drawn = null;
  #resized;

  constructor(page) {
    this.#page = page;
    for (const minutes of [2, 5, 15]) {
      this.#span.append(button(`${minutes} minutes`, () => this.#choose(minutes), {
        class: "chip", "data-minutes": minutes,
      }));
    }
    const lines = (names) => h("div.legend", {}, names.map(([name, words]) =>
      h("span", { "data-line": name }, h("i", { "aria-hidden": "true" }), words)));
    this.element = h("div.view.outcomes", {}, h("h1.unseen", {}, "Outcomes and latency"),
      h("div.toolbar", {}, this.#span),
      h("div.grid", {},
        h("section.card", {}, h("h2", {}, "Answers, each 5 seconds"), this.#answers, this.#legend),
        h("section.card", {}, h("h2", {}, "Latency"), this.#latency,
          lines([["p50", "p50"], ["p90", "p90"], ["p99", "p99"]])),
        h("section.card", {}, h("h2", {}, "In flight"), this.#flight,
          lines([["flight", "takedowns in flight"]])),
        h("section.card", {}, h("h2", {}, "Deletions read from Kafka, each 5 seconds"), this.#events,
          lines([["read", "read"], ["matched", "that somebody waited for"]])),
        card("Whom takedowns waited for, last minute", h("div.over", {}, h("table", {}, h("thead", {}, h("tr", {},
          ["", "Takedowns", "p50", "p90", "p99"].map((each, at) => h(at ? "th.number" : "th", { scope: "col" }, each)))),
        this.#phases))),
        card("Since the start", h("div.over", {}, h("table", {}, h("thead", {}, h("tr", {},
          ["Answer", "Last minute", "Since the start", "Share"].map((each, at) => h(at ? "th.number" : "th", { scope: "col" }, each)))),
        this.#totals)))));
    this.#resized = new ResizeObserver(() => this.#draw());
    this.#resized.observe(this.element);
  }

  open(query) {
    const minutes = Number(query.get("minutes"));
    if ([2, 5, 15].includes(minutes)) this.#minutes = minutes;
    this.#press();
  }

  #press() {
    for (const chip of this.#span.children) {
      attribute(chip, "aria-pressed", String(Number(chip.dataset.minutes) === this.#minutes));
    }
  }

  #choose(minutes) {
    this.#minutes = minutes;
    this.#press();
    this.#page.keep({ minutes: minutes === 15 ? "" : String(minutes) });
    this.#page.restream();
  }

  watching() {
    return { views: ["history"], parameters: { minutes: this.#minutes } };
  }

  show({ overview, history }) {
    const wide = (node, name) => {
      const latency = overview.phases[name];
      text(node.children[1], count(latency.count));
      ["p50Seconds", "p90Seconds", "p99Seconds"].forEach((each, at) => {
        text(node.children[2 + at], seconds(latency[each]));
      });
    };
    keyed(this.#phases, PHASES, ([name]) => name, ([, title, words]) => h("tr", {},
      h("td", {}, h("b", {}, title), h("small", {}, words)), h("td.number"), h("td.number"), h("td.number"), h("td.number")),
    (node, [name]) => wide(node, name));
    const all = Object.values(overview.outcomes).reduce((total, each) => total + each, 0);
    keyed(this.#totals, OUTCOMES, (name) => name, (name) => h("tr", {},
      h("td", {}, h("a.answer", { "data-outcome": name, href: `#/takedowns?outcome=${name}` },
        h("i", { "aria-hidden": "true" }), h("b", {}, String(STATUS[name])), ` ${WORDS[name]}`)),
      h("td.number"), h("td.number"), h("td.number")),
    (node, name) => {
      text(node.children[1], count(overview.lastMinute[name] ?? 0));
      text(node.children[2], count(overview.outcomes[name] ?? 0));
      text(node.children[3], percent(overview.outcomes[name] ?? 0, all));
      node.classList.toggle("still", !overview.outcomes[name]);
    });
    if (history && history !== this.#drawn) {
      this.#history = history;
      this.#draw();
      this.#drawn = history;
    }
  }

  #draw() {
    if (!this.#history) return;
    const { buckets } = this.#history;
    const width = Math.max(260, this.#answers.clientWidth);
    const common = { buckets, minutes: this.#minutes, width, height: 176 };
    const shown = OUTCOMES.filter((name) => buckets.some((each) => each.outcomes[name]));
    keyed(this.#legend, shown.length ? shown : ["Deleted"], (name) => name,
      (name) => h("span", { "data-outcome": name }, h("i", { "aria-hidden": "true" }), `${STATUS[name]} ${WORDS[name]}`),
      () => {});
    const total = buckets.reduce((all, each) => all + OUTCOMES.reduce((sum, name) => sum + (each.outcomes[name] ?? 0), 0), 0);
    this.#answers.replaceChildren(chart({ ...common, unit: "answers",
      label: `${count(total)} answers in ${this.#minutes} minutes`,
      stacks: (each) => OUTCOMES.map((name) => [name, each.outcomes[name] ?? 0]) }));
    const latest = buckets.at(-1)?.latency;
    this.#latency.replaceChildren(chart({ ...common, unit: "seconds",
      label: `Latency; the last 5 seconds: p50 ${seconds(latest?.p50Seconds)}, p99 ${seconds(latest?.p99Seconds)}`,
      lines: ({ latency }) => ({ p50: latency.p50Seconds, p90: latency.p90Seconds, p99: latency.p99Seconds }) }));
    this.#flight.replaceChildren(chart({ ...common, unit: "takedowns",
      label: `In flight; at last ${count(buckets.at(-1)?.inFlight)}`, lines: (each) => ({ flight: each.inFlight }) }));
    this.#events.replaceChildren(chart({ ...common, unit: "events",
      label: `Deletions read; at last ${rate((buckets.at(-1)?.eventsRead ?? 0) / 5)} each second`,
      lines: (each) => ({ read: each.eventsRead, matched: each.eventsMatched }) }));
  }

  close() {
    this.#resized.disconnect();
  }
}

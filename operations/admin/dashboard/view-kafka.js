// Kafka: where we are in each topic, how far behind, what was read and what was waited for.

import { chart } from "./chart.js";
import { h, keyed, text } from "./dom.js";
import { count, percent, rate } from "./format.js";

export class KafkaView {
  #readers = h("div.readers");
  #bus = h("dl.facts.pairs");
  #producer = h("dl.facts.pairs");
  #producerCard = h("section.card", {}, h("h2", {}, "Producer of delete requests"), this.#producer);
  #catalogue = h("dl.facts.pairs");
  #events = h("div.canvas");
  #share = h("div.pool", { role: "img" }, h("span.busy"), h("span.idle"));
  #history = null;
  #resized;

  constructor() {
    this.element = h("div.view.kafka", {}, h("h1.unseen", {}, "Kafka"), this.#readers,
      h("div.grid", {}, h("section.card", {}, h("h2", {}, "Deletions: read, and waited for"),
        this.#share, this.#bus),
      this.#producerCard,
      h("section.card", {}, h("h2", {}, "Deletions each 5 seconds, last 15 minutes"), this.#events,
        h("div.legend", {}, h("span", { "data-line": "read" }, h("i"), "read"),
          h("span", { "data-line": "matched" }, h("i"), "waited for"))),
      h("section.card", {}, h("h2", {}, "Catalogue"), this.#catalogue)));
    this.#resized = new ResizeObserver(() => this.#draw());
    this.#resized.observe(this.element);
  }

  watching() {
    return { views: ["statistics", "history"], parameters: { minutes: 15 } };
  }

  show({ statistics: st, history }) {
    if (!st) return;
    keyed(this.#readers, st.readers, (each) => each.topic, (each) => new Reader(each.topic).element,
      (node, each) => node.reader.show(each));
    const { bus, publisher } = st;
    this.#share.children[0].style.flexGrow = bus.matched / Math.max(1, bus.published);
    this.#share.children[1].style.flexGrow = 1 - bus.matched / Math.max(1, bus.published);
    this.#share.setAttribute("aria-label", `${percent(bus.matched, bus.published)} waited for`);
    put(this.#bus, [
      ["Read", count(bus.published), `${rate(bus.publishedPerSecond)} /s`],
      ["Waited for", count(bus.matched), `${rate(bus.matchedPerSecond)} /s`],
      ["For nobody here", count(bus.published - bus.matched), percent(bus.published - bus.matched, bus.published)],
      ["After their deadline", count(bus.late), ""],
      ["Subscriptions", count(bus.subscriptions), ""],
      ["Subscribers that were dropped", count(bus.dropped), "", bus.dropped > 0],
    ]);
    this.#producerCard.classList.toggle("alarm", !publisher.working);
    put(this.#producer, [
      ["State", publisher.working ? "working" : "interrupted", "", !publisher.working],
      ["Acknowledged", count(publisher.published), `${rate(publisher.publishedPerSecond)} /s`],
      ["Takedowns without their ack", count(publisher.inFlight), ""],
      ["Failed", count(publisher.failed), "", publisher.failed > 0],
      ["Producers made", count(publisher.producers), "", publisher.producers > 1],
      ["Last error", publisher.lastError || "none", "", Boolean(publisher.lastError)],
    ]);
    put(this.#catalogue, Object.entries(st.catalogue).map(([name, value]) => [spaced(name), plain(value), ""]));
    if (history && history !== this.#history) {
      this.#history = history;
      this.#draw();
    }
  }

  #draw() {
    if (!this.#history) return;
    this.#events.replaceChildren(chart({
      buckets: this.#history.buckets, minutes: 15, width: Math.max(260, this.#events.clientWidth), height: 168,
      unit: "events", label: "Deletions read and waited for, in the last 15 minutes",
      lines: (each) => ({ read: each.eventsRead, matched: each.eventsMatched }),
    }));
  }

  close() {
    this.#resized.disconnect();
  }
}

class Reader {
  #state = h("span.pill", {}, h("i", { "aria-hidden": "true" }), h("span"));
  #facts = h("dl.facts.pairs");
  #positions = h("ul.positions", { "aria-label": "Next offset, by partition" });

  constructor(topic) {
    this.element = h("section.card.reader", {}, h("h2", {}, h("code", {}, topic), this.#state),
      this.#facts, h("h3", {}, "Next offset, by partition"), this.#positions);
    this.element.reader = this;
  }

  show(r) {
    const state = r.positioned ? (r.caughtUp ? "reading" : "catching up") : "interrupted";
    this.#state.dataset.tone = r.positioned ? (r.caughtUp ? "ok" : "warn") : "bad";
    this.element.classList.toggle("alarm", !r.positioned);
    text(this.#state.lastChild, state);
    put(this.#facts, [
      ["Behind", count(r.behind), "records", r.behind > 1000],
      ["Read", count(r.read), `${rate(r.readPerSecond)} /s`],
      ["Skipped", count(r.skipped), "", r.skipped > 0],
      ["Times connected", count(r.sessions), "", r.sessions > 1],
      ["Last error", r.lastError || "none", "", Boolean(r.lastError)],
    ]);
    keyed(this.#positions, Object.entries(r.positions), ([number]) => number,
      ([number]) => h("li", {}, h("span", {}, number), h("b")),
      (node, [, offset]) => text(node.lastChild, count(offset)));
  }
}

function put(list, rows) {
  keyed(list, rows, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("span"), h("small"))),
    (node, [, value, more, bad]) => {
      text(node.lastChild.firstChild, value);
      text(node.lastChild.lastChild, more ? ` ${more}` : "");
      node.classList.toggle("bad", Boolean(bad));
    });
}

function spaced(name) {
  const words = name.replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function plain(value) {
  if (typeof value === "number") return Number.isInteger(value) ? count(value) : value.toFixed(3);
  if (value === null || value === "") return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

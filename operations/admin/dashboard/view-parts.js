// The parts of the service: coordinator, pool, supervision tree, servers, loop.

import { h, keyed, text } from "./dom.js";
import { STATUS, WORDS, count, rate, seconds } from "./format.js";

export class PartsView {
  #pool = h("div.pool", { role: "img" }, h("span.busy"), h("span.idle"));
  #poolWords = h("p.note");
  #tables = {};
  #tree = h("ul.tree");
  #cards;

  constructor() {
    const facts = (name, title) => {
      this.#tables[name] = h("dl.facts.pairs");
      return h("section.card", {}, h("h2", {}, title), this.#tables[name]);
    };
    this.#cards = h("div.grid", {},
      h("div.column", {}, h("section.card", {}, h("h2", {}, "Supervision tree"), this.#tree),
        facts("feed", "Transition feed")),
      h("div.column", {},
        h("section.card", {}, h("h2", {}, "Pool"), this.#pool, this.#poolWords,
          (this.#tables.pool = h("dl.facts.pairs"))),
        facts("coordinator", "Coordinator"), facts("loop", "Event loop"), facts("servers", "Servers")));
    this.element = h("div.view.parts", {}, h("h1.unseen", {}, "Coordinator, pool, supervision"), this.#cards);
  }

  watching() {
    return { views: ["statistics"] };
  }

  show({ statistics: st }) {
    if (!st) return;
    this.#coordinator(st.coordinator);
    this.#put("loop", [
      ["Last tick came late by", seconds(st.loop.lagSeconds), st.loop.lagSeconds > 0.5],
      ["Worst of the last minute", seconds(st.loop.lagMaxSeconds), st.loop.lagMaxSeconds > 0.5],
      ["Tasks", count(st.tasks)],
    ]);
    this.#put("feed", [
      ["Machines", count(st.feed.machines)], ["Transitions", count(st.feed.transitions)],
      ["Each second", rate(st.feed.perSecond)],
      ["Observers that failed", count(st.feed.failures), st.feed.failures > 0],
      ["Finished takedowns kept", count(st.feed.takedownsKept)],
    ]);
    this.#put("servers", [
      ["Public API", st.publicApi.address], ["Connections", count(st.publicApi.connections)],
      ["Admin API", st.adminApi.address],
      ["Connections ", count(st.adminApi.connections)],
      ["Viewers", count(st.adminApi.viewers)],
      ["Viewers cut off", count(st.adminApi.viewersCut)],
    ]);
    this.#branch(this.#tree, [st.supervision]);
  }

  #coordinator(c) {
    if (!c) return;
    const most = Math.max(1, c.inFlight + c.idle);
    this.#pool.children[0].style.flexGrow = c.inFlight / most;
    this.#pool.children[1].style.flexGrow = c.idle / most;
    const words = `${count(c.inFlight)} at work, ${count(c.idle)} idle`;
    this.#pool.setAttribute("aria-label", words);
    text(this.#poolWords, `${words}; at most ${count(c.maximum)} at work`);
    this.#put("pool", [
      ["In use", `${((100 * c.inFlight) / c.maximum).toFixed(1)} %`, c.inFlight >= c.maximum],
      ["Wait for Kafka", count(c.waiting), c.waiting > 0],
      ["Restarted", count(c.restarts), c.restarts > 0],
      ["Failed once too often", count(c.replaced), c.replaced > 0],
    ]);
    this.#put("coordinator", [
      ["State", c.draining ? "draining" : "open", c.draining],
      ["Accepted", count(c.accepted)],
      ...Object.entries(c.outcomes).map(([name, many]) => [`${STATUS[name] ?? ""} ${WORDS[name] ?? name}`, count(many)]),
      ...Object.entries(c.rejected).map(([why, many]) => [`Turned away: ${why}`, count(many), true]),
    ]);
  }

  #put(table, rows) {
    keyed(this.#tables[table], rows, ([name]) => name,
      ([name]) => h("div", {}, h("dt", {}, name.trim()), h("dd")),
      (node, [, value, bad]) => {
        text(node.lastChild, value);
        node.classList.toggle("bad", Boolean(bad));
      });
  }

  #branch(list, nodes) {
    keyed(list, nodes, (node) => `${node.kind} ${node.name}`, () => h("li", {},
      h("div.branch", {}, h("i", { "aria-hidden": "true" }), h("b"), h("span.kind"), h("span.times"),
        h("span.restarts"), h("small")), h("ul")),
    (item, node) => {
      const [dot, name, kind, times, restarts, policy] = item.firstChild.children;
      dot.className = node.alive ? "" : "bad";
      item.classList.toggle("bad", !node.alive);
      text(name, node.name);
      text(kind, node.kind === node.name || node.kind === "task" ? "" : node.kind);
      text(times, node.count === 1 ? "" : `× ${count(node.count)}`);
      text(restarts, node.restarts ? `${count(node.restarts)} restarts` : node.alive ? "" : "not running");
      // The same words once, under the last of those for which they hold.
      const next = nodes[nodes.indexOf(node) + 1];
      text(policy, next?.policy === node.policy ? "" : node.policy);
      this.#branch(item.lastChild, node.children);
    });
  }
}

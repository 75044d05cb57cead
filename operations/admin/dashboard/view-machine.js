// The state machine as it is: how many actors are in each state, how many pass along each arrow.

import { h, keyed, s, text } from "./dom.js";
import { count, rate } from "./format.js";

const NODE = { width: 172, height: 92 };
const GAP = 236;
const LINE = 17;

export class MachineView {
  #cards = h("div.machines");

  constructor() {
    this.element = h("div.view.machine", {}, h("h1.unseen", {}, "State machine"), this.#cards);
  }

  watching() {
    return { views: ["machines"] };
  }

  show({ machines }) {
    if (!machines) return;
    keyed(this.#cards, machines, (each) => each.name, (each) => new Picture(each).element,
      (node, each) => node.picture.show(each));
  }
}

class Picture {
  #nodes = {};
  #groups = [];
  #rows = h("tbody");

  constructor(machine) {
    const drawing = this.#draw(machine);
    this.element = h("div.picture", {},
      h("section.card", {}, h("h2", {}, machine.name), h("div.canvas", { tabindex: "0",
        role: "group", "aria-label": `${machine.name}, drawn` }, drawing)),
      h("section.card.arrows", {}, h("h2", {}, "Transitions"),
        h("div.over", { tabindex: "0", role: "group", "aria-label": "Transitions" }, h("table", {},
          h("thead", {}, h("tr", {}, ["From", "Event", "To", "Each second", "Since the start"]
            .map((title, at) => h(at > 2 ? "th.number" : "th", { scope: "col" }, title)))),
          this.#rows))));
    this.element.picture = this;
  }

  #draw(machine) {
    const names = machine.states.map((state) => state.name);
    const place = (name) => names.indexOf(name);
    const groups = new Map();
    for (const arrow of machine.arrows) {
      const key = `${arrow.source}>${arrow.target}`;
      if (!groups.has(key)) groups.set(key, { source: arrow.source, target: arrow.target, arrows: [] });
      groups.get(key).arrows.push(arrow);
    }
    // What is ignored is drawn only once it has happened: see show().
    const tallest = (test) => Math.max(0, ...[...groups.values()].filter(test)
      .map((group) => group.arrows.filter((arrow) => !arrow.ignored).length));
    const above = Math.max(tallest((g) => g.source === g.target), 1) * LINE + 70;
    const spans = [...groups.values()].filter((g) => place(g.target) < place(g.source));
    let below = above + NODE.height;
    const depth = new Map();
    for (const group of spans.sort((a, b) => place(a.source) - place(a.target) - place(b.source) + place(b.target))) {
      depth.set(group, below + 30);
      below += 30 + group.arrows.filter((arrow) => !arrow.ignored).length * LINE + 16;
    }
    const width = names.length * NODE.width + (names.length - 1) * GAP + 40;
    const x = (name) => 20 + place(name) * (NODE.width + GAP);
    const picture = s("svg", { viewBox: `0 0 ${width} ${below + 12}`, role: "img",
      "aria-label": `States ${names.join(", ")}; the table below says the same in numbers` });
    picture.append(s("defs", {}, s("marker", { id: "tip", viewBox: "0 0 10 10", refX: "9",
      refY: "5", markerWidth: "11", markerHeight: "11", markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
    s("path.tip", { d: "M0 0.8 L9.500 5 L0 9.200 z" }))));
    for (const group of groups.values()) this.#edge(picture, group, { x, place, above, depth });
    for (const state of machine.states) {
      const node = s("g.node", { "data-state": state.name, transform: `translate(${x(state.name)} ${above})` },
        s("rect", { width: NODE.width, height: NODE.height, rx: 14 }),
        s("text.name", { x: 18, y: 32 }, state.name),
        s("text.live", { x: 18, y: 72 }, "0"));
      picture.append(node);
      this.#nodes[state.name] = node.lastChild;
    }
    return picture;
  }

  #edge(picture, group, { x, place, above, depth }) {
    const from = x(group.source);
    const to = x(group.target);
    const middle = above + NODE.height / 2;
    const bottom = above + NODE.height;
    const own = group.arrows.filter((arrow) => !arrow.ignored);
    let d, label;
    if (group.source === group.target) {
      const left = from + NODE.width / 2 - 26;
      d = `M${left} ${above} C${left - 22} ${above - 46} ${left + 74} ${above - 46} ${left + 52} ${above}`;
      label = { x: from + NODE.width / 2, y: above - 42 - (own.length - 1) * LINE };
    } else if (depth.has(group)) {
      const y = depth.get(group);
      const start = from + NODE.width / 2 - (place(group.source) - place(group.target) > 1 ? 0 : 24);
      const end = to + NODE.width / 2 + (place(group.source) - place(group.target) > 1 ? -24 : 24);
      d = `M${start} ${bottom} V${y - 12} Q${start} ${y} ${start - 12} ${y} H${end + 12} Q${end} ${y} ${end} ${y - 12} V${bottom + 3}`;
      label = { x: (start + end) / 2, y: y + 17 };
    } else {
      d = `M${from + NODE.width} ${middle} H${to - 3}`;
      label = { x: (from + NODE.width + to) / 2, y: middle - 12 - (own.length - 1) * LINE };
    }
    if (!own.length) return; // only ignored: they leave no line, the table has them
    const line = s("path.edge", { d, "marker-end": "url(#tip)" });
    const flow = s("path.flow", { d });
    const rates = own.map((arrow, index) => {
      const value = s("tspan.rate", {}, "0");
      picture.append(s("text.event", { x: label.x, y: label.y + index * LINE },
        s("tspan", {}, `${arrow.event} `), value, s("tspan.unit", {}, "/s")));
      return { key: keyOf(arrow), value };
    });
    picture.prepend(line, flow);
    this.#groups.push({ line, flow, rates });
  }

  show(machine) {
    for (const state of machine.states) text(this.#nodes[state.name], count(state.live));
    const rates = new Map(machine.arrows.map((arrow) => [keyOf(arrow), arrow.perSecond]));
    for (const group of this.#groups) {
      let all = 0;
      for (const { key, value } of group.rates) {
        const perSecond = rates.get(key) ?? 0;
        all += perSecond;
        text(value, rate(perSecond));
        value.parentNode.classList.toggle("still", perSecond === 0);
      }
      const weight = all ? Math.min(4.5, 1.6 + Math.log10(1 + all)) : 1.4;
      group.line.style.strokeWidth = weight.toFixed(2);
      group.line.classList.toggle("moving", all > 0);
      group.flow.classList.toggle("moving", all > 0);
    }
    const rows = machine.arrows.filter((arrow) => arrow.count > 0 || !arrow.ignored);
    keyed(this.#rows, rows, keyOf, (arrow) => h(arrow.ignored ? "tr.ignored" : "tr", {},
      h("td", {}, chip(arrow.source)), h("td", {}, arrow.event, arrow.ignored ? h("small", {}, " ignored") : null),
      h("td", {}, chip(arrow.target)), h("td.number"), h("td.number")),
    (node, arrow) => {
      text(node.children[3], rate(arrow.perSecond));
      text(node.children[4], count(arrow.count));
      node.classList.toggle("still", arrow.perSecond === 0);
    });
  }
}

function chip(state) {
  return h("span.state", { "data-state": state }, h("i", { "aria-hidden": "true" }), state);
}

function keyOf(arrow) {
  return `${arrow.source} ${arrow.event} ${arrow.target} ${arrow.ignored}`;
}

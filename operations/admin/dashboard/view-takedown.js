// One takedown: what it is, how its time went, and who told whom what.

import { since } from "./clock.js";
import { attribute, button, h, text } from "./dom.js";
import { STATUS, WORDS, count, dateTime, running, seconds } from "./format.js";
import { sequence } from "./sequence.js";
import { timeline } from "./timeline.js";

export class TakedownView {
  #page;
  #id;
  #title = h("h1");
  #answer = h("span.answer", {}, h("i", { "aria-hidden": "true" }), h("b"), h("span"));
  #why = h("p.why");
  #facts = h("dl.facts");
  #time = h("div.canvas");
  #talk = h("div.canvas");
  #said = h("ol.steps");
  #more = h("p.note");
  #note = h("p.note");
  #gone = h("p.empty", {}, "");
  #body;
  #shown = "";
  #width = 0;
  #latest = null;
  #resized;

  constructor(page, id) {
    this.#page = page;
    this.#id = id.toLowerCase();
    this.#body = h("div.body", { hidden: true },
      h("section.card.what", {}, this.#facts),
      h("section.card", {}, h("h2", {}, "Time"), this.#time, this.#note),
      h("section.card", {}, h("h2", {}, "Who told whom"), this.#talk, this.#said, this.#more));
    this.element = h("div.view.takedown", {},
      h("div.title", {},
        button("", () => this.escape(), { class: "quiet back", "aria-keyshortcuts": "Escape", title: "Back (Esc)" }, "← Back"),
        this.#title, this.#answer),
      this.#why, this.#gone, this.#body);
    text(this.#title, this.#id);
    this.#resized = new ResizeObserver(() => this.#resize());
    this.#resized.observe(this.element);
  }

  get #valid() {
    return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(this.#id);
  }

  watching() {
    if (!this.#valid) {
      text(this.#gone, "This is not the id of a takedown.");
      return { views: [] };
    }
    return { views: ["takedown"], parameters: { takedownId: this.#id } };
  }

  show({ takedown }) {
    if (takedown === undefined || !this.#valid) return; // it is on its way, or cannot come
    if (takedown === null || takedown.takedownId !== this.#id) {
      if (takedown === null) {
        text(this.#gone, "This takedown is not in flight, and is not kept any more.");
      }
      return;
    }
    text(this.#gone, "");
    attribute(this.#body, "hidden", false);
    this.#latest = takedown;
    this.#head(takedown);
    const mark = [takedown.steps.length, takedown.stepsDropped, takedown.finished,
      takedown.containersDone, takedown.containersTotal].join(" ");
    if (mark !== this.#shown) {
      this.#shown = mark;
      this.#draw();
    }
  }

  #head(t) {
    text(this.#title, t.takedownId);
    const finished = t.finished;
    this.#answer.dataset.outcome = finished ? t.outcome : "";
    this.#answer.dataset.state = finished ? "" : t.containersTotal === null ? "Locating" : "Active";
    text(this.#answer.children[1], finished ? String(STATUS[t.outcome]) : "");
    text(this.#answer.children[2], finished ? WORDS[t.outcome] : "in flight");
    const lost = t.containers.filter((each) => !each.deleted);
    const late = t.containers.filter((each) => each.late);
    const words = [];
    if (t.detail) words.push(t.detail);
    if (lost.length) {
      words.push(`Outstanding: ${lost.slice(0, 8).map((each) => each.containerId).join(", ")}`
        + (lost.length > 8 ? ` and ${count(lost.length - 8)} more` : ""));
    }
    if (late.length) words.push(`${count(late.length)} read after the deadline`);
    text(this.#why, words.join(" · "));
    this.#why.classList.toggle("bad", finished && lost.length > 0);
    this.#fact("Item", t.itemId, "id");
    this.#fact("Carried by", `ItemCensor ${t.actorId}`, "id");
    this.#fact("Accepted", dateTime(t.acceptedAt), "id");
    this.#fact(finished ? "Took" : "Age", finished ? seconds(t.elapsedSeconds) : running(t.elapsedSeconds), "age");
    this.#fact("Deadline", `after ${seconds(t.timeoutSeconds)}`);
    this.#fact("Containers", t.containersTotal === null
      ? "not known" : `${t.containersDone} of ${t.containersTotal} deleted`);
    this.#fact("Trace", t.traceparent, "wide");
  }

  #fact(name, value, kind = "") {
    let node = [...this.#facts.children].find((each) => each.dataset.name === name);
    if (!node) {
      node = h(`div.${kind || "plain"}`, { "data-name": name }, h("dt", {}, name), h("dd"));
      this.#facts.append(node);
      if (name === "Took") [...this.#facts.children].find((each) => each.dataset.name === "Age")?.replaceWith(node);
    }
    text(node.lastChild, value);
  }

  #resize() {
    const width = this.element.clientWidth;
    if (Math.abs(width - this.#width) < 2) return;
    this.#width = width;
    if (this.#latest) this.#draw();
  }

  #draw() {
    const t = this.#latest;
    const width = Math.max(300, (this.#time.clientWidth || this.element.clientWidth) - 2);
    this.#time.replaceChildren(timeline(t, width));
    const dropped = t.stepsDropped ? `${count(t.stepsDropped)} steps were too many to keep.` : "";
    text(this.#more, dropped);
    const hidden = (t.containersTotal ?? 0) - t.containers.length;
    text(this.#note, hidden > 0 ? `The first ${count(t.containers.length)} of ${count(t.containersTotal)} containers.` : "");
    const drawn = width >= 640;
    this.#talk.replaceChildren(...(drawn ? [sequence(t, width)] : []));
    attribute(this.#talk, "hidden", !drawn);
    // The same in words: for narrow screens, and for those who listen.
    this.#said.classList.toggle("unseen", drawn);
    this.#said.replaceChildren(...t.steps.map((step) => h(step.late ? "li.late" : "li", {},
      h("time", {}, `+${seconds(step.afterSeconds)}`),
      h("span.who", {}, `${step.source} → ${step.target}`), h("b", {}, step.event),
      h("span", {}, step.late ? `${step.text} (late)` : step.text))));
  }

  tick() {
    const t = this.#latest;
    if (!t || t.finished) return;
    const age = since(t.acceptedAt, this.#page.now);
    if (!Number.isNaN(age)) this.#fact("Age", running(age), "age");
  }

  escape() {
    if (history.length > 1) history.back();
    else this.#page.go("takedowns");
  }

  close() {
    this.#resized.disconnect();
  }
}

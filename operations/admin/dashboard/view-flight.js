// What is in flight: one row for each takedown, with its age and the time that is left to it.

import { since } from "./clock.js";
import { attribute, button, h, keyed, text } from "./dom.js";
import { OUTCOMES, STATUS, WAITING, WORDS, count, running, shortId } from "./format.js";
import { VirtualList } from "./virtual.js";

const LIMIT = 100; // rows that a stream brings
const STEP = 20;
const SORTS = [
  ["-age", "oldest first"], ["age", "newest first"], ["deadline", "nearest deadline first"],
  ["-outstanding", "most outstanding first"], ["state", "by state"],
  ["-mailbox", "fullest mailbox first"], ["-restarts", "most restarts first"],
];
const COLUMNS = [
  ["state", "State"], ["item", "Item"], ["takedown", "Takedown"], ["time", "Age and time left"],
  ["done", "Containers"], ["waits", "Waits for"], ["notes", ""],
];

export class FlightView {
  #page;
  #states = new Set();
  #offset = 0;
  #window = { offset: 0, rows: [] };
  #total = 0;
  #selected = null; // { index, id }
  #pressed = null;
  #timer = 0;
  #parts = {};

  constructor(page) {
    this.#page = page;
    this.#build();
  }

  // ------------------------------------------------------------------------- building

  #build() {
    const part = this.#parts;
    part.search = h("input", {
      type: "search", placeholder: "itemId or takedownId", "aria-label": "Filter by id",
      autocomplete: "off", spellcheck: "false", maxlength: "36", "aria-keyshortcuts": "/",
      on: { input: () => this.#changed() },
    });
    part.hint = h("span.hint", { role: "alert" });
    part.chips = h("div.chips", { role: "group", "aria-label": "States" });
    part.stuck = button("Stuck", () => {
      attribute(part.stuck, "aria-pressed", String(part.stuck.getAttribute("aria-pressed") !== "true"));
      this.#changed();
    }, { class: "chip stuck", "aria-pressed": "false" });
    part.older = h("select", { "aria-label": "Older than", on: { change: () => this.#changed() } },
      [["", "any age"], ["1", "older than 1 s"], ["3", "older than 3 s"], ["5", "older than 5 s"],
        ["10", "older than 10 s"], ["60", "older than 1 m"]]
        .map(([value, words]) => h("option", { value }, words)));
    part.sort = h("select", { "aria-label": "Order", on: { change: () => this.#changed() } },
      SORTS.map(([value, words]) => h("option", { value }, words)));
    part.shown = h("output.shown");
    part.list = new VirtualList({
      label: "Takedowns in flight",
      columns: COLUMNS.length,
      create: () => this.#row(),
      update: (row, index) => this.#fill(row, index),
      wanted: (first, last) => this.#want(first, last),
    });
    part.empty = h("p.empty");
    part.cards = new Cards();
    const head = h("div.head", { role: "row" },
      COLUMNS.map(([name, title]) => h(`span.${name}`, { role: "columnheader" }, title)));
    this.element = h("div.view.flight", {},
      h("h1.unseen", {}, "In flight"),
      part.cards.element,
      h("section.table", { "aria-label": "Takedowns in flight" },
        h("div.toolbar", { role: "search" },
          h("div.search", {}, part.search, h("kbd", { "aria-hidden": "true" }, "/")),
          part.chips, part.stuck, part.older, part.sort, part.hint, part.shown),
        head, part.list.element, part.empty));
    const grid = part.list.element;
    grid.addEventListener("pointerdown", (event) => (this.#pressed = this.#at(event)));
    grid.addEventListener("click", (event) => this.#clicked(event));
    grid.addEventListener("focus", () => {
      if (!this.#selected && this.#total) this.#select(0);
    });
  }

  #row() {
    const cells = COLUMNS.map(([name]) => h(`span.${name}`, { role: "gridcell" }));
    const [state, , , time] = cells;
    state.append(h("i", { "aria-hidden": "true" }), h("b"));
    const bar = h("span.bar", { "aria-hidden": "true" }, h("span"));
    time.append(h("span.age"), bar, h("span.left"));
    const row = h("div.row", { role: "row" }, cells);
    row.id = `row-${(counter += 1)}`;
    row.cells = Object.fromEntries(COLUMNS.map(([name], index) => [name, cells[index]]));
    row.cells.age = time.children[0];
    row.cells.bar = bar.firstChild;
    row.cells.left = time.children[2];
    return row;
  }

  // ------------------------------------------------------------------------ what to ask for

  open(query) {
    const part = this.#parts;
    part.search.value = query.get("id") ?? "";
    part.older.value = query.get("older") ?? "";
    part.sort.value = query.get("sort") ?? "-age";
    if (part.sort.selectedIndex < 0) part.sort.value = "-age";
    if (part.older.selectedIndex < 0) part.older.value = "";
    attribute(part.stuck, "aria-pressed", String(query.get("stuck") === "true"));
    this.#states = new Set((query.get("state") ?? "").split(",").filter((s) => /^[A-Za-z]+$/.test(s)));
  }

  #changed() {
    const part = this.#parts;
    const valid = this.#id() !== null;
    attribute(part.search, "aria-invalid", !valid);
    text(part.hint, valid ? "" : "An id is made of 0–9, a–f and -");
    if (!valid) return;
    this.#offset = 0;
    this.#selected = null;
    part.list.element.scrollTop = 0;
    const sort = part.sort.value === "-age" ? "" : part.sort.value;
    this.#page.keep({
      id: part.search.value.trim(), state: [...this.#states].join(","), sort,
      older: part.older.value, stuck: this.#stuckOnly ? "true" : "",
    });
    if (this.#page.paused) this.#page.pause(false);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#page.restream(), 120);
  }

  /** What is searched for, or null if it cannot be an id. */
  #id() {
    const words = this.#parts.search.value.trim();
    return /^[0-9A-Fa-f-]*$/.test(words) ? words : null;
  }

  get #filtered() {
    return this.#parts.search.value !== "" || this.#states.size > 0 || this.#stuckOnly
      || this.#parts.older.value !== "";
  }

  get #stuckOnly() {
    return this.#parts.stuck.getAttribute("aria-pressed") === "true";
  }

  watching() {
    const part = this.#parts;
    return {
      views: ["actors"],
      offset: this.#offset,
      parameters: {
        kind: "ItemCensor",
        state: this.#states.size ? [...this.#states].join(",") : "Locating,Active",
        id: this.#id() ?? "",
        olderThan: part.older.value,
        stuck: this.#stuckOnly ? "true" : "",
        sort: part.sort.value,
        limit: LIMIT,
        offset: this.#offset || "",
      },
    };
  }

  #want(first, last) {
    if (this.#page.paused) return;
    const loaded = this.#window;
    const from = loaded.offset;
    const to = from + LIMIT - 1;
    if ((first >= from && last <= to) || last < first) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const middle = Math.floor((first + last) / 2 - LIMIT / 2);
      const offset = Math.max(0, Math.round(middle / STEP) * STEP);
      if (offset === this.#offset) return;
      this.#offset = offset;
      this.#page.restream();
    }, 60);
  }

  // ------------------------------------------------------------------------------ showing

  show({ overview, actors }) {
    this.#parts.cards.show(overview);
    this.#chips(overview);
    if (!actors) return;
    // Between the filter and its row one may have been answered: it is in flight no more.
    const rows = actors.actors.filter((actor) => actor.takedownId);
    this.#total = actors.total - (actors.actors.length - rows.length);
    this.#window = { offset: actors.offset, rows };
    const part = this.#parts;
    text(part.shown, `${count(this.#total)} ${this.#filtered ? "pass the filter" : "in flight"}`);
    text(part.empty, this.#total ? ""
      : overview.inFlight ? "Nothing in flight passes this filter." : "Nothing is in flight.");
    part.list.total = this.#total;
    part.list.draw();
    if (!this.#selected && this.#total && document.activeElement === part.list.element) this.#select(0);
    this.#followSelected();
  }

  #chips(overview) {
    const states = Object.entries(overview.states).filter(([state]) => state !== "Idle");
    keyed(this.#parts.chips, states, ([state]) => state,
      ([state]) => button(state, () => {
        if (!this.#states.delete(state)) this.#states.add(state);
        this.#chipsPressed();
        this.#changed();
      }, { class: "chip", "data-state": state }, h("i", { "aria-hidden": "true" }), h("span", {}, state), h("b")),
      (node, [, number]) => text(node.lastChild, count(number)));
    this.#chipsPressed();
  }

  #chipsPressed() {
    for (const chip of this.#parts.chips.children) {
      attribute(chip, "aria-pressed", String(this.#states.has(chip.dataset.state)));
    }
  }

  #actor(index) {
    return this.#window.rows[index - this.#window.offset];
  }

  #fill(row, index) {
    const actor = this.#actor(index);
    row.actor = actor;
    row.index = index;
    row.classList.toggle("blank", !actor);
    attribute(row, "aria-selected", this.#selected?.index === index ? "true" : "false");
    if (!actor) return;
    const { cells } = row;
    row.classList.toggle("bad", actor.stuck);
    row.dataset.state = actor.state;
    text(cells.state.lastChild, actor.stuck ? "Stuck" : actor.state);
    text(cells.item, actor.itemId);
    text(cells.takedown, shortId(actor.takedownId));
    attribute(cells.takedown, "title", actor.takedownId);
    text(cells.done, actor.containersTotal === null
      ? "–" : `${actor.containersDone} / ${actor.containersTotal}`);
    text(cells.waits, waits(actor));
    attribute(cells.notes, "title", notes(actor));
    attribute(cells.waits, "title", actor.outstanding
      .map((each) => `${each.containerType} ${each.containerId}`).join("\n"));
    text(cells.notes, notes(actor));
    this.#time(row);
  }

  #time(row) {
    const { actor, cells } = row;
    const age = since(actor.acceptedAt, this.#page.now);
    const left = -since(actor.deadlineAt, this.#page.now);
    if (age === null || Number.isNaN(age)) return;
    text(cells.age, running(Math.max(0, age)));
    text(cells.left, left < 0 ? `${running(-left)} over` : `${running(left)} left`);
    const share = Math.min(1, Math.max(0, age / (age + left)));
    cells.bar.style.transform = `scaleX(${share.toFixed(4)})`;
    row.dataset.urgency = left < 0 ? "over" : share > 0.75 ? "high" : "low";
  }

  tick() {
    for (const row of this.#parts.list.element.firstChild.children) {
      if (!row.hidden && row.actor) this.#time(row);
    }
  }

  // -------------------------------------------------------------------------- choosing

  #followSelected() {
    const selected = this.#selected;
    if (!selected) return;
    const at = this.#window.rows.findIndex((row) => row.id === selected.id);
    if (at >= 0) selected.index = at + this.#window.offset;
    else selected.id = this.#actor(selected.index)?.id ?? null;
    if (!this.#total) this.#selected = null;
    else if (selected.index >= this.#total) this.#select(this.#total - 1);
    this.#mark();
  }

  #select(index) {
    const at = Math.max(0, Math.min(this.#total - 1, index));
    this.#selected = { index: at, id: this.#actor(at)?.id ?? null };
    this.#parts.list.reveal(at);
    this.#parts.list.draw();
    this.#mark();
  }

  #mark() {
    let active = null;
    for (const row of this.#parts.list.element.firstChild.children) {
      const chosen = !row.hidden && row.index === this.#selected?.index;
      attribute(row, "aria-selected", String(chosen));
      if (chosen) active = row.id;
    }
    attribute(this.#parts.list.element, "aria-activedescendant", active);
  }

  #at(event) {
    return event.target.closest?.(".row")?.actor ?? null;
  }

  #clicked(event) {
    // Rows move: what counts is what was there when the button went down.
    const actor = this.#pressed ?? this.#at(event);
    this.#pressed = null;
    if (actor?.takedownId) this.#page.go("takedowns", actor.takedownId);
  }

  key(event) {
    const list = this.#parts.list;
    const moves = {
      j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: list.page, PageUp: -list.page,
      Home: -Infinity, End: Infinity,
    };
    if (event.key === "/") {
      this.#parts.search.focus();
      this.#parts.search.select();
    } else if (event.key in moves && !event.target.matches("button, a, select")) {
      if (!this.#total) return false;
      if (document.activeElement !== list.element) list.element.focus();
      const from = this.#selected?.index ?? -Math.sign(moves[event.key]);
      this.#select(from + moves[event.key]);
    } else if (event.key === "Enter" && event.target === list.element && this.#selected) {
      const actor = this.#actor(this.#selected.index);
      if (actor?.takedownId) this.#page.go("takedowns", actor.takedownId);
    } else return false;
    return true;
  }

  escape(typing) {
    const { search, list } = this.#parts;
    if (typing && search.value) {
      search.value = "";
      this.#changed();
    }
    if (typing) list.element.focus();
    else this.#selected = null;
    this.#mark();
  }

  focus() {
    this.#parts.list.element.focus({ preventScroll: true });
  }

  close() {
    clearTimeout(this.#timer);
    this.#parts.list.close();
  }
}

let counter = 0;

function waits(actor) {
  if (actor.state === "Locating") return WAITING.catalogue;
  const words = [];
  if (actor.waitingFor.includes("acknowledgement")) words.push(WAITING.acknowledgement);
  if (actor.outstanding.length) {
    const more = actor.outstandingCount - 1;
    words.push(`${actor.outstanding[0].containerId}${more > 0 ? `  +${more}` : ""}`);
  }
  return words.join(", ");
}

function notes(actor) {
  const words = [];
  // One message is on its way most of the time.
  if (actor.mailboxDepth > 2) words.push(`mailbox ${count(actor.mailboxDepth)}`);
  if (actor.restarts) words.push(`${count(actor.restarts)} restarts`);
  return words.join(", ");
}

/** What all in flight wait for, and how the last minute ended. */
class Cards {
  #waiting = {};
  #outcomes = h("div.tally");
  #note = h("p.note");

  constructor() {
    const meter = (name) => {
      const number = h("b", {}, "0");
      const bar = h("span.fill");
      this.#waiting[name] = { number, bar };
      return h("div.waiting", { "data-what": name }, h("span", {}, WAITING[name]), number,
        h("span.track", { "aria-hidden": "true" }, bar));
    };
    this.element = h("div.cards", {},
      h("section.card", {}, h("h2", {}, "Waiting for"), Object.keys(WAITING).map(meter)),
      h("section.card.wide", {}, h("h2", {}, "Answers of the last minute"), this.#outcomes,
        this.#note));
  }

  show(o) {
    for (const [name, { number, bar }] of Object.entries(this.#waiting)) {
      const many = o.waitingFor[name] ?? 0;
      text(number, count(many));
      bar.style.transform = `scaleX(${o.inFlight ? Math.min(1, many / o.inFlight) : 0})`;
    }
    keyed(this.#outcomes, OUTCOMES, (name) => name,
      (name) => h("a.outcome", { "data-outcome": name, href: `#/takedowns?outcome=${name}` },
        h("i", { "aria-hidden": "true" }), h("span", {}, String(STATUS[name])), h("b"),
        h("small", {}, WORDS[name])),
      (node, name) => {
        text(node.children[2], count(o.lastMinute[name] ?? 0));
        node.classList.toggle("none", !o.lastMinute[name]);
      });
    const rejected = Object.entries(o.rejected).map(([why, many]) => `${count(many)} ${why}`);
    text(this.#note, rejected.length ? `Turned away since the start: ${rejected.join(", ")}` : "");
  }
}

// The page: header, views, keys, and the one stream that feeds them.

import * as clock from "./clock.js";
import { h, text } from "./dom.js";
import { Header } from "./header.js";
import { Model } from "./model.js";
import { address, parse } from "./router.js";
import { Stream } from "./stream.js";
import { FlightView } from "./view-flight.js";
import { KafkaView } from "./view-kafka.js";
import { MachineView } from "./view-machine.js";
import { OutcomesView } from "./view-outcomes.js";
import { PartsView } from "./view-parts.js";
import { TakedownView } from "./view-takedown.js";
import { TakedownsView } from "./view-takedowns.js";
import { TroubleView } from "./view-trouble.js";

const VIEWS = [
  { name: "in-flight", title: "In flight", create: (page) => new FlightView(page),
    badge: (o) => o.inFlight },
  { name: "machine", title: "State machine", create: (page) => new MachineView(page) },
  { name: "takedowns", title: "Takedowns",
    create: (page, id) => (id ? new TakedownView(page, id) : new TakedownsView(page)) },
  { name: "parts", title: "Parts", create: (page) => new PartsView(page) },
  { name: "kafka", title: "Kafka", create: (page) => new KafkaView(page),
    badge: (o) => (sum(o.behind) > 100 ? sum(o.behind) : 0), bad: (o) => sum(o.behind) > 1000 },
  { name: "outcomes", title: "Outcomes", create: (page) => new OutcomesView(page) },
  { name: "trouble", title: "Trouble", create: (page) => new TroubleView(page),
    badge: (o) => o.stuckCount + o.deadLetters + o.skippedRecords, bad: (o) => o.stuckCount > 0 },
];

const HIDDEN = 30_000; // ms after which a page that nobody sees asks for nothing more
const TICK = 200; // ms between two looks at what runs by itself

class Page {
  model = new Model();
  paused = false;
  #view = null;
  #place = "";
  #asked = { views: ["overview"], offset: 0 };
  #connection = { kind: "connecting", why: "" };
  #heard = null;
  #due = false;
  #hidden = 0;
  #away = false;
  #frozen = null;
  #header;
  #main;
  #stream;
  #links = [];

  constructor() {
    this.#header = new Header(document.getElementById("header"), this);
    this.#main = document.getElementById("main");
    this.#stream = new Stream({
      message: (kind, data) => this.#message(kind, data),
      state: (state) => this.#state(state),
    });
    this.#buildNav();
  }

  begin() {
    addEventListener("hashchange", () => this.#route());
    addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("visibilitychange", () => this.#visibility());
    setInterval(() => this.#tick(), TICK);
    this.#route();
  }

  // ------------------------------------------------------------------ what views may use

  /** The service's clock in ms; it stands still when what is shown is old, or paused. */
  get now() {
    return this.#frozen ?? clock.serviceNow();
  }

  get live() {
    return this.#connection.kind === "live";
  }

  go(view, id = "", query = {}) {
    location.hash = address(view, id, query);
  }

  /** Keep this view's choices in the address, without a step in the history. */
  keep(query) {
    const { view, id } = parse(location.hash);
    const place = address(view || VIEWS[0].name, id, query);
    history.replaceState(null, "", place);
    this.#place = place;
  }

  /** The view's `watching` has changed. */
  restream() {
    if (!this.#view || this.#away) return;
    const { views, parameters = {}, offset = 0 } = this.#view.watching();
    const given = Object.entries(parameters).filter(
      ([, value]) => value !== "" && value !== null && value !== undefined,
    );
    const query = new URLSearchParams([["view", ["overview", ...views].join(",")], ...given]);
    this.#asked = { views: ["overview", ...views], offset };
    this.#stream.watch(query.toString());
  }

  say(words) {
    text(document.getElementById("said"), words);
  }

  pause(on = !this.paused) {
    this.paused = on;
    document.documentElement.classList.toggle("paused", on);
    this.say(on ? "Paused" : "Going on");
    this.#freeze();
    this.#header.pause(on);
    this.#schedule();
  }

  // ------------------------------------------------------------------------- the stream

  #message(kind, data) {
    clock.observe(data.at);
    this.#heard = performance.now();
    this.model.apply(kind, data, this.#asked);
    this.#schedule();
  }

  #state(state) {
    if (state.kind === "live") this.#heard = performance.now();
    if (state.kind === this.#connection.kind && state.why === this.#connection.why) return;
    const before = this.#connection.kind;
    this.#connection = state;
    if (state.kind === "lost" && before !== "lost") this.say("The connection is lost");
    if (state.kind === "live" && before === "lost") {
      clock.reset();
      this.say("Connected again");
    }
    this.#freeze();
    document.documentElement.classList.toggle("stale", state.kind === "lost");
    this.#schedule();
  }

  #freeze() {
    const stands = this.paused || this.#connection.kind === "lost";
    if (!stands) this.#frozen = null;
    else if (this.#frozen === null) this.#frozen = clock.serviceNow();
  }

  #visibility() {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => {
        this.#away = true;
        this.#stream.stop();
      }, HIDDEN);
    } else if (this.#away) {
      this.#away = false;
      clock.reset();
      this.restream();
    }
  }

  // ------------------------------------------------------------------------- drawing

  #schedule() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#draw();
    });
  }

  #draw() {
    const { overview } = this.model.views;
    this.#header.connection(this.#connection, this.#silence());
    if (!overview) return;
    this.#header.show(overview);
    for (const { view, badge } of this.#links) {
      const value = view.badge?.(overview);
      text(badge, value ? value.toLocaleString("en") : "");
      badge.classList.toggle("bad", Boolean(view.bad?.(overview)));
    }
    if (!this.paused) {
      this.#view?.show(this.model.views);
      this.#view?.tick?.();
    }
  }

  #tick() {
    this.#header.connection(this.#connection, this.#silence());
    if (!this.paused && this.model.views.overview) this.#view?.tick?.();
  }

  #silence() {
    return this.#heard === null ? null : (performance.now() - this.#heard) / 1000;
  }

  // ------------------------------------------------------------------------- views, keys

  #buildNav() {
    const nav = document.getElementById("nav");
    VIEWS.forEach((view, index) => {
      const badge = h("span.badge");
      const link = h("a", { href: address(view.name), "aria-keyshortcuts": index + 1 },
        h("kbd", { "aria-hidden": "true" }, String(index + 1)), h("span", {}, view.title), badge);
      nav.append(link);
      this.#links.push({ view, link, badge });
    });
  }

  #route() {
    if (location.hash === this.#place && this.#view) return;
    this.#place = location.hash;
    const { view: name, id, query } = parse(location.hash);
    const known = VIEWS.find((each) => each.name === name) ?? VIEWS[0];
    for (const { view, link } of this.#links) {
      if (view !== known) link.removeAttribute("aria-current");
      else {
        link.setAttribute("aria-current", "page");
        link.scrollIntoView({ block: "nearest", inline: "center" });
      }
    }
    const followed = this.#view !== null;
    this.#view?.close?.();
    if (this.paused) this.pause(false);
    delete this.model.views.takedown; // another one's
    this.#view = known.create(this, id);
    this.#view.open?.(query);
    this.#main.replaceChildren(this.#view.element);
    this.#main.setAttribute("aria-label", known.title);
    this.#main.scrollTop = 0;
    this.restream();
    if (followed) (this.#view.focus ?? (() => this.#main.focus())).call(this.#view);
    this.#schedule();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches?.("input, select, textarea");
    if (event.key === "Escape") {
      if (this.#header.closeHelp()) return;
      if (typing) event.target.blur();
      this.#view?.escape?.(typing);
      return;
    }
    if (typing) return;
    if (this.#view?.key?.(event)) {
      event.preventDefault();
      return;
    }
    const number = Number(event.key);
    if (number >= 1 && number <= VIEWS.length) this.go(VIEWS[number - 1].name);
    else if (event.key === "p") this.pause();
    else if (event.key === "?") this.#header.help();
    else return;
    event.preventDefault();
  }
}

function sum(counts) {
  return Object.values(counts).reduce((total, each) => total + each, 0);
}

new Page().begin();

// What is true of the whole service, always in sight: ready, in flight, answers, p99, connection.

import { attribute, button, h, keyed, text } from "./dom.js";
import { count, rate, running, seconds } from "./format.js";
import { address } from "./router.js";

const KEYS = [
  ["1 – 7", "the views"], ["/", "filter"], ["j k ↑ ↓", "up and down in a table"],
  ["Enter", "open"], ["Esc", "close, back"], ["p", "pause, go on"], ["?", "these keys"],
];

const QUIET = 12; // s without a sound

export class Header {
  #page;
  #ready;
  #readyWords;
  #vitals = {};
  #pill;
  #pillWords;
  #pause;
  #banner;
  #stuck;
  #dialog;

  constructor(element, page) {
    this.#page = page;
    this.#readyWords = h("span", {}, "connecting");
    this.#ready = h("div.pill.ready", { role: "status" }, h("i", { "aria-hidden": "true" }),
      this.#readyWords);
    this.#pillWords = h("span", {}, "connecting");
    this.#pill = h("div.pill.stream", {}, h("i", { "aria-hidden": "true" }), this.#pillWords);
    this.#pause = button("", () => page.pause(), {
      class: "quiet pause", "aria-pressed": "false", "aria-keyshortcuts": "p", title: "Pause (p)",
    }, "Pause");
    this.#stuck = h("ul");
    this.#banner = h("div.banner", { hidden: true, role: "alert" }, h("strong"), this.#stuck);
    this.#dialog = h("dialog.keys", { "aria-label": "Keys" }, h("h2", {}, "Keys"),
      h("dl", {}, KEYS.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
      button("Close", () => this.#dialog.close()));
    element.append(
      h("div.top", {},
        h("a.brand", { href: "#/in-flight", title: "takedown" }, mark(), h("b", {}, "takedown")),
        this.#ready,
        h("dl.vitals", {},
          this.#vital("flight", "in flight"), this.#vital("rate", "answers/s"),
          this.#vital("p99", "p99, last minute"), this.#vital("oldest", "oldest in flight")),
        h("div.tools", {}, this.#pill, this.#pause,
          button("", () => this.help(), { class: "quiet icon help", title: "Keys (?)",
            "aria-label": "Keys" }, "?"),
          button("", toggleTheme, { class: "quiet icon theme", title: "Light or dark",
            "aria-label": "Light or dark" }, "◐"))),
      this.#banner, this.#dialog);
  }

  #vital(name, title) {
    const value = h("dd", {}, "–");
    const extra = h("small");
    this.#vitals[name] = { value, extra };
    return h(`div.v-${name}`, {}, h("dt", {}, title), h("span", {}, value, extra));
  }

  #put(name, value, extra = "", bad = false) {
    const vital = this.#vitals[name];
    text(vital.value, value);
    text(vital.extra, extra);
    vital.value.classList.toggle("bad", bad);
  }

  show(o) {
    const failing = Object.entries(o.checks).filter(([, check]) => !check.ok);
    this.#ready.dataset.tone = o.ready ? "ok" : "bad";
    let words = o.ready ? "Ready" : "Not ready";
    if (failing.length) {
      words += `: ${failing.map(([name, check]) => `${name}: ${check.detail}`).join("; ")}`;
    }
    text(this.#readyWords, words);
    attribute(this.#ready, "title", words);
    this.#put("flight", count(o.inFlight), ` / ${count(o.maximum)}`, o.inFlight >= o.maximum);
    this.#put("rate", rate(o.perSecond.answered));
    this.#put("p99", seconds(o.latency.p99Seconds));
    this.#put("oldest", running(o.oldestSeconds), "", (o.nearestDeadlineSeconds ?? 0) < -0.5);
    this.#incidents(o);
    const well = o.ready && !o.stuckCount;
    document.title = `${well ? "" : "● "}${count(o.inFlight)} in flight · takedown`;
    attribute(document.getElementById("icon"), "href",
      well ? "dashboard/icon.svg" : "dashboard/icon-bad.svg");
  }

  #incidents(o) {
    attribute(this.#banner, "hidden", o.stuckCount === 0);
    if (!o.stuckCount) return;
    text(this.#banner.firstChild, `${count(o.stuckCount)} stuck`);
    keyed(this.#stuck, o.stuck.slice(0, 3), (each) => each.id,
      (each) => h("li", {}, h("a", { href: each.takedownId
        ? address("takedowns", each.takedownId) : address("trouble") }), h("span")),
      (node, each) => {
        text(node.firstChild, each.kind);
        text(node.lastChild, ` ${each.detail}, for ${running(each.lastedSeconds)}`);
      });
  }

  connection({ kind, why }, silence) {
    const quiet = kind === "live" && silence !== null && silence > QUIET;
    this.#pill.dataset.tone = kind === "live" ? (quiet ? "warn" : "ok") : kind === "lost" ? "bad" : "";
    let words = kind === "live" ? "live" : "connecting";
    if (this.#page.paused && kind === "live") words = "paused";
    if (quiet) words = `quiet for ${seconds(silence)}`;
    if (kind === "lost") {
      words = silence === null
        ? `No stream: ${why}`
        : `Stream lost: what is shown is ${running(silence)} old`;
    }
    text(this.#pillWords, words);
    attribute(this.#pill, "title", kind === "lost" ? why : "");
  }

  pause(on) {
    attribute(this.#pause, "aria-pressed", String(on));
    text(this.#pause, on ? "Go on" : "Pause");
  }

  help() {
    if (this.#dialog.open) this.#dialog.close();
    else this.#dialog.showModal();
  }

  closeHelp() {
    if (!this.#dialog.open) return false;
    this.#dialog.close();
    return true;
  }
}

function mark() {
  return h("img", { src: "dashboard/icon.svg", alt: "", width: "22", height: "22" });
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = getComputedStyle(root).colorScheme.startsWith("dark")
    || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("takedown.theme", root.dataset.theme);
  } catch {
    // It holds for this page, then.
  }
}

// What is stuck or was, messages that no actor handled, records that could not be read, and deletions
// that confirmed nothing.

import { h, text } from "./dom.js";
import { clockTime, count, running, seconds } from "./format.js";
import { address } from "./router.js";

const KINDS = { overdue: "overdue", mailbox: "mailbox does not drain", "loop-lag": "event loop held up" };
const REFRESH = 3000; // ms; incidents that are over are not in the stream

export class TroubleView {
  #stuck = table(["Since", "What", "Lasted", "Takedown", "Detail"]);
  #letters = table(["At", "Receiver", "Message", "Takedown"]);
  #records = table(["At", "Topic", "Partition", "Offset", "Reason"]);
  #stale = table(["At", "Item", "Container", "Deleted at", "Listed at", "Takedown"]);
  #past = [];
  #open = [];
  #page;
  #timer;

  constructor(page) {
    this.#page = page;
    this.element = h("div.view.trouble", {}, h("h1.unseen", {}, "Trouble"),
      section("Stuck, now and before", this.#stuck, "Nothing is stuck, and nothing was."),
      section("Skipped records", this.#records, "Every record could be read."),
      section("Stale deletions", this.#stale, "No deletion was older than the list of its container."),
      section("Dead letters", this.#letters, "Every message found its actor."));
    this.#refresh();
    this.#timer = setInterval(() => this.#refresh(), REFRESH);
  }

  async #refresh() {
    if (!this.#page.live && this.#past.length) return;
    try {
      const answer = await fetch("incidents", { cache: "no-store" });
      if (answer.ok) this.#past = (await answer.json()).past;
      if (!this.#page.paused) this.#incidents();
    } catch {
      // The header says that there is no connection.
    }
  }

  watching() {
    return { views: ["losses"] };
  }

  show({ overview, losses }) {
    this.#open = overview.stuck;
    this.#incidents();
    if (!losses) return;
    fill(this.#letters, losses.deadLettersCount, losses.deadLetters.map((each) => [
      clockTime(each.at), each.receiver, each.message, link(each.takedownId)]));
    fill(this.#records, losses.skippedRecordsCount, losses.skippedRecords.map((each) => [
      clockTime(each.at), each.topic, String(each.partition), count(each.offset), each.reason]));
    fill(this.#stale, losses.staleDeletionsCount, losses.staleDeletions.map((each) => [
      clockTime(each.at), each.itemId, each.containerId, each.deletedAt, each.listedAt, link(each.takedownId)]));
  }

  #incidents() {
    const all = [...this.#open, ...this.#past.filter((old) => !this.#open.some((now) => now.id === old.id))];
    fill(this.#stuck, this.#open.length, all.map((each) => [
      clockTime(each.since), KINDS[each.kind] ?? each.kind,
      each.endedAt ? seconds(each.lastedSeconds) : `${running(each.lastedSeconds)}, still`,
      link(each.takedownId), each.detail]), (row, index) => row.classList.toggle("bad", !all[index].endedAt));
  }

  close() {
    clearInterval(this.#timer);
  }
}

function table(titles) {
  return h("table.list", {}, h("thead", {}, h("tr", {}, titles.map((title) =>
    h(["Partition", "Offset"].includes(title) ? "th.number" : "th", { scope: "col" }, title)))), h("tbody"));
}

function section(title, content, none) {
  const number = h("span.badge");
  content.number = number;
  content.none = h("p.empty", {}, none);
  return h("section.card", {}, h("h2", {}, title, number),
    h("div.over", { tabindex: "0", role: "group", "aria-label": title }, content), content.none);
}

function link(id) {
  return id ? { id } : "–";
}

function fill(content, total, rows, dress = () => {}) {
  text(content.number, total ? count(total) : "");
  content.hidden = !rows.length;
  content.none.hidden = rows.length > 0;
  const body = content.tBodies[0];
  const numbers = [...content.tHead.rows[0].cells].map((cell) => cell.classList.contains("number"));
  while (body.rows.length > rows.length) body.lastChild.remove();
  rows.forEach((cells, index) => {
    const row = body.rows[index] ?? body.appendChild(h("tr", {}, cells.map((_, at) => h(numbers[at] ? "td.number" : "td"))));
    cells.forEach((value, at) => {
      const cell = row.cells[at];
      if (typeof value === "string") {
        text(cell, value);
      } else if (cell.textContent !== value.id) {
        cell.replaceChildren(h("a", { href: address("takedowns", value.id) }, value.id));
      }
    });
    dress(row, index);
  });
}

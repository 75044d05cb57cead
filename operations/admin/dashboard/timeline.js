// How a takedown's time went: one bar for each container, from the request to the deletion.

import { s } from "./dom.js";
import { seconds } from "./format.js";

const ROW = 22;
const TOP = 34;

export function timeline(t, width) {
  const names = t.containers.map(nameOf);
  const longest = Math.max(9, ...names.map((name) => name.length));
  const label = Math.min(longest * 7 + 20, Math.max(96, width * 0.3));
  const right = 76;
  const span = width - label - right;
  const requested = t.steps.find((step) => step.event === "PublishRequests")?.afterSeconds ?? null;
  const last = Math.max(t.elapsedSeconds, ...t.containers.map((each) => each.afterSeconds ?? 0));
  const most = last > 0.6 * t.timeoutSeconds || !t.finished
    ? Math.max(t.timeoutSeconds, last) * 1.04 : Math.max(last * 1.12, 0.001);
  const x = (time) => label + (Math.max(0, time) / most) * span;
  const height = TOP + (t.containers.length + 1) * ROW + 24;
  const picture = s("svg.timeline", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Timeline of ${seconds(t.elapsedSeconds)}; the steps below say the same` });
  for (const tick of ticks(most, Math.max(2, Math.floor(span / 90)))) {
    picture.append(s("line.grid", { x1: x(tick), x2: x(tick), y1: TOP - 8, y2: height - 18 }),
      s("text.tick", { x: x(tick), y: TOP - 16 }, tick === 0 ? "0" : short(tick)));
  }
  row(picture, 0, "takedown", label, "whole");
  const located = requested ?? t.elapsedSeconds;
  bar(picture, 0, x(0), x(located), "locating", "where is it?");
  if (requested !== null) bar(picture, 0, x(requested), x(t.elapsedSeconds), "active", "deletions");
  picture.append(s("text.end", { x: x(t.elapsedSeconds) + 8, y: TOP + ROW / 2 + 4 },
    seconds(t.elapsedSeconds)));
  t.containers.forEach((each, index) => {
    row(picture, index + 1, names[index], label, "");
    const from = x(requested ?? 0);
    const heard = each.afterSeconds;
    const y = TOP + (index + 1.5) * ROW + 4;
    if (heard !== null) {
      bar(picture, index + 1, from, x(heard), each.late ? "late" : "done", each.late ? "late" : "deleted");
      picture.append(s(each.late ? "text.end.late" : "text.end", { x: x(heard) + 8, y }, seconds(heard)));
    } else if (each.deleted) {
      bar(picture, index + 1, from, x(t.elapsedSeconds), "left", "gone, by its list");
      picture.append(s("text.end", { x: x(t.elapsedSeconds) + 8, y }, "by list"));
    } else {
      bar(picture, index + 1, from, x(t.elapsedSeconds), t.finished ? "lost" : "open", "outstanding");
      picture.append(s(t.finished ? "text.end.lost" : "text.end", { x: x(t.elapsedSeconds) + 8, y },
        t.finished ? "never" : "…"));
    }
  });
  if (t.finished) mark(picture, x(t.elapsedSeconds), height, "answered", "");
  if (t.timeoutSeconds <= most) mark(picture, x(t.timeoutSeconds), height, "deadline", "deadline");
  return picture;
}

function nameOf({ containerId, containerType }) {
  return containerId.startsWith(`${containerType}:`) ? containerId : `${containerType} ${containerId}`;
}

function row(picture, index, name, label, kind) {
  const y = TOP + index * ROW;
  const most = Math.floor((label - 16) / 6.7);
  const words = name.length > most ? `${name.slice(0, most - 1)}…` : name;
  picture.append(s(`text.label${kind ? `.${kind}` : ""}`, { x: label - 12, y: y + ROW / 2 + 4 },
    words, s("title", {}, name)));
}

function bar(picture, index, from, to, kind, title) {
  picture.append(s(`rect.span.${kind}`, {
    x: from, y: TOP + index * ROW + 5, width: Math.max(2, to - from), height: ROW - 10, rx: 3,
  }, s("title", {}, title)));
}

function mark(picture, x, height, kind, words) {
  picture.append(s(`line.mark.${kind}`, { x1: x, x2: x, y1: TOP - 8, y2: height - 18 }));
  if (words) picture.append(s(`text.mark.${kind}`, { x, y: height - 5 }, words));
}

/** Round numbers from 0 to `most`. */
export function ticks(most, many) {
  const rough = most / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? 10 * power;
  const found = [];
  for (let index = 0; index * step <= most * 1.0001; index += 1) found.push(index * step);
  return found;
}

export function short(value) {
  if (value < 1) return `${Number((value * 1000).toPrecision(3))} ms`;
  return `${Number(value.toPrecision(3))} s`;
}

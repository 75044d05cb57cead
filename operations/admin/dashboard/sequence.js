// A takedown's sequence diagram: caller, coordinator, censor, catalogue, Kafka, containers.

import { s } from "./dom.js";
import { count, seconds } from "./format.js";

const ROW = 27;
const TOP = 46;
const TIME = 70;
const NAMES = {
  caller: "Caller", coordinator: "Coordinator", censor: "ItemCensor", catalogue: "Catalogue",
  kafka: "Kafka",
};
const LANE = 100; // a lane's least width

export function sequence(t, width) {
  const own = Object.keys(NAMES);
  const room = Math.max(1, Math.floor((width - TIME) / LANE) - own.length);
  const ids = [...new Map([
    ...t.containers, ...t.steps.filter((step) => step.containerId !== null),
  ].map((each) => [each.containerId, each])).values()];
  const each = ids.length > 0 && ids.length <= room;
  const lanes = [...own, ...(each ? ids.map((one) => `:${one.containerId}`) : ids.length ? [":"] : [])];
  const gap = (width - TIME) / lanes.length;
  const x = (lane) => TIME + (lanes.indexOf(lane) + 0.5) * gap;
  const containerLane = (id) => (each ? `:${id}` : ":");

  const answer = t.steps.findIndex((step) => step.event === "Answer");
  const after = answer >= 0 && answer + 1 < t.steps.length ? answer + 1 : -1;
  const rowOf = (index) => index + (after >= 0 && index >= after ? 1 : 0);
  const height = TOP + rowOf(t.steps.length) * ROW + 20;
  const picture = s("svg.sequence", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Sequence of ${t.steps.length} steps; they are listed in words after it` },
  s("defs", {}, tip("to", "tip"), tip("to-late", "tip late"), tip("to-answer", "tip answer")));

  for (const lane of lanes) {
    picture.append(s("line.lane", { x1: x(lane), x2: x(lane), y1: TOP - 12, y2: height - 8 }));
    if (lane in NAMES) picture.append(s("text.who", { x: x(lane), y: 22 }, NAMES[lane]));
    else if (lane === ":") {
      picture.append(s("text.who", { x: x(lane), y: 22 }, `${count(t.containersTotal ?? ids.length)} containers`));
    } else {
      const one = ids.find((each) => `:${each.containerId}` === lane);
      const name = one.containerId.startsWith(`${one.containerType}:`)
        ? one.containerId.slice(one.containerType.length + 1) : one.containerId;
      picture.append(
        s("text.who.container", { x: x(lane), y: 14 }, fit(one.containerType, gap / 6.4)),
        s("text.who", { x: x(lane), y: 29 }, fit(name, gap / 6.8), s("title", {}, one.containerId)));
    }
  }
  t.steps.forEach((step, index) => {
    const y = TOP + rowOf(index) * ROW + 14;
    if (index === after) {
      const line = y - ROW + 4;
      picture.append(s("line.after", { x1: 0, x2: width, y1: line, y2: line }),
        s("text.after", { x: 4, y: line - 5 }, "after the answer"));
    }
    picture.append(s("text.when", { x: TIME - 12, y: y + 4 }, `+${seconds(step.afterSeconds)}`));
    draw(picture, step, { y, x, lanes, containerLane, ids, each, gap });
  });
  return picture;
}

function draw(picture, step, { y, x, lanes, containerLane, ids, each, gap }) {
  const kind = step.late ? "late" : step.event === "Answer" ? "answer" : "";
  const title = `${step.event}: ${step.text}`;
  if (step.source === "clock") {
    const at = x("censor");
    picture.append(s("circle.clock", { cx: at, cy: y, r: 6 }),
      s("path.clock", { d: `M${at} ${y - 3.5} V${y} H${at + 3}` }),
      s("text.said", { x: at + 14, y: y + 4 }, step.text));
    return;
  }
  const lane = step.containerId === null ? null : containerLane(step.containerId);
  if (lane !== null && lanes.includes(lane)) {
    arrow(picture, x(lane), x("kafka"), y, kind, title);
    picture.append(s("circle.stop", { cx: x("kafka"), cy: y, r: 3 }));
  }
  arrow(picture, x(step.source), x(step.target), y, kind, title);
  if (step.event === "PublishRequests") {
    const targets = each ? ids.map((one) => `:${one.containerId}`) : [":"];
    const far = Math.max(...targets.filter((one) => lanes.includes(one)).map(x));
    if (Number.isFinite(far)) {
      picture.append(s("line.fan", { x1: x("kafka"), x2: far, y1: y, y2: y }));
      for (const one of targets) picture.append(s("circle.stop", { cx: x(one), cy: y, r: 2.5 }));
    }
  }
  const left = Math.min(x(step.source), x(step.target));
  const room = Math.abs(x(step.source) - x(step.target)) - 14;
  const words = fit(step.text, Math.max(room, gap - 14) / 5.8);
  picture.append(s(`text.said${kind ? `.${kind}` : ""}`, { x: left + 10, y: y - 5 }, words,
    s("title", {}, title)));
}

function arrow(picture, from, to, y, kind, title) {
  const back = to > from ? -1 : 1;
  picture.append(s(`line.arrow${kind ? `.${kind}` : ""}`, {
    x1: from, x2: to + back, y1: y, y2: y, "marker-end": `url(#to${kind ? `-${kind}` : ""})`,
  }, s("title", {}, title)));
}

function tip(id, kind) {
  return s("marker", { id, viewBox: "0 0 10 10", refX: "9", refY: "5", markerWidth: "7",
    markerHeight: "7", orient: "auto-start-reverse" },
  s("path", { d: "M0 1 L9.500 5 L0 9 z", class: kind }));
}

function fit(words, most) {
  const room = Math.max(3, Math.floor(most));
  return words.length > room ? `${words.slice(0, room - 1)}…` : words;
}

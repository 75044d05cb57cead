// Charts over time, as SVG: stacked bars, and lines.

import { s } from "./dom.js";
import { short, ticks } from "./timeline.js";

const LEFT = 46;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 22;

/**
 * `buckets` with `at`, drawn over `minutes` that end with the last one; `stacks` gives of a bucket
 * `[name, value]` pairs, `lines` `{name: value or null}`; `unit` is "seconds" or a word.
 */
export function chart({ buckets, minutes, width, height, stacks, lines, unit, label }) {
  const picture = s("svg.chart", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": label });
  const inner = { width: width - LEFT - RIGHT, height: height - TOP - BOTTOM };
  const end = buckets.length ? Date.parse(buckets.at(-1).at) : 0;
  const x = (time) => LEFT + inner.width * (1 - (end - time) / (minutes * 60_000));
  const sums = stacks ? buckets.map((each) => stacks(each).reduce((all, [, value]) => all + value, 0)) : [];
  const values = lines ? buckets.flatMap((each) => Object.values(lines(each)).filter((v) => v !== null)) : [];
  const most = Math.max(unit === "seconds" ? 0.01 : 1, ...sums, ...values) * 1.06;
  const y = (value) => TOP + inner.height * (1 - value / most);

  for (const tick of ticks(most, 4)) {
    if (unit !== "seconds" && tick % 1) continue;
    picture.append(s("line.grid", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }),
      s("text.tick.side", { x: LEFT - 8, y: y(tick) + 4 }, unit === "seconds" ? tick ? short(tick) : "0" : tick.toLocaleString("en")));
  }
  const step = minutes > 6 ? 3 : 1;
  for (let minute = 0; minute <= minutes; minute += step) {
    const at = LEFT + inner.width * (1 - minute / minutes);
    picture.append(s("text.tick", { x: at, y: height - 6, "text-anchor": minute ? "middle" : "end" },
      minute ? `−${minute} m` : "now"));
  }
  if (stacks) {
    for (const bucket of buckets) {
      const to = x(Date.parse(bucket.at));
      const from = to - (inner.width * bucket.seconds) / (minutes * 60);
      if (from < LEFT - 1) continue;
      let below = 0;
      for (const [name, value] of stacks(bucket)) {
        if (!value) continue;
        picture.append(s("rect.stack", { "data-outcome": name, x: (from + 0.5).toFixed(2),
          width: Math.max(0.8, to - from - 1).toFixed(2), y: y(below + value).toFixed(2),
          height: Math.max(1, y(below) - y(below + value)).toFixed(2) }));
        below += value;
      }
    }
  }
  if (lines && buckets.length) {
    for (const name of Object.keys(lines(buckets[0]))) {
      let d = "";
      let pen = "M";
      for (const bucket of buckets) {
        const value = lines(bucket)[name];
        const at = x(Date.parse(bucket.at));
        if (value === null || at < LEFT - 1) {
          pen = "M";
          continue;
        }
        d += `${pen}${at.toFixed(1)} ${y(value).toFixed(1)}`;
        pen = "L";
      }
      if (d) picture.append(s("path.line", { d, "data-line": name }));
    }
  }
  return picture;
}

// The service's time, by its own labels: this machine's clock may be wrong.
//
// Each message says when it was made. The one that came fastest tells best how far the two clocks
// are apart; durations here run by performance.now(), which nobody sets.

let offset = Infinity;

/** A message that says it was made at `label` has just come. */
export function observe(label) {
  offset = Math.min(offset, performance.now() - Date.parse(label));
}

/** Forget what was seen: another process may have another clock. */
export function reset() {
  offset = Infinity;
}

/** Milliseconds of the service's clock; NaN before the first message. */
export function serviceNow() {
  return offset === Infinity ? NaN : performance.now() - offset;
}

/** Seconds since a label, at `now` of the service's clock. */
export function since(label, now) {
  return label ? (now - Date.parse(label)) / 1000 : null;
}

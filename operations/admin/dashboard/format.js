// Numbers and times as people read them. Times are UTC, as in the log.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(number) {
  return number === null || number === undefined ? "–" : whole.format(number);
}

export function rate(number) {
  if (number === null || number === undefined) return "–";
  if (number === 0) return "0";
  if (number < 0.05) return "<0.1";
  return number < 100 ? number.toFixed(1) : whole.format(number);
}

/** A duration, at three digits or so. */
export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const sign = value < 0 ? "−" : "";
  const size = Math.abs(value);
  if (size < 0.0095) return `${sign}${(size * 1000).toFixed(1)} ms`;
  if (size < 0.9995) return `${sign}${(size * 1000).toFixed(0)} ms`;
  if (size < 9.995) return `${sign}${size.toFixed(2)} s`;
  if (size < 99.95) return `${sign}${size.toFixed(1)} s`;
  if (size < 3600) return `${sign}${Math.floor(size / 60)} m ${pad(Math.floor(size % 60))} s`;
  return `${sign}${Math.floor(size / 3600)} h ${pad(Math.floor((size % 3600) / 60))} m`;
}

/** A duration that is seen running: always as many digits. */
export function running(value) {
  if (value === null || value === undefined) return "–";
  const sign = value < 0 ? "−" : "";
  const size = Math.abs(value);
  return size < 100 ? `${sign}${size.toFixed(1)} s` : seconds(value);
}

function pad(number) {
  return String(number).padStart(2, "0");
}

/** `12:03:04.567` of a label. */
export function clockTime(label) {
  return label ? label.slice(11, 23) : "–";
}

export function dateTime(label) {
  return label ? `${label.slice(0, 10)} ${label.slice(11, 23)} UTC` : "–";
}

export function shortId(id) {
  return id ? id.slice(0, 8) : "–";
}

export function percent(part, all) {
  if (!all) return "–";
  const share = (100 * part) / all;
  return share > 0 && share < 0.1 ? "<0.1 %" : `${share.toFixed(share < 10 ? 1 : 0)} %`;
}

export const STATUS = {
  Deleted: 200, NotFound: 404, TimedOut: 504, Refused: 502, Unavailable: 503, Failed: 500,
};

export const OUTCOMES = Object.keys(STATUS);

export const WORDS = {
  Deleted: "deleted", NotFound: "not found", TimedOut: "timed out", Refused: "refused",
  Unavailable: "unavailable", Failed: "failed",
};

export const WAITING = {
  catalogue: "the catalogue", acknowledgement: "Kafka’s ack", deletions: "deletions",
};

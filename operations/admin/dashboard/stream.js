// The service's event stream, read with fetch: unlike EventSource it says why it was refused, and
// shows the comments that come when nothing is new, so that a dead connection is noticed.

const SILENCE = 14_000; // ms; something comes every 10 s at least
const BACKOFF = [300, 1000, 2000, 4000];

export class Stream {
  #handlers;
  #query = null;
  #abort = null;
  #last = "";

  /** `handlers`: message(kind, data, id), state({kind, why}). */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** Watch something else. */
  watch(query) {
    if (query === this.#query) return;
    this.#query = query;
    this.#last = "";
    this.#abort?.abort();
    this.#abort = new AbortController();
    this.#run(query, this.#abort.signal);
  }

  /** Watch nothing. */
  stop() {
    this.#query = null;
    this.#abort?.abort();
  }

  async #run(query, signal) {
    let failures = 0;
    while (!signal.aborted) {
      const connection = new AbortController();
      const giveUp = () => connection.abort();
      signal.addEventListener("abort", giveUp);
      let why = "the connection ended";
      try {
        await this.#read(query, connection, () => (failures = 0));
      } catch (error) {
        why = error instanceof Refused ? error.message : "no connection";
      } finally {
        signal.removeEventListener("abort", giveUp);
        connection.abort();
      }
      if (signal.aborted) return;
      this.#handlers.state({ kind: "lost", why });
      await pause(BACKOFF[Math.min(failures, BACKOFF.length - 1)], signal);
      failures += 1;
    }
  }

  async #read(query, connection, onData) {
    const headers = this.#last ? { "Last-Event-ID": this.#last } : {};
    let timer = setTimeout(() => connection.abort(), SILENCE);
    try {
      const answer = await fetch(`stream?${query}`, {
        signal: connection.signal, headers, cache: "no-store",
      });
      if (!answer.ok) throw new Refused(await reason(answer));
      const parser = new Parser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        clearTimeout(timer);
        if (done || connection.signal.aborted) return;
        timer = setTimeout(() => connection.abort(), SILENCE);
        onData();
        this.#handlers.state({ kind: "live", why: "" });
        for (const message of parser.take(value)) {
          this.#last = message.id;
          this.#handlers.message(message.kind, JSON.parse(message.data));
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

class Refused extends Error {}

async function reason(answer) {
  try {
    const problem = await answer.json();
    return `${answer.status} ${problem.title}: ${problem.detail}`;
  } catch {
    return `status ${answer.status}`;
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Takes text apart into events; those that are not whole yet wait. */
class Parser {
  #rest = "";

  take(text) {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop();
    const messages = [];
    for (const block of blocks) {
      const fields = { event: "", id: "", data: "" };
      for (const line of block.split("\n")) {
        const at = line.indexOf(": ");
        if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
      }
      if (fields.data) messages.push({ kind: fields.event, id: fields.id, data: fields.data });
    }
    return messages;
  }
}

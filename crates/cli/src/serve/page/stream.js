// `follow`: the events of one channel, over any number of connections.
//
// `EventSource` delivers only events whose names the page knows in advance, and hides why it was refused. So this
// reads the stream itself, and reconnects as an `EventSource` does: with the last ID, after the server's `retry`.

const SHORTEST_DELAY = 250;
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 30_000;
/** A delay is up to this part of it longer, at random, so that the pages do not all return at the same moment. */
const JITTER = 0.5;
/** The server sends a heartbeat each 15 s. A connection that is silent for longer than this is dead. */
const LONGEST_SILENCE = 45_000;

/**
 * Follows the stream at `url` until `stop()` of the returned object is called, the channel has ended, or the server
 * refuses.
 *
 * `on.event({type, id, data})` is called for each event, and `on.state(name, details)` for each change of the state:
 * `connecting`, `live`, `waiting` (with the `delay` in ms, the `detail` if the server gave one, and `isEnd` if the
 * stream had a regular end), `ended`, `refused` (with the `detail`).
 * `now()` ends a wait.
 */
export function follow(url, on) {
  let isStopped = false;
  let attempt = new AbortController();
  let lastId = "";
  let retry = FIRST_DELAY;
  let failures = 0;
  let wake = () => {};

  function tell(state, details) {
    if (!isStopped) on.state(state, details);
  }

  async function connect() {
    tell("connecting");
    const current = new AbortController();
    attempt = current;
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => current.abort(), LONGEST_SILENCE);
    };
    heard();
    try {
      return await request(current.signal, heard);
    } finally {
      clearTimeout(timer);
    }
  }

  async function request(signal, heard) {
    const headers = { accept: "text/event-stream" };
    // A header has bytes, and `fetch` takes each character as one.
    if (lastId) headers["last-event-id"] = String.fromCharCode(...new TextEncoder().encode(lastId));
    const response = await fetch(url, { headers, cache: "no-store", signal });
    const kind = response.headers.get("content-type") ?? "";
    if (response.status === 204) return tell("ended");
    if (response.status === 200 && kind.startsWith("text/event-stream")) return read(response, heard);
    const detail = await problem(response);
    const isPassing = response.status >= 500 || response.status === 429;
    if (!isPassing) return tell("refused", { detail });
    const after = Number(response.headers.get("retry-after")) * 1000;
    return { detail, atLeast: Math.min(after || 0, LONGEST_DELAY) };
  }

  async function read(response, heard) {
    let isLive = false;
    const decoder = new Decoder(lastId, {
      event: (event) => on.event(event),
      id: (id) => {
        lastId = id;
        // A stream begins with an ID, except one of a server that has no room and sends only `retry`.
        if (isLive) return;
        isLive = true;
        failures = 0;
        tell("live");
      },
      retry: (time) => (retry = Math.max(SHORTEST_DELAY, Math.min(time, LONGEST_DELAY))),
    });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { isEnd: true };
      heard();
      decoder.push(value);
    }
  }

  async function run() {
    for (;;) {
      // Undefined once there is nothing to reconnect for.
      const lost = await connect().catch(() => ({}));
      if (!lost || isStopped) return;
      const delay = Math.max(retry * 2 ** Math.min(failures, 5), lost.atLeast ?? 0);
      failures += 1;
      await wait(Math.min(delay, LONGEST_DELAY) * (1 + JITTER * Math.random()), lost);
      if (isStopped) return;
    }
  }

  function wait(delay, { detail, isEnd }) {
    tell("waiting", { delay, detail, isEnd });
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delay);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  run();
  return {
    now: () => wake(),
    stop: () => {
      isStopped = true;
      attempt.abort();
      wake();
    },
  };
}

/** The detail of a problem document, or the status. `session.js` asks for a token after a 401. */
export async function problem(response) {
  if (response.status === 401) globalThis.dispatchEvent?.(new Event("tidings-unauthorized"));
  const document = await response.json().catch(() => ({}));
  return document.detail || document.title || `The server answered ${response.status}.`;
}

/**
 * A decoder of an event stream that is cut anywhere. It calls `on.id` before `on.event`, and only for a block of lines
 * that has an ID.
 */
export class Decoder {
  #on;
  #rest = "";
  #data = [];
  #type = "";
  #id;
  #hasId = false;

  constructor(lastId, on) {
    this.#id = lastId;
    this.#on = on;
  }

  push(text) {
    const held = this.#rest;
    this.#rest = held + text;
    // A long line that arrives in many pieces is not searched again for each.
    if (!/[\r\n]/.test(text) && !held.endsWith("\r")) return;
    // A CR at the end may be the first half of CRLF, so it waits.
    const lines = this.#rest.split(/\r\n|\r(?!$)|\n/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) [this.#id, this.#hasId] = [value, true];
    else if (field === "retry" && /^\d+$/.test(value)) this.#on.retry(Number(value));
  }

  #dispatch() {
    const event = { type: this.#type || "message", id: this.#id, data: this.#data.join("\n") };
    const isEvent = this.#data.length > 0;
    const hasId = this.#hasId;
    this.#data = [];
    this.#type = "";
    this.#hasId = false;
    if (hasId) this.#on.id(this.#id);
    if (isEvent) this.#on.event(event);
  }
}

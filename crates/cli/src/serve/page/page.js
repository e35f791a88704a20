// The page of `tidings serve`: the channels, the events of one of them, and a form to publish.
// All text of strangers becomes `textContent`.

import { AT_ONCE, readChannels } from "./channels.js";
import { pretty } from "./json.js";
import "./session.js";
import { follow, problem } from "./stream.js";

/** How many events the page keeps, and how many characters of their data. Older ones are removed. */
const MAX_ROWS = 500;
const MAX_CHARACTERS = 4_000_000;
/** Longer data is cut, with a button that shows all of it. */
const CUT = 2_000;
/** How many events the server sends of those before. */
const LAST = 50;

const at = (id) => document.getElementById(id);

/** A new element with a class and text. */
function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const number = (n) => n.toLocaleString("en");
const count = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;

/** `%2F` in a path would be the same as `/`, but is harder to read. */
const path = (name) => `/channels/${name.split("/").map(encodeURIComponent).join("/")}`;
const fragment = (name) => `#${name.split("/").map(encodeURIComponent).join("/")}`;

/** Whether `fetch` would take the path for that of another channel. No channel has such a name. */
const hasDots = (name) => /(^|\/)\.{1,2}(\/|$)/.test(name);

/** An argument of a shell's command. */
const quoted = (url) => (/^[\w\-./~%:]+$/.test(url) ? url : `'${url.replaceAll("'", "%27")}'`);
const publishLine = (name) => `curl -d 'hello' ${quoted(location.origin + path(name))}`;

// ---- The list of channels

const PAGE = 200;
/** How often the list is read again: after this long for each 1,000 channels of it. */
const REFRESH = 3_000;

const list = {
  items: new Map(),
  limit: PAGE,

  async refresh() {
    const wanted = at("filter").value.trim();
    try {
      const { channels, next } = await this.read(wanted);
      if (wanted === at("filter").value.trim()) this.show(channels, next, wanted);
    } catch (error) {
      at("listed").textContent = `The list is not up to date: ${error.message}`;
    }
  },

  /** The first channels and, if there are more, those whose names begin with the text. */
  async read(wanted) {
    const { channels, next } = await readChannels(undefined, this.limit);
    if (!wanted || !next) return { channels, next };
    const known = new Set(channels.map((channel) => channel.name));
    const after = await readChannels(wanted.replace(/\/+$/, ""), PAGE).catch(() => ({ channels: [] }));
    const others = after.channels.filter(({ name }) => name.startsWith(wanted) && !known.has(name));
    return { channels: [...channels, ...others], next };
  },

  show(channels, next, wanted) {
    const shown = channels.filter(({ name }) => name.includes(wanted));
    const rows = shown.map((channel) => this.row(channel));
    if (wanted && !shown.some(({ name }) => name === wanted)) rows.unshift(this.opener(wanted));
    const kept = new Set(rows);
    for (const [name, { item }] of this.items) {
      if (kept.has(item)) continue;
      item.remove();
      this.items.delete(name);
    }
    // Only what is not in its place is moved, so that the focus stays.
    rows.forEach((row, index) => {
      const there = at("channels").children[index];
      if (there !== row) at("channels").insertBefore(row, there ?? null);
    });
    at("more").hidden = !next;
    this.summarize(channels.length, shown.length, next, wanted);
    markSelected();
  },

  summarize(known, shown, next, wanted) {
    let text = known ? "" : "No channel yet.";
    if (wanted) text = `${shown ? count(shown, "channel") : "No channel"} with “${wanted}”.`;
    if (wanted && next) text += " Others are found by the beginning of their names.";
    // Unchanged text is not announced again.
    if (at("listed").textContent !== text) at("listed").textContent = text;
  },

  row({ name, status, subscribers }) {
    const row = this.item(name);
    row.info.textContent = status === "ended" ? "ended" : subscribers ? `${number(subscribers)} listening` : "";
    row.item.classList.toggle("ended", status === "ended");
    return row.item;
  },

  /** The item that opens a channel that is not in the list. */
  opener(name) {
    const row = this.item(name);
    row.info.textContent = "open";
    return row.item;
  },

  item(name) {
    let row = this.items.get(name);
    if (!row) {
      const item = make("li");
      const link = make("a");
      const info = make("span", "info");
      link.href = fragment(name);
      link.append(make("span", "name", name), info);
      item.append(link);
      row = { item, link, info };
      this.items.set(name, row);
    }
    return row;
  },
};

function markSelected() {
  for (const [name, { link }] of list.items) {
    if (name === stream.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

at("filter").addEventListener("input", () => list.refresh());
at("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("filter").value.trim();
  if (name) location.hash = fragment(name);
});
at("more").addEventListener("click", () => {
  list.limit += list.limit < AT_ONCE ? PAGE : AT_ONCE;
  list.refresh();
});

async function refreshForEver() {
  for (;;) {
    if (!document.hidden) await list.refresh();
    await new Promise((resolve) => setTimeout(resolve, REFRESH * Math.ceil(list.items.size / AT_ONCE || 1)));
  }
}

// ---- The events of one channel

const GAPS = {
  epoch: "the server’s log is not the one before",
  future: "the server’s log ends before that place",
  trimmed: "the server no longer keeps them",
  "unknown-id": "the server does not know the last ID",
  slow: "this page read too slowly",
};

/** What has arrived and is not shown yet: the newest `MAX_ROWS`, and how many in all. */
const pending = { rows: [], arrived: 0, characters: 0 };

const stream = {
  name: undefined,
  connection: undefined,
  arrived: 0,
  characters: 0,
  isPaused: false,
  isScheduled: false,

  open(name) {
    this.connection?.stop();
    this.clear();
    this.resume();
    Object.assign(this, { name, connection: undefined });
    at("welcome").hidden = Boolean(name);
    at("channel").hidden = !name;
    document.title = name ? `${name} · tidings` : "tidings";
    markSelected();
    if (!name) return;
    at("name").textContent = name;
    at("result").textContent = "";
    at("publish").hidden = hasDots(name);
    if (hasDots(name)) return showState("refused", { detail: "no part of a name is “.” or “..”" });
    at("publish-line").textContent = publishLine(name);
    this.connection = follow(`${path(name)}?last=${LAST}`, {
      event: (event) => this.receive(event),
      state: (state, details) => showState(state, details),
    });
  },

  receive({ type, id, data }) {
    if (type === "gap") return this.add(note("gap", describeGap(data), id));
    if (type === "closed") return this.add(note("end", `The server closed the stream: ${data}`));
    this.add({ type, id, data, time: new Date() }, data.length);
  },

  /** Keeps it for the next frame. A hidden page has no frames, so this is bounded too. */
  add(row, characters = 0) {
    pending.rows.push({ row, characters });
    pending.characters += characters;
    if (!row.kind) pending.arrived += 1;
    while (pending.rows.length > MAX_ROWS || (pending.characters > MAX_CHARACTERS && pending.rows.length > 1)) {
      pending.characters -= pending.rows.shift().characters;
    }
    if (this.isScheduled) return;
    this.isScheduled = true;
    requestAnimationFrame(() => {
      this.isScheduled = false;
      if (this.isPaused) this.summarize();
      else this.flush();
    });
  },

  flush() {
    const wasAtEnd = this.isAtEnd();
    const rows = document.createDocumentFragment();
    for (const { row } of pending.rows) {
      const item = row.kind ? showNote(row) : showEvent(row);
      this.characters += item.characters ?? 0;
      rows.append(item);
    }
    this.arrived += pending.arrived;
    Object.assign(pending, { rows: [], arrived: 0, characters: 0 });
    at("events").append(rows);
    this.trim();
    this.summarize();
    if (wasAtEnd) this.toEnd();
    else at("newest").hidden = false;
  },

  trim() {
    const rows = at("events").children;
    while (rows.length > MAX_ROWS || (this.characters > MAX_CHARACTERS && rows.length > 1)) {
      this.characters -= rows[0].characters ?? 0;
      // Otherwise the focus would start again at the top of the page.
      if (rows[0].contains(document.activeElement)) at("scroller").focus({ preventScroll: true });
      rows[0].remove();
    }
  },

  summarize() {
    const shown = at("events").querySelectorAll(":scope > .event").length;
    let text = this.arrived ? count(this.arrived, "event") : "";
    if (this.arrived > shown) text += `, the newest ${number(shown)} shown`;
    if (this.isPaused) text += `${text && " · "}paused, ${number(pending.arrived)} waiting`;
    at("count").textContent = text;
    at("empty").hidden = at("events").children.length > 0;
  },

  clear() {
    at("events").replaceChildren();
    Object.assign(pending, { rows: [], arrived: 0, characters: 0 });
    this.arrived = this.characters = 0;
    at("newest").hidden = true;
    this.summarize();
  },

  pause() {
    this.isPaused = true;
    at("pause").textContent = "Resume";
    this.summarize();
  },

  resume() {
    this.isPaused = false;
    at("pause").textContent = "Pause";
    this.flush();
  },

  isAtEnd() {
    const scroller = at("scroller");
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  },

  toEnd() {
    at("scroller").scrollTop = at("scroller").scrollHeight;
    at("newest").hidden = true;
  },
};

const note = (kind, text, id) => ({ kind, text, id, time: new Date() });

function describeGap(data) {
  let gap = {};
  try {
    gap = JSON.parse(data) ?? {};
  } catch {
    // The gap is told all the same.
  }
  const missed = Number.isInteger(gap.missed) ? `up to ${count(gap.missed, "event")}` : "an unknown number of events";
  return `Gap: ${missed} missing, because ${GAPS[gap.reason] ?? gap.reason ?? "of a loss"}.`;
}

function showTime(time) {
  const element = make("time", "", time.toTimeString().slice(0, 8));
  element.dateTime = time.toISOString();
  return element;
}

function showNote({ kind, text, id, time }) {
  const item = make("li", `note ${kind}`);
  item.append(showTime(time), make("span", "text", text));
  if (id) item.append(make("span", "id", id));
  return item;
}

function showEvent({ type, id, data, time }) {
  const item = make("li", "event");
  const body = make("div", "body");
  const text = pretty(data) ?? data;
  item.characters = text.length;
  const isLong = text.length > CUT;
  const pre = make("pre", "", isLong ? `${text.slice(0, CUT)}…` : text);
  body.append(pre);
  if (isLong) {
    const button = make("button", "all", `Show all ${number(text.length)} characters`);
    button.type = "button";
    button.addEventListener("click", () => {
      pre.textContent = text;
      pre.tabIndex = -1;
      button.remove();
      pre.focus();
    });
    body.append(button);
  }
  item.append(showTime(time), make("span", type === "message" ? "type plain" : "type", type), body, make("span", "id", id));
  return item;
}

at("scroller").addEventListener("scroll", () => {
  if (stream.isAtEnd()) at("newest").hidden = true;
});
at("newest").addEventListener("click", () => {
  stream.toEnd();
  at("scroller").focus();
});
at("pause").addEventListener("click", () => (stream.isPaused ? stream.resume() : stream.pause()));
at("clear").addEventListener("click", () => stream.clear());
// A link would need the fragment, which names the channel.
at("skip").addEventListener("click", () => at("data").focus());

// ---- The connection's state

const STATES = { connecting: "Connecting", live: "Live", waiting: "Reconnecting", ended: "Ended", refused: "Refused" };

/** The lost connection: since when, and its note until that is in the list. */
let lost;
let countdown;

function showState(state, { delay, detail, isEnd } = {}) {
  clearInterval(countdown);
  at("state").dataset.state = state;
  at("countdown").textContent = "";
  at("reconnect").hidden = state !== "waiting" && state !== "refused";
  // Each attempt of a reconnection would be announced.
  if (!(state === "connecting" && lost)) at("state-text").textContent = STATES[state];
  if (state === "connecting") return;
  if (state === "waiting") {
    countDown(Date.now() + delay);
    if (!lost) {
      lost = { at: Date.now(), note: note("lost", `Connection lost${detail ? `: ${detail}` : "."}`) };
      // Perhaps the channel has ended. The next answer shows it.
      if (isEnd) return;
    }
  }
  if (lost?.note && state !== "ended") {
    stream.add(lost.note);
    lost.note = undefined;
  }
  if (state === "waiting") return;
  if (state === "ended") stream.add(note("end", "The channel has ended."));
  if (state === "refused") stream.add(note("lost", `The server refused the stream: ${detail}`));
  if (state === "live" && lost) stream.add(note("back", `Connected again after ${seconds(Date.now() - lost.at)}.`));
  lost = undefined;
}

const seconds = (time) => `${Math.max(0.1, time / 1000).toFixed(time < 10_000 ? 1 : 0)} s`;

function countDown(end) {
  const show = () => (at("countdown").textContent = `in ${Math.max(0, Math.ceil((end - Date.now()) / 1000))} s`);
  show();
  countdown = setInterval(show, 1000);
}

at("reconnect").addEventListener("click", () => {
  if (at("state").dataset.state === "refused") stream.open(stream.name);
  else stream.connection.now();
});

// ---- Publishing

at("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  // Ctrl + Enter does not respect the disabled button.
  if (at("send").disabled) return;
  at("send").disabled = true;
  const { name } = stream;
  const sent = { data: at("data").value, type: at("type").value.trim(), key: at("key").value };
  const [kind, text] = await publish(name, sent).then(
    (text) => ["ok", text],
    (error) => ["failed", error.message],
  );
  at("send").disabled = false;
  // Another channel is open: this answer and its focus are not for it.
  if (stream.name !== name) return;
  say(kind, text);
  for (const id of ["data", "key"]) {
    // What was typed in the meantime stays.
    if (kind === "ok" && at(id).value === sent[id]) at(id).value = "";
  }
  at("data").focus();
});

/**
 * The unconfirmed publication and its key. It may be stored although no answer arrived, so the same content is sent
 * again with the same key.
 */
let draft;

function draftKey(content) {
  if (draft?.content !== content) {
    // `randomUUID` does not exist without TLS, except on this machine.
    draft = { content, key: crypto.getRandomValues(new Uint32Array(4)).join("-") };
  }
  return draft.key;
}

async function publish(name, { data, type, key }) {
  const query = type ? `?${new URLSearchParams({ event: type })}` : "";
  const sentKey = key || draftKey(JSON.stringify([name, data, type]));
  const headers = {
    "content-type": "text/plain; charset=utf-8",
    "idempotency-key": `"${sentKey.replace(/["\\]/g, "\\$&")}"`,
  };
  const response = await fetch(path(name) + query, { method: "POST", headers, body: data });
  if (!response.ok) throw new Error(await problem(response));
  const { id } = await response.json();
  draft = undefined;
  return response.status === 200 ? `Published before as ${id}` : `Published as ${id}`;
}

function say(kind, text) {
  at("result").className = kind;
  at("result").textContent = text;
}

at("data").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.repeat && (event.ctrlKey || event.metaKey)) at("publish").requestSubmit();
});

// ---- The start

function openFragment() {
  let name = location.hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch {
    // Typed by hand.
  }
  if (name !== (stream.name ?? "")) {
    lost = undefined;
    stream.open(name || undefined);
    // On a phone it is below the list.
    if (name) at("channel").scrollIntoView();
  }
}

at("server").textContent = location.host;
at("first-event").textContent = publishLine("news");
at("first-reader").textContent = `curl -N ${quoted(`${location.origin}${path("news")}`)}`;
addEventListener("hashchange", openFragment);
openFragment();
refreshForEver();

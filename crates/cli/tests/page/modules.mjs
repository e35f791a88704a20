// The modules of the page without a page: the decoder of streams, the reconnection, and the formatter of JSON.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mock } from "node:test";

/** The URL of a module of the page. As a file, `node` would take it for CommonJS. */
function url(name) {
  const text = readFileSync(new URL(`../../src/serve/page/${name}`, import.meta.url), "utf8");
  const whole = text.replaceAll(/(?<=^import .* from )"\.\/(.*)"/gm, (_, other) => `"${url(other)}"`);
  return `data:text/javascript;base64,${Buffer.from(whole).toString("base64")}`;
}

const load = (name) => import(url(name));

const { Decoder, follow } = await load("stream.js");
const { readChannels } = await load("channels.js");
const { pretty } = await load("json.js");

// ---- A stream is decoded as the standard says, wherever it is cut

const stream = "id: 1\ndata: a\n\n:c\r\nevent: x\r\ndata\r\ndata:  b\r\n\r\nid: 2\n\nid: 3\0\nid\ndata: z\r\rretry: 12\ndata: e\n\nretry: x\n\ndata: lost";

function decode(parts) {
  const out = [];
  const decoder = new Decoder("0", {
    event: ({ type, id, data }) => out.push([type, id, data]),
    id: (id) => out.push(id),
    retry: (time) => out.push(time),
  });
  for (const part of parts) decoder.push(part);
  return out;
}

const events = ["1", ["message", "1", "a"], ["x", "1", "\n b"], "2", "", ["message", "", "z"], 12, ["message", "", "e"]];
for (let first = 0; first <= stream.length; first += 1) {
  for (let second = first; second <= stream.length; second += 1) {
    assert.deepEqual(decode([stream.slice(0, first), stream.slice(first, second), stream.slice(second)]), events);
  }
}
assert.deepEqual(decode(stream), events);
// A connection begins with the last ID of the one before.
assert.deepEqual(decode(["data: a\n\n"]), [["message", "0", "a"]]);

// ---- The states of a connection

/** What these answers of a server are to the page: each is a text that ends, or is silent after it, or a status. */
async function states(answers) {
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(globalThis, "fetch", async (url, { signal }) => {
    const answer = answers.shift();
    if (answer.status) return new Response(null, answer);
    const start = (stream) => {
      stream.enqueue(new TextEncoder().encode(answer.text));
      if (answer.ends) stream.close();
      else signal.addEventListener("abort", () => stream.error(signal.reason));
    };
    return new Response(new ReadableStream({ start }), { headers: { "content-type": "text/event-stream" } });
  });
  const told = [];
  follow("/", {
    event: ({ data }) => told.push(data),
    state: (state, { isEnd } = {}) => told.push(isEnd ? `${state} after an end` : state),
  });
  while (told.at(-1) !== "ended") {
    // What is under way goes on before the time does.
    for (let n = 0; n < 10; n += 1) await new Promise((resolve) => setImmediate(resolve));
    // The longest silence, and the longest delay.
    mock.timers.tick(45_000);
  }
  mock.reset();
  mock.timers.reset();
  return told;
}

const end = { status: 204 };
assert.deepEqual(await states([{ text: "id: 1\ndata: a\n\n", ends: true }, end]), [
  "connecting", "live", "a", "waiting after an end", "connecting", "ended",
]);
// A server that is silent is lost.
assert.deepEqual(await states([{ text: "id: 1\n\n" }, end]), ["connecting", "live", "waiting", "connecting", "ended"]);
// A server that has no room sends no ID, and is never live.
assert.deepEqual(await states([{ text: "retry: 5000\n\n", ends: true }, end]), [
  "connecting", "waiting after an end", "connecting", "ended",
]);

// ---- The delays before reconnections double, and are spread

async function delays(random, count) {
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(Math, "random", () => random);
  mock.method(globalThis, "fetch", async () => {
    throw new TypeError("no server");
  });
  const told = [];
  const stream = follow("/", { event: () => {}, state: (state, { delay } = {}) => delay && told.push(delay) });
  while (told.length < count) {
    for (let n = 0; n < 10; n += 1) await new Promise((resolve) => setImmediate(resolve));
    mock.timers.tick(45_000);
  }
  stream.stop();
  mock.reset();
  mock.timers.reset();
  return told;
}

assert.deepEqual(await delays(0, 7), [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
assert.deepEqual(await delays(0.5, 7), [1_250, 2_500, 5_000, 10_000, 20_000, 37_500, 37_500]);

// A stream that is stopped ends its request, and nothing is told of it.
{
  const told = [];
  let signal;
  mock.method(globalThis, "fetch", (url, options) => {
    signal = options.signal;
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  });
  const stream = follow("/", { event: () => {}, state: (state) => told.push(state) });
  stream.stop();
  for (let n = 0; n < 10; n += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(signal.aborted);
  assert.deepEqual(told, ["connecting"]);
  mock.reset();
}

// ---- The list of channels is read in as many requests as it takes

async function listed(total, after, limit) {
  const names = Array.from({ length: total }, (_, n) => `c/${`${n}`.padStart(5, "0")}`);
  let requests = 0;
  mock.method(globalThis, "fetch", async (url) => {
    requests += 1;
    const query = new URL(url, "http://localhost").searchParams;
    const most = Number(query.get("limit"));
    assert.ok(most >= 1 && most <= 1_000, url);
    const rest = names.filter((name) => name > (query.get("after") ?? ""));
    const channels = rest.slice(0, most).map((name) => ({ name }));
    return Response.json({ channels, next: rest.length > most ? channels.at(-1).name : null });
  });
  const { channels, next } = await readChannels(after, limit);
  mock.reset();
  return [channels.length, channels.at(0)?.name, channels.at(-1)?.name, next, requests];
}

assert.deepEqual(await listed(0, undefined, 200), [0, undefined, undefined, null, 1]);
assert.deepEqual(await listed(200, undefined, 200), [200, "c/00000", "c/00199", null, 1]);
assert.deepEqual(await listed(201, undefined, 200), [200, "c/00000", "c/00199", "c/00199", 1]);
assert.deepEqual(await listed(5_000, undefined, 2_000), [2_000, "c/00000", "c/01999", "c/01999", 2]);
assert.deepEqual(await listed(2_500, undefined, 9_000), [2_500, "c/00000", "c/02499", null, 3]);
assert.deepEqual(await listed(5_000, "c/01000", 1_200), [1_200, "c/01001", "c/02200", "c/02200", 2]);

// ---- JSON gets line breaks, and is otherwise unchanged

const order = '{"order":12345678901234567890,"by":"B \\"x\\" \\\\","items":[{"name":"honey","n":1.50},{"name":"t, {e}a"}],"e":{ },"a":[]}';
assert.equal(pretty(order), `{
  "order": 12345678901234567890,
  "by": "B \\"x\\" \\\\",
  "items": [{"name": "honey", "n": 1.50}, {"name": "t, {e}a"}],
  "e": {},
  "a": []
}`);
assert.equal(pretty('[1,2,\n3]'), "[1, 2, 3]");
const lines = pretty(`{"list":[${"1,".repeat(40)}1],"text":"${"x".repeat(80)}"}`).split("\n");
assert.deepEqual([lines.length, lines[2], lines.at(-3)], [46, "    1,", "  ],"]);
for (const unchanged of ["", "12", '"text"', "{", '{"a":}', "[1] 2", "<p>", `["${"x".repeat(30_000)}"]`, "[".repeat(400) + "]".repeat(400)]) {
  assert.equal(pretty(unchanged), undefined);
}

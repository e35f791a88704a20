// The modules of the page without a page: the decoder of streams, the reconnection, and the formatter of JSON.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mock } from "node:test";

/** A module of the page. As a file, `node` would take it for CommonJS. */
function load(name) {
  const text = readFileSync(new URL(`../../src/serve/page/${name}`, import.meta.url));
  return import(`data:text/javascript;base64,${text.toString("base64")}`);
}

const { Decoder, follow } = await load("stream.js");
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
    mock.timers.tick(told.at(-1).startsWith("waiting") ? 30_000 : 45_000);
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

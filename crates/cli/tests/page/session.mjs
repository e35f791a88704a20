// The form for a token, without a browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/** A module of the page. As a file, `node` would take it for CommonJS. */
function load(name) {
  const text = readFileSync(new URL(`../../src/serve/page/${name}`, import.meta.url));
  return import(`data:text/javascript;base64,${text.toString("base64")}`);
}

class Part extends EventTarget {
  hidden = true;
  value = "";
  textContent = "";
  focus() {}
}

const parts = new Map();
const at = (id) => {
  if (!parts.has(id)) parts.set(id, new Part());
  return parts.get(id);
};
const page = new EventTarget();
let reloads = 0;
Object.assign(globalThis, {
  document: { getElementById: at, cookie: "other=1; tidings-signed-in=1" },
  location: { reload: () => (reloads += 1) },
  addEventListener: page.addEventListener.bind(page),
  dispatchEvent: page.dispatchEvent.bind(page),
});

const { problem } = await load("stream.js");
await load("session.js");

// A person who is signed in can sign out.
assert.deepEqual([at("sign-out").hidden, at("sign-in").hidden], [false, true]);

// Only a 401 asks for a token.
await problem(new Response("{}", { status: 403 }));
assert.equal(at("sign-in").hidden, true);
assert.equal(await problem(new Response('{"detail":"expired"}', { status: 401 })), "expired");
assert.deepEqual([at("sign-out").hidden, at("sign-in").hidden], [true, false]);

/** Sends the form with this token, and returns what was requested. */
async function submit(token, answer) {
  const requests = [];
  globalThis.fetch = async (url, { method, headers }) => {
    requests.push([method, url, headers?.authorization]);
    return answer;
  };
  at("token").value = token;
  const event = new Event("submit", { cancelable: true });
  at("sign-in-form").dispatchEvent(event);
  // The token stays in no field, and the form in no URL.
  assert.deepEqual([event.defaultPrevented, at("token").value], [true, ""]);
  for (let n = 0; n < 10; n += 1) await new Promise((resolve) => setImmediate(resolve));
  return requests;
}

const refused = new Response('{"detail":"the token has expired"}', { status: 401 });
assert.deepEqual(await submit(" a.b.c\n", refused), [["POST", "/session", "Bearer a.b.c"]]);
assert.deepEqual([at("sign-in-result").textContent, reloads], ["the token has expired", 0]);

assert.deepEqual(await submit("a.b.c", new Response(null, { status: 204 })), [["POST", "/session", "Bearer a.b.c"]]);
assert.equal(reloads, 1);

// ---- Sign out

const requests = [];
globalThis.fetch = async (url, { method }) => requests.push([method, url]);
at("sign-out").dispatchEvent(new Event("click"));
for (let n = 0; n < 10; n += 1) await new Promise((resolve) => setImmediate(resolve));
assert.deepEqual([requests, reloads], [[["DELETE", "/session"]], 2]);

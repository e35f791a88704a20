// What a person does and sees on the page, in Chromium. `node browser.mjs SCENARIO URL INPUT` runs in the folder of the
// npm packages. It asks for the server with the lines `kill` and `start ARGUMENT…`, and gets a line when it is done.

import assert from "node:assert/strict";
import { once } from "node:events";
import { accessSync, constants, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [scenario, base, input] = process.argv.slice(2);

/** A busy machine needs this long for what takes milliseconds. */
const LIMIT = 60_000;

const FLAGS = [
  "--no-proxy-server",
  // Containers have no user namespaces, little shared memory and no graphics card.
  "--no-sandbox",
  "--disable-dev-shm-usage",
  "--disable-gpu",
  // Only the page uses the network.
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
];

// ---- The server

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the server killed, or started again with these arguments. */
async function ask(request) {
  console.log(request);
  assert.equal((await answers.next()).value, "done", request);
}

const path = (name) => `${base}/channels/${name.split("/").map(encodeURIComponent).join("/")}`;

async function publish(name, data, { event, key } = {}) {
  const query = event ? `?${new URLSearchParams({ event })}` : "";
  const headers = key ? { "idempotency-key": key } : {};
  const response = await fetch(path(name) + query, { method: "POST", headers, body: data });
  assert.ok(response.ok, `${response.status} ${await response.clone().text()}`);
  return (await response.json()).id;
}

/** Publishes these texts in order, in batches. */
async function publishAll(name, texts) {
  for (let from = 0; from < texts.length; from += 500) {
    const lines = texts.slice(from, from + 500).map((data) => JSON.stringify({ channel: name, data }));
    const headers = { "content-type": "application/x-ndjson" };
    const response = await fetch(`${base}/channels`, { method: "POST", headers, body: lines.join("\n") });
    const stored = (await response.text()).trim().split("\n");
    assert.ok(stored.every((line) => JSON.parse(line).id), stored.find((line) => !JSON.parse(line).id));
  }
}

/** Publishes under a key until it is confirmed, whatever happens to the server. */
async function insist(name, data) {
  for (;;) {
    try {
      return await publish(name, data, { key: `key-${data}` });
    } catch {
      await sleep(50);
    }
  }
}

// ---- The page

class Page {
  static async open(browser, options = {}, fragment = "") {
    const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(LIMIT);
    const tab = await context.newPage();
    const page = new Page(tab);
    await tab.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", (event) => {
        window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
      });
    });
    tab.on("pageerror", (error) => page.errors.push(`${error}`));
    tab.on("console", (message) => {
      // The server is killed and refuses on purpose.
      const isExpected = message.text().startsWith("Failed to load resource");
      if (message.type() === "error" && !isExpected) page.errors.push(message.text());
    });
    tab.on("request", (request) => {
      if (!request.url().startsWith(`${base}/`)) page.errors.push(`a request to ${request.url()}`);
    });
    await tab.goto(`${base}/${fragment}`);
    return page;
  }

  constructor(tab) {
    this.tab = tab;
    this.errors = [];
  }

  find = (selector, options) => this.tab.locator(selector, options);
  row = (text) => this.find("#events > li", { hasText: text }).last();
  shows = (selector, text) => this.find(selector, { hasText: text }).first().waitFor();
  isIn = (state) => this.find(`#state[data-state="${state}"]`).waitFor();
  focused = () => this.tab.evaluate(() => document.activeElement.id);
  texts = () => this.find("#events > .event pre").allTextContents();

  async select(name) {
    const hash = `#${name.split("/").map(encodeURIComponent).join("/")}`;
    await this.tab.evaluate((hash) => (location.hash = hash), hash);
    await this.shows("#name", name);
  }

  /** Presses the button that ends a wait, if the page waits. It does not wait for the button: the page may connect first. */
  reconnect = () =>
    this.tab.evaluate(() => {
      const button = document.getElementById("reconnect");
      if (!button.hidden) button.click();
    });

  /** Waits until this returns something true in the page. */
  until = (condition, argument) => this.tab.waitForFunction(condition, argument);

  /** Nothing was refused by the policy, no script failed, and no other address was asked. */
  async close() {
    assert.deepEqual(await this.tab.evaluate(() => window.violations), []);
    assert.deepEqual(this.errors, []);
    await this.tab.context().close();
  }
}

/** Publishes these texts in order, each under a key until it is confirmed. */
async function insistAll(name, texts, headers) {
  for (const body of texts) {
    for (let isStored = false; !isStored; ) {
      const request = { method: "POST", headers: { ...headers, "idempotency-key": `key-${body}` }, body };
      const response = await fetch(path(name), request).catch(() => sleep(50));
      isStored = response?.ok;
    }
  }
}

/** A page that runs code of the documentation. */
class Follower {
  static async open(browser, origin, code, token) {
    const tab = await (await browser.newContext()).newPage();
    tab.setDefaultTimeout(LIMIT);
    const follower = new Follower(tab);
    tab.on("pageerror", (error) => follower.errors.push(`${error}`));
    tab.on("request", (request) => {
      follower.requests += 1;
      const ticket = new URL(request.url()).searchParams.get("ticket");
      if (ticket) follower.tickets.push(ticket);
    });
    await tab.clock.install();
    await tab.goto(origin);
    await tab.evaluate(() => {
      window.shown = [];
      window.sources = [];
      window.EventSource = class extends EventSource {
        constructor(url) {
          super(url);
          sources.push(this);
        }
      };
    });
    const given = `const server = ${JSON.stringify(base)}, token = ${JSON.stringify(token)};
      const show = (event) => shown.push(event.data);`;
    await tab.addScriptTag({ type: "module", content: `${given}\n${code}\nwindow.outcome = outcome;` });
    return follower;
  }

  constructor(tab) {
    Object.assign(this, { tab, errors: [], tickets: [], requests: 0 });
  }

  /** Waits until its newest connection is open, and is at least this one. */
  isOpen = (count) => this.tab.waitForFunction((count) => sources.length >= count && sources.at(-1).readyState === 1, count);
  shows = (count) => this.tab.waitForFunction((count) => shown.length >= count, count);
  outcome = () => this.tab.evaluate(() => window.outcome);

  /** It ends with this outcome after it has shown exactly this, and sends nothing in the hour after that. */
  async ends(outcome, expected) {
    await this.tab.waitForFunction(() => window.outcome);
    assert.equal(await this.outcome(), outcome);
    const { requests } = this;
    await this.tab.clock.fastForward("01:00:00");
    const ends = await this.tab.evaluate(async () => {
      await (await fetch("/")).text();
      return { shown, isClosed: sources.every((source) => source.readyState === 2) };
    });
    assert.deepEqual(ends, { shown: expected, isClosed: true });
    assert.equal(this.requests, requests + 1);
    assert.deepEqual(this.errors, []);
    await this.tab.context().close();
  }
}

/** The lines of numbers from 0. */
const numbers = (count) => Array.from({ length: count }, (_, n) => `${n}`);

const scenarios = {
  async publish_and_see(browser) {
    const page = await Page.open(browser);
    await page.shows("#listed", "No channel yet.");
    // All of it by keyboard.
    await page.tab.keyboard.press("Tab");
    await page.tab.keyboard.press("Tab");
    await page.tab.keyboard.type("rooms/lobby");
    await page.tab.keyboard.press("Enter");
    await page.shows("#name", "rooms/lobby");
    await page.isIn("live");
    await page.shows("#empty", "/channels/rooms/lobby");
    await page.find("#data").focus();
    await page.tab.keyboard.type('{"user":"Mia","text":"Good morning, everybody in the lobby! Is there any coffee left?","n":12345678901234567890}');
    await page.tab.keyboard.press("Tab");
    await page.tab.keyboard.type("chat");
    await page.tab.keyboard.press("Tab");
    await page.tab.keyboard.type('a "key"');
    await page.tab.keyboard.press("Enter");
    await page.shows("#result", "Published as ");
    const id = (await page.find("#result").textContent()).replace("Published as ", "");
    const row = page.row("Good morning");
    assert.equal(await row.locator(".id").textContent(), id);
    assert.equal(await row.locator(".type").textContent(), "chat");
    const lines = ["{", '  "user": "Mia",', '  "text": "Good morning, everybody in the lobby! Is there any coffee left?",'];
    const expected = [...lines, '  "n": 12345678901234567890', "}"].join("\n");
    assert.equal(await row.locator("pre").textContent(), expected);
    await page.shows('#channels a[aria-current="page"]', "rooms/lobby");

    // The focus is in the form again.
    await page.tab.keyboard.type("second");
    await page.find("#key").fill('a "key"');
    await page.find("#data").press("Control+Enter");
    await page.shows("#result", `Published before as ${id}`);
    await page.find("#data").fill("third");
    await page.find("#type").fill("");
    await page.find("#data").press("Control+Enter");
    await page.row("third").waitFor();
    assert.equal(await page.find("#events > li", { hasText: "second" }).count(), 0);

    const long = "word ".repeat(1_000);
    await publish("rooms/lobby", long);
    await page.tab.getByRole("button", { name: "Show all 5,000 characters" }).press("Enter");
    await page.until((text) => [...document.querySelectorAll("pre")].some((pre) => pre.textContent === text), long);

    // Long events are tab stops. There is a way past them.
    await page.find("#clear").press("Tab");
    await page.tab.keyboard.press("Enter");
    assert.equal(await page.focused(), "data");

    // After a reload the channel is still selected, and its newest events are there.
    await page.tab.reload();
    await page.row("third").waitFor();
    assert.equal(await page.find("#events > .event").count(), 3);
    await page.close();
  },

  async publish_once(browser) {
    const page = await Page.open(browser, {}, "#a");
    await page.isIn("live");
    // The event is stored, and the answer waits and is lost.
    let lose;
    let posts = 0;
    const lost = new Promise((resolve) => (lose = resolve));
    await page.tab.route("**/channels/a", async (route) => {
      posts += 1;
      await route.fetch();
      await lost;
      await route.abort();
    });
    await page.find("#data").fill("once");
    await page.find("#data").press("Control+Enter");
    await page.find("#data").press("Control+Enter");
    await page.row("once").waitFor();
    lose();
    await page.find("#result.failed").waitFor();
    assert.equal(posts, 1);
    await page.tab.unroute("**/channels/a");
    await page.find("#data").press("Control+Enter");
    await page.shows("#result", "Published before as ");

    // An answer that arrives under another channel changes nothing there.
    let answer;
    const answered = new Promise((resolve) => (answer = resolve));
    await page.tab.route("**/channels/a", async (route) => {
      await answered;
      await route.continue();
    });
    await page.find("#data").fill("for a");
    await page.find("#send").click();
    await page.select("b");
    await page.find("#data").fill("for b");
    await page.find("#type").focus();
    answer();
    await page.until(() => !document.getElementById("send").disabled);
    assert.equal(await page.find("#result").textContent(), "");
    assert.equal(await page.find("#data").inputValue(), "for b");
    assert.equal(await page.focused(), "type");
    await page.select("a");
    await page.row("for a").waitFor();
    assert.deepEqual(await page.texts(), ["once", "for a"]);
    await page.close();
  },

  async restart(browser) {
    const page = await Page.open(browser, {}, "#news");
    await page.isIn("live");
    const expected = numbers(240);
    for (const n of expected.slice(0, 80)) await insist("news", n);
    // Kills it under publications that are on their way.
    const rest = (async () => {
      for (const n of expected.slice(80)) await insist("news", n);
    })();
    await page.until(() => document.querySelectorAll("#events > .event").length >= 100);
    await ask("kill");
    await page.isIn("waiting");
    await page.shows("#events > .lost", "Connection lost");
    await ask("start");
    await rest;
    await page.shows("#events > .back", "Connected again");
    await page.isIn("live");
    await page.shows("#events > .event pre", "239");
    assert.deepEqual(await page.texts(), expected);
    assert.equal(await page.find("#events > .gap").count(), 0);
    await page.close();
  },

  /** Without a store, a server that starts again has lost its events. */
  async lost_log(browser) {
    const page = await Page.open(browser, {}, "#news");
    await page.isIn("live");
    for (const n of numbers(3)) await publish("news", n);
    await page.row("2").waitFor();
    await ask("kill");
    await page.isIn("waiting");
    await ask("start");
    await publish("news", "a new beginning");
    await page.reconnect();
    await page.shows("#events > .gap", "Gap: an unknown number of events missing, because the server’s log is not");
    await page.close();
  },

  async trimmed_log(browser) {
    const page = await Page.open(browser, {}, "#news");
    await page.isIn("live");
    await publish("news", "the last before");
    await page.row("the last before").waitFor();
    // The page stays away until the server has removed what it missed.
    await page.tab.route("**/channels/news?*", (route) => route.abort());
    await ask("kill");
    await page.isIn("waiting");
    await ask("start --retain-bytes 64KiB");
    const filler = "x".repeat(2_000);
    for (let isKept = true; isKept; ) {
      await publishAll("news", Array(40).fill(filler));
      isKept = (await firstKept("news")).includes("the last before");
    }
    await publish("news", "the first after");
    await page.tab.unroute("**/channels/news?*");
    await page.reconnect();
    await page.row("the first after").waitFor();
    const kinds = await page.find("#events > li").evaluateAll((rows) => rows.map((row) => row.classList.item(1) ?? row.textContent));
    assert.ok(kinds.indexOf("gap") > kinds.findIndex((kind) => kind.includes("the last before")));
    const text = await page.find("#events > .gap .text").textContent();
    assert.match(text, /^Gap: up to [\d,]+ events missing, because the server no longer keeps them\.$/);
    await page.close();
  },

  async states(browser) {
    const page = await Page.open(browser, {}, "#answers/1");
    await page.isIn("live");
    await publish("answers/1", "The answer is 42.");
    await page.row("The answer is 42.").waitFor();
    assert.ok((await fetch(path("answers/1"), { method: "DELETE" })).ok);
    await page.isIn("ended");
    await page.shows("#events > .end", "The channel has ended.");
    assert.equal(await page.find("#events > .lost").count(), 0);
    await page.shows("#channels .ended", "answers/1");
    // A problem of a publication is shown, and what was typed stays.
    await page.find("#data").fill("too late");
    await page.find("#send").click();
    await page.find("#result.failed").waitFor();
    assert.equal(await page.find("#data").inputValue(), "too late");
    await page.tab.reload();
    await page.isIn("ended");
    await page.row("The answer is 42.").waitFor();

    await page.tab.evaluate(() => (location.hash = "#a//b"));
    await page.isIn("refused");
    await page.shows("#events > .lost", "The server refused the stream");
    // The path of this would be that of the channel `answers/1`.
    await page.select("other/../answers/1");
    await page.isIn("refused");
    await page.find("#publish").waitFor({ state: "hidden" });
    await page.find("h1 a").click();
    await page.find("#welcome").waitFor();
    await page.close();
  },

  async token(browser) {
    const token = input;
    const secret = token.split(".").at(-1);
    const page = await Page.open(browser, {}, "#news");
    await page.find("#sign-in").waitFor();
    await check(page, "the form for a token");
    await page.find("#token").fill("nonsense");
    await page.find("#token").press("Enter");
    await page.shows("#sign-in-result", "token");
    assert.equal(await page.find("#token").inputValue(), "");
    await page.find("#token").fill(token);
    await page.find("#token").press("Enter");
    await page.isIn("live");
    await page.find("#data").fill("hello");
    await page.find("#data").press("Control+Enter");
    await page.row("hello").waitFor();
    await page.tab.reload();
    await page.row("hello").waitFor();
    await page.shows("#channels", "news");
    // Nothing that a script can read has the token.
    const kept = await page.tab.evaluate(() => [
      document.cookie,
      JSON.stringify({ ...localStorage, ...sessionStorage }),
      location.href,
      document.documentElement.outerHTML,
      ...performance.getEntries().map((entry) => entry.name),
    ]);
    assert.ok(kept.every((text) => !text.includes(secret)));
    // The token does not allow this channel.
    await page.select("private");
    await page.isIn("refused");
    await page.select("news");
    await page.isIn("live");
    await page.find("#sign-out").click();
    await page.find("#sign-in").waitFor();
    assert.equal(await page.tab.evaluate(() => document.cookie), "");
    await page.close();
  },

  /** The code of docs/program.md, in a page of another origin. */
  async tickets_of_the_docs(browser) {
    const docs = readFileSync(new URL("../../../../docs/program.md", import.meta.url), "utf8");
    const [, code] = /^### Tickets\n[^]*?^```js\n([^]*?)^```/m.exec(docs);
    const site = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html>"));
    await once(site.listen(0, "127.0.0.1"), "listening");
    const origin = `http://127.0.0.1:${site.address().port}`;
    const start = () => ask(`start --cors-origin ${origin}`);
    await ask("kill");
    await start();
    const first = await Follower.open(browser, origin, code, input);
    await first.isOpen(1);
    // Before the first event, between events, and under publications that are on their way.
    await ask("kill");
    await start();
    const expected = numbers(60);
    const headers = { authorization: `Bearer ${input}` };
    const publish = (texts) => insistAll("news/today", texts, headers);
    await publish(expected.slice(0, 20));
    await first.shows(20);
    await ask("kill");
    await start();
    const rest = publish(expected.slice(20));
    await first.shows(30);
    await ask("kill");
    await start();
    await rest;
    await first.shows(60);
    assert.equal(await first.outcome(), undefined);
    const ended = await fetch(path("news/today"), { method: "DELETE", headers, body: "the last words" });
    assert.ok(ended.ok, ended.status);
    const all = [...expected, "the last words"];
    await first.ends("ended", all);
    assert.ok(first.tickets.length >= 4 && new Set(first.tickets).size === first.tickets.length, `${first.tickets}`);
    // A page that comes later receives the same, and one whose token is refused stops.
    const second = await Follower.open(browser, origin, code, input);
    await second.ends("ended", all);
    assert.equal(second.tickets.length, 1);
    const third = await Follower.open(browser, origin, code, "nonsense");
    await third.ends("refused", []);
    assert.equal(third.tickets.length, 0);
    site.close();
    site.closeAllConnections();
  },

  async hostile_text(browser) {
    const attack = '<img src=x onerror="window.attacked = true"><script>window.attacked = true</script>';
    const name = "hostile";
    await publish(name, attack, { event: "<b>bold</b>" });
    await publish(name, JSON.stringify({ attack, filler: "x".repeat(80) }));
    await publish(name, "javascript:attacked=1 \u202e \u0007 \u001b[31m");
    const page = await Page.open(browser, {}, `#${name}`);
    await page.row("javascript:").waitFor();
    await page.shows("#channels", name);
    const texts = await page.texts();
    assert.equal(texts[0], attack);
    assert.ok(texts[1].includes(JSON.stringify(attack)));
    assert.equal(await page.find("#events .type").first().textContent(), "<b>bold</b>");
    await page.find("#filter").fill(attack);
    await page.shows("#channels .name", attack);
    await page.find("#data").fill(attack);
    await page.find("#type").fill("gap");
    await page.find("#send").click();
    await page.find("#result.failed").waitFor();
    // No channel has such a name, so the server refuses it, and its answer repeats it.
    await page.tab.evaluate((hash) => (location.hash = hash), `#${encodeURIComponent(attack)}`);
    await page.isIn("refused");
    await page.shows("#events > .lost", "<img src=x");
    await page.shows("#name", attack);
    assert.equal(await page.find("img, b, body script").count(), 0);
    assert.equal(await page.tab.evaluate(() => window.attacked), undefined);
    // The policy holds where the code would not.
    const blocked = await page.tab.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.attacked = true";
      document.body.append(script);
      return [window.attacked, window.violations.length];
    });
    await page.until(() => window.violations.length > 0);
    assert.equal(blocked[0], undefined);
    await page.tab.evaluate(() => (window.violations = []));
    page.errors = page.errors.filter((error) => !error.includes("Content Security Policy"));
    await page.close();
  },

  async many_channels(browser) {
    const names = numbers(1_300).map((n) => `many/${n.padStart(4, "0")}`);
    for (let from = 0; from < names.length; from += 500) {
      const lines = names.slice(from, from + 500).map((channel) => JSON.stringify({ channel, data: "first" }));
      const headers = { "content-type": "application/x-ndjson" };
      const response = await fetch(`${base}/channels`, { method: "POST", headers, body: lines.join("\n") });
      assert.ok(response.ok && !(await response.text()).includes("status"));
    }
    const page = await Page.open(browser);
    const listed = (count) => page.until((count) => document.querySelectorAll("#channels li").length === count, count);
    await listed(200);
    await page.find("#more").click();
    await listed(400);
    // A name after all that are listed is found by its beginning.
    await page.find("#filter").fill("many/129");
    await listed(11);
    assert.equal(await page.find("#channels .name").first().textContent(), "many/129");
    await page.shows("#listed", "10 channels with “many/129”");
    // A list that is refreshed keeps the focus.
    await page.find("#channels a", { hasText: "many/1295" }).focus();
    await page.tab.waitForResponse("**/channels?*");
    await page.tab.keyboard.press("Enter");
    await page.shows("#name", "many/1295");
    await page.row("first").waitFor();
    await page.find("#filter").fill("");
    await listed(400);
    for (const count of [600, 800, 1_000]) {
      await page.find("#more").click();
      await listed(count);
    }
    // From here on, the list is read in several requests.
    await page.find("#filter").fill("many/12");
    await page.shows("#listed", "Others are found by the beginning of their names.");
    await page.find("#filter").fill("");
    await page.find("#more").click();
    await listed(1_300);
    await page.find("#more").waitFor({ state: "hidden" });
    await page.close();
  },

  async ten_thousand_events(browser) {
    const page = await Page.open(browser, {}, "#busy");
    await page.isIn("live");
    const filler = "x".repeat(1_000);
    const events = (from, to) => numbers(to).slice(from).map((n) => `${n} ${filler}`);
    await publishAll("busy", events(0, 10_000));
    await page.shows("#count", "10,000 events, the newest 500 shown");
    const shown = (await page.texts()).map((text) => Number.parseInt(text, 10));
    assert.deepEqual(shown, Array.from({ length: 500 }, (_, n) => 9_500 + n));
    const before = await memory(page);

    await page.find("#pause").click();
    await publishAll("busy", events(10_000, 20_000));
    await page.shows("#count", "paused, 10,000 waiting");
    assert.ok((await page.texts()).at(-1).startsWith("9999 "));
    await page.find("#pause").click();
    await page.shows("#count", "20,000 events, the newest 500 shown");
    assert.ok((await page.texts()).at(-1).startsWith("19999 "));
    const after = await memory(page);
    console.error(`memory after 10,000 events ${JSON.stringify(before)}, after 20,000 ${JSON.stringify(after)}`);
    assert.ok(after.heap < before.heap + 2_000_000, "the heap grows");
    assert.ok(after.heap < 20_000_000 && after.nodes < 20_000);

    // Who reads older events is not moved.
    await page.find("#scroller").evaluate((scroller) => (scroller.scrollTop = 0));
    await publishAll("busy", ["news"]);
    await page.find("#newest").waitFor();
    assert.equal(await page.find("#scroller").evaluate((scroller) => scroller.scrollTop < 1_000), true);
    await page.find("#newest").click();
    await page.find("#newest").waitFor({ state: "hidden" });
    // Large data counts too.
    await publish("busy", `0 ${"y".repeat(600_000)}`);
    await page.row("0 yyy").getByRole("button").focus();
    for (let n = 1; n < 12; n += 1) await publish("busy", `${n} ${"y".repeat(600_000)}`);
    await page.row("11 yyy").waitFor();
    // The row with the focus was removed.
    assert.equal(await page.focused(), "scroller");
    assert.ok((await page.find("#events > li").count()) <= 7);
    await page.close();
  },

  async accessible(browser) {
    const name = `a/${"long-name".repeat(15)}`;
    for (const data of ["plain", "y".repeat(5_000), JSON.stringify({ long: "z".repeat(200), list: [1, { a: [] }] })]) {
      await publish(name, data, { event: "a-long-name-of-an-event" });
    }
    const phone = { viewport: { width: 320, height: 568 }, isMobile: true, hasTouch: true };
    for (const colorScheme of ["light", "dark"]) {
      for (const device of [{}, phone]) {
        const page = await Page.open(browser, { colorScheme, ...device });
        await page.shows("#channels", name);
        await check(page, `welcome, ${colorScheme}`);
        await page.select(name);
        await page.isIn("live");
        await page.row("plain").waitFor();
        await check(page, `events, ${colorScheme}`);
        await page.find("#type").fill("gap");
        await page.find("#data").fill("reserved");
        await page.find("#send").click();
        await page.find("#result.failed").waitFor();
        await page.find("#filter").fill("elsewhere");
        await page.shows("#listed", "No channel with");
        await check(page, `a problem, ${colorScheme}`);
        await page.tab.route("**/channels/told?*", (route) => {
          const gap = { requested: null, resumed: "e.1.c", reason: "slow", missed: 7 };
          const body = `id: e.1.c\nevent: gap\ndata: ${JSON.stringify(gap)}\n\n`;
          return route.fulfill({ body, headers: { "content-type": "text/event-stream" } });
        });
        await page.select("told");
        await page.shows("#events > .gap", "Gap: up to 7 events missing");
        await page.isIn("waiting");
        await check(page, `a gap and a lost connection, ${colorScheme}`);
        await page.close();
      }
    }
  },

  async demo(browser) {
    const folder = process.env.TIDINGS_SCREENSHOTS;
    for (const colorScheme of ["light", "dark"]) {
      const page = await Page.open(browser, { colorScheme });
      for (const name of ["demo/clock", "demo/orders", "rooms/lobby", "rooms/rust", "demo/answer/1"]) {
        await page.shows("#channels .name", name);
      }
      await page.select("demo/answer/1");
      await page.isIn("ended");
      await page.select("demo/orders");
      await page.isIn("live");
      await page.find("#events > .event").nth(folder ? 5 : 1).waitFor();
      if (folder) await page.tab.screenshot({ path: join(folder, `page-${colorScheme}.png`) });
      await page.close();
    }
  },
};

/** What the server sends first of those that it keeps. */
async function firstKept(name) {
  const ends = new AbortController();
  const response = await fetch(`${path(name)}?from=earliest`, { signal: ends.signal });
  let text = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.includes("data:")) break;
  }
  ends.abort();
  return text;
}

/** The bytes of the heap and the number of nodes, without garbage. */
async function memory(page) {
  const session = await page.tab.context().newCDPSession(page.tab);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  const { nodes } = await session.send("Memory.getDOMCounters");
  await session.detach();
  return { heap: usedSize, nodes };
}

/** No finding of axe, and nothing to scroll sideways. */
async function check(page, where) {
  const { width } = page.tab.viewportSize();
  await page.tab.evaluate(axe);
  const { violations } = await page.tab.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const findings = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
  assert.deepEqual(findings, [], `${where}, ${width} px`);
  const needed = await page.tab.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(needed <= width, `${where}: ${needed} px of ${width}`);
}

/** The program `chromium`. */
function executable() {
  for (const folder of process.env.PATH.split(delimiter)) {
    const file = join(folder, "chromium");
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // In another folder.
    }
  }
  throw new Error("there is no chromium; try: scripts/test needs");
}

const browser = await chromium.launch({ executablePath: executable(), args: FLAGS, timeout: LIMIT });
try {
  await scenarios[scenario](browser);
} finally {
  await browser.close();
}
process.exit(0);

// A person signs in over TLS, opens a WebSocket and a stream of events, and signs out in another tab: both end at once. So
// they do when the gateway is stopped, which then has nothing to wait for.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { base, fillIn, open, password, submit, withBrowser } from "./browser.mjs";

const protocol = process.env.FOREGATE_TEST_PROTOCOL;
const gateway = Number(process.env.FOREGATE_TEST_GATEWAY);
const SOON = 2_500;

await withBrowser(async (browser) => {
  const { context, page } = await open(browser);
  const wanted = `${base}/live`;
  await page.goto(wanted);
  assert.equal(new URL(page.url()).pathname, "/.auth/login");
  await fillIn(page, { username: "alice", password });
  await submit(page);
  assert.equal(page.url(), wanted);
  const [cookie] = (await context.cookies()).filter(({ httpOnly, name }) => httpOnly && name.endsWith("foregate"));
  assert.ok(cookie?.name === "__Host-foregate" && cookie.secure, JSON.stringify({ ...cookie, value: "" }));
  const spoken = await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol);
  assert.equal(spoken, protocol);

  // Small and large, text and bytes, one after the other and all at once.
  const heard = await page.evaluate(async () => {
    window.socket = new WebSocket(`${location.origin.replace("https", "wss")}/socket`);
    window.socket.binaryType = "arraybuffer";
    window.ended = {};
    const replies = [];
    let wake;
    window.socket.onmessage = ({ data }) => (replies.push(data), wake?.());
    window.socket.onclose = ({ code }) => ((window.ended.socket = { at: Date.now(), code }), wake?.());
    const reply = async () => {
      while (!replies.length && !window.ended.socket) await new Promise((resolve) => (wake = resolve));
      return replies.shift();
    };
    const hello = await reply();
    const faults = [];
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 1_000_000]) {
      const text = "é€".repeat(size).slice(0, size);
      window.socket.send(text);
      if ((await reply()) !== text) faults.push(`text of ${size}`);
      const bytes = Uint8Array.from({ length: size }, (_, at) => (at * 7) % 251);
      window.socket.send(bytes);
      const back = new Uint8Array((await reply()) ?? 0);
      if (back.length !== size || back.some((byte, at) => byte !== bytes[at])) faults.push(`${size} bytes`);
    }
    for (let number = 0; number < 500; number += 1) window.socket.send(`${number}`);
    for (let number = 0; number < 500; number += 1) {
      if ((await reply()) !== `${number}`) faults.push(`number ${number}`);
    }
    return { hello, faults };
  });
  assert.deepEqual(heard, { hello: "hello alice", faults: [] });

  await openEvents(page);

  const other = await context.newPage();
  await other.goto(`${base}/.auth/logout`);
  assert.deepEqual(await page.evaluate(() => window.ended), {}, "they live until then");
  const left = Date.now();
  await submit(other);
  await page.waitForFunction(() => window.ended.socket && window.ended.events);
  const ended = await page.evaluate(() => window.ended);
  const took = Object.values(ended).map(({ at }) => at - left);
  console.log(`ended within ${took} ms, the WebSocket with ${ended.socket.code}`);
  assert.ok(Math.max(...took) < SOON, JSON.stringify(took));

  await page.waitForFunction(() => window.events.readyState === EventSource.CLOSED);
  assert.equal(await page.evaluate(async () => (await fetch("/live")).status), 401);
  const refused = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const socket = new WebSocket(window.socket.url);
        socket.onopen = () => resolve("opened");
        socket.onerror = () => resolve("refused");
      }),
  );
  assert.equal(refused, "refused");

  await page.goto(wanted);
  await fillIn(page, { username: "alice", password });
  await submit(page);
  await page.evaluate(
    () =>
      new Promise((resolve) => {
        window.ended = {};
        window.socket = new WebSocket(`${location.origin.replace("https", "wss")}/socket`);
        window.socket.onmessage = resolve;
        window.socket.onclose = ({ code }) => (window.ended.socket = { at: Date.now(), code });
      }),
  );
  await openEvents(page);
  const stopped = Date.now();
  process.kill(gateway, "SIGTERM");
  await page.waitForFunction(() => window.ended.socket && window.ended.events);
  while (!/^State:\s+Z/m.test(readFileSync(`/proc/${gateway}/status`, "utf8"))) {
    assert.ok(Date.now() - stopped < 2 * SOON, "the gateway waits for the browser");
    await page.waitForTimeout(20);
  }
  console.log(`the gateway ended after ${Date.now() - stopped} ms`);
});

function openEvents(page) {
  return page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const events = new EventSource("/events");
        let count = 0;
        events.onmessage = ({ data }) => {
          if (data !== "alice") reject(new Error(data));
          if ((count += 1) === 5) resolve();
        };
        // The browser asks again after an end, and gives up at a refusal.
        events.onerror = () => (window.ended.events ??= { at: Date.now() });
        window.events = events;
      }),
  );
}

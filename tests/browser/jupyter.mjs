// A person signs in to Jupyter, runs a cell and a terminal, and signs out: both are cut off at once.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { base, fillIn, open, password, screenshot, submit, withBrowser } from "./browser.mjs";

const seen = process.env.FOREGATE_TEST_SEEN;
const SOON = 3_000;

await withBrowser(async (browser) => {
  const { context, page } = await open(browser, { viewport: { width: 1200, height: 800 } });
  context.setDefaultTimeout(60_000);
  // Each with the time of its end.
  const sockets = [];
  page.on("websocket", (socket) => {
    const kept = { url: socket.url(), ended: 0 };
    sockets.push(kept);
    socket.on("close", () => (kept.ended = Date.now()));
  });

  const wanted = `${base}/lab/tree/work.ipynb`;
  await page.goto(wanted);
  assert.equal(new URL(page.url()).pathname, "/.auth/login");
  await fillIn(page, { username: "alice", password });
  await submit(page);
  assert.equal(page.url(), wanted);

  // A cell that is run before its kernel is there is forgotten.
  await page.locator("#jp-main-statusbar", { hasText: "| Idle" }).waitFor();
  await page.locator(".jp-Notebook .jp-Cell .cm-content").first().click();
  await page.keyboard.press("Shift+Enter");
  const output = page.locator(".jp-OutputArea-output pre", { hasText: "two: 2" });
  await output.waitFor();

  await page.locator(".lm-MenuBar-item", { hasText: /^File$/ }).click();
  await page.locator(".lm-Menu-item", { hasText: /^New$/ }).hover();
  await page.locator(".lm-Menu-item", { hasText: /^Terminal$/ }).click();
  await page.locator(".jp-Terminal .xterm-helper-textarea").waitFor({ state: "attached" });
  await page.locator(".jp-Terminal").click();
  await until("the terminal has a socket", () => open_sockets("/terminals/websocket/").length === 1);
  await page.keyboard.type("echo six times seven: $((6*7)) | tee ~/seen.txt");
  await page.keyboard.press("Enter");
  await until("the terminal ran it", () => existsSync(seen) && readFileSync(seen, "utf8") !== "");
  assert.equal(readFileSync(seen, "utf8"), "six times seven: 42\n");
  await page.waitForTimeout(500);
  await screenshot(page, "jupyter");
  assert.equal(open_sockets("/channels").length, 1, JSON.stringify(sockets));

  const held = sockets.filter(({ ended }) => !ended);
  const other = await context.newPage();
  await other.goto(`${base}/.auth/logout`);
  const left = Date.now();
  await submit(other);
  await until("they are closed", () => held.every(({ ended }) => ended));
  const took = Math.max(...held.map(({ ended }) => ended)) - left;
  console.log(`${held.length} WebSockets closed within ${took} ms`);
  assert.ok(held.length >= 2 && took < SOON, `${held.length} closed after ${took} ms`);

  assert.equal(await page.evaluate(async () => (await fetch("/api/terminals")).status), 401);
  await page.goto(wanted);
  assert.equal(new URL(page.url()).pathname, "/.auth/login");

  function open_sockets(part) {
    return sockets.filter(({ url, ended }) => url.includes(part) && !ended);
  }
});

async function until(what, holds) {
  const deadline = Date.now() + 60_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

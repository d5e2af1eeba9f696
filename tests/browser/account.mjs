// The page of one's own account, with the script and without it: says how strong a new password is, changes it, and
// signs out other devices. How it looks is in pages.mjs.

import assert from "node:assert/strict";
import { assertQuiet, base, fillIn, loading, measure, open, password, screenshot, submit, withBrowser } from "./browser.mjs";

const ACCOUNT = `${base}/.auth/account`;
const CHOSEN = "a horse of another colour";

const send = (page, action) => loading(page, () => page.click(`form[action="/.auth/account/${action}"] [type=submit]`));

async function signIn(page, as = password) {
  await page.goto(ACCOUNT);
  await fillIn(page, { username: "alice", password: as });
  await submit(page);
  assert.equal(page.url(), ACCOUNT, "a login comes back to the page");
}

async function look(page, name) {
  assert.deepEqual(await measure(page), [], name);
  await screenshot(page, `account-${name}`);
}

/** Changes the password from `from` to `to`; the page says so. */
async function change(page, from, to) {
  await page.fill("#current_password", from);
  await page.fill("#new-password", to);
  await page.fill("#new-password-again", to);
  const response = await send(page, "password");
  assert.equal(response.status(), 200);
  assert.equal(page.url(), ACCOUNT);
  assert.match(await page.textContent("#notice"), /Your password is changed/);
}

await withBrowser(async (browser) => {
  // With the script: a hint at the strength, in the words of the server, and nothing in anybody's way.
  const window = await open(browser, { viewport: { width: 390, height: 844 } });
  const { page } = window;
  await signIn(page);
  const hint = page.locator("#new-password-strength");
  const meter = page.locator(".strength meter");
  assert.equal(await hint.isVisible(), false, "nothing is said of nothing");
  await page.fill("#new-password", "password1");
  await hint.filter({ hasText: "too easy to guess" }).waitFor();
  assert.equal(await meter.evaluate((meter) => meter.value), 0);
  await look(page, "strength-weak");
  await page.fill("#new-password", "Alice2024!");
  await hint.filter({ hasText: "Your own names" }).waitFor();
  await page.fill("#new-password", CHOSEN);
  await hint.filter({ hasText: "Strength: strong." }).waitFor();
  assert.equal(await meter.evaluate((meter) => meter.value), 4);
  await look(page, "strength-strong");
  await page.fill("#new-password", "");
  await hint.waitFor({ state: "hidden" });
  // Pasting is typing.
  await page.evaluate(() => {
    const field = document.getElementById("new-password");
    field.focus();
    document.execCommand("insertText", false, "qwertyuiop");
  });
  await hint.filter({ hasText: "too easy to guess" }).waitFor();

  // Without the script, in another browser: signed out here by the change there.
  const plain = await open(browser, { javaScriptEnabled: false, viewport: { width: 1280, height: 900 } });
  await signIn(plain.page);
  await plain.page.fill("#current_password", password);
  await plain.page.fill("#new-password", "password1");
  await plain.page.fill("#new-password-again", "password1");
  assert.equal((await send(plain.page, "password")).status(), 400);
  assert.match(await plain.page.textContent("#error"), /too easy to guess/);
  await look(plain.page, "weak-without-script");
  await change(plain.page, password, CHOSEN);
  assert.equal(await plain.page.locator(".rows > li").count(), 1);
  await page.goto(ACCOUNT);
  assert.match(page.url(), /\/login\?next=/, "the other browser is signed out");

  await signIn(page, CHOSEN);
  await plain.page.goto(ACCOUNT);
  assert.equal(await plain.page.locator(".rows > li").count(), 2);
  await look(plain.page, "two-devices");
  await send(plain.page, "sessions/revoke-others");
  assert.match(await plain.page.textContent("#notice"), /signed out everywhere but here/);
  await page.goto(ACCOUNT);
  assert.match(page.url(), /\/login\?next=/);
  await signIn(page, CHOSEN);
  await change(page, CHOSEN, password);

  assertQuiet(window);
  assertQuiet(plain);
});

// A person opens a page, is asked who they are, gets it wrong once, signs in, is back where they wanted to be, signs
// out and is refused. With scripts, then without.

import assert from "node:assert/strict";
import { assertFocused, assertQuiet, base, fillIn, loading, open, password, screenshot, submit, withBrowser } from "./browser.mjs";

const COOKIE = base.startsWith("https:") ? "__Host-foregate" : "foregate";
const WANTED = "/reports?from=1&to=2&next=%2F%2Fevil.test";

await withBrowser(async (browser) => {
  await signInAndOut(browser, { javaScriptEnabled: true });
  await signInAndOut(browser, { javaScriptEnabled: false });
  await signInInAnotherTab(browser);
});

async function signInAndOut(browser, { javaScriptEnabled }) {
  const scripted = javaScriptEnabled;
  const name = scripted ? "scripted" : "plain";
  const window = await open(browser, { javaScriptEnabled });
  const { context, page } = window;
  const wanted = `${base}${WANTED}#part-3`;

  let response = await page.goto(wanted);
  assert.equal(response.status(), 200);
  assert.equal(new URL(page.url()).pathname, "/.auth/login");
  assert.equal(new URL(page.url()).searchParams.get("next"), WANTED);
  assert.equal(response.headers()["cache-control"], "no-store");
  if (scripted) await assertFocused(page, "username");
  assert.equal(await page.locator(".reveal").isVisible(), scripted, "a button that needs a script is there with one");

  if (scripted) {
    await page.fill("#password", "seen");
    await page.getByRole("button", { name: "Show password" }).click();
    assert.equal(await page.getAttribute("#password", "type"), "text");
    await page.getByRole("button", { name: "Hide password" }).click();
    assert.equal(await page.getAttribute("#password", "type"), "password");
  }

  await fillIn(page, { username: "alice", password: "not the password" });
  response = await submit(page);
  assert.equal(response.status(), 401);
  assert.match(await page.title(), /^Error: /);
  assert.equal(await page.locator("[role=alert]").innerText(), "Incorrect username or password.");
  assert.equal(await page.inputValue("#username"), "alice", "the name is kept");
  assert.equal(await page.inputValue("#password"), "", "the password is not");
  if (scripted) await assertFocused(page, "password");
  await screenshot(page, `${name}-wrong-password`);

  await fillIn(page, { password });
  await page.check("[name=remember]");
  response = await loading(page, () => page.press("#password", "Enter"));
  assert.equal(response.status(), 200);
  // Without a script nobody can know the fragment: it stays in the browser.
  assert.equal(page.url(), scripted ? wanted : `${base}${WANTED}`);
  assert.equal(await page.innerText("#user"), "alice");
  await screenshot(page, `${name}-application`);

  const cookie = (await context.cookies()).find((cookie) => cookie.name === COOKIE);
  const secure = COOKIE.startsWith("__Host-");
  assert.ok(cookie.httpOnly && cookie.sameSite === "Lax" && cookie.secure === secure, JSON.stringify({ ...cookie, value: "" }));
  const days = (cookie.expires - Date.now() / 1000) / 86_400;
  assert.ok(days > 29 && days <= 30, `remembered for ${days} days`);

  await page.goto(`${base}/.auth/login?next=/elsewhere`);
  assert.equal(page.url(), `${base}/elsewhere`, "whoever is signed in goes on");

  await page.click("text=Sign out");
  assert.equal(new URL(page.url()).pathname, "/.auth/logout");
  assert.match(await page.innerText("main"), /signed in as alice/);
  await screenshot(page, `${name}-logout`);
  response = await submit(page);
  assert.equal(new URL(page.url()).pathname, "/.auth/login");
  assert.equal(await page.locator("[role=status]").first().innerText(), "You are signed out.");
  await screenshot(page, `${name}-signed-out`);
  assert.equal((await context.cookies()).find((cookie) => cookie.name === COOKIE), undefined);

  await page.goto(wanted);
  assert.equal(new URL(page.url()).pathname, "/.auth/login", "refused again");
  await context.addCookies([cookie]);
  await page.goto(wanted);
  assert.equal(new URL(page.url()).pathname, "/.auth/login", "the old cookie is worth nothing");

  await page.goto(`${base}/.auth/logout`);
  assert.match(await page.innerText("h1"), /not signed in/);
  assertQuiet(window);
  await context.close();
}

async function signInInAnotherTab(browser) {
  const window = await open(browser);
  const { context, page } = window;
  await page.goto(`${base}${WANTED}`);
  const notice = page.getByText("You have signed in in another tab.");
  const comeBack = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  const [answer] = await Promise.all([page.waitForResponse("**/.auth/me"), comeBack()]);
  assert.equal(answer.status(), 401);
  assert.ok(!(await notice.isVisible()), "nobody has signed in yet");

  const other = await context.newPage();
  await other.goto(`${base}/reports`);
  await fillIn(other, { username: "alice", password });
  await submit(other);
  await Promise.all([notice.waitFor({ state: "visible" }), comeBack()]);
  await screenshot(page, "other-tab");
  await loading(page, () => page.getByRole("link", { name: "Continue" }).click());
  assert.equal(page.url(), `${base}${WANTED}`, "where this tab wanted to go");
  assertQuiet(window);
  await context.close();
}

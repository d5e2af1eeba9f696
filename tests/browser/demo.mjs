// `foregate demo` as somebody tries it out who follows what it prints: alice sees the private page and not the
// administrators', the administrator sees both.

import assert from "node:assert/strict";
import { assertQuiet, base, fillIn, measure, open, screenshot, submit, withBrowser } from "./browser.mjs";

const users = JSON.parse(process.env.FOREGATE_TEST_USERS);

await withBrowser(async (browser) => {
  for (const { username, password, roles } of users) {
    const window = await open(browser, { colorScheme: roles.includes("admin") ? "dark" : "light" });
    const { context, page } = window;
    await page.goto(base);
    await check(page, `demo-${username}-landing`);
    await page.click("text=Open the private page");
    assert.equal(new URL(page.url()).pathname, "/.auth/login");
    await check(page, `demo-${username}-login`);
    await fillIn(page, { username, password });
    await submit(page);
    assert.equal(page.url(), `${base}/private`);
    assert.match(await page.innerText("main"), new RegExp(username));
    await check(page, `demo-${username}-private`);
    const response = await page.goto(`${base}/admin`);
    assert.equal(response.status(), roles.includes("admin") ? 200 : 403);
    await check(page, `demo-${username}-admin`);
    await page.goto(`${base}/.auth/logout`);
    await submit(page);
    await page.goto(`${base}/private`);
    assert.equal(new URL(page.url()).pathname, "/.auth/login");
    assertQuiet(window);
    await context.close();
  }
});

async function check(page, name) {
  assert.deepEqual(await measure(page), [], name);
  await screenshot(page, name);
}

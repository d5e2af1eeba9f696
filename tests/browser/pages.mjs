// Every page of ours in every size and in both schemes: it fits, it can be read and it can be touched.

import assert from "node:assert/strict";
import { assertFocused, assertQuiet, base, fillIn, measure, open, password, screenshot, submit, withBrowser } from "./browser.mjs";

const SIZES = { desktop: [1280, 800], phone: [390, 844], small: [320, 568] };
const LONG = `/reports?${"q".repeat(300)}`;

const BEFORE = [
  ["login", "/.auth/login", 200],
  ["login-next", LONG, 200],
  ["reset", process.env.FOREGATE_TEST_RESET, 200],
  ["reset-stale", "/.auth/reset?token=stale", undefined],
  ["signed-out-of-nothing", "/.auth/logout", 200],
];
const AFTER = [
  ["logout", "/.auth/logout", 200],
  ["confirm", "/.auth/login?prompt=login&next=/reports", 200],
  ["forbidden", "/admin", 403],
  ["not-found", "/.auth/nothing", 404],
  ["unreachable", "/dead", 502],
  ["bad-request", "/a%00", 400],
];

await withBrowser(async (browser) => {
  for (const [size, [width, height]] of Object.entries(SIZES)) {
    for (const colorScheme of ["light", "dark"]) {
      const window = await open(browser, { viewport: { width, height }, colorScheme });
      const { context, page } = window;
      const look = async ([name, path, status]) => {
        const response = await page.goto(`${base}${path}`);
        if (status) assert.equal(response.status(), status, `${path} at ${size}`);
        await check(page, `${size}-${colorScheme}-${name}`);
      };
      for (const entry of BEFORE) await look(entry);

      await page.goto(`${base}/reports`);
      await assertFocused(page, "username");
      await fillIn(page, { username: "alice", password: "wrong" });
      await submit(page);
      await check(page, `${size}-${colorScheme}-error`);
      await fillIn(page, { password });
      await submit(page);

      for (const entry of AFTER) await look(entry);
      assertQuiet(window);
      await context.close();
    }
  }
});

async function check(page, name) {
  assert.deepEqual(await measure(page), [], name);
  await screenshot(page, name);
}

// Register, read the mail, confirm, sign in; forget the password, read the mail, set a new one, sign in: all of it
// without JavaScript, in both schemes and on a phone.

import assert from "node:assert/strict";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { assertQuiet, base, fillIn, open, password, screenshots, submit, withBrowser } from "./browser.mjs";

const outbox = process.env.FOREGATE_TEST_OUTBOX;
const KINDS = [
  ["desktop-light", { viewport: { width: 1280, height: 800 }, colorScheme: "light", locale: "en-GB" }],
  ["phone-dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark", locale: "de-DE" }],
];

/** The link to this page in the newest mail to this address. */
async function link(address, page) {
  for (let tries = 0; tries < 200; tries++) {
    const mails = readdirSync(outbox).map((name) => join(outbox, name)).filter((name) => name.endsWith(".eml"));
    mails.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
    for (const mail of mails) {
      const text = readFileSync(mail, "utf8");
      if (!text.includes(address)) continue;
      const whole = text.replaceAll(/=\r?\n/g, "").replaceAll("=3D", "=");
      const found = whole.match(new RegExp(`http[^\\s"<>]*/.auth/${page}\\?token=[A-Za-z0-9_-]+`));
      if (found) return found[0];
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no mail to ${address} with a link to ${page}`);
}

await withBrowser(async (browser) => {
  for (const [kind, options] of KINDS) {
    const { context, page, troubles } = await open(browser, { ...options, javaScriptEnabled: false });
    const shoot = (name) => page.screenshot({ path: join(screenshots, `${name}-${kind}.png`), fullPage: true });
    const name = `zoe-${kind}`;
    const email = `${name}@example.com`;

    await page.goto(`${base}/.auth/login`);
    await page.click("a[href*='/register']");
    await shoot("register");
    await fillIn(page, { username: "a@b", email, name: "Zoë <b>", password });
    assert.equal((await submit(page)).status(), 400);
    assert.equal(await page.getAttribute("#username", "aria-invalid"), "true");
    assert.equal(await page.inputValue("#name"), "Zoë <b>");
    await shoot("register-error");
    await fillIn(page, { username: name, password });
    await submit(page);
    assert.match(page.url(), /\/\.auth\/login$/);
    await shoot("register-done");

    await fillIn(page, { username: name, password });
    assert.equal((await submit(page)).status(), 403);
    await shoot("pending");
    await page.goto(await link(email, "confirm"));
    await shoot("confirm-address");
    await submit(page);
    await fillIn(page, { username: email, password });
    await submit(page);
    assert.equal((await context.request.get(`${base}/.auth/me`)).status(), 200);
    await page.goto(`${base}/.auth/account/email`);
    await shoot("address");
    await context.clearCookies();

    await page.goto(`${base}/.auth/login`);
    await page.click("a[href*='/forgot']");
    await shoot("forgot");
    await fillIn(page, { email });
    await submit(page);
    await shoot("forgot-done");
    await page.goto(await link(email, "reset"));
    const another = `${password} and more`;
    await fillIn(page, { password: another, password_again: another });
    await submit(page);
    await fillIn(page, { username: name, password: another });
    await submit(page);
    assert.equal((await context.request.get(`${base}/.auth/me`)).status(), 200);
    assertQuiet({ troubles });
    await context.close();
  }
});

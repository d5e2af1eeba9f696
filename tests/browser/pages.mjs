// Every page of ours, in every size, scheme and language: it fits, it can be read, it can be touched, and axe-core
// finds nothing. A page that is new takes one line of `PAGES`.

import assert from "node:assert/strict";
import axe from "axe-core";
import { assertFocused, assertQuiet, base, fillIn, loading, measure, open, password, screenshot, submit, withBrowser } from "./browser.mjs";

const NOBODY = "nobody";
const ALICE = "alice";
const LONG = `/reports?${"q".repeat(300)}`;

// A page's name, who looks at it, where it is, its status, and what has to be done to see it.
const PAGES = [
  ["login", NOBODY, "/.auth/login", 200],
  ["login-next", NOBODY, LONG, 200],
  ["login-error", NOBODY, "/reports", 401, wrongPassword],
  ["login-unconfirmed", NOBODY, "/reports", 403, unconfirmed],
  ["register", NOBODY, "/.auth/register?next=/reports", 200],
  ["register-error", NOBODY, "/.auth/register", 400, weakRegistration],
  ["confirm-address", NOBODY, process.env.FOREGATE_TEST_CONFIRM, 200],
  ["confirm-stale", NOBODY, "/.auth/confirm?token=stale", 400],
  ["forgot", NOBODY, "/.auth/forgot", 200],
  ["forgot-sent", NOBODY, "/.auth/forgot", 200, askForLink],
  ["reset", NOBODY, process.env.FOREGATE_TEST_RESET, 200],
  ["reset-stale", NOBODY, "/.auth/reset?token=stale", 400],
  ["signed-out-of-nothing", NOBODY, "/.auth/logout", 200],
  ["account", ALICE, "/.auth/account", 200],
  ["account-password-error", ALICE, "/.auth/account", 403, wrongCurrentPassword],
  ["account-name-error", ALICE, "/.auth/account", 400, tooLongName],
  ["account-invited", ALICE, "/.auth/account", 200, inviteSomebody],
  ["account-invitation-error", ALICE, "/.auth/account", 400, inviteOneself],
  ["logout", ALICE, "/.auth/logout", 200],
  ["account-email", ALICE, "/.auth/account/email", 200],
  ["confirm", ALICE, "/.auth/login?prompt=login&next=/reports", 200],
  ["forbidden", ALICE, "/admin", 403],
  ["not-found", ALICE, "/.auth/nothing", 404],
  ["forgot", NOBODY, "/.auth/forgot", 200],
  ["register", NOBODY, "/.auth/register", 200],
  ["unreachable", ALICE, "/dead", 502],
  ["bad-request", ALICE, "/a%00", 400],
];

async function wrongPassword(page) {
  await assertFocused(page, "username");
  await fillIn(page, { username: "alice", password: "wrong" });
  return submit(page);
}

async function unconfirmed(page) {
  await fillIn(page, { username: "unconfirmed", password });
  return submit(page);
}

async function weakRegistration(page) {
  await fillIn(page, { username: "somebody", email: "somebody@example.com", password: "password1" });
  return submit(page);
}

async function askForLink(page) {
  await fillIn(page, { email: "nobody@example.com" });
  return submit(page);
}

async function wrongCurrentPassword(page) {
  await fillIn(page, { current_password: "wrong", password: "whatever it is", password_again: "whatever it is" });
  return loading(page, () => page.click('[action$="/account/password"] [type=submit]'));
}

async function tooLongName(page) {
  await fillIn(page, { name: "x".repeat(300) });
  return loading(page, () => page.click('[action$="/account/profile"] [type=submit]'));
}

async function inviteSomebody(page) {
  return invite(page, `${Date.now()}@example.com`);
}

async function inviteOneself(page) {
  return invite(page, "alice@example.com");
}

async function invite(page, address) {
  await page.fill("#invitation-email", address);
  return loading(page, () => page.click('[action$="/account/invitations"] [type=submit]'));
}

const SIZES = { desktop: [1280, 800], phone: [390, 844], small: [320, 568] };
const LANGUAGES = { en: "en-GB", de: "de-DE" };
const sessions = new Map();
// For a gateway with a look of its own, and for whoever works on one page.
const look = process.env.FOREGATE_TEST_LOOK ?? "";
const only = process.env.FOREGATE_TEST_PAGE;

await withBrowser(async (browser) => {
  for (const [size, [width, height]] of Object.entries(SIZES)) {
    for (const colorScheme of ["light", "dark"]) {
      for (const [tag, locale] of Object.entries(LANGUAGES)) {
        // The smallest is there for what is too wide, and German words are longer.
        if (size === "small" && (tag === "en" || colorScheme === "dark")) continue;
        const window = await open(browser, { viewport: { width, height }, colorScheme, locale });
        const { context, page } = window;
        for (const [name, who, path, status, act] of PAGES) {
          if (only && !name.startsWith(only)) continue;
          await become(context, page, who);
          let response = await page.goto(`${base}${path}`);
          if (act) response = (await act(page)) ?? response;
          assert.equal(response.status(), status, `${path} at ${size}`);
          await check(page, tag, `${look}${size}-${colorScheme}-${tag}-${name}`);
        }
        assertQuiet(window);
        await context.close();
      }
    }
  }
});

/** Signs in or out, by cookies, so that each person signs in once. */
async function become(context, page, who) {
  const own = (cookie) => /^(__\w+-)?foregate$/.test(cookie.name);
  if (who === NOBODY) {
    await context.clearCookies({ name: /^(__\w+-)?foregate$/ });
    return;
  }
  if ((await context.cookies()).some(own)) return;
  if (!sessions.has(who)) {
    await page.goto(`${base}/.auth/login`);
    await fillIn(page, { username: who, password });
    await submit(page);
    sessions.set(who, (await context.cookies()).filter(own));
  }
  await context.addCookies(sessions.get(who));
}

async function check(page, tag, name) {
  assert.equal(await page.getAttribute("html", "lang"), tag, name);
  // What speaks is shown in no other language, and no message by its name.
  assert.doesNotMatch(await page.innerText("body"), /\b[a-z]+-[a-z]+-(title|html|hint|submit|heading)\b/, name);
  assert.deepEqual(await measure(page), [], name);
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { preload: false });
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(" ")}`);
  });
  await screenshot(page, name);
  assert.deepEqual(found, [], name);
}

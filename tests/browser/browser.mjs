// Starts Chromium and watches it: an error in the console, a violation of the content security policy or an
// exception in a page fails the test, whatever else went well.

import assert from "node:assert/strict";
import { X509Certificate, createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

export const [base, screenshots] = process.argv.slice(2);
export const password = process.env.FOREGATE_TEST_PASSWORD;

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// The one certificate that is believed though nobody knows its authority: that of the test.
const certificate = process.env.FOREGATE_TEST_CERTIFICATE;
if (certificate) {
  const { publicKey } = new X509Certificate(readFileSync(certificate));
  const key = createHash("sha256").update(publicKey.export({ type: "spki", format: "der" }));
  FLAGS.push(`--ignore-certificate-errors-spki-list=${key.digest("base64")}`);
}
if (process.env.FOREGATE_TEST_PROTOCOL === "http/1.1") FLAGS.push("--disable-http2");

/** Runs a scenario in a browser with a fresh profile. */
export async function withBrowser(scenario) {
  mkdirSync(screenshots, { recursive: true });
  const executablePath = process.env.FOREGATE_TEST_CHROMIUM ?? "/usr/bin/chromium";
  const browser = await chromium.launch({ executablePath, args: FLAGS, headless: true });
  try {
    await scenario(browser);
  } finally {
    await browser.close();
  }
}

/** A window of its own, with its own cookies. `troubles` is what went wrong in it. */
export async function open(browser, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(15_000);
  const troubles = [];
  const page = await context.newPage();
  page.on("pageerror", (error) => troubles.push(`exception: ${error}`));
  page.on("requestfailed", (request) => troubles.push(`failed: ${request.url()} ${request.failure()?.errorText}`));
  page.on("console", (message) => {
    // A page that is answered with 401 or 403 is reported as if it were a broken resource; the status is asked for below.
    const refused = message.text().startsWith("Failed to load resource") && message.text().includes("status of");
    if (["error", "warning"].includes(message.type()) && !refused) {
      troubles.push(`console: ${message.text()}`);
    }
  });
  return { context, page, troubles };
}

/** Fails if anything went wrong in a window. */
export function assertQuiet({ troubles }) {
  assert.deepEqual(troubles, [], "the console is clean");
}

export async function screenshot(page, name) {
  await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
}

/** The answer to the page load that an action causes. */
export async function loading(page, action) {
  const [response] = await Promise.all([page.waitForNavigation({ waitUntil: "load" }), action()]);
  return response;
}

export async function fillIn(page, values) {
  for (const [name, value] of Object.entries(values)) {
    await page.fill(`[name=${name}]`, value);
  }
}

export const submit = (page) => loading(page, () => page.click("[type=submit]"));

/** Waits until a field has the focus: a browser gives it with its first frame, which may come after `load`. */
export async function assertFocused(page, name) {
  const has = (name) => document.activeElement?.getAttribute("name") === name;
  await page.waitForFunction(has, name, { timeout: 5_000 }).catch(async () => {
    const actual = await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200));
    assert.fail(`${name} does not have the focus, but ${actual}`);
  });
}

/** What a page is measured for: nothing to scroll sideways, targets for fingers, text that can be read. */
export async function measure(page) {
  return page.evaluate(() => {
    const faults = [];
    const root = document.documentElement;
    if (root.scrollWidth > window.innerWidth) {
      faults.push(`${root.scrollWidth} px wide in a window of ${window.innerWidth}`);
    }
    const shown = (element) => element.checkVisibility() && element.getBoundingClientRect().width > 1;
    for (const target of document.querySelectorAll("[type=submit], .button")) {
      const { height } = target.getBoundingClientRect();
      if (shown(target) && height < 44) faults.push(`${target.outerHTML} is ${height} px high`);
    }
    for (const target of document.querySelectorAll("a, button, label.check")) {
      const { width, height } = target.getBoundingClientRect();
      // Links within a sentence are as high as its lines.
      if (getComputedStyle(target).display === "inline") continue;
      if (shown(target) && (width < 24 || height < 24)) faults.push(`${target.outerHTML} is ${width} by ${height} px`);
    }
    for (const field of document.querySelectorAll("input:not([type=hidden]):not([type=checkbox])")) {
      if (!shown(field)) continue;
      if (parseFloat(getComputedStyle(field).fontSize) < 16) faults.push(`${field.name}: phones zoom in`);
      if (!field.labels.length) faults.push(`${field.name} has no label`);
    }
    if (document.querySelectorAll("h1").length !== 1) faults.push("not exactly one h1");
    if (!document.title || !root.lang) faults.push("no title or no lang");

    const rgba = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
    const luminance = ([r, g, b]) =>
      [r, g, b]
        .map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const color = rgba(getComputedStyle(at).backgroundColor);
        if (color.length === 3 || color[3] === 1) return color;
      }
      return [255, 255, 255];
    };
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      if (!own || !shown(element)) continue;
      const [a, b] = [luminance(rgba(getComputedStyle(element).color)), luminance(ground(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(2)}: ${element.outerHTML}`);
    }
    return faults;
  });
}

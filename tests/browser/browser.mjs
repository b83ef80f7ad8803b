/** A real browser, and what is asked of every page in it: no error, no failed request, nothing from elsewhere. */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

// Modules are found beside the file that imports them; these lie where NODE_PATH says.
const require = createRequire(import.meta.url);
/** @type {typeof import('playwright-core')} */
const { chromium } = require('playwright-core');
/** @type {typeof import('@axe-core/playwright')} */
const { AxeBuilder } = require('@axe-core/playwright');

/** The narrow no-break space that stands in figures. */
const THIN = '\u202f';
const GRAVE = new Set(['serious', 'critical']);
const PATIENCE_MILLISECONDS = 60_000;

/** Widths and looks: every page must do in each. */
export const VIEWS = [
  { name: 'desktop, light', width: 1440, height: 900, colorScheme: 'light', isPhone: false },
  { name: 'desktop, dark', width: 1440, height: 900, colorScheme: 'dark', isPhone: false },
  { name: 'phone, light', width: 390, height: 844, colorScheme: 'light', isPhone: true },
  { name: 'phone, dark', width: 390, height: 844, colorScheme: 'dark', isPhone: true },
];

export function launch() {
  return chromium.launch({ executablePath: process.env.DRIFTLINE_CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
}

/**
 * A page that remembers what went wrong in it.
 * @param {import('playwright-core').Browser} browser
 * @param {string} origin the only host that it may ask
 * @param {typeof VIEWS[number]} [view]
 */
export async function openPage(browser, origin, view = VIEWS[0]) {
  const context = await browser.newContext({
    baseURL: origin, viewport: { width: view.width, height: view.height }, colorScheme: /** @type {any} */ (view.colorScheme),
    hasTouch: view.isPhone, isMobile: view.isPhone,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MILLISECONDS);
  /** @type {string[]} */
  const wrongs = [];
  const asked = new Set();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) wrongs.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => wrongs.push(`exception: ${error.message}`));
  page.on('request', (request) => {
    const { host, protocol } = new URL(request.url());
    if (protocol === 'data:') return;
    asked.add(host);
    if (host !== new URL(origin).host) wrongs.push(`asked another host: ${request.url()}`);
  });
  page.on('requestfailed', (request) => {
    // A page that is left takes back the questions that it has not had answered.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') wrongs.push(`failed: ${request.url()} ${request.failure()?.errorText}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) wrongs.push(`answered ${response.status()}: ${response.url()}`);
  });
  return {
    page,
    /** Nothing went wrong, and the collector was really asked. */
    assertClean() {
      assert.deepEqual(wrongs, []);
      assert.deepEqual([...asked], [new URL(origin).host]);
    },
    close: () => context.close(),
  };
}

/**
 * The text of an element as a reader sees it, with plain spaces.
 * @param {import('playwright-core').Locator} locator
 */
export async function textOf(locator) {
  return plain(await locator.innerText());
}

/** @param {string} text */
export function plain(text) {
  return text.replaceAll(THIN, ' ').replace(/\s+/g, ' ').trim();
}

/**
 * A count as the pages write it, with plain spaces: 51 314.
 * @param {number} value
 */
export function count(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ' ');
}

/**
 * The figure below a name among the key figures.
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
export function tile(page, name) {
  return page.locator('.tile', { has: page.locator(`dt:text-is("${name}")`) });
}

/**
 * The page itself scrolls up and down alone, and no farther than what is on it.
 * @param {import('playwright-core').Page} page
 */
export async function assertFits(page) {
  const { wide, room, tall, end } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth,
    tall: document.documentElement.scrollHeight,
    end: Math.max(innerHeight, (document.querySelector('main')?.getBoundingClientRect().bottom ?? 0) + scrollY),
  }));
  assert.ok(wide <= room, `the page is ${wide} pixels wide in a window of ${room}`);
  assert.ok(tall <= end + 2, `the page is ${tall} pixels high, and its content ends at ${end}`);
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} [without] what was looked at elsewhere, and takes long
 */
export async function assertAccessible(page, without) {
  const builder = new AxeBuilder({ page });
  const { violations, passes } = await (without ? builder.exclude(without) : builder).analyze();
  const grave = violations.filter(({ impact }) => GRAVE.has(impact ?? ''));
  assert.deepEqual(grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`), []);
  assert.ok(passes.length > 10, 'axe looked at something');
}

/**
 * Presses Tab until an element has the focus.
 * @param {import('playwright-core').Page} page
 * @param {import('playwright-core').Locator} wanted
 * @param {number} [most]
 */
export async function tabTo(page, wanted, most = 60) {
  for (let presses = 0; presses < most; presses += 1) {
    await page.keyboard.press('Tab');
    if (await wanted.evaluate((one) => one === document.activeElement)) {
      const outline = await wanted.evaluate((one) => {
        const styles = [one, one.closest('.heatmap-scroller')].filter((each) => each !== null).map((each) => getComputedStyle(each));
        return styles.some(({ outlineStyle, outlineWidth }) => outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1);
      });
      assert.ok(outline, `${wanted} shows that it has the focus`);
      return;
    }
  }
  assert.fail(`${wanted} cannot be reached with ${most} presses of Tab`);
}

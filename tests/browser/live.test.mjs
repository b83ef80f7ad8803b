/** What happens while a page is open shows on it without a reload: requests, a firing alert, a collector that is away. */

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { VIEWS, assertAccessible, assertFits, count, launch, openPage, textOf, tile } from './browser.mjs';
import { demoCollector, eventually, sidecar } from './collector.mjs';

const MODEL = 'browser-check';
const ANSWERED = 30;
const FAILED = 10;
/** Looks every second, so that the test need not wait for a quarter of a minute. */
const RULES = `  evaluation_interval: 1s
  rules:
    - name: AvailabilitySlo
      severity: page
      runbook: availability-slo
      when: {sli: availability, below: 0.99, over: 5m, min_events: 20}
`;

describe('an open page', () => {
  /** @type {import('./collector.mjs').Collector} */
  let collector;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {import('node:http').Server} */
  let server;
  /** @type {{url: string, stop: () => Promise<void>}} */
  let proxy;
  let status = 200;
  before(async () => {
    collector = await demoCollector(RULES);
    browser = await launch();
    server = createServer((request, response) => {
      request.resume().on('end', () => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(status === 200
          ? { model_name: MODEL, model_version: '7', outputs: [{ name: 'score', datatype: 'FP64', shape: [1], data: [0.5] }] }
          : { error: 'out of order' }));
      });
    });
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(undefined)); });
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    proxy = await sidecar(collector.url, `127.0.0.1:${port}`, MODEL);
  });
  after(async () => {
    await browser?.close();
    await proxy?.stop();
    server?.closeAllConnections();
    server?.close();
    await collector?.stop();
  });

  /** @param {number} times */
  const call = async (times) => {
    for (let at = 0; at < times; at += 1) {
      const answer = await fetch(`${proxy.url}/v2/models/${MODEL}/infer`, {
        method: 'POST', headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ inputs: [{ name: 'size', datatype: 'FP64', shape: [1], data: [at] }] }),
      });
      assert.equal(answer.status, status);
    }
  };

  test('a new model, its requests, latencies and a firing page appear on pages that are open', async () => {
    const overview = await openPage(browser, collector.url);
    const { page, assertClean, close } = await openPage(browser, collector.url);
    try {
      await overview.page.goto('/');
      await overview.page.locator('.models .model-name').first().waitFor();
      assert.equal(await overview.page.locator('.model-name', { hasText: MODEL }).count(), 0);
      await call(ANSWERED);
      const row = overview.page.locator('.models tbody tr', { hasText: MODEL });
      await eventually(async () => (await textOf(row)).includes(`${ANSWERED} `), 'the overview shows the new model\'s requests');
      assert.ok((await textOf(row)).includes('No reference'));

      await page.goto(`/models/${MODEL}`);
      const requests = tile(page, 'Requests, last hour').locator('dd').first();
      await eventually(async () => await textOf(requests) === count(ANSWERED), 'the model\'s page shows its requests');
      await page.locator('.latency-line.latency-p99').waitFor({ state: 'attached' });
      assert.ok(await page.locator('.bar-requests').count() >= 1);
      const { points } = await collector.api(`/models/${MODEL}/traffic?minutes=15`);
      assert.equal(points.reduce((/** @type {number} */ sum, /** @type {any} */ point) => sum + point.requests, 0), ANSWERED);
      assert.equal(await page.locator('.segmented button[aria-pressed="true"]').innerText(), '15 minutes', 'a model that has just begun is shown from near');
      assert.ok((await page.locator('.chart-plot[aria-label^="Requests"]').getAttribute('aria-label'))?.includes(`${ANSWERED} requests`));
      assert.ok((await textOf(page.locator('main'))).includes('There is no reference to compare with'));

      status = 500;
      await call(FAILED);
      await page.locator('.badge-page', { hasText: '1 page firing' }).waitFor();
      // Alerts are told at once, and counts are written down a moment later.
      await eventually(async () => await textOf(requests) === count(ANSWERED + FAILED), 'the page shows those that failed');
      await eventually(async () => (await textOf(tile(page, 'Answered'))).includes(`${FAILED} of ${ANSWERED + FAILED} not`), 'and that they did');
      // Where the demo ran slowly, its own model has an alert, too.
      const firing = async () => (await collector.api('/alerts?state=firing')).length;
      await eventually(async () => (await textOf(page.locator('#firing-count'))).split(' ')[0] === String(await firing()), 'the bar counts the alert');
      await page.locator('.alert-firing.alert-page').waitFor();
      await overview.page.locator('.models tbody tr').first().locator('.badge-page').waitFor();
      await eventually(async () => {
        const rows = await overview.page.locator('.models tbody tr').evaluateAll((all, name) => all.map((one) => ({
          isOwn: one.textContent?.includes(name), pages: one.querySelector('.badge-page') !== null,
        })), MODEL);
        return rows.slice(0, rows.findIndex(({ isOwn }) => isOwn) + 1).every(({ pages }) => pages) && rows.some(({ isOwn }) => isOwn);
      }, 'what pages stands first');

      await page.locator('.alert-firing .alert-summary').click();
      await page.locator('.alert-head-page', { hasText: 'Firing' }).waitFor();
      await page.getByRole('link', { name: 'Open the runbook' }).click();
      await page.locator('.banner.page', { hasText: MODEL }).waitFor();
      overview.assertClean();
      assertClean();
    } finally {
      await close();
      await overview.close();
    }
  });

  for (const view of VIEWS) {
    test(`an alert that fires is accessible and fits: ${view.name}`, async () => {
      const [{ id }] = await collector.api('/alerts?state=firing');
      const { page, assertClean, close } = await openPage(browser, collector.url, view);
      try {
        for (const [path, drawn] of [['/', '.badge-page'], [`/models/${MODEL}`, '.alert-firing'], [`/alerts/${id}`, '.answer .quoted']]) {
          await page.goto(path);
          await page.locator(drawn).first().waitFor();
          await assertFits(page);
          await assertAccessible(page);
        }
        assertClean();
      } finally {
        await close();
      }
    });
  }

  test('a collector that is away is said to be away, and what was known stays', async () => {
    const { page, close } = await openPage(browser, collector.url);
    try {
      await page.goto('/');
      await page.locator('.models .model-name').first().waitFor();
      assert.equal(await textOf(page.locator('#live')), 'Live');
      await page.context().setOffline(true);
      await page.locator('#outage', { hasText: 'The collector cannot be reached' }).waitFor();
      assert.equal(await textOf(page.locator('#live')), 'No answer');
      assert.ok(await page.locator('.models .model-name').count() >= 2);
      await page.context().setOffline(false);
      await page.getByRole('button', { name: 'Try again now' }).click();
      await page.locator('#outage > div').waitFor({ state: 'detached' });
      await eventually(async () => await textOf(page.locator('#live')) === 'Live', 'it answers again');
    } finally {
      await close();
    }
  });
});

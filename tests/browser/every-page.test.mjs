/** Every page at both widths, light and dark: clean, accessible, of the right size, and with its content. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { VIEWS, assertAccessible, assertFits, launch, openPage, plain, textOf } from './browser.mjs';
import { demoCollector } from './collector.mjs';

const MODEL = 'flight-delay';

describe('every page', () => {
  /** @type {import('./collector.mjs').Collector} */
  let collector;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {any[]} */
  let alerts;
  before(async () => {
    collector = await demoCollector();
    browser = await launch();
    alerts = await collector.api('/alerts');
    assert.ok(alerts.length > 0, 'the demo fired alerts');
  });
  after(async () => {
    await browser?.close();
    await collector?.stop();
  });

  /**
   * Each with what shows that it is drawn in full.
   * @type {{name: string, path: () => string, drawn: string, says: () => string}[]}
   */
  const pages = [
    { name: 'the overview', path: () => '/', drawn: '.models .model-name, .events .event, .checks', says: () => MODEL },
    { name: 'a model', path: () => `/models/${MODEL}`, drawn: '.heatmap-grid .cell, .scores tbody tr, .alert', says: () => 'Drift by column over time' },
    { name: 'a numeric column in summer', path: () => `/models/${MODEL}?column=temp&ends=2013-07-21T05%3A00%3A00Z`, drawn: '.scores .score-drift, .bar-window', says: () => '2013-07-11 to 2013-07-21, 05:00 UTC' },
    { name: 'a categorical column', path: () => `/models/${MODEL}?column=carrier`, drawn: '.scores tbody tr, .bar-window', says: () => 'New categories' },
    { name: 'the alerts', path: () => '/alerts', drawn: '.alert', says: () => alerts[0].rule },
    { name: 'an alert', path: () => `/alerts/${alerts[0].id}`, drawn: '.answer .quoted, .moment, .evidence', says: () => alerts[0].summary },
    { name: 'the deliveries', path: () => '/deliveries', drawn: '.empty-line', says: () => 'Nothing was given up.' },
    { name: 'the archive', path: () => '/archive', drawn: '.files-table tbody tr, .command', says: () => 'Query it with DuckDB' },
    { name: 'the runbooks', path: () => '/runbooks', drawn: 'ul.runbooks a', says: () => 'Features have drifted' },
    { name: 'a runbook that an alert has filled in', path: () => `/runbooks/${alerts[0].runbook}?alert=${alerts[0].id}`, drawn: '.banner table, .runbook pre', says: () => alerts[0].summary },
  ];

  for (const view of VIEWS) {
    for (const { name, path, drawn, says } of pages) {
      test(`${name}: ${view.name}`, async () => {
        const { page, assertClean, close } = await openPage(browser, collector.url, view);
        try {
          await page.goto(path());
          for (const one of drawn.split(', ')) await page.locator(one).first().waitFor({ state: 'attached' });
          assert.ok((await textOf(page.locator('main'))).includes(plain(says())), `the page says: ${says()}`);
          const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
          const [red = 0] = (ground.match(/\d+/g) ?? []).map(Number);
          assert.equal(red < 128 ? 'dark' : 'light', view.colorScheme, `the ground is ${ground}`);
          assert.equal(await page.locator('.bar nav a[aria-current="page"]').count(), 1);
          await assertFits(page);
          // Thousands of cells: once for each look is enough.
          await assertAccessible(page, name === 'a model' ? undefined : '.heatmap-grid');
          assertClean();
        } finally {
          await close();
        }
      });
    }
  }

  test('a page that does not exist says so', async () => {
    const answer = await fetch(`${collector.url}/nonsense`);
    assert.equal(answer.status, 404);
    assert.match(await answer.text(), /there is no such page/);
  });

  test('an unknown model and an unknown alert are named as such, with a way back', async () => {
    for (const [path, heading] of [['/models/nobody', 'There is no such model'], ['/alerts/nothing', 'There is no such alert']]) {
      const { page, close } = await openPage(browser, collector.url);
      await page.goto(path);
      await page.getByRole('heading', { level: 1, name: heading }).waitFor();
      assert.ok(await page.locator('main a').count() > 0);
      await close();
    }
  });
});

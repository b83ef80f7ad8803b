/** The main things can be reached and used without a pointer, and show that they have the focus. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch, openPage, tabTo, textOf } from './browser.mjs';
import { demoCollector } from './collector.mjs';

const MODEL = 'flight-delay';

describe('by keyboard', () => {
  /** @type {import('./collector.mjs').Collector} */
  let collector;
  /** @type {import('playwright-core').Browser} */
  let browser;
  before(async () => {
    collector = await demoCollector();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await collector?.stop();
  });

  test('one leads from the overview to a column\'s drift, and through its windows', async () => {
    const { page, assertClean, close } = await openPage(browser, collector.url);
    try {
      await page.goto('/');
      await page.locator('.models .model-name').waitFor();
      await page.keyboard.press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Skip to the content');
      await page.keyboard.press('Enter');
      await tabTo(page, page.locator('.models .model-name').first());
      await page.keyboard.press('Enter');
      await page.locator('.heatmap-grid').waitFor();
      assert.equal(new URL(page.url()).pathname, `/models/${MODEL}`);

      await tabTo(page, page.locator('.heatmap-name', { hasText: 'dewp' }));
      await page.keyboard.press('Enter');
      await page.locator('#column-title', { hasText: 'dewp' }).waitFor();

      await tabTo(page, page.locator('.heatmap-grid'));
      await page.keyboard.press('ArrowLeft');
      await page.keyboard.press('ArrowLeft');
      await page.keyboard.press('ArrowLeft');
      await page.locator('.tooltip.shown').waitFor();
      const said = await textOf(page.locator('.heatmap [aria-live]'));
      assert.match(said, /^dewp, 2013-.*(ok|drift|not enough data), PSI/);
      await page.keyboard.press('Escape');
      await page.locator('.tooltip.shown').waitFor({ state: 'detached' });
      await page.keyboard.press('Enter');
      const { windows } = await collector.api(`/models/${MODEL}/scores`);
      assert.equal(new URL(page.url()).searchParams.get('ends'), windows.at(-3).ends, 'the first press shows where one is');

      const histogram = page.locator('.chart-plot[aria-label^="Reference against the window"]');
      await tabTo(page, histogram);
      await page.keyboard.press('ArrowRight');
      await page.locator('.tooltip.shown', { hasText: 'Reference' }).waitFor();
      assertClean();
    } finally {
      await close();
    }
  });

  test('one leads from the alerts to an alert and its runbook, and back', async () => {
    const { page, assertClean, close } = await openPage(browser, collector.url);
    try {
      await page.goto('/alerts');
      await page.locator('.alert').first().waitFor();
      await tabTo(page, page.locator('.alert .alert-summary').first());
      await page.keyboard.press('Enter');
      const runbook = page.getByRole('link', { name: 'Open the runbook' });
      await runbook.waitFor();
      await tabTo(page, runbook);
      await page.keyboard.press('Enter');
      await page.locator('.banner').waitFor();
      await page.goBack();
      await runbook.waitFor();
      await page.goBack();
      await page.getByRole('heading', { level: 1, name: 'Alerts' }).waitFor();
      assertClean();
    } finally {
      await close();
    }
  });

  test('a command of a runbook can be scrolled', async () => {
    const { page, close } = await openPage(browser, collector.url);
    try {
      await page.goto('/runbooks/feature-drift');
      await tabTo(page, page.locator('.runbook pre').first());
    } finally {
      await close();
    }
  });
});

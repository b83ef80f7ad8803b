/** What people say of alerts on their pages: that they are on one, and that some are to be silent. */

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { VIEWS, assertAccessible, assertFits, launch, openPage, textOf } from './browser.mjs';
import { demoCollector, eventually, sidecar } from './collector.mjs';

const MODEL = 'browser-words';
const RULES = `  evaluation_interval: 1s
  rules:
    - name: AvailabilitySlo
      severity: page
      runbook: availability-slo
      when: {sli: availability, below: 0.99, over: 5m, min_events: 20}
`;

describe('words of people', () => {
  /** @type {import('./collector.mjs').Collector} */
  let collector;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {import('node:http').Server} */
  let server;
  /** @type {{url: string, stop: () => Promise<void>}} */
  let proxy;
  /** @type {string} */
  let episode;
  before(async () => {
    collector = await demoCollector(RULES);
    browser = await launch();
    server = createServer((request, response) => {
      request.resume().on('end', () => { response.writeHead(500).end(); });
    });
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(undefined)); });
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    proxy = await sidecar(collector.url, `127.0.0.1:${port}`, MODEL);
    for (let times = 0; times < 25; times += 1) {
      await fetch(`${proxy.url}/v1/models/${MODEL}:predict`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"instances": [[1.0]]}' });
    }
    episode = (await eventually(async () => (await collector.api(`/alerts?state=firing&model=${MODEL}`))[0], 'the alert fires')).id;
  });
  after(async () => {
    await browser?.close();
    await proxy?.stop();
    server?.closeAllConnections();
    server?.close();
    await collector?.stop();
  });

  test('an alert is acknowledged and silenced on its page, and the silence is ended on the list', async () => {
    const { page, assertClean, close } = await openPage(browser, collector.url, VIEWS[3]);
    try {
      await page.goto(`/alerts/${episode}`);
      const head = page.locator('.alert-head');
      await head.getByText('I am on it').first().click();
      await head.getByLabel('What others should know').fill('rolling back');
      await head.getByLabel('Your name').first().fill('Ada');
      // What is being typed outlives the answers that come meanwhile.
      await page.waitForTimeout(3500);
      assert.equal(await head.getByLabel('What others should know').inputValue(), 'rolling back');
      await assertFits(page);
      await assertAccessible(page);
      await head.getByRole('button', { name: 'I am on it' }).click();
      await eventually(async () => (await textOf(head)).includes('Ada is on it since'), 'the page says who is on it');
      assert.deepEqual([(await collector.api(`/alerts/${episode}`)).acknowledged.note, await head.getByText('I am on it').count()], ['rolling back', 0]);

      await head.getByText('Silence it').first().click();
      await head.getByLabel('Why').fill('a test');
      await head.getByLabel('Your name').fill('Ada');
      await head.getByLabel('For how long').selectOption('120');
      await head.getByRole('button', { name: 'Silence it' }).click();
      await eventually(async () => (await textOf(head)).includes('Muted'), 'the page says that it is muted');
      const [silence] = await collector.api('/silences');
      assert.deepEqual([silence.matching, silence.author, silence.comment], [{ rule: 'AvailabilitySlo', model: MODEL }, 'Ada', 'a test']);
      assert.ok(Math.abs(Date.parse(silence.until) - Date.now() - 7_200_000) < 60_000);

      await page.goto('/alerts');
      const row = page.locator('.silence', { hasText: `model=${MODEL}` });
      await row.waitFor();
      await eventually(async () => (await textOf(page.locator('.alert', { hasText: MODEL }).first())).includes('muted, Ada is on it'), 'the list says so, too');
      await assertFits(page);
      await assertAccessible(page);
      await row.getByRole('button').click();
      await eventually(async () => await row.count() === 0, 'the silence is over');
      assert.deepEqual(await collector.api('/silences'), []);
      assertClean();
    } finally {
      await close();
    }
  });

  test('a maintenance window is made on the list, and ended there', async () => {
    const { page, assertClean, close } = await openPage(browser, collector.url, VIEWS[3]);
    try {
      await page.goto('/alerts');
      const panel = page.getByRole('region', { name: 'Maintenance windows' });
      await panel.getByText('Add a maintenance window').first().click();
      await panel.getByLabel('What it is called').fill('nightly');
      await panel.getByLabel('Rule, or * for every one').fill('StaleFeed');
      await panel.getByLabel('On which days').selectOption('saturday,sunday');
      await panel.getByLabel('From').fill('22:00');
      await panel.getByLabel('Until').fill('02:30');
      await panel.getByLabel('Why').fill('loads');
      await panel.getByLabel('Your name').fill('Ada');
      await assertFits(page);
      await assertAccessible(page);
      await panel.getByRole('button', { name: 'Add a maintenance window' }).click();
      const row = panel.locator('.maintenance', { hasText: 'nightly' });
      await row.waitFor();
      assert.match(await textOf(row), /rule=StaleFeed.*Ada: loads.*Sat, Sun 22:00 to 02:30/s);
      const [window] = await collector.api('/maintenance');
      assert.deepEqual([window.matching, window.days, window.author], [{ rule: 'StaleFeed' }, ['saturday', 'sunday'], 'Ada']);
      await row.getByRole('button').click();
      await eventually(async () => await row.count() === 0, 'the window is over');
      assert.deepEqual(await collector.api('/maintenance'), []);
      assertClean();
    } finally {
      await close();
    }
  });

  test('what cannot be is said beside the form', async () => {
    const { page, close } = await openPage(browser, collector.url);
    try {
      await page.goto('/alerts');
      const form = page.getByRole('region', { name: 'Silences' }).locator('.words');
      await form.getByText('Silence alerts').first().click();
      await form.getByLabel('Rule, or * for every one').fill('a');
      await form.getByLabel('Model, or the beginning of many and *').fill('m'.repeat(600));
      await form.getByLabel('Why').fill('a test');
      await form.getByLabel('Your name').fill('Ada');
      await form.getByRole('button', { name: 'Silence alerts' }).click();
      await eventually(async () => (await textOf(form.locator('.form-problem'))).includes('1 to 500 bytes'), 'the page says what is wrong');
      assert.deepEqual(await collector.api('/silences'), []);
    } finally {
      await close();
    }
  });

  test('steps of the runbook are ticked off on the page of the alert, and taken back', async () => {
    const { page, assertClean, close } = await openPage(browser, collector.url, VIEWS[2]);
    try {
      await page.goto(`/alerts/${episode}`);
      const steps = page.locator('.steps');
      const [first] = (await collector.api(`/alerts/${episode}`)).steps;
      const box = steps.getByLabel(first.text);
      await box.waitFor();
      await assertFits(page);
      await assertAccessible(page);
      await steps.getByLabel('Your name').fill('Ada');
      await box.focus();
      await page.keyboard.press('Space');
      const story = page.locator('.timeline');
      await eventually(async () => (await textOf(story)).includes(`Ada has done: ${first.text}`), 'the timeline says who did it');
      assert.ok(await box.isChecked());
      assert.match(await textOf(steps.locator('legend').first()), /1 of \d/);
      assert.equal((await collector.api(`/alerts/${episode}`)).steps[0].tick.by, 'Ada');
      await box.uncheck();
      await eventually(async () => (await textOf(story)).includes(`Ada has not done after all: ${first.text}`), 'and who took it back');
      await assertAccessible(page);
      assertClean();
    } finally {
      await close();
    }
  });

  test('a tick without a name is not taken, and the page says so', async () => {
    const { page, close } = await openPage(browser, collector.url);
    try {
      await page.goto(`/alerts/${episode}`);
      const steps = page.locator('.steps');
      const before = (await collector.api(`/alerts/${episode}`)).ticks.length;
      const box = steps.getByRole('checkbox').first();
      await box.click();
      await eventually(async () => (await textOf(steps.locator('.form-problem'))).includes("'by' is missing"), 'the page says what is wrong');
      assert.ok(!await box.isChecked() && await steps.getByLabel('Your name').evaluate((one) => one === document.activeElement));
      assert.equal((await collector.api(`/alerts/${episode}`)).ticks.length, before);
    } finally {
      await close();
    }
  });
});

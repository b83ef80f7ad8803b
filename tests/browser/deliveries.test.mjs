/** What could not be delivered: it is listed, sent again and dismissed on its page. */

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { VIEWS, assertAccessible, assertFits, launch, openPage, textOf } from './browser.mjs';
import { demoCollector, eventually } from './collector.mjs';

const REFUSING = ['first', 'second', 'third', 'fourth'];

/** @param {(request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => void} answer */
async function serve(answer) {
  const server = createServer((request, response) => { request.resume().on('end', () => answer(request, response)); });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(undefined)); });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { server, url: `http://127.0.0.1:${port}` };
}

describe('deliveries', () => {
  /** @type {import('./collector.mjs').Collector} */
  let collector;
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {import('node:http').Server} */
  let server;
  /** Targets that refuse what they are told. @type {Set<string>} */
  const refusing = new Set(REFUSING);
  /** Who has taken something, in the order in which it came. @type {string[]} */
  const taken = [];
  before(async () => {
    const receiver = await serve((request, response) => {
      const target = String(request.url).slice(1);
      if (target === 'away') return response.writeHead(503, { 'retry-after': '600' }).end('away');
      if (!refusing.has(target)) taken.push(target);
      return response.writeHead(refusing.has(target) ? 422 : 200).end('not like this');
    });
    server = receiver.server;
    const targets = [...REFUSING, 'away'];
    for (const target of targets) process.env[`URL_${target}`] = `${receiver.url}/${target}`;
    // The demo's configuration ends with its targets. That it has been away since would be told to them, too.
    const own = targets.map((target) => `    ${target}: {webhook: {url: {env: URL_${target}}}}\n`);
    const away = ['CollectorDown', 'ModelSilent', 'SidecarSilent'].map((rule) => `    - {name: ${rule}, enabled: false}\n`);
    collector = await demoCollector([...own, '  rules:\n', ...away].join(''));
    browser = await launch();
    await drill('LatencySlo', '1h', targets);
    await eventually(async () => (await collector.api('/deliveries')).length === REFUSING.length, 'all that is refused is given up');
    await eventually(async () => (await collector.api('/deliveries?state=pending&target=away'))[0]?.attempts > 0, 'the one that is away was tried');
  });

  /** @param {string} alert @param {string} resolveAfter @param {string[]} targets @returns {Promise<string>} its episode */
  async function drill(alert, resolveAfter, targets) {
    const asked = await fetch(`${collector.url}/api/v1/drills`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ alert, by: 'Ada', resolve_after: resolveAfter, targets }),
    });
    const said = await asked.json();
    assert.ok(asked.ok, said.error);
    return said.episode;
  }
  after(async () => {
    await browser?.close();
    await collector?.stop();
    server?.closeAllConnections();
    server?.close();
  });

  for (const view of VIEWS) {
    test(`what was given up and what waits: ${view.name}`, async () => {
      const { page, assertClean, close } = await openPage(browser, collector.url, view);
      try {
        await page.goto('/deliveries');
        const waiting = page.getByRole('region', { name: 'Waiting' }).locator('.delivery', { hasText: 'away' });
        await waiting.waitFor();
        assert.match(await textOf(waiting), /away is to be told that it fires .*503.*1 attempt, again in \d+/s);
        const dead = page.getByRole('region', { name: 'Given up' }).locator('.delivery');
        assert.equal(await dead.count(), REFUSING.length);
        assert.match(await textOf(dead.first()), /could not be told that it fires \[DRILL\] .*422.*after 1 attempt/s);
        assert.equal(await page.locator('.bar nav a[aria-current="page"]').getAttribute('href'), '/alerts');
        await assertFits(page);
        await assertAccessible(page);
        assertClean();
      } finally {
        await close();
      }
    });
  }

  test('a dead letter is sent again, by itself or with the others, or dismissed', async () => {
    const { page, assertClean, close } = await openPage(browser, collector.url);
    try {
      const [{ episode }] = await collector.api('/deliveries');
      await page.goto(`/alerts/${episode}`);
      await page.locator('.moment', { hasText: 'first' }).getByRole('link', { name: 'Send it again' }).click();
      const dead = page.getByRole('region', { name: 'Given up' }).locator('.delivery');
      await eventually(async () => await dead.count() === 1, 'those to the target alone are shown');
      assert.equal(new URL(page.url()).search, '?target=first');
      refusing.delete('first');
      await dead.getByRole('button', { name: /^Send again/ }).click();
      await eventually(async () => taken.join() === 'first', 'it arrives');
      await eventually(async () => await dead.count() === 0, 'it is no dead letter any more');

      await page.getByLabel('Target').selectOption('');
      await eventually(async () => await dead.count() === REFUSING.length - 1, 'the others are shown');
      await dead.filter({ hasText: 'second' }).getByRole('button', { name: /^Dismiss/ }).click();
      await eventually(async () => await dead.count() === REFUSING.length - 2, 'it is dismissed');
      refusing.clear();
      await page.getByRole('button', { name: 'Send all 2 again' }).click();
      await eventually(async () => [...taken].sort().join() === 'first,fourth,third', 'they arrive, and what was dismissed does not');
      await eventually(async () => (await textOf(page.locator('main'))).includes('Nothing was given up.'), 'nothing is left');
      const said = (await collector.api('/events?limit=50')).map((/** @type {{text: string}} */ { text }) => text);
      assert.ok(said.some((/** @type {string} */ text) => text.includes('dismisses the trigger of')), said.join());
      assertClean();
    } finally {
      await close();
    }
  });

  test('the beginning of what is over is not sent again, and the page says so', async () => {
    const { page, close } = await openPage(browser, collector.url);
    try {
      refusing.add('first');
      const episode = await drill('AvailabilitySlo', '1s', ['first']);
      await eventually(async () => (await collector.api(`/alerts/${episode}`)).resolved_at, 'the drill is over');
      await eventually(async () => (await collector.api('/deliveries')).length === 1, 'its beginning was given up');
      await page.goto('/deliveries');
      const dead = page.locator('.delivery', { hasText: 'could not be told' });
      await dead.getByRole('button', { name: /^Send again/ }).click();
      await eventually(async () => (await textOf(page.locator('main .form-problem'))).includes('first: its alert is over'), 'the page says why');
      await dead.getByRole('button', { name: /^Dismiss/ }).click();
      await eventually(async () => await dead.count() === 0, 'it is dismissed');
    } finally {
      await close();
    }
  });
});

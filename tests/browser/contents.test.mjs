/** What the pages say is what the API says: each figure, bar and cell is held against the answer that it comes from. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { VIEWS, count, launch, openPage, plain, textOf, tile } from './browser.mjs';
import { demoCollector, eventually } from './collector.mjs';

const MODEL = 'flight-delay';
const SUMMER = '2013-07-21T05:00:00Z';
const PHONE = VIEWS[2];

describe('what the pages say', () => {
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

  /**
   * @param {string} name
   * @param {(page: import('playwright-core').Page) => Promise<void>} check
   * @param {typeof VIEWS[number]} [view]
   */
  const looks = (name, check, view) => test(name, async () => {
    const { page, assertClean, close } = await openPage(browser, collector.url, view);
    try {
      await check(page);
      assertClean();
    } finally {
      await close();
    }
  });

  looks('the overview shows each model with its figures, and what happened', async (page) => {
    await page.goto('/');
    const row = page.locator('.models tbody tr', { hasText: MODEL });
    await row.waitFor();
    // Requests leave the last hour while one looks.
    const model = await eventually(async () => {
      const [own] = await collector.api('/models');
      return (await textOf(row)).includes(count(own.requests)) && own;
    }, 'the page has the model\'s requests');
    const text = await textOf(row);
    assert.ok(text.includes(`${count(model.window.rows)} rows, ${model.window.filled} of ${model.window.panes} panes filled`), text);
    assert.ok(text.includes(model.drifting.length === 0 ? 'no drift' : model.drifting[0].column), text);
    await page.locator('.event').first().waitFor();
    await eventually(async () => {
      const [newest] = await collector.api('/events?limit=1');
      const said = newest.text.replace(`: ${newest.model}: `, ': ');
      return (await textOf(page.locator('.event').first())).includes(newest.kind === 'archived' ? 'archived' : plain(said));
    }, 'the newest event stands first');
    const [sidecar] = (await collector.api('/status')).sidecars;
    assert.ok((await textOf(page.locator('.sidecars'))).includes(`${count(sidecar.durable)} of ${count(sidecar.seen)} exchanges durable`));
  });

  looks('a sidecar\'s clock is told of where it is ahead or may be behind', async (page) => {
    for (const [offset, words] of /** @type {[number, string | null][]} */ ([
      [-42, 'Its clock is 42 s ahead of the collector\'s'],
      [300, 'made 5 min before it came: its clock is behind, or the batch has waited'],
      [0.2, null],
    ])) {
      await page.route('**/api/v1/status', async (route) => {
        const response = await route.fetch();
        const status = await response.json();
        status.sidecars[0].clock_offset_seconds = offset;
        await route.fulfill({ response, json: status });
      });
      await page.goto('/');
      await page.locator('.sidecars li').first().waitFor();
      const text = await textOf(page.locator('.sidecars'));
      assert.ok(words === null ? !text.includes('clock') : text.includes(words), text);
      await page.unroute('**/api/v1/status');
    }
  });

  looks('a model\'s key figures equal the API\'s', async (page) => {
    const model = await collector.api(`/models/${MODEL}`);
    await page.goto(`/models/${MODEL}`);
    await tile(page, 'Rows counted').waitFor();
    const figure = async (/** @type {string} */ name) => textOf(tile(page, name).locator('dd').first());
    assert.equal(await figure('Rows counted'), count(model.rows));
    await eventually(async () => await figure('Requests, last hour') === count((await collector.api(`/models/${MODEL}`)).requests), 'the requests of the last hour');
    assert.equal(await figure('Outcomes known'), count(model.outcomes));
    assert.ok(model.rows > 50_000, 'the demo counted its flights');
    const reference = await textOf(page.locator('.setting').first());
    assert.ok(reference.includes(`${count(model.reference.rows)} rows of ${model.reference.columns} columns`), reference);
  });

  looks('the segments have their rows, and the worst stands first', async (page) => {
    const { segments } = await collector.api(`/models/${MODEL}/segments`);
    await page.goto(`/models/${MODEL}`);
    await page.locator('table.segments tbody tr').first().waitFor();
    const rows = await page.locator('table.segments tbody tr').evaluateAll((all) => all.map((row) =>
      [...row.children].map((cell) => cell.textContent ?? '')));
    assert.equal(rows.length, segments.length);
    assert.deepEqual(segments.map((/** @type {{segment: string}} */ { segment }) => segment).sort(), ['origin=EWR', 'origin=JFK', 'origin=LGA', 'origin=other']);
    rows.forEach(([name, verdict, counted, , , worst], index) => {
      const one = segments[index];
      assert.ok(name?.startsWith(one.segment), `${name} is ${one.segment}`);
      assert.equal(verdict, { ok: 'ok', drift: 'drift', not_enough_data: 'not enough data' }[/** @type {'ok'} */ (one.verdict)]);
      assert.equal(plain(counted ?? ''), count(one.rows));
      assert.ok(one.worst ? worst?.startsWith(one.worst.column) : worst === 'not compared', worst);
    });
    const limits = segments.map((/** @type {any} */ { worst }) => worst?.limits ?? -1);
    assert.deepEqual(limits, [...limits].sort((a, b) => b - a));
  });

  looks('the heatmap has a cell for each column and window, with the verdict that the API gives', async (page) => {
    const { columns, windows } = await collector.api(`/models/${MODEL}/scores`);
    await page.goto(`/models/${MODEL}`);
    await page.locator('.heatmap-grid').waitFor();
    assert.equal(await page.locator('.heatmap-grid [role="gridcell"]').count(), columns.length * windows.length);
    const verdicts = { ok: 'ok', drift: 'drift', not_enough_data: 'not enough data' };
    let drifting = 0;
    for (const { column, cells } of columns) {
      const shown = await page.locator(`.heatmap-grid [role="row"][aria-label="${column}"] [role="gridcell"]`)
        .evaluateAll((all) => all.map((one) => one.getAttribute('aria-label')));
      assert.deepEqual(shown, cells.map((/** @type {any} */ score) => (score ? verdicts[/** @type {keyof verdicts} */ (score.verdict)] : 'not taken')), column);
      drifting += cells.filter((/** @type {any} */ score) => score?.verdict === 'drift').length;
    }
    assert.ok(drifting > 0, 'the demo drifts in summer');
    assert.equal(await page.locator('.heatmap-grid .cell-diamond').count(), drifting, 'drift can be told without colour');
  });

  looks('another score and more windows are shown when they are chosen, and stand in the address', async (page) => {
    await page.goto(`/models/${MODEL}`);
    await page.locator('label.field', { hasText: 'Score' }).locator('select').selectOption('ks');
    await page.locator('label.field', { hasText: 'Windows' }).locator('select').selectOption('120');
    const { columns, windows } = await collector.api(`/models/${MODEL}/scores?detector=ks&limit=120`);
    await eventually(async () => await page.locator('.heatmap-grid [role="gridcell"]').count() === columns.length * windows.length, 'the cells of KS');
    assert.match(page.url(), /detector=ks/);
    assert.match(page.url(), /windows=120/);
    assert.ok((await textOf(page.locator('.heatmap-note'))).startsWith('Kolmogorov-Smirnov'));
  });

  looks('a column\'s scores, and its bars beside those of the reference, equal the API\'s', async (page) => {
    const column = await collector.api(`/models/${MODEL}/columns/temp?ends=${encodeURIComponent(SUMMER)}`);
    await page.goto(`/models/${MODEL}?column=temp&ends=${encodeURIComponent(SUMMER)}`);
    await page.locator('.scores tbody tr').first().waitFor();
    assert.equal(await textOf(page.locator('#column-title')), 'temp feature, numeric');
    assert.equal(await page.locator('.scores tbody tr').count(), column.scores.length);
    const psi = column.scores.find((/** @type {any} */ score) => score.detector === 'psi');
    assert.equal(psi.verdict, 'drift');
    const row = await textOf(page.locator('.scores tbody tr').first());
    assert.ok(row.startsWith('Population stability index drift'), row);
    assert.ok(row.includes(String(Number(psi.value.toPrecision(3)))), row);
    assert.ok(row.includes(count(psi.n_window)), row);

    // Bars stand on one floor, so that their heights are to each other as the shares are.
    const heights = async (/** @type {string} */ name) => page.locator(`.chart-plot .${name}`)
      .evaluateAll((all) => all.map((one) => Number(one.getAttribute('height'))));
    for (const [name, part] of [['bar-reference', 'reference'], ['bar-window', 'window']]) {
      const shown = await heights(name);
      const shares = column.bars.map((/** @type {any} */ bar) => bar[part]);
      assert.equal(shown.length, shares.length, name);
      const scale = Math.max(...await heights('bar-window'), ...await heights('bar-reference'))
        / Math.max(...column.bars.flatMap((/** @type {any} */ bar) => [bar.reference, bar.window]));
      shown.forEach((height, index) => assert.ok(Math.abs(height - shares[index] * scale) <= 1.01, `${name} ${index}: ${height} for ${shares[index]}`));
    }
    const legend = await textOf(page.locator('.legend', { hasText: 'Share of rows' }));
    assert.ok(legend.includes(`Reference, ${count(psi.n_reference)} rows`), legend);
    assert.ok(legend.includes(`Window, ${count(psi.n_window)} rows`), legend);
  });

  looks('the score of a column stands over the windows with its limit', async (page) => {
    const { windows, columns } = await collector.api(`/models/${MODEL}/scores`);
    const cells = columns.find((/** @type {any} */ one) => one.column === 'temp').cells;
    await page.goto(`/models/${MODEL}?column=temp`);
    await page.locator('.score-line').waitFor();
    const markers = await page.locator('.chart-plot .marker').count();
    assert.equal(markers, cells.filter(Boolean).length);
    assert.equal(await page.locator('.chart-plot .marker-drift').count(), cells.filter((/** @type {any} */ one) => one?.verdict === 'drift').length);
    assert.ok((await page.locator('.limit-line').getAttribute('d'))?.length ?? 0 > 0);
    assert.match(await page.locator('.chart-plot').first().getAttribute('aria-label') ?? '', new RegExp(`^Score over the windows. ${windows.length} windows; drift in \\d+`));
  });

  for (const view of [VIEWS[0], PHONE]) {
    looks(`a cell that is pressed in its middle is the one that is shown: ${view.name}`, async (page) => {
      const { windows } = await collector.api(`/models/${MODEL}/scores`);
      await page.goto(`/models/${MODEL}?column=temp`);
      await page.locator('.heatmap-grid').waitFor();
      const at = windows.length - 5;
      const cell = page.locator('.heatmap-grid [role="row"][aria-label="dewp"] [role="gridcell"]').nth(at);
      await cell.scrollIntoViewIfNeeded();
      const box = await cell.boundingBox();
      assert.ok(box);
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      await (view.isPhone ? page.touchscreen.tap(x, y) : page.mouse.click(x, y));
      await page.locator('#column-title', { hasText: 'dewp' }).waitFor();
      assert.equal(new URL(page.url()).searchParams.get('ends'), windows[at].ends);
      const window = windows[at];
      assert.ok((await textOf(page.locator('.window-chosen'))).includes(`${window.starts.slice(0, 10)} to ${window.ends.slice(0, 10)}`));
    }, view);
  }

  looks('alerts are listed by state, and can be chosen', async (page) => {
    await page.goto('/alerts');
    await page.locator('.alert').first().waitFor();
    // Another may begin while one looks.
    const alerts = await eventually(async () => {
      const all = await collector.api('/alerts');
      return await page.locator('.alert').count() === all.length && all;
    }, 'every alert is listed');
    for (const { id, summary } of alerts) {
      const link = page.locator(`.alert a[href="/alerts/${id}"]`);
      assert.equal(await textOf(link), plain(summary));
    }
    await page.getByRole('button', { name: 'Firing' }).click();
    await eventually(async () => await page.locator('.alert').count() === (await collector.api('/alerts?state=firing')).length, 'those that fire alone');
    assert.match(page.url(), /state=firing/);
  });

  looks('an alert carries its evidence, and its runbook opens with its values filled in', async (page) => {
    const [{ id }] = (await collector.api('/alerts')).filter((/** @type {any} */ one) => one.rule === 'FeatureDrift');
    const alert = await collector.api(`/alerts/${id}`);
    await page.goto('/alerts');
    await page.locator(`.alert a[href="/alerts/${id}"]`).click();
    await page.locator('.answer .quoted').first().waitFor();
    assert.equal(await textOf(page.locator('h1')), plain(alert.summary));
    const [worst] = alert.members;
    const evidence = await textOf(page.locator('.evidence tbody tr').first());
    for (const figure of [worst.what, worst.value, worst.limit]) assert.ok(evidence.includes(plain(figure)), `${evidence} has ${figure}`);
    // What answers the question stands in the answer, and each of the other facts once below.
    const names = alert.facts.map((/** @type {any} */ one) => one.name);
    const answering = (await page.locator('.answer').first().locator('dt').allTextContents()).filter((name) => name !== 'Lately');
    for (const name of ['Affected', 'Since', 'Confidence', 'Looks like']) assert.ok(answering.includes(name), `${answering} has ${name}`);
    for (const name of ['Window', 'Sample', 'Rows']) assert.ok(!answering.includes(name), `${name} is evidence`);
    assert.deepEqual(await page.locator('.evidence dt').allTextContents(), names.filter((/** @type {string} */ name) => !answering.includes(name)));
    assert.ok(await page.locator('.picture img').evaluate((one) => /** @type {HTMLImageElement} */ (one).naturalWidth > 100), 'the picture is one');
    assert.equal(await page.getByRole('link', { name: 'a draft' }).getAttribute('href'), `/api/v1/alerts/${id}/postmortem`);
    assert.equal(await page.locator('.moment-delivered').count(), alert.deliveries.filter((/** @type {any} */ one) => one.state === 'delivered').length);

    await page.getByRole('link', { name: 'Open the runbook' }).click();
    await page.waitForURL(/\/runbooks\/feature-drift\?alert=/);
    assert.equal(await textOf(page.locator('h1')), 'Features have drifted');
    assert.ok((await textOf(page.locator('.banner'))).includes(plain(alert.summary)));
    assert.ok((await textOf(page.locator('.banner tbody tr').first())).includes(plain(worst.what)));
    const runbook = await page.locator('.runbook').innerText();
    assert.ok(runbook.includes(`${collector.url}/api/v1/models/${MODEL}`), 'commands name this collector and model');
    assert.ok(runbook.includes(id), 'commands name this alert');
    for (const place of ['{url}', '{model}', '{column}', '{alert}', 'MODEL', 'COLUMN']) assert.ok(!runbook.includes(place), `${place} is filled in`);

    await page.getByRole('link', { name: 'The alert' }).click();
    await page.waitForURL(new RegExp(`/alerts/${id}$`));
  });

  looks('an alert without a verdict says since when, and whether that ends it', async (page) => {
    const [{ id }] = (await collector.api('/alerts')).filter((/** @type {any} */ one) => one.rule === 'FeatureDrift');
    const fact = { name: 'Verdict', value: 'none on temp since 2013-07-21 05:00:00 UTC, in 168 windows. Whether it is over is not known' };
    for (const [seconds, words] of /** @type {[number | null, string][]} */ ([
      [7 * 86_400, 'The alert ends without one after 7 days of windows like the last 168.'],
      [null, 'That does not end the alert.'],
    ])) {
      await page.route(`**/api/v1/alerts/${id}`, async (route) => {
        const response = await route.fetch();
        const alert = await response.json();
        alert.no_verdict = { since: SUMMER, windows: 168, ends_after_seconds: seconds };
        alert.facts.push(fact);
        await route.fulfill({ response, json: alert });
      });
      await page.goto(`/alerts/${id}`);
      const standing = page.locator('.alert-standing', { hasText: 'No verdict' });
      await standing.waitFor();
      const text = await textOf(standing);
      assert.ok(text.startsWith('No verdict since ') && text.includes('what was over its limit says nothing any more'), text);
      assert.ok(text.endsWith(words), text);
      const facts = await textOf(page.locator('.evidence dl.facts', { hasText: fact.name }));
      assert.ok(facts.includes(plain(fact.value)), facts);
      await page.unroute(`**/api/v1/alerts/${id}`);
    }
    await page.goto(`/alerts/${id}`);
    await page.locator('.answer .quoted').first().waitFor();
    assert.equal(await page.locator('.alert-standing', { hasText: 'No verdict' }).count(), 0, 'it has one in truth');
  });

  looks('every runbook opens, and says what to do in 30 seconds', async (page) => {
    await page.goto('/runbooks');
    const links = await page.locator('ul.runbooks a').evaluateAll((all) => all.map((one) => one.getAttribute('href') ?? ''));
    assert.ok(links.length >= 8);
    for (const link of links) {
      await page.goto(link);
      await page.locator('#in-30-seconds').waitFor();
    }
  });

  looks('the archive\'s sums and newest files equal the API\'s, and its query names its whole path', async (page) => {
    const archive = await collector.api('/archive');
    await page.goto('/archive');
    await tile(page, 'Rows').waitFor();
    assert.equal(await textOf(tile(page, 'Rows').locator('dd').first()), count(archive.rows));
    assert.equal(await textOf(tile(page, 'Files').locator('dd').first()), count(archive.files));
    assert.equal(await page.locator('.files-table tbody tr').count(), archive.newest.length);
    assert.ok((await textOf(page.locator('.files-table tbody tr').first())).includes(archive.newest[0].path));
    assert.ok(archive.place.startsWith('/'), archive.place);
    assert.ok((await page.locator('.command').first().innerText()).includes(`read_parquet('${archive.place}/**/*.parquet'`));
  });

  looks('the chosen theme holds on all pages, runbooks too', async (page) => {
    await page.goto('/');
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    const button = page.locator('#theme');
    await button.click();
    await button.click();
    assert.equal(await button.getAttribute('aria-label'), 'Theme: dark');
    const dark = await ground();
    assert.notEqual(dark, light);
    for (const path of ['/alerts', '/runbooks', '/runbooks/feature-drift']) {
      await page.goto(path);
      assert.equal(await ground(), dark, path);
    }
  });
});

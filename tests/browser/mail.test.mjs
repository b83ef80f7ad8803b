/** The mail as a person sees it: the HTML part of what the demo sent, drawn on a desk and on a phone. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { VIEWS, assertAccessible, launch, textOf } from './browser.mjs';
import { DEMO } from './collector.mjs';
import { read } from './mail.mjs';

const DRIFT = /^featuredrift-.*\.trigger\.eml$/;

/** The demo's mail about drift. */
async function drawn() {
  const folder = path.join(DEMO, 'mails');
  const name = (await readdir(folder)).find((file) => DRIFT.test(file));
  assert.ok(name !== undefined, `${folder} holds a mail about drift`);
  const mail = read(await readFile(path.join(folder, name), 'latin1'));
  assert.deepEqual(mail.types, ['text/plain', 'text/html', 'image/png']);
  return mail;
}

describe('the mail about drift', () => {
  /** @type {import('playwright-core').Browser} */
  let browser;
  /** @type {{text: string, html: string}} */
  let mail;
  before(async () => {
    mail = await drawn();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
  });

  for (const view of [VIEWS[0], VIEWS[2]]) {
    test(`is whole, and asks nobody for anything (${view.name})`, async () => {
      const context = await browser.newContext({ viewport: { width: view.width, height: view.height }, isMobile: view.isPhone });
      try {
        const page = await context.newPage();
        /** @type {string[]} */
        const asked = [];
        page.on('request', (request) => { if (!request.url().startsWith('data:')) asked.push(request.url()); });
        await page.setContent(mail.html, { waitUntil: 'load' });
        const heading = await textOf(page.locator('h1'));
        assert.match(heading, /flight-delay: .*temp.* (has|have) drifted/);
        assert.ok(mail.text.replaceAll(/\s+/g, ' ').includes(heading), 'the text says the same');
        assert.match(await textOf(page.locator('body')), /^Ticket/);
        // What comes first is seen without scrolling, also on a phone.
        const briefing = page.locator('p', { has: page.locator('b') });
        assert.deepEqual(await briefing.locator('b').allInnerTexts(), ['Real?', 'Hurt?', 'First:']);
        for (const words of await briefing.all()) {
          assert.ok((await textOf(words)).length > 40 && mail.text.replaceAll(/\s+/g, ' ').includes(await textOf(words)));
        }
        const end = await briefing.last().boundingBox();
        assert.ok(end !== null && end.y + end.height < view.height, JSON.stringify(end));
        const links = await page.locator('a').evaluateAll((all) => all.map((a) => [a.textContent, a.getAttribute('href')]));
        assert.deepEqual(links.map(([words]) => words), ['Open the runbook', 'See the alert']);
        for (const [, address] of links) assert.ok(mail.text.includes(address ?? ''), `${address} is in the text, too`);
        // The picture is there, as wide as the mail lets it be, and shows more than one colour.
        const picture = page.locator('img');
        const colours = await picture.evaluate((/** @type {HTMLImageElement} */ image) => {
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
          pen.drawImage(image, 0, 0);
          return new Set(new Uint32Array(pen.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;
        });
        assert.ok(colours > 2, `the picture has ${colours} colours`);
        const [box, pixels] = [await picture.boundingBox(), (await page.screenshot({ fullPage: true })).length];
        assert.ok(box !== null && box.width > 200 && box.x >= 0 && box.x + box.width <= view.width, JSON.stringify(box));
        assert.ok(pixels > 10_000, `a picture of ${pixels} bytes shows nothing`);
        const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        assert.ok(wide <= room, `the mail is ${wide} pixels wide where there is room for ${room}`);
        await assertAccessible(page);
        assert.deepEqual(asked, []);
      } finally {
        await context.close();
      }
    });
  }
});

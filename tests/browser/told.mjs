/**
 * Makes the pictures of docs/alerts.md: what people see of one drift of real flights, at its beginning and its end. A collector is
 * told of days, and tells a mailbox and Slack's stand-in; `tests/run pictures` calls it, and pictures.py made the days.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';

import { launch } from './browser.mjs';
import { BINARIES, collectorIn, demoCollector, eventually, freePort } from './collector.mjs';
import { read } from './mail.mjs';

const [folder, output] = process.argv.slice(2).map((name) => path.resolve(name));
/** July begins on the fourth day. */
const DRIFTS_THROUGH = 7;

/** Slack's incoming webhook: it keeps what it takes. @type {any[]} */
const posted = [];
const slack = createServer((request, response) => {
  let body = '';
  request.on('data', (part) => { body += part; }).on('end', () => {
    posted.push(JSON.parse(body));
    response.end('ok');
  });
});
await new Promise((resolve) => { slack.listen(0, '127.0.0.1', () => resolve(undefined)); });
const { port: slackPort } = /** @type {import('node:net').AddressInfo} */ (slack.address());

const port = await freePort();
writeFileSync(path.join(folder, 'slack'), `http://127.0.0.1:${slackPort}/hook`);
writeFileSync(path.join(folder, 'driftline.yaml'), `
listen: 127.0.0.1:${port}
public_url: https://driftline.example.com
data_dir: data
archive: {max_age: 1s}
models:
  - name: flight-delay
    reference: reference.json
    event_time: {column: at}
    windows: {pane: 1d, window: 1d, every: 1d, lateness: 10m, close_when_idle: 1s}
alerts:
  targets:
    mailbox: {email: {from: Driftline <driftline@example.com>, to: [oncall@example.com], directory: mails}}
    channel: {slack: {webhook: {file: slack}}}
`);
const built = spawnSync(path.join(BINARIES, 'driftline'), ['reference', 'build', '--model', 'flight-delay', '--output', 'reference.json', 'reference.csv'], { cwd: folder });
if (built.status !== 0) throw new Error(String(built.stderr));
const { url, stop } = await collectorIn(folder, port);

/** @param {number} from @param {number} to */
async function tell(from, to) {
  for (let day = from; day <= to; day += 1) {
    const body = readFileSync(path.join(folder, `day-${String(day).padStart(2, '0')}.jsonl`));
    const answer = await fetch(`${url}/v1/rows?model=flight-delay`, { method: 'POST', body });
    if (!answer.ok) throw new Error(`day ${day}: ${await answer.text()}`);
  }
}

/** @param {string} action */
function mail(action) {
  const name = readdirSync(path.join(folder, 'mails')).find((file) => file.startsWith('featuredrift-') && file.endsWith(`.${action}.eml`));
  return name && read(readFileSync(path.join(folder, 'mails', name), 'latin1'));
}

/** What stands for an alert's urgency: fonts with such signs are not everywhere. */
const SIGNS = { '🔴': '#e01e3c', '🟠': '#f2922c', '🔵': '#3f8ae0', '✅': '#2fa84f', '👀': '#888888' };

/** Slack's marks as HTML: enough of them to see what a reader sees. @param {string} text */
function marked(text) {
  const signed = Object.entries(SIGNS).reduce((said, [sign, colour]) => said.replaceAll(sign, `<i class="sign" style="background:${colour}"></i>`), text);
  return signed.replaceAll(/<([^|>]+)\|([^>]+)>/g, '<a href="$1">$2</a>').replaceAll(/\*([^*\n]+)\*/g, '<b>$1</b>')
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>').replaceAll('\n', '<br>');
}

/** @param {any} message */
function slackPage({ blocks }) {
  const parts = blocks.map((/** @type {any} */ { type, text }) => (type === 'header' ? `<h1>${marked(text.text)}</h1>` : `<p>${marked(text.text)}</p>`));
  return `<!doctype html><meta charset="utf-8"><style>
    body { margin: 0; padding: 16px 20px; font: 15px/1.46 Lato, system-ui, sans-serif; color: #1d1c1d; width: 640px; }
    h1 { font-size: 18px; line-height: 1.35; margin: 2px 0 8px; } p { margin: 0 0 10px; overflow-wrap: anywhere; }
    .sign { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .2em; }
    a { color: #1264a3; text-decoration: none; } code { color: #c01343; font-size: 12px; border: 1px solid #ddd; border-radius: 3px; padding: 1px 3px; }
    .app { font-weight: 900; } .app span { font-weight: 400; font-size: 12px; background: #e8e8e8; color: #616061; padding: 1px 4px; border-radius: 2px; }
  </style><div class="app">Driftline <span>APP</span></div>${parts.join('')}`;
}

/** The page of the demo's drift, where callers and their fate are known. */
async function drawEpisode() {
  const demo = await demoCollector();
  try {
    const [{ id }] = (await demo.api('/alerts?state=all')).filter((/** @type {any} */ { rule }) => rule === 'FeatureDrift');
    const wide = await browser.newPage({ viewport: { width: 1200, height: 1000 }, colorScheme: 'light' });
    await wide.goto(`${demo.url}/alerts/${id}`);
    await wide.locator('.answers dd').last().waitFor();
    await wide.evaluate(() => document.fonts.ready);
    writeFileSync(path.join(output, 'page.png'), await wide.screenshot());
  } finally {
    await demo.stop();
  }
}

const browser = await launch();
try {
  mkdirSync(output, { recursive: true });
  const page = await browser.newPage({ viewport: { width: 720, height: 600 }, colorScheme: 'light' });
  /** @param {string} name @param {string} html */
  const drawn = async (name, html) => {
    await page.setContent(html, { waitUntil: 'load' });
    writeFileSync(path.join(output, `${name}.png`), await page.screenshot({ fullPage: true }));
  };
  await tell(1, DRIFTS_THROUGH);
  const began = await eventually(async () => mail('trigger'), 'the mailbox is told that it began');
  await drawn('mail-begins', began.html);
  const drift = (/** @type {any} */ { text }) => /drifted/.test(text) && !/Resolved/.test(text);
  const message = await eventually(async () => posted.find(drift), 'the channel is told');
  await drawn('slack-begins', slackPage(message));
  const days = readdirSync(folder).filter((name) => name.startsWith('day-')).length;
  await tell(DRIFTS_THROUGH + 1, days);
  const ended = await eventually(async () => mail('resolve'), 'the mailbox is told that it ended');
  await drawn('mail-ends', ended.html);
  await drawEpisode();
} finally {
  await browser.close();
  await stop();
  slack.close();
}

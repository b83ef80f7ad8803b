/** The application: draws the page that the address names, and the bar above it. */

import { paths } from './api.js';
import { now } from './clock.js';
import { element, h, patch } from './dom.js';
import { duration, instant } from './format.js';
import { connection, onConnection, retryNow, watch } from './live.js';
import { onNavigation, setTitle } from './navigate.js';
import { alertPage } from './page-alert.js';
import { alertsPage } from './page-alerts.js';
import { archivePage } from './page-archive.js';
import { deliveriesPage } from './page-deliveries.js';
import { modelPage } from './page-model.js';
import { overviewPage } from './page-overview.js';
import { hideTip } from './tooltip.js';

/**
 * Draws itself into the element and keeps itself fresh until the returned function is called.
 * @typedef {(host: HTMLElement, name: string) => () => void} Page
 */
/** @type {[RegExp, Page][]} */
const PAGES = [
  [/^\/$/, overviewPage],
  [/^\/models\/([^/]+)$/, modelPage],
  [/^\/alerts$/, alertsPage],
  [/^\/alerts\/([^/]+)$/, alertPage],
  [/^\/deliveries$/, deliveriesPage],
  [/^\/archive$/, archivePage],
];

/** Which entry of the bar a path lies under. @type {[string, RegExp][]} */
const ENTRIES = [['/', /^\/(?:$|models\/)/], ['/alerts', /^\/(?:alerts|deliveries)/], ['/archive', /^\/archive/]];

const main = /** @type {HTMLElement} */ (document.getElementById('main'));
const outageBanner = /** @type {HTMLElement} */ (document.getElementById('outage'));
const live = /** @type {HTMLElement} */ (document.getElementById('live'));
const firingCount = /** @type {HTMLElement} */ (document.getElementById('firing-count'));

let leave = () => {};
let shown = '';

/** @param {boolean} isMove whether the reader came from another page of the application */
function show(isMove) {
  const path = location.pathname;
  if (isMove && path === shown) return;
  shown = path;
  leave();
  hideTip();
  setTitle('');
  const host = element('div', { class: 'page' });
  const [pattern, page] = PAGES.find(([one]) => one.test(path)) ?? [/^/, noSuchPage];
  leave = page(host, decoded(pattern.exec(path)?.[1] ?? ''));
  patch(main, host);
  for (const [entry, under] of ENTRIES) {
    const link = document.querySelector(`header.bar nav a[href="${entry}"]`);
    if (under.test(path)) link?.setAttribute('aria-current', 'page');
    else link?.removeAttribute('aria-current');
  }
  // A screen reader begins at the new page, as it would after a load.
  if (isMove) main.focus({ preventScroll: true });
}

/** @param {string} segment */
function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** @type {Page} */
function noSuchPage(host) {
  patch(host, h('h1', null, 'There is no such page'), h('p', null, h('a', { href: '/' }, 'All models')));
  return () => {};
}

function showConnection() {
  const { outage, lastAnswerAt } = connection();
  const state = outage ? 'lost' : lastAnswerAt === 0 ? 'waiting' : 'good';
  patch(live, h('span', { class: `live-dot live-${state}`, 'aria-hidden': 'true' }),
    h('span', { class: 'live-word' }, { lost: 'No answer', waiting: 'Connecting', good: 'Live' }[state]));
  live.title = lastAnswerAt === 0 ? 'No answer yet' : `Last answer at ${instant(lastAnswerAt, true)}`;
  document.body.classList.toggle('is-stale', outage !== null);
  patch(outageBanner, outage && h('div', null,
    h('strong', null, outage.isSilent ? 'The collector cannot be reached' : 'The collector cannot answer'),
    ` since ${instant(outage.since, true)}`,
    // Not counted in seconds, or a screen reader would read the banner out with each.
    minutes(outage.since), '. ', outage.reason, ' ',
    lastAnswerAt === 0 ? 'Nothing can be shown yet. ' : `What is shown is from ${instant(lastAnswerAt, true)}. `,
    h('button', { class: 'link-button', type: 'button', onclick: retryNow }, 'Try again now')));
}

/** @param {number} since */
function minutes(since) {
  const seconds = (now() - since) / 1000;
  return seconds < 60 ? '' : `, for ${duration(Math.floor(seconds / 60) * 60)}`;
}

onNavigation(show);
onConnection(showConnection);
setInterval(showConnection, 5000);
showConnection();
show(false);

watch(paths.firing(), 5, (/** @type {import('./api.js').Episode[]} */ firing) => {
  patch(firingCount, firing.length > 0 && [String(firing.length), h('span', { class: 'unseen' }, ' firing')]);
});

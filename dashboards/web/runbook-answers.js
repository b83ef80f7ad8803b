/** What a runbook says first: its three lines "In 30 seconds", to stand beside the alert's own figures. */

import { h } from './dom.js';

/** @typedef {import('./dom.js').Child} Child */
/** @typedef {{real: Child[], hurt: Child[], first: Child[]}} Answers */

/** The heading's id and how the lines begin are fixed by the runbooks' lint. */
const SECTION = '#in-30-seconds';
const BEGINNINGS = /** @type {const} */ ([['real', /^real/i], ['hurt', /^hurt/i], ['first', /^first/i]]);
const KEPT = new Set(['CODE', 'STRONG', 'EM']);

/**
 * Reads the runbook's page, in which the alert's values are filled in. Null when there is no such page or section.
 * @param {string} path
 * @returns {Promise<Answers | null>}
 */
export async function readAnswers(path) {
  try {
    const page = await fetch(path, { cache: 'no-store' });
    if (!page.ok) return null;
    // A parsed document is inert; of its elements only the names on the list above are made anew.
    const heading = new DOMParser().parseFromString(await page.text(), 'text/html').querySelector(SECTION);
    const list = heading?.nextElementSibling;
    if (!list || list.tagName !== 'UL') return null;
    /** @type {Answers} */
    const answers = { real: [], hurt: [], first: [] };
    for (const item of list.children) {
      const begin = item.querySelector('strong');
      const name = BEGINNINGS.find(([, pattern]) => pattern.test(begin?.textContent ?? ''))?.[0];
      if (!begin || !name) continue;
      begin.remove();
      answers[name] = copied(item);
    }
    return answers;
  } catch {
    // The link to the runbook stands beside it in any case.
    return null;
  }
}

/**
 * @param {Node} node
 * @returns {Child[]}
 */
function copied(node) {
  return [...node.childNodes].map((child) => {
    if (child instanceof Element && KEPT.has(child.tagName)) return h(child.tagName.toLowerCase(), null, copied(child));
    return child.nodeType === Node.TEXT_NODE ? child.nodeValue ?? '' : copied(child);
  });
}

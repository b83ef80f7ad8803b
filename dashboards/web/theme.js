// The choice between light and dark, read before the first paint so that the page does not flash.
(() => {
  'use strict';
  const KEY = 'driftline.theme';
  /** @typedef {'system' | 'light' | 'dark'} Choice */
  /** @type {Choice[]} */
  const CHOICES = ['system', 'light', 'dark'];
  /** @type {Record<Choice, string>} */
  const WORDS = { system: 'Theme: as the system', light: 'Theme: light', dark: 'Theme: dark' };

  /** @returns {Choice} */
  function chosen() {
    try {
      const kept = localStorage.getItem(KEY);
      return kept === 'light' || kept === 'dark' ? kept : 'system';
    } catch {
      // Storage may be forbidden; the choice then lasts for this page alone.
      const now = document.documentElement.dataset.theme;
      return now === 'light' || now === 'dark' ? now : 'system';
    }
  }

  /** @param {Choice} choice */
  function apply(choice) {
    if (choice === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    const button = document.getElementById('theme');
    if (!button) return;
    button.textContent = '';
    button.dataset.choice = choice;
    button.setAttribute('aria-label', WORDS[choice]);
    button.title = WORDS[choice];
  }

  apply(chosen());
  document.addEventListener('DOMContentLoaded', () => {
    apply(chosen());
    document.getElementById('theme')?.addEventListener('click', () => {
      const next = CHOICES[(CHOICES.indexOf(chosen()) + 1) % CHOICES.length] ?? 'system';
      try {
        if (next === 'system') localStorage.removeItem(KEY);
        else localStorage.setItem(KEY, next);
      } catch { /* See above. */ }
      apply(next);
    });
  });
  // Another tab chose.
  addEventListener('storage', (event) => {
    if (event.key === KEY) apply(chosen());
  });
})();

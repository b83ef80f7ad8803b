/** What is said to a target, in words. */

/** @type {Record<import('./api.js').Delivery['action'], string>} */
export const TOLD = {
  trigger: 'that it fires',
  remind: 'that it fires still',
  acknowledge: 'who is on it',
  resolve: 'that it is resolved',
  change: 'what was changed',
};

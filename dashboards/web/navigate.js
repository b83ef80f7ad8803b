/** Addresses of the pages, and moving between them without loading anew. */

/** @type {(isMove: boolean) => void} */
let show = () => {};

/** Paths of the pages that this application draws; others, such as runbooks, are the server's. */
const OWN_PAGES = /^\/(?:$|models\/[^/]+$|alerts$|alerts\/[^/]+$|deliveries$|archive$)/;

/**
 * Says what draws the page of the current address.
 * @param {(isMove: boolean) => void} draw
 */
export function onNavigation(draw) {
  show = draw;
}

/** @param {string} name */
export function modelPath(name) {
  return `/models/${encodeURIComponent(name)}`;
}

/** @param {string} id */
export function alertPath(id) {
  return `/alerts/${encodeURIComponent(id)}`;
}

/** @param {string} [target] those to it alone */
export function deliveriesPath(target) {
  return target === undefined ? '/deliveries' : `/deliveries?${new URLSearchParams({ target })}`;
}

/** @param {string} id */
export function postmortemPath(id) {
  return `/api/v1${alertPath(id)}/postmortem`;
}

/**
 * A runbook's address on the host that this page came from: the collector may be known by another name outside.
 * @param {string} url
 */
export function runbookPath(url) {
  try {
    const { pathname, search } = new URL(url, location.href);
    return pathname.startsWith('/runbooks') ? pathname + search : '/runbooks';
  } catch {
    return '/runbooks';
  }
}

/** @param {string} text */
export function setTitle(text) {
  document.title = text ? `${text} · Driftline` : 'Driftline';
}

/** The current address' query. */
export function query() {
  return new URLSearchParams(location.search);
}

/**
 * Puts what is chosen on the page into its address, so that it can be sent to a colleague; null takes it out.
 * @param {Record<string, string | null>} choices
 */
export function keepInAddress(choices) {
  const params = query();
  for (const [name, value] of Object.entries(choices)) {
    if (value === null) params.delete(name);
    else params.set(name, value);
  }
  const text = params.toString();
  const address = location.pathname + (text ? `?${text}` : '');
  if (address !== location.pathname + location.search) history.replaceState(null, '', address);
}

document.addEventListener('click', (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!link || link.origin !== location.origin || link.target || !OWN_PAGES.test(link.pathname)) return;
  if (link.hash && link.pathname === location.pathname) return;
  event.preventDefault();
  const isSame = link.pathname + link.search === location.pathname + location.search;
  if (!isSame) history.pushState(null, '', link.href);
  show(true);
  scrollTo(0, 0);
});

addEventListener('popstate', () => show(true));

/**
 * Shapes of elements as plain objects, and the patching of the page until it matches them: what did not change is not
 * touched, so a poll costs neither focus nor scroll nor selection. Text is only ever set as text, never parsed.
 */

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg';

/** Set as properties: their attributes only hold what the element began with. */
const PROPERTIES = new Set(['value', 'checked', 'scrollLeft']);

/** @typedef {Record<string, any>} Attributes */
/** @typedef {{tag: string, key: string | undefined, attributes: Attributes, children: Child[]}} Shape */
/** @typedef {Shape | Node | string | number | null | undefined | false | Child[]} Child */

/** What an element was last patched to. @type {WeakMap<Node, Shape>} */
const shapes = new WeakMap();
/** Elements that somebody keeps: they are placed as they are, and never become another shape. @type {WeakSet<Node>} */
const kept = new WeakSet();

/**
 * A shape. `key` among the attributes ties it to the same element across patches; `onclick` and the like are handlers;
 * `style` is an object of CSS properties, set one by one because the content security policy forbids style attributes.
 * @param {string} tag
 * @param {Attributes | null} [attributes]
 * @param {...Child} children
 * @returns {Shape}
 */
export function h(tag, attributes, ...children) {
  const { key, ...rest } = attributes ?? {};
  return { tag, key: key === undefined ? undefined : String(key), attributes: rest, children };
}

/**
 * A new element, to be kept and filled later.
 * @param {string} tag
 * @param {Attributes | null} [attributes]
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes, ...children) {
  const shape = h(tag, attributes, ...children);
  const made = /** @type {HTMLElement} */ (create(shape, document.body));
  kept.add(made);
  return made;
}

/**
 * Makes the children of an element those given.
 * @param {Element} parent
 * @param {...Child} children
 */
export function patch(parent, ...children) {
  const wanted = flatten(children, []);
  /** @type {Map<string, Node>} */
  const keyed = new Map();
  for (const node of parent.childNodes) {
    const key = shapes.get(node)?.key;
    if (key !== undefined) keyed.set(key, node);
  }
  /** @type {Node | null} */
  let cursor = parent.firstChild;
  for (const want of wanted) {
    const node = reuse(want, cursor, keyed) ?? create(want, parent);
    if (node === cursor) cursor = cursor.nextSibling;
    else parent.insertBefore(node, cursor);
    if (typeof want === 'string') {
      // Compared with what is there, since clocks rewrite text between patches.
      if (node.nodeValue !== want) node.nodeValue = want;
    } else if (!(want instanceof Node)) {
      update(/** @type {Element} */ (node), want);
    }
  }
  while (cursor) {
    const next = cursor.nextSibling;
    parent.removeChild(cursor);
    cursor = next;
  }
}

/**
 * @param {Child[]} children
 * @param {(Shape | Node | string)[]} into
 */
function flatten(children, into) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) flatten(child, into);
    else if (typeof child === 'number') into.push(String(child));
    else into.push(child);
  }
  return into;
}

/**
 * @param {Shape | Node | string} want
 * @param {Node | null} cursor
 * @param {Map<string, Node>} keyed
 * @returns {Node | null}
 */
function reuse(want, cursor, keyed) {
  if (want instanceof Node) return want;
  if (typeof want === 'string') return cursor?.nodeType === Node.TEXT_NODE ? cursor : null;
  if (want.key !== undefined) {
    const node = keyed.get(want.key);
    return node && shapes.get(node)?.tag === want.tag ? node : null;
  }
  const there = cursor && !kept.has(cursor) && shapes.get(cursor);
  return there && there.tag === want.tag && there.key === undefined ? cursor : null;
}

/**
 * @param {Shape | Node | string} want
 * @param {Element} parent
 * @returns {Node}
 */
function create(want, parent) {
  if (want instanceof Node) return want;
  if (typeof want === 'string') return document.createTextNode(want);
  const isSvg = want.tag === 'svg' || parent.namespaceURI === SVG_NAMESPACE;
  const node = isSvg ? document.createElementNS(SVG_NAMESPACE, want.tag) : document.createElement(want.tag);
  update(node, want);
  return node;
}

/**
 * @param {Element} node
 * @param {Shape} want
 */
function update(node, want) {
  const before = shapes.get(node)?.attributes ?? {};
  shapes.set(node, want);
  for (const name of Object.keys(before)) {
    if (!(name in want.attributes)) set(node, name, undefined, before[name]);
  }
  // Children first: a select can only take a value that one of its options has.
  patch(node, want.children);
  for (const [name, value] of Object.entries(want.attributes)) {
    if (PROPERTIES.has(name)) {
      if (/** @type {any} */ (node)[name] !== value) /** @type {any} */ (node)[name] = value;
    } else if (name === 'style' || before[name] !== value) {
      set(node, name, value, before[name]);
    }
  }
}

/**
 * @param {Element} node
 * @param {string} name
 * @param {any} value
 * @param {any} before
 */
function set(node, name, value, before) {
  if (name.startsWith('on')) {
    /** @type {any} */ (node)[name] = value ?? null;
  } else if (name === 'style') {
    const style = /** @type {HTMLElement} */ (node).style;
    for (const property of Object.keys(before ?? {})) if (!(property in (value ?? {}))) style.removeProperty(property);
    for (const [property, setting] of Object.entries(value ?? {})) {
      if (before?.[property] !== setting) style.setProperty(property, String(setting));
    }
  } else if (value === undefined || value === null || (value === false && !name.startsWith('aria-'))) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true && !name.startsWith('aria-') ? '' : String(value));
  }
}

/** A mail, taken apart as a reader of mail does. */

/**
 * The parts of a mail that are none themselves: media type, content id, and what they hold.
 * @param {string} mail
 * @returns {{type: string, id: string | null, content: Buffer}[]}
 */
function parts(mail) {
  const end = mail.indexOf('\r\n\r\n');
  const head = mail.slice(0, end).replaceAll(/\r\n[ \t]+/g, ' ');
  const body = mail.slice(end + 4);
  const header = (/** @type {string} */ name) => head.match(new RegExp(`^${name}: (.*)$`, 'im'))?.[1] ?? null;
  const type = header('Content-Type') ?? 'text/plain';
  const boundary = type.match(/boundary="([^"]+)"/)?.[1];
  if (boundary !== undefined) {
    return body.split(`--${boundary}`).slice(1, -1).flatMap((part) => parts(part.replace(/^\r\n/, '').replace(/\r\n$/, '')));
  }
  const coding = header('Content-Transfer-Encoding');
  const plain = body.replaceAll(/=\r\n/g, '').replaceAll(/=([0-9A-F]{2})/g, (_, code) => String.fromCharCode(parseInt(code, 16)));
  const content = coding === 'base64' ? Buffer.from(body, 'base64') : Buffer.from(coding === 'quoted-printable' ? plain : body, 'latin1');
  return [{ type: type.split(';')[0], id: header('Content-ID'), content }];
}

/**
 * What a reader of mail shows: the text, and the HTML with the mail's own picture in it.
 * @param {string} mail the file, byte by byte
 */
export function read(mail) {
  const all = parts(mail);
  const [text, html] = ['text/plain', 'text/html'].map((wanted) => all.find(({ type }) => type === wanted)?.content.toString('utf8') ?? '');
  const shown = all.filter(({ id }) => id !== null).reduce((page, { type, id, content }) =>
    page.replaceAll(`cid:${id?.slice(1, -1)}`, `data:${type};base64,${content.toString('base64')}`), html);
  return { types: all.map(({ type }) => type), text, html: shown };
}

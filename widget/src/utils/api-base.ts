/**
 * Where questions go, decided before anything is sent: over HTTPS, or to this very machine, or nowhere.
 */
import {Failure} from '../failure';

const THIS_MACHINE: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * The address below which the API lies, without a trailing slash.
 *
 * `attribute` is the element's `api-base` (an absolute URL, or a path on the page's own origin); without one it is
 * the origin the script came from. Throws ``Failure`` of kind `configuration`, whose note is for the developer.
 */
export function resolveApiBase(attribute: string | null, scriptOrigin: string, page: string): string {
  const given = attribute?.trim() || scriptOrigin;
  const url = parse(given, page);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw misconfigured(
      `api-base must be an https:// address or a path that starts with “/”; it is “${given}”.`,
    );
  }
  if (url.username || url.password || url.search || url.hash) {
    throw misconfigured('api-base must not hold a user name, a password, a query or a fragment.');
  }
  if (url.protocol === 'http:' && !THIS_MACHINE.has(url.hostname)) {
    throw misconfigured(
      `api-base is “${given}”, and plain HTTP is refused except on localhost, so nothing was sent. Use https://.`,
    );
  }
  return (url.origin + url.pathname).replace(/\/+$/, '');
}

function parse(given: string, page: string): URL | undefined {
  // A bare "chat.example.com" would quietly become a path of the host page; only a leading slash means one.
  const base = given.startsWith('/') ? page : undefined;
  try {
    return new URL(given, base);
  } catch {
    return undefined;
  }
}

function misconfigured(note: string): Failure {
  return new Failure('configuration', null, {note});
}

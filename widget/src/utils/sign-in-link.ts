/**
 * The link of a letter leads to a page with `#chatkit-sign-in=TOKEN`. The token is taken out of the address before
 * anything else can read, share or bookmark it; whatever else the fragment says stays.
 */
const FRAGMENT = /(^#|&)chatkit-sign-in=([^&]*)/;
const TOKEN = /^[A-Za-z0-9_-]{1,128}$/;

/** The token in the page's address, which then holds it no longer; null when there is none. Only the first to ask gets it. */
export function takeSignInToken(): string | null {
  const found = FRAGMENT.exec(location.hash);
  if (!found) return null;
  const rest = location.hash
    .replace(FRAGMENT, (_, before: string) => (before === '#' ? '#' : ''))
    .replace(/^#&?/, '');
  const address = location.pathname + location.search + (rest ? `#${rest}` : '');
  // The page's own state belongs to the page.
  history.replaceState(history.state, '', address);
  const token = found[2]!;
  return TOKEN.test(token) ? token : null;
}

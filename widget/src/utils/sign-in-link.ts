/**
 * Who signs in comes back to a page with something in its fragment: `#chatkit-sign-in=TOKEN` by the link of a letter,
 * `#chatkit-oauth=TOKEN` from an identity provider, or `#chatkit-sign-in-error=WHY` when there it did not go well. It is
 * taken out of the address before anything else can read, share or bookmark it; whatever else the fragment says stays.
 */
const FRAGMENT = /(^#|&)chatkit-(sign-in|oauth|sign-in-error)=([^&]*)/;
const TOKEN = /^[A-Za-z0-9_-]{1,128}$/;

export type SignInLink =
  | {from: 'letter' | 'provider'; token: string}
  /** `why`: `denied` by the visitor, `expired`, `used`, or `failed`. */
  | {from: 'nowhere'; why: string};

/** What is in the page's address, which then holds it no longer; null when there is nothing. Only the first to ask gets it. */
export function takeSignInLink(): SignInLink | null {
  const found = FRAGMENT.exec(location.hash);
  if (!found) return null;
  const rest = location.hash
    .replace(FRAGMENT, (_, before: string) => (before === '#' ? '#' : ''))
    .replace(/^#&?/, '');
  const address = location.pathname + location.search + (rest ? `#${rest}` : '');
  // The page's own state belongs to the page.
  history.replaceState(history.state, '', address);
  const [name, value] = [found[2], found[3]!];
  if (name === 'sign-in-error') return {from: 'nowhere', why: value};
  return TOKEN.test(value) ? {from: name === 'oauth' ? 'provider' : 'letter', token: value} : null;
}

/**
 * The tokens by which the server knows a visitor: a prefix that says what it is, and 256 random bits as base64url.
 */
const RANDOM_BYTES = 32;

const SESSION = /^ck[as]_[A-Za-z0-9_-]{43}$/;

/** A token for an anonymous visitor, which the client may make: nobody else can guess it. */
export function anonymousToken(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(RANDOM_BYTES));
  const base64 = btoa(String.fromCharCode(...bytes));
  return `cka_${base64.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`;
}

/** Whether `value` has the form of a token that may be shown to the server. */
export function isSessionToken(value: unknown): value is string {
  return typeof value === 'string' && SESSION.test(value);
}

import {expect, test} from 'vitest';
import {anonymousToken, isSessionToken} from '../../src/utils/token';

test('an anonymous visitor’s token is what the server takes, and never the same', () => {
  const tokens = Array.from({length: 300}, anonymousToken);
  for (const token of tokens) expect(token).toMatch(/^cka_[A-Za-z0-9_-]{43}$/);
  expect(new Set(tokens).size).toBe(300);
});

test.each([
  [`cks_${'a'.repeat(43)}`, true],
  [`cka_${'-'.repeat(43)}`, true],
  [`ckv_${'a'.repeat(43)}`, false],
  [`cks_${'a'.repeat(42)}`, false],
  [`cks_${'a'.repeat(42)}\n`, false],
  [null, false],
])('%j is shown to the server: %j', (value, shown) => expect(isSessionToken(value)).toBe(shown));

import {expect, test} from 'vitest';
import {safeLink} from '../../src/utils/safe-link';

const BASE = 'https://chat.example.com/api';

test.each([
  ['https://example.com/a', 'https://example.com/a'],
  ['http://example.com/a', 'http://example.com/a'],
  ['/docs/guide#one', 'https://chat.example.com/docs/guide#one'],
])('%s may be followed, to %s', (address, expected) => {
  expect(safeLink(address, BASE)).toBe(expected);
});

test.each([
  'javascript:alert(1)',
  'JaVaScRiPt:alert(1)',
  ' javascript:alert(1)',
  'java\nscript:alert(1)',
  '\u0000javascript:alert(1)',
  'data:text/html,<script>alert(1)</script>',
  'vbscript:x',
  'blob:https://example.com/1',
  'file:///etc/passwd',
  'https://chat.example.com@evil.example/',
  'http://',
  'guide.md',
  '',
  '   ',
  null,
  undefined,
  7,
  {href: 'https://example.com'},
])('%j stays text', (address) => {
  expect(safeLink(address, BASE)).toBeNull();
});

import {expect, test} from 'vitest';
import {codePoints, duration, wellFormed} from '../../src/utils/text';

test.each([
  ['', 0],
  ['abc', 3],
  ['größer', 6],
  ['🙂🙂', 2],
  ['👩‍👩‍👧', 5],
])('%s is %i characters long, as Python counts', (text, expected) => {
  expect(codePoints(text)).toBe(expected);
});

test('half characters, which UTF-8 cannot hold, are replaced; whole ones are kept', () => {
  expect(wellFormed('a\ud83d b\ude42 🙂')).toBe('a\ufffd b\ufffd 🙂');
});

test.each([
  [0.2, '1 s'],
  [12, '12 s'],
  [90, '2 min'],
  [3600, '60 min'],
  [86_400, '24 h'],
])('%d seconds read %s', (seconds, expected) => {
  expect(duration(seconds)).toBe(expected);
});

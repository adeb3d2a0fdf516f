import {expect, test} from 'vitest';
import {Failure, type FailureKind} from '../src/failure';
import {signInWordsFor, wordsFor} from '../src/failure-words';

const KINDS: FailureKind[] = [
  'offline',
  'unreachable',
  'rate_limited',
  'unavailable',
  'too_long',
  'invalid',
  'refused',
  'session_expired',
  'link_invalid',
  'server',
  'cut_off',
  'configuration',
  'widget',
];

test.each(KINDS)('%s says what happened and what one can do, in words of their own', (kind) => {
  const {title, advice} = wordsFor(new Failure(kind, 'a-1', {cause: new Error('ECONNREFUSED at line 7')}));
  expect(title).toMatch(/^[A-Z].*\.$/);
  expect(advice).toMatch(/^[A-Z].*\.$/);
  expect(title + advice).not.toMatch(/ECONN|line 7|undefined|null|HTTP/);
});

test.each(KINDS)('%s while signing in speaks of no question and no answer', (kind) => {
  const {title, advice} = signInWordsFor(new Failure(kind, 'a-1'));
  expect(title).toMatch(/^[A-Z].*\.$/);
  if (['rate_limited', 'invalid', 'unreachable', 'unavailable', 'link_invalid'].includes(kind)) {
    expect(title + advice).not.toMatch(/question|answer/i);
  }
});

test('what is wrong with an address is said in the server’s words', () => {
  const failure = new Failure('invalid', 'a-1', {code: 'invalid_email', note: 'The address has no domain.'});
  expect(signInWordsFor(failure)).toMatchObject({
    title: 'Please check the e-mail address.',
    advice: 'The address has no domain.',
  });
});

test('no two kinds say the same', () => {
  const titles = KINDS.map((kind) => wordsFor(new Failure(kind, null)).title);
  expect(new Set(titles).size).toBe(KINDS.length);
});

test('sending the same again is offered only where it can help', () => {
  const hopeless = KINDS.filter((kind) => !wordsFor(new Failure(kind, null)).retry);
  expect(hopeless).toEqual(['too_long', 'invalid', 'refused', 'link_invalid', 'configuration']);
});

test('whatever is thrown that is no failure is a bug of the widget', () => {
  const bug = new TypeError('x is not a function');
  expect(Failure.from(bug, 'a-1')).toMatchObject({kind: 'widget', requestId: 'a-1', cause: bug});
  const failure = new Failure('server', 'a-2');
  expect(Failure.from(failure, 'a-1')).toBe(failure);
});

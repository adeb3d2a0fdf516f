import {expect, test} from 'vitest';
import {asEnvelope, seconds} from '../../src/utils/envelope';

test('an envelope is read as the server wrote it', () => {
  expect(
    asEnvelope({error: 'rate_limited', message: 'Slow down.', request_id: 'a-1', retry_after: 12}),
  ).toEqual({
    error: 'rate_limited',
    message: 'Slow down.',
    requestId: 'a-1',
    retryAfter: 12,
  });
});

test.each([null, 'error', 7, [], {}, {error: 5, message: 'x'}, {detail: {error: 'x', message: 'y'}}])(
  '%j is no envelope',
  (value) => expect(asEnvelope(value)).toBeUndefined(),
);

test('a page that a proxy put where the message belongs is not shown as one', () => {
  expect(asEnvelope({error: 'x', message: 'z'.repeat(301)})).toBeUndefined();
});

test('an ID that is none is not taken over', () => {
  expect(asEnvelope({error: 'x', message: 'y', request_id: '<img>'})?.requestId).toBeNull();
});

test.each([
  [12, 12],
  ['12', 12],
  [0, 1],
  [0.2, 1],
  [-1, undefined],
  [Infinity, undefined],
  [Number.NaN, undefined],
  ['', undefined],
  ['Wed, 21 Oct 2026 07:28:00 GMT', undefined],
  [null, undefined],
])('%j means %j seconds', (value, expected) => {
  expect(seconds(value)).toBe(expected);
});

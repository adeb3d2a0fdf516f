import {afterEach, beforeEach, expect, test, vi} from 'vitest';
import {Patience} from '../../src/utils/patience';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const never = new AbortController().signal;

test('silence ends it', () => {
  const patience = new Patience(30_000, never);
  vi.advanceTimersByTime(29_999);
  expect(patience.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(patience.signal.aborted).toBe(true);
});

test('as long as something is heard now and then, it lasts', () => {
  const patience = new Patience(30_000, never);
  for (let heartbeat = 0; heartbeat < 100; heartbeat += 1) {
    vi.advanceTimersByTime(10_000);
    patience.renew();
  }
  expect(patience.signal.aborted).toBe(false);
});

test('whoever waits can give up, at any time and also beforehand', () => {
  const visitor = new AbortController();
  const patience = new Patience(30_000, visitor.signal);
  visitor.abort();
  expect(patience.signal.aborted).toBe(true);
  expect(new Patience(30_000, visitor.signal).signal.aborted).toBe(true);
});

test('once it is ending, nothing that is heard makes it last', () => {
  const patience = new Patience(30_000, never);
  patience.endWithin(2_000);
  vi.advanceTimersByTime(1_500);
  patience.renew();
  patience.endWithin(2_000);
  vi.advanceTimersByTime(500);
  expect(patience.signal.aborted).toBe(true);
});

test('it leaves no timer behind', () => {
  const visitor = new AbortController();
  const patience = new Patience(30_000, visitor.signal);
  patience.renew();
  visitor.abort();
  patience.endWithin(2_000);
  expect(vi.getTimerCount()).toBe(0);
});

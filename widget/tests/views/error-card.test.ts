// @vitest-environment happy-dom
import {afterEach, beforeEach, expect, test, vi} from 'vitest';
import {Failure} from '../../src/failure';
import {createErrorUI} from '../../src/utils/error-boundary';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function retryOf(card: HTMLElement): HTMLButtonElement | null {
  return card.querySelector('[data-test="retry"]');
}

test('a card is an alert that says what happened, what to do, and what to quote', () => {
  const card = createErrorUI(new Failure('server', 'abc123-def456'));
  expect(card.getAttribute('role')).toBe('alert');
  expect(card.textContent).toMatch(/went wrong on our side.*Please try again.*Reference ID: abc123-def456/);
});

test('where nothing was sent there is nothing to quote', () => {
  expect(createErrorUI(new Failure('widget', null)).textContent).not.toContain('Reference');
});

test('a rate limit counts down, and only then lets one try again', () => {
  let tries = 0;
  const card = createErrorUI(new Failure('rate_limited', 'a-1', {retryAfter: 12}), () => (tries += 1));
  const retry = retryOf(card)!;
  expect(retry.textContent).toBe('Try again in 12 s');
  expect(retry.disabled).toBe(true);
  retry.click();
  vi.advanceTimersByTime(5_000);
  expect(retry.textContent).toBe('Try again in 7 s');
  vi.advanceTimersByTime(7_000);
  expect(retry.textContent).toBe('Try again');
  retry.click();
  expect(tries).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
});

test('the seconds that pass are not read out', () => {
  const card = createErrorUI(new Failure('rate_limited', 'a-1', {retryAfter: 12}), () => undefined);
  expect(retryOf(card)!.getAttribute('aria-live')).toBe('off');
});

test('the countdown goes by the clock, also when timers run late', () => {
  const retry = retryOf(createErrorUI(new Failure('unavailable', 'a-1', {retryAfter: 60}), () => undefined))!;
  vi.setSystemTime(Date.now() + 58_500);
  vi.advanceTimersByTime(1_000);
  expect(retry.textContent).toBe('Try again in 1 s');
});

test('a retry that fails does not throw into the page', () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const card = createErrorUI(new Failure('server', 'a-1'), () => {
    throw new TypeError('a bug');
  });
  expect(() => retryOf(card)!.click()).not.toThrow();
  expect(console.error).toHaveBeenCalled();
});

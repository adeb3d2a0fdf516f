import {beforeEach, expect, test, vi} from 'vitest';
import {guarded} from '../../src/utils/guard';
import {ENOUGH_MS} from '../support/server';

const BUG = new Error('a bug');

beforeEach(() => void vi.spyOn(console, 'error').mockImplementation(() => undefined));

test('what is thrown goes to the handler and not to the caller', () => {
  const caught: unknown[] = [];
  const work = guarded(
    () => {
      throw BUG;
    },
    (error) => caught.push(error),
  );
  expect(() => work()).not.toThrow();
  expect(caught).toEqual([BUG]);
});

test('a rejection goes to the handler too', async () => {
  const caught: unknown[] = [];
  guarded(
    () => Promise.reject(BUG),
    (error) => caught.push(error),
  )();
  await vi.waitFor(() => expect(caught).toEqual([BUG]), ENOUGH_MS);
});

test('a handler that throws as well does not reach the caller either', () => {
  const fails = (): never => {
    throw BUG;
  };
  expect(() => guarded(fails, fails)()).not.toThrow();
});

test("the page's developer finds the cause in the console", () => {
  guarded(() => {
    throw BUG;
  })();
  expect(console.error).toHaveBeenCalledWith('[chatkit]', BUG);
});

test('work that succeeds gets its arguments and troubles nobody', () => {
  const sums: number[] = [];
  const add = guarded(
    (a: number, b: number) => sums.push(a + b),
    () => sums.push(Number.NaN),
  );
  add(2, 3);
  expect(sums).toEqual([5]);
});

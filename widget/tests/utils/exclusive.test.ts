// @vitest-environment happy-dom
import {afterEach, beforeEach, expect, test, vi} from 'vitest';
import {exclusively} from '../../src/utils/exclusive';
import {pause} from '../support/server';
import {freshBrowser} from '../support/browser';

beforeEach(() => {
  freshBrowser();
  // As on a page that is served over plain HTTP.
  vi.stubGlobal('navigator', {});
});
afterEach(() => vi.unstubAllGlobals());

/** Runs `count` pieces of work at once, and says how many were ever done at the same time. */
async function crowd(count: number): Promise<number> {
  let inside = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    most = Math.max(most, (inside += 1));
    await pause(5);
    inside -= 1;
  };
  await Promise.all(Array.from({length: count}, () => exclusively('door', work)));
  return most;
}

test('without locks of the browser, one at a time by a lease', async () => {
  expect(await crowd(4)).toBe(1);
});

test('with locks of the browser, they are used', async () => {
  const asked: string[] = [];
  const locks = {
    request: (name: string, work: () => Promise<unknown>) => {
      asked.push(name);
      return work();
    },
  };
  vi.stubGlobal('navigator', {locks});
  expect(await exclusively('door', () => Promise.resolve(7))).toBe(7);
  expect(asked).toEqual(['door']);
  expect(localStorage.length).toBe(0);
});

test('what fails lets the next one in, and is thrown', async () => {
  await expect(exclusively('door', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await exclusively('door', () => Promise.resolve('in'))).toBe('in');
});

test('the lease of a tab that died, or of a clock that was wrong, is waited for no longer than it lasts', async () => {
  const key = 'door lease';
  localStorage.setItem(key, JSON.stringify({holder: 'dead', until: Date.now() + 120}));
  const begun = Date.now();
  await exclusively('door', () => Promise.resolve());
  expect(Date.now() - begun).toBeGreaterThanOrEqual(115);
  localStorage.setItem(key, JSON.stringify({holder: 'tomorrow', until: Date.now() + 86_400_000}));
  await exclusively('door', () => Promise.resolve());
  localStorage.setItem(key, '"nonsense"');
  await exclusively('door', () => Promise.resolve());
});

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

/** The locks of one browser, for any number of tabs: who asks for one that is held waits in line. */
class Locks {
  readonly #lines = new Map<string, Promise<unknown>>();
  readonly held = new Set<string>();

  async request<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#lines.get(name) ?? Promise.resolve();
    const turn = before.then(async () => {
      this.held.add(name);
      return await work().finally(() => this.held.delete(name));
    });
    this.#lines.set(
      name,
      turn.catch(() => undefined),
    );
    return await turn;
  }

  query(): Promise<unknown> {
    return Promise.resolve({held: [...this.held].map((name) => ({name}))});
  }
}

test('with locks of the browser, they are used', async () => {
  const locks = new Locks();
  vi.stubGlobal('navigator', {locks});
  expect(await exclusively('door', () => Promise.resolve([...locks.held]))).toEqual(['door']);
  expect(await crowd(4)).toBe(1);
});

test('a turn begins when what was kept in the one before has been heard of, though the lock is free sooner', async () => {
  const locks = new Locks();
  vi.stubGlobal('navigator', {locks});
  await exclusively('door', () => Promise.resolve(localStorage.setItem('who', 'the first')));
  // Another tab: its copy of the storage is still that of a moment ago.
  const known = {...localStorage};
  localStorage.clear();
  const second = exclusively('door', () => Promise.resolve(localStorage.getItem('who')));
  await pause(120);
  for (const [key, value] of Object.entries(known)) localStorage.setItem(key, value);
  expect(await second).toBe('the first');
});

test('turns are numbered on, also when the locks that told of them are gone', async () => {
  const turns = async (locks: Locks): Promise<string[]> => {
    vi.stubGlobal('navigator', {locks});
    await exclusively('door', () => Promise.resolve());
    return [...locks.held];
  };
  const locks = new Locks();
  expect(await turns(locks)).toEqual(['door turn 1']);
  expect(await turns(locks)).toEqual(['door turn 1', 'door turn 2']);
  expect(await turns(new Locks())).toEqual(['door turn 3']);
  localStorage.setItem('door turn', '"nonsense"');
  expect(await turns(new Locks())).toEqual(['door turn 1']);
});

test('locks that refuse keep nobody out', async () => {
  const locks = {
    request: (name: string, work: () => Promise<unknown>) =>
      name === 'door' ? work() : Promise.reject(new Error('not now')),
    query: () => Promise.reject(new Error('not now')),
  };
  vi.stubGlobal('navigator', {locks});
  expect(await exclusively('door', () => Promise.resolve('in'))).toBe('in');
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

import {expect, test} from 'vitest';
import {Shelf} from '../../src/utils/storage';

/** As much of a browser's storage as is used. */
function area(): Storage {
  const kept = new Map<string, string>();
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  } as unknown as Storage;
}

test('what is kept is found by whoever looks at the same storage', () => {
  const storage = area();
  new Shelf(() => storage).set('a', {b: [1, null]});
  expect(new Shelf(() => storage).get('a')).toEqual({b: [1, null]});
  new Shelf(() => storage).remove('a');
  expect(new Shelf(() => storage).get('a')).toBeUndefined();
});

test('where storage is blocked, it lasts as long as the page', () => {
  const shelf = new Shelf(() => {
    throw new DOMException('denied', 'SecurityError');
  });
  shelf.set('a', 1);
  expect(shelf.get('a')).toBe(1);
  shelf.remove('a');
  expect(shelf.get('a')).toBeUndefined();
});

test('when storage is full, the newest value counts all the same', () => {
  const storage = area();
  const shelf = new Shelf(() => storage);
  shelf.set('a', 'old');
  const {setItem} = storage;
  storage.setItem = () => {
    throw new DOMException('full', 'QuotaExceededError');
  };
  shelf.set('a', 'new');
  expect(shelf.get('a')).toBe('new');
  storage.setItem = setItem;
  shelf.set('a', 'newest');
  expect(new Shelf(() => storage).get('a')).toBe('newest');
});

test('what somebody else has written there is nothing', () => {
  const storage = area();
  storage.setItem('a', '{not json');
  expect(new Shelf(() => storage).get('a')).toBeUndefined();
});

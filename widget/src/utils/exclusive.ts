/**
 * One tab at a time. The browser's own locks where there are some (they need HTTPS or localhost, and let go of a tab that
 * died); elsewhere a lease in the storage that all tabs share.
 *
 * A lock can pass to another tab sooner than what was kept under it: each process of a browser has a copy of the storage,
 * and hears of changes a little later. So turns are numbered. Whose turn has ended keeps its number, last, and for a while
 * holds a lock of that name; whose turn begins sees in the locks, which are the same for all, up to which number to wait.
 */
import {lasting} from './storage';
import {generateRequestId} from './http';

// Longer than whatever is done under a lease: it only ends the wait for a tab that was closed in the middle.
const LEASE_MS = 20_000;
const LOOK_MS = 50;
// How long it is told by a lock which turn was the last; by then everybody has heard.
const TOLD_MS = 10_000;
// A tab whose browser keeps nothing waits no longer for what it will never hear.
const HEARD_MS = 5_000;
// Two tabs that found it free at the same moment have both written by then, and see whose lease it is.
const SETTLE_MS = 30;

interface Lease {
  holder: string;
  until: number;
}

/** Do `work` while no other tab of this origin does any under the same `name`. Throws what `work` throws. */
export async function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  const locks = typeof navigator === 'undefined' ? undefined : navigator.locks;
  if (!locks) return await underLease(`${name} lease`, work);
  return await locks.request(name, async () => {
    const turn = 1 + (await lastTurn(locks, `${name} turn`));
    try {
      return await work();
    } finally {
      await told(locks, `${name} turn`, turn);
    }
  });
}

/** The number of the last turn, when all that was kept in it is known here. */
async function lastTurn(locks: LockManager, key: string): Promise<number> {
  const numbers = await locks.query().then(
    ({held = []}) =>
      held.map((lock) => (lock.name?.startsWith(key) ? numbered(lock.name.slice(key.length)) : 0)),
    () => [],
  );
  const last = Math.max(0, ...numbers);
  // By the clock: in a tab that nobody looks at, timers come late.
  const until = performance.now() + HEARD_MS;
  while (kept(key) < last && performance.now() < until) await pause(LOOK_MS);
  return Math.max(last, kept(key));
}

/** All that was kept in this turn was kept before its number is. Resolves when the next one can see that number. */
async function told(locks: LockManager, key: string, turn: number): Promise<void> {
  lasting.set(key, turn);
  await new Promise<void>((resolve) => {
    const hold = (): Promise<void> => {
      resolve();
      return pause(TOLD_MS);
    };
    locks.request(`${key} ${turn}`, hold).catch(() => resolve());
  });
}

function kept(key: string): number {
  return numbered(lasting.get(key));
}

function numbered(value: unknown): number {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : 0;
}

async function underLease<T>(key: string, work: () => Promise<T>): Promise<T> {
  const holder = generateRequestId();
  while (!(await taken(key, holder))) await pause(LOOK_MS);
  try {
    return await work();
  } finally {
    if (held(key)?.holder === holder) lasting.remove(key);
  }
}

async function taken(key: string, holder: string): Promise<boolean> {
  if (held(key)) return false;
  lasting.set(key, {holder, until: Date.now() + LEASE_MS} satisfies Lease);
  await pause(SETTLE_MS);
  return held(key)?.holder === holder;
}

function held(key: string): Lease | undefined {
  const lease = lasting.get(key) as Partial<Lease> | null | undefined;
  // One from the future is of a clock that was put back since.
  const left = typeof lease?.until === 'number' ? lease.until - Date.now() : 0;
  return left > 0 && left <= LEASE_MS && typeof lease?.holder === 'string' ? (lease as Lease) : undefined;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * One tab at a time. The browser's own locks where there are some (they need HTTPS or localhost, and let go of a tab that
 * died); elsewhere a lease in the storage that all tabs share.
 */
import {lasting} from './storage';
import {generateRequestId} from './http';

// Longer than whatever is done under a lease: it only ends the wait for a tab that was closed in the middle.
const LEASE_MS = 20_000;
const LOOK_MS = 50;
// Two tabs that found it free at the same moment have both written by then, and see whose lease it is.
const SETTLE_MS = 30;

interface Lease {
  holder: string;
  until: number;
}

/** Do `work` while no other tab of this origin does any under the same `name`. Throws what `work` throws. */
export async function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  const locks = typeof navigator === 'undefined' ? undefined : navigator.locks;
  if (locks) return await locks.request(name, work);
  return await underLease(`${name} lease`, work);
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

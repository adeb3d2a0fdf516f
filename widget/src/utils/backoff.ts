/**
 * How long to wait before the next attempt: longer each time, by a little chance, and for the network to come back.
 */
const OFFLINE_MS = 60_000;

/** Wait for `ms`, give or take a quarter, so that not all who lost a server return at once; and while offline, for the network. */
export async function waitBefore(ms: number, signal: AbortSignal): Promise<void> {
  await pause(ms * (0.75 + Math.random() / 2), signal);
  if (isOffline()) await online(signal);
}

export function isOffline(): boolean {
  return typeof navigator !== 'undefined' && navigator.onLine === false;
}

function online(signal: AbortSignal): Promise<void> {
  const back = new AbortController();
  const heard = (): void => back.abort();
  if (typeof addEventListener === 'function') addEventListener('online', heard, {signal});
  return pause(OFFLINE_MS, AbortSignal.any([signal, back.signal])).finally(() => {
    if (typeof removeEventListener === 'function') removeEventListener('online', heard);
  });
}

/** Over after `ms`, or at once when `signal` aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    signal.addEventListener('abort', over);
    if (signal.aborted) over();
  });
}

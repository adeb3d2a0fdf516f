/**
 * A button that can be used again in a while, and says in how long.
 */
import {duration} from '../utils/text';

/** Keep `button` disabled for `seconds`, with the time left in its label (`waiting` and how long); then it reads `ready`. */
export function countDown(
  button: HTMLButtonElement,
  seconds: number,
  ready: string,
  waiting = 'Try again',
): void {
  // Measured against the clock, because a timer in a background tab, or on a laptop that sleeps, runs late.
  const end = Date.now() + seconds * 1_000;
  const tick = (): void => {
    const left = (end - Date.now()) / 1_000;
    button.disabled = left > 0;
    button.textContent = left > 0 ? `${waiting} in ${duration(left)}` : ready;
    if (left > 0) setTimeout(tick, Math.min(1_000, left * 1_000));
  };
  tick();
}

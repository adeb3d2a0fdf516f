/**
 * The wall between the widget's code and the page that hosts it.
 */

/**
 * `work`, made safe to hand to the browser as a listener or callback: what it throws, or rejects with, goes to
 * `onFailure` (and the console), and never to the host page.
 */
export function guarded<Arguments extends unknown[]>(
  work: (...args: Arguments) => unknown,
  onFailure?: (error: unknown) => void,
): (...args: Arguments) => void {
  const caught = (error: unknown): void => {
    try {
      // The developer of the page gets the cause; the visitor gets the card.
      console.error('[chatkit]', error);
      onFailure?.(error);
    } catch {
      // Not even the card could be shown: the page still must not suffer for it.
    }
  };
  return (...args) => {
    try {
      const result = work(...args);
      if (result instanceof Promise) result.catch(caught);
    } catch (error) {
      caught(error);
    }
  };
}

/**
 * Text, measured and cleaned the way the server does it, so that both agree on what fits.
 */

/** How many characters Python would count: code points, not UTF-16 units. */
export function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** `text` without half characters, which JSON can carry but UTF-8 cannot. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

/** `seconds` for people: "12 s", "3 min", "2 h"; rounded up, so that it is never over sooner than it says. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.ceil(seconds / 60)} min`;
  return `${Math.ceil(seconds / 3600)} h`;
}

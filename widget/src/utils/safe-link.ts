/**
 * Which of a source's addresses may become a link: http and https, and paths on the server that answered. Everything
 * else (javascript:, data:, blob:, file:, …) stays text.
 */

/** `address` as an absolute link, resolved against `base` (where the answer came from); null when it may not be one. */
export function safeLink(address: unknown, base: string): string | null {
  if (typeof address !== 'string' || address.trim() === '') return null;
  // A bare "guide.md" names a file that was read, not a place that can be visited.
  if (!/^(https?:|\/)/i.test(address.trim())) return null;
  let url: URL;
  try {
    url = new URL(address, base);
  } catch {
    return null;
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return null;
  // "https://trusted.example@evil.example/" reads as one place and leads to another.
  if (url.username || url.password) return null;
  return url.href;
}

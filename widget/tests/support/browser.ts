/**
 * A browser that nobody has used yet.
 */

/** Forget what is kept in this browser, and be at `address` (not over HTTPS, or nothing on this machine could be asked). */
export function freshBrowser(address = 'http://localhost:3000/help?page=3'): void {
  localStorage.clear();
  sessionStorage.clear();
  (window as unknown as {happyDOM: {setURL(url: string): void}}).happyDOM.setURL(address);
}

/**
 * Small values, kept as JSON beyond the page. Where the browser keeps nothing (blocked, full, a private window), they
 * last as long as the page does, and nobody has to care.
 */
export class Shelf {
  readonly #area: () => Storage;
  readonly #unkept = new Map<string, string>();

  /** `area` may throw: browsers that block storage do so when it is only looked at. */
  constructor(area: () => Storage) {
    this.#area = area;
  }

  /** What is kept under `key`: any JSON value, believed to be nothing in particular; undefined when there is none. */
  get(key: string): unknown {
    const text = this.#unkept.get(key) ?? this.#attempt((area) => area.getItem(key));
    if (text === undefined || text === null) return undefined;
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  }

  set(key: string, value: unknown): void {
    const text = JSON.stringify(value);
    const kept = this.#attempt((area) => {
      area.setItem(key, text);
      return true;
    });
    if (kept) this.#unkept.delete(key);
    else this.#unkept.set(key, text);
  }

  remove(key: string): void {
    this.#unkept.delete(key);
    this.#attempt((area) => area.removeItem(key));
  }

  #attempt<T>(work: (area: Storage) => T): T | undefined {
    try {
      return work(this.#area());
    } catch {
      return undefined;
    }
  }
}

/** Kept for all tabs, and for the next visit. */
export const lasting = new Shelf(() => localStorage);

/** Kept for this tab, over reloads and from page to page of a site. */
export const ofThisTab = new Shelf(() => sessionStorage);

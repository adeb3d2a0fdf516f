/**
 * How long silence is borne. A signal that aborts when nothing was heard for a while, or when whoever waits gives up.
 */
export class Patience {
  readonly #controller = new AbortController();
  readonly #ms: number;
  readonly #outer: AbortSignal;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ending = false;

  /** `outer` aborts this one too. */
  constructor(ms: number, outer: AbortSignal) {
    this.#ms = ms;
    this.#outer = outer;
    outer.addEventListener('abort', this.#giveUp);
    if (outer.aborted) this.#giveUp();
    else this.renew();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something was heard: the wait begins anew. */
  renew(): void {
    if (!this.#ending) this.#giveUpIn(this.#ms);
  }

  /** What was waited for is over, one way or the other: give up in `ms`, whatever is heard until then. */
  endWithin(ms: number): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#giveUpIn(ms);
  }

  #giveUpIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#giveUp, ms);
  }

  readonly #giveUp = (): void => {
    this.#ending = true;
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#giveUp);
    this.#controller.abort();
  };
}

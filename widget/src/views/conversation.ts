/**
 * The scrolling list of turns. It follows an answer that is being written until its question reaches the top, and
 * then stays, so that one can read from the beginning; whoever scrolls is left alone.
 */
import {h, hook} from './dom';

const GAP_PX = 16;
// Browsers tell screen readers of changes a little later than they happen.
const READ_OUT_AFTER_MS = 300;

export class ConversationView {
  readonly element = h('div', {
    class: 'log',
    role: 'log',
    'aria-live': 'polite',
    'aria-label': 'Conversation',
    tabindex: '0',
    ...hook('log'),
  });
  #followed: HTMLElement | null = null;
  #scheduled = false;

  constructor() {
    for (const gesture of ['wheel', 'touchmove', 'keydown'] as const) {
      this.element.addEventListener(gesture, () => (this.#followed = null), {passive: true});
    }
  }

  /** Do `work` without its being read out: it brings back what was read before. */
  quietly(work: () => void): void {
    this.element.setAttribute('aria-live', 'off');
    try {
      work();
    } finally {
      setTimeout(() => this.element.setAttribute('aria-live', 'polite'), READ_OUT_AFTER_MS);
    }
  }

  /** From now on keep up with `turn`. */
  follow(turn: HTMLElement): void {
    this.#followed = turn;
    this.keepUp();
  }

  /** `turn` has grown. At most one scroll a frame, however fast the words come. */
  keepUp(): void {
    if (!this.#followed || this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      if (this.#followed) this.element.scrollTop = this.#followed.offsetTop - GAP_PX;
    });
  }

  /** Show `element` to whoever was following; it is what became of the answer. */
  endOn(element: HTMLElement): void {
    if (this.#followed) this.reveal(element);
  }

  /** Scroll the log, and never the host page, so that `element` is seen. */
  readonly reveal = (element: HTMLElement): void => {
    this.#followed = null;
    const log = this.element.getBoundingClientRect();
    const box = element.getBoundingClientRect();
    if (box.top < log.top + GAP_PX) this.element.scrollTop += box.top - log.top - GAP_PX;
    else if (box.bottom > log.bottom - GAP_PX) this.element.scrollTop += box.bottom - log.bottom + GAP_PX;
  };
}

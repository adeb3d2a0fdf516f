/**
 * What became of a letter, asked now and then while somebody waits for it: never often, and not while nobody looks.
 */
import {guarded} from '../utils/guard';
import type {SignIn} from './sign-in';

const EVERY_MS = 10_000;

export class LetterWatch {
  readonly #signIn: SignIn;
  readonly #news: (news: 'verified' | 'expired') => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When it was last asked, or begun to wait; in milliseconds since 1970. */
  #asked = 0;

  /** `news` is called when the letter that was waited for has come to its end. */
  constructor(signIn: SignIn, news: (news: 'verified' | 'expired') => void) {
    this.#signIn = signIn;
    this.#news = news;
  }

  /** Somebody looks. */
  start(): void {
    this.stop();
    if (this.#signIn.letter === null) return;
    // A letter that has only just been asked for has not been read.
    if (this.#asked === 0) this.#asked = Date.now();
    const left = Math.max(0, this.#asked + EVERY_MS - Date.now());
    this.#timer = setTimeout(
      guarded(() => this.#ask()),
      left,
    );
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #ask(): Promise<void> {
    const letter = this.#signIn.letter;
    if (letter === null) return;
    const timer = this.#timer;
    this.#asked = Date.now();
    // That it is not known at this moment is of no importance: it is asked again.
    const state = await this.#signIn.status(letter).catch(() => 'pending' as const);
    if (this.#timer !== timer) return;
    if (state === 'pending' || this.#signIn.letter?.verificationId !== letter.verificationId) this.start();
    else this.#news(state);
  }
}

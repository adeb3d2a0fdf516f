/**
 * From an address to a session: asks for letters, remembers that one is on its way (also in other tabs and after a
 * reload), and spends the token of its link.
 */
import type {Failure} from '../failure';
import {lasting} from '../utils/storage';
import {AuthClient, type VerificationState} from './auth-client';
import {recommendations, saveConversation} from './conversations';
import {isConversationId, type Source} from './messages';
import type {Session} from './session';

/** A letter that was asked for. Times are in milliseconds since 1970. */
export interface Letter {
  verificationId: string;
  email: string;
  /** What was on the screen where it was asked for; its link is opened in another tab. */
  conversationId: string | null;
  /** Before that no other should be asked for. */
  againAt: number;
  /** After that it is no news any more. */
  forgottenAt: number;
}

// What a mail server takes when it is slow; the server has limits of its own.
const AGAIN_MS = 30_000;
const FORGOTTEN_MS = 60 * 60 * 1_000;
const LONGEST_PAGE_URL = 2000;
const READ_NEXT = 3;

export class SignIn {
  readonly #base: string;
  readonly #key: string;
  readonly #session: Session;
  readonly #auth: AuthClient;

  constructor(apiBase: string, session: Session) {
    this.#base = apiBase;
    this.#key = `chatkit letter ${apiBase}`;
    this.#session = session;
    this.#auth = new AuthClient(apiBase);
  }

  /** The letter that is on its way; null when there is none. */
  get letter(): Letter | null {
    const letter = asLetter(lasting.get(this.#key));
    return letter && letter.forgottenAt > Date.now() ? letter : null;
  }

  /** Have a link sent to `email`, whose owner agrees. Throws ``Failure``. */
  async send(email: string, conversationId: string | null): Promise<void> {
    const {verificationId} = await this.#auth.signUp(email, linkTarget(location));
    this.#sent(email, verificationId, conversationId);
  }

  /** Have another one sent to the same address. Throws ``Failure``. */
  async sendAgain({email, conversationId}: Letter): Promise<void> {
    const {verificationId} = await this.#auth
      .resend(email, linkTarget(location))
      .catch((failure: Failure) => {
        const letter = this.letter;
        if (letter && failure.retryAfter) {
          lasting.set(this.#key, {...letter, againAt: Date.now() + failure.retryAfter * 1_000});
        }
        throw failure;
      });
    this.#sent(email, verificationId, conversationId);
  }

  /** No letter is waited for any more. */
  forget(): void {
    lasting.remove(this.#key);
  }

  /** What became of the letter. Throws ``Failure``. */
  async status(letter: Letter): Promise<VerificationState> {
    return await this.#auth.status(letter.verificationId);
  }

  /**
   * Spend the token of a link: the visitor is signed in. The conversation that was on the screen where it was asked for,
   * if that was in this browser. Throws ``Failure``.
   */
  async finish(linkToken: string): Promise<string | null> {
    const opened = await this.#auth.verify(linkToken, this.#session.anonymous);
    const conversationId = this.letter?.email === opened.email ? this.letter.conversationId : null;
    this.#session.begin(opened);
    this.forget();
    return conversationId;
  }

  /** Keep a conversation of the account's for good. Throws ``Failure``. */
  async keep(conversationId: string): Promise<void> {
    await saveConversation(this.#base, await this.#session.token(), conversationId);
  }

  /** A few pages that the visitor may want to read; none when that is not known just now. */
  async toRead(): Promise<Source[]> {
    const token = this.#session.account;
    return token === null ? [] : await recommendations(this.#base, token, READ_NEXT).catch(() => []);
  }

  #sent(email: string, verificationId: string, conversationId: string | null): void {
    const now = Date.now();
    const letter: Letter = {
      verificationId,
      email,
      conversationId,
      againAt: now + AGAIN_MS,
      forgottenAt: now + FORGOTTEN_MS,
    };
    lasting.set(this.#key, letter);
  }
}

/** Where the link leads: to this very page, with its query, which may be what makes it this page. */
export function linkTarget({protocol, origin, pathname, search}: Location): string | null {
  if (!/^https?:$/.test(protocol)) return null;
  const address = origin + pathname + search;
  return address.length <= LONGEST_PAGE_URL ? address : null;
}

function asLetter(value: unknown): Letter | null {
  if (typeof value !== 'object' || value === null) return null;
  const {verificationId, email, conversationId, againAt, forgottenAt} = value as Record<string, unknown>;
  if (typeof verificationId !== 'string' || typeof email !== 'string') return null;
  if (typeof againAt !== 'number' || typeof forgottenAt !== 'number') return null;
  return {
    verificationId,
    email,
    conversationId: isConversationId(conversationId) ? conversationId : null,
    againAt,
    forgottenAt,
  };
}

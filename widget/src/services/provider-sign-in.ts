/**
 * Signing in with an identity provider: the browser goes there and comes back, to this tab. What it needs to go on is
 * kept in the tab, so that nobody else who gets the token in the address can use it.
 */
import {Failure} from '../failure';
import {ofThisTab} from '../utils/storage';
import {AuthClient, type Provider} from './auth-client';
import {isConversationId} from './messages';
import type {Session} from './session';
import {linkTarget} from './sign-in';

interface Begun {
  flow: string;
  /** What was on the screen when the browser went. */
  conversationId: string | null;
}

export class ProviderSignIn {
  readonly #key: string;
  readonly #session: Session;
  readonly #auth: AuthClient;
  #offered: Promise<Provider[]> | null = null;

  constructor(apiBase: string, session: Session) {
    this.#key = `chatkit provider ${apiBase}`;
    this.#session = session;
    this.#auth = new AuthClient(apiBase);
  }

  /** With whom one can sign in here; asked once, and with nobody as long as that is not known. */
  async offered(): Promise<readonly Provider[]> {
    this.#offered ??= this.#auth.providers().catch(() => {
      this.#offered = null;
      return [];
    });
    return await this.#offered;
  }

  /**
   * Where to send the browser to sign in with the provider `id`; for who is signed in, to add it to their account.
   * Throws ``Failure``.
   */
  async begin(id: string, conversationId: string | null): Promise<string> {
    const {url, flow} = await this.#auth.begin(id, linkTarget(location), this.#session.account);
    ofThisTab.set(this.#key, {flow, conversationId} satisfies Begun);
    return url;
  }

  /** The browser is back with `token`: the visitor is signed in. The conversation they left. Throws ``Failure``. */
  async finish(token: string): Promise<string | null> {
    const begun = asBegun(ofThisTab.get(this.#key));
    if (begun === null) throw over(null, 'It was begun in another tab. Please begin again here.');
    const shown = this.#session.account ?? this.#session.anonymous;
    try {
      this.#session.begin(await this.#auth.finish(token, begun.flow, shown));
    } catch (error) {
      const failure = Failure.from(error, null);
      // Only what the server never heard can be sent again.
      if (failure.kind === 'offline' || failure.kind === 'unreachable') throw failure;
      ofThisTab.remove(this.#key);
      if (failure.kind !== 'link_invalid') throw failure;
      throw over(failure.requestId, 'This sign-in was used before, or took too long. Please begin again.');
    }
    ofThisTab.remove(this.#key);
    return begun.conversationId;
  }
}

function over(requestId: string | null, note: string): Failure {
  return new Failure('refused', requestId, {note});
}

function asBegun(value: unknown): Begun | null {
  if (typeof value !== 'object' || value === null) return null;
  const {flow, conversationId} = value as Record<string, unknown>;
  if (typeof flow !== 'string') return null;
  return {flow, conversationId: isConversationId(conversationId) ? conversationId : null};
}

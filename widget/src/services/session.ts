/**
 * Who the visitor is to the server, the same in all tabs. What is kept in the browser is the only truth: it is read
 * anew each time it is needed, so that no tab goes by what another has changed.
 *
 *     anonymous ──begin──► logged in ──refused──► anonymous, who was somebody ("expired")
 *         ▲                   │  ▲ └──refreshed, in good time, by one tab at a time
 *         └──────────end──────┘  └──begin
 *
 * A refresh ends the old token at once, and to present it for another would end every session of its family. So it is
 * marked before a refresh is sent; who finds the mark asks how the session stands before doing anything else.
 */
import {Failure} from '../failure';
import {exclusively} from '../utils/exclusive';
import {guarded} from '../utils/guard';
import {lasting} from '../utils/storage';
import {anonymousToken} from '../utils/token';
import {AuthClient, type Opened} from './auth-client';
import {asKept, NOBODY, standingOf, type Kept, type Standing} from './kept';

/** Refreshed when it ends sooner than this, of 24 hours: whoever comes once a day stays signed in. */
const REFRESH_BEFORE_MS = 60 * 60 * 1_000;
// Browsers take longer delays for none at all.
const LONGEST_DELAY_MS = 2 ** 31 - 1;
const AGAIN_MS = 60_000;

export class Session {
  readonly #key: string;
  readonly #auth: AuthClient;
  readonly #listeners = new Set<() => void>();
  #refreshing: Promise<void> | null = null;
  /** The anonymous token that this tab showed before another signed in. */
  #former: string | null = null;
  #shown: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `apiBase` comes from `resolveApiBase`; each server knows its visitors by other tokens. */
  constructor(apiBase: string) {
    this.#key = `chatkit session ${apiBase}`;
    this.#auth = new AuthClient(apiBase);
    if (typeof addEventListener === 'function') {
      addEventListener(
        'storage',
        guarded((event: StorageEvent) => this.#heard(event)),
      );
    }
    this.#watch();
  }

  get standing(): Standing {
    return standingOf(this.#kept());
  }

  /** Call `listener` whenever the standing may have changed, in this tab or another; the result stops that. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#watch();
    return () => {
      this.#listeners.delete(listener);
      this.#watch();
    };
  }

  /** The token to show. Throws ``Failure`` of kind `session_expired`, once, when the account's session has ended. */
  async token(): Promise<string> {
    if (this.#isDue(this.#kept())) await this.#refreshed();
    const kept = this.#kept();
    if (kept.kind === 'account') return kept.token;
    const token = kept.token ?? anonymousToken();
    if (kept.token === null) this.#keep({...kept, token});
    this.#shown = token;
    return token;
  }

  /** The token of an anonymous visitor who has one. */
  get anonymous(): string | null {
    const kept = this.#kept();
    return kept.kind === 'anonymous' ? kept.token : null;
  }

  /** The token of an account's session, if there is one. */
  get account(): string | null {
    const kept = this.#kept();
    return kept.kind === 'account' ? kept.token : null;
  }

  /**
   * The server would not have `token`. What that means: `renewed`, another tab had changed it in the meantime;
   * `forgotten`, an anonymous visitor begins anew; `expired`, an account's session has ended.
   */
  async refused(token: string): Promise<'renewed' | 'forgotten' | 'expired'> {
    // A refresh that another tab has sent may not have been answered yet.
    return await exclusively(this.#key, async () => {
      const kept = this.#kept();
      if (kept.token !== token) return 'renewed';
      if (kept.kind === 'account') return this.#expire(kept.email);
      this.#keep({...kept, token: null});
      return 'forgotten';
    });
  }

  /** A session of an account has begun. */
  begin(opened: Opened): void {
    this.#keep({
      kind: 'account',
      token: opened.token,
      email: opened.email,
      tier: opened.tier,
      expiresAt: Date.now() + opened.expiresIn * 1_000,
      refreshing: false,
    });
    this.#former = this.#shown = null;
  }

  /** The visitor wants to be nobody again. What the server makes of it is its own affair: here it is over at once. */
  async end(): Promise<void> {
    const token = this.account;
    this.#former = this.#shown = null;
    this.#keep(NOBODY);
    if (token !== null) await this.#auth.logOut(token);
  }

  /**
   * After another tab has signed in: take along what was asked here as an anonymous visitor at that very moment. Whether
   * there was anything.
   */
  async bring(): Promise<boolean> {
    const [account, former] = [this.account, this.#former];
    this.#former = null;
    if (account === null || former === null) return false;
    return await this.#auth.migrate(account, former).then(
      (count) => count > 0,
      () => false,
    );
  }

  /** Who was signed in here is of no interest any more. */
  forgetFormer(): void {
    const kept = this.#kept();
    if (kept.kind === 'anonymous') this.#keep({...kept, was: null});
  }

  async #refreshed(): Promise<void> {
    this.#refreshing ??= exclusively(this.#key, () => this.#refresh()).finally(
      () => (this.#refreshing = null),
    );
    await this.#refreshing;
  }

  async #refresh(): Promise<void> {
    const kept = this.#kept();
    // Another tab was quicker.
    if (kept.kind !== 'account' || !this.#isDue(kept)) return;
    try {
      if (kept.refreshing && !(await this.#auth.check(kept.token))) throw this.#ended(kept.email, null);
      this.#keep({...kept, refreshing: true});
      this.begin(await this.#auth.refresh(kept.token));
    } catch (error) {
      const failure = Failure.from(error, null);
      if (failure.kind === 'session_expired') throw this.#ended(kept.email, failure.requestId);
      // The server said that it did nothing. In any other case nobody knows, and the mark stays.
      if (failure.kind === 'rate_limited' || failure.code === 'service_unavailable') {
        this.#keep({...kept, refreshing: false});
      }
      // The old token may well hold for some time; whether it does is for the server to say.
    }
  }

  #ended(email: string, requestId: string | null): Failure {
    this.#expire(email);
    return new Failure('session_expired', requestId);
  }

  #expire(email: string): 'expired' {
    this.#keep({kind: 'anonymous', token: null, was: email});
    return 'expired';
  }

  #isDue(kept: Kept): boolean {
    return kept.kind === 'account' && kept.expiresAt - Date.now() < REFRESH_BEFORE_MS;
  }

  #kept(): Kept {
    return asKept(lasting.get(this.#key));
  }

  #keep(kept: Kept): void {
    lasting.set(this.#key, kept);
    this.#changed();
  }

  #heard(event: StorageEvent): void {
    // Without a key, everything was cleared.
    if (event.key !== this.#key && event.key !== null) return;
    if (this.#kept().kind === 'account') this.#former = this.#shown;
    this.#changed();
  }

  #changed(): void {
    this.#watch();
    for (const listener of this.#listeners) guarded(listener)();
  }

  /** A page that lies open all day is refreshed too; one that nobody looks at is not. */
  #watch(): void {
    clearTimeout(this.#timer);
    const kept = this.#kept();
    if (kept.kind !== 'account' || this.#listeners.size === 0) return;
    const due = kept.expiresAt - REFRESH_BEFORE_MS - Date.now();
    const work = async (): Promise<void> => {
      if (!document.hidden && this.#isDue(this.#kept())) await this.#refreshed().catch(() => undefined);
      this.#watch();
    };
    this.#timer = setTimeout(guarded(work), Math.min(Math.max(due, AGAIN_MS), LONGEST_DELAY_MS));
  }
}

const sessions = new Map<string, Session>();

/** The session with the server at `apiBase`: all widgets of a page that ask it share one. */
export function sessionWith(apiBase: string): Session {
  let session = sessions.get(apiBase);
  if (!session) sessions.set(apiBase, (session = new Session(apiBase)));
  return session;
}

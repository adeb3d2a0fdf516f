/**
 * Signing in, as it goes on in the panel: which card is shown, what its buttons do, and what the page hears of it.
 *
 *     anonymous ──send──► verification pending ──link──► logged in ──► expired
 *         ▲                                                  │            │
 *         └──────────────────────sign out────────────────────┘   ◄──link──┘
 *
 * The link of a letter is never spent before somebody presses the button: what scans mail follows links, and some of it
 * runs scripts. Who comes back from an identity provider left from this very tab, and has pressed enough.
 */
import {sessionEvent, type SessionDetail} from './events';
import {Failure} from './failure';
import type {Provider} from './services/auth-client';
import {LetterWatch} from './services/letter-watch';
import {ProviderSignIn} from './services/provider-sign-in';
import type {Session} from './services/session';
import {SignIn} from './services/sign-in';
import {guarded} from './utils/error-boundary';
import {takeSignInLink} from './utils/sign-in-link';
import {AccountButton} from './views/account-button';
import {readingList} from './views/reading';
import {SignInView, type SignInCard} from './views/sign-in';
import type {News} from './views/sign-in-cards';

export interface AccountEvents {
  emit(event: Event): void;
  /** The conversation on the screen, to be kept; null when there is none. */
  conversationId(): string | null;
  /** What was on the screen of the tab in which the letter was asked for. */
  goOnWith(conversationId: string): void;
  /** Somebody has signed out, here or in another tab: what is on the screen is not for the next. */
  left(): void;
  /** Leave the page for an identity provider's. */
  goTo(url: string): void;
  failed(failure: Failure): void;
}

export class Account {
  readonly button: AccountButton;
  readonly view: SignInView;
  readonly #base: string;
  readonly #session: Session;
  readonly #signIn: SignIn;
  readonly #providers: ProviderSignIn;
  readonly #events: AccountEvents;
  readonly #letters: LetterWatch;
  #away = new AbortController();
  #news: News = 'waiting';
  #link: {from: 'letter' | 'provider'; token: string} | null = null;
  #offered: readonly Provider[] = [];
  #state: SessionDetail['state'] | null = null;
  /** Who was signed in last: what is on the screen is theirs. */
  #who: string | null = null;
  #used = false;

  constructor(apiBase: string, session: Session, events: AccountEvents, privacy: () => string | null) {
    this.#base = apiBase;
    this.#session = session;
    this.#signIn = new SignIn(apiBase, session);
    this.#providers = new ProviderSignIn(apiBase, session);
    this.#events = events;
    this.#letters = new LetterWatch(this.#signIn, (news) => this.#heard(news));
    this.button = new AccountButton(() => this.#toggle());
    this.view = new SignInView(
      {
        send: (email) => this.#send(email),
        sendAgain: () => this.#sendAgain(),
        startOver: () => this.#startOver(),
        forget: () => this.#forget(),
        finish: () => this.#finish(),
        goTo: (provider) => this.#goTo(provider),
        keep: () => this.#keep(),
        signOut: () => this.#signOut(),
        close: () => this.#close(),
        failed: (failure) => events.failed(failure),
      },
      privacy,
    );
    const {standing} = session;
    this.#who = standing.state === 'logged_in' ? standing.email : null;
    this.#away.abort();
    this.#update();
  }

  /** The panel stands in the page: whatever changes is shown. */
  watch(): void {
    this.#away.abort();
    const {signal} = (this.#away = new AbortController());
    const unsubscribe = this.#session.subscribe(() => this.#update());
    signal.addEventListener('abort', unsubscribe);
    const looked = guarded(() => this.#look());
    document.addEventListener('visibilitychange', looked, {signal});
    // A link that is opened in a tab that shows the page already only changes the fragment.
    const linked = guarded(() => this.#takeLink());
    addEventListener('hashchange', linked, {signal});
    this.#update();
    this.#takeLink();
    this.#look();
  }

  /** The panel stands there no longer: nothing is asked, and nobody is told. */
  rest(): void {
    this.#away.abort();
    this.#letters.stop();
  }

  /** Whether the panel shows that one can sign in. */
  set used(used: boolean) {
    this.#used = used;
    this.button.element.hidden = !used;
    if (!used) this.#hide();
    else this.#takeLink();
  }

  /** Show the card, for who wants to sign in (again). */
  open(): void {
    this.view.element.hidden = false;
    this.button.open = true;
    this.#update();
    this.view.focus();
    this.#look();
    guarded(() => this.#recommend())();
    guarded(() => this.#offer())();
  }

  /** It is gone for good. */
  dispose(): void {
    this.rest();
    this.view.element.remove();
    this.button.element.remove();
  }

  #toggle(): void {
    if (this.view.element.hidden) this.open();
    else this.#close();
  }

  #close(): void {
    this.#link = null;
    this.#hide();
    this.button.element.focus({preventScroll: true});
  }

  #hide(): void {
    this.view.element.hidden = true;
    this.button.open = false;
    this.#letters.stop();
  }

  /** What the visitor is, for all to see. */
  #update(focus = false): void {
    const standing = this.#session.standing;
    if (standing.state === 'logged_in') this.#signIn.forget();
    const letter = this.#signIn.letter;
    const state = standing.state !== 'logged_in' && letter ? 'verification_pending' : standing.state;
    this.button.show(state, standing.state === 'logged_in' ? standing.email : '');
    this.view.show(this.#card(), {focus});
    this.view.offer(this.#offered);
    this.#change(state);
    if (standing.state === 'logged_in') this.#belongTo(standing.email);
    else if (standing.state === 'anonymous') this.#belongTo(null);
  }

  #change(state: SessionDetail['state']): void {
    const before = this.#state;
    this.#state = state;
    if (before === null || before === state) return;
    this.#events.emit(sessionEvent({state}));
    if (state === 'expired') this.#say('You are no longer signed in.');
  }

  /** What is on the screen is of `who`, or of nobody. What nobody asked becomes theirs who sign in; else it goes. */
  #belongTo(who: string | null): void {
    const before = this.#who;
    this.#who = who;
    if (before === who) return;
    if (before !== null) this.#events.left();
    if (who !== null) this.#say(`Signed in as ${who}.`);
  }

  #card(): SignInCard {
    const standing = this.#session.standing;
    if (this.#link !== null) return {card: 'link', from: this.#link.from};
    if (standing.state === 'logged_in') {
      const savable = this.#events.conversationId() !== null;
      return {card: 'account', email: standing.email, savable};
    }
    const letter = this.#signIn.letter;
    if (letter) {
      return {card: 'sent', email: letter.email, againAt: letter.againAt, news: this.#news};
    }
    const ended = standing.state === 'expired';
    return {card: 'form', email: ended ? standing.email : '', ended};
  }

  async #send(email: string): Promise<void> {
    await this.#signIn.send(email, this.#events.conversationId());
    this.#waitFor(email);
  }

  async #sendAgain(): Promise<void> {
    const {letter} = this.#signIn;
    if (letter === null) return this.#startOver();
    await this.#signIn.sendAgain(letter);
    this.#waitFor(letter.email);
  }

  #waitFor(email: string): void {
    this.#news = 'waiting';
    this.#update();
    this.#say(`A link was sent to ${email}. Check your mail.`);
    this.#look();
  }

  #say(text: string): void {
    // The same words a second time would not be read out.
    this.view.said.textContent = this.view.said.textContent === text ? `${text} ` : text;
  }

  #startOver(): void {
    this.#signIn.forget();
    this.#news = 'waiting';
    this.#update(true);
  }

  #forget(): void {
    this.#session.forgetFormer();
    this.#update(true);
  }

  async #finish(): Promise<void> {
    const link = this.#link;
    if (link === null) return;
    const way = link.from === 'letter' ? this.#signIn : this.#providers;
    let conversationId: string | null;
    try {
      conversationId = await way.finish(link.token);
    } catch (error) {
      const failure = Failure.from(error, null);
      if (!isOver(link.from, failure)) throw failure;
      this.#link = null;
      if (link.from === 'letter') this.#news = 'refused';
      this.#update(true);
      throw failure;
    }
    this.#link = null;
    this.#update();
    this.#close();
    if (conversationId !== null) this.#events.goOnWith(conversationId);
  }

  async #goTo(provider: string): Promise<void> {
    this.#events.goTo(await this.#providers.begin(provider, this.#events.conversationId()));
  }

  async #offer(): Promise<void> {
    this.#offered = await this.#providers.offered();
    this.view.offer(this.#offered);
  }

  async #recommend(): Promise<void> {
    const who = this.#who;
    const pages = await this.#signIn.toRead();
    const {standing} = this.#session;
    if (standing.state === 'logged_in' && standing.email === who) {
      this.view.reading = readingList(pages, this.#base);
    }
  }

  async #keep(): Promise<void> {
    const conversationId = this.#events.conversationId();
    if (conversationId === null) return;
    await this.#signIn.keep(conversationId);
    this.#say('The conversation is kept.');
  }

  async #signOut(): Promise<void> {
    this.#hide();
    this.button.element.focus({preventScroll: true});
    await this.#session.end();
  }

  #takeLink(): void {
    if (!this.#used || this.#away.signal.aborted) return;
    const link = takeSignInLink();
    if (link === null) return;
    this.#link = link.from === 'nowhere' ? null : link;
    this.open();
    // They came for this, wherever on the page it is.
    this.view.element.scrollIntoView({block: 'nearest'});
    if (link.from === 'provider') this.view.press();
    if (link.from === 'nowhere') this.view.tell(cameBack(link.why));
  }

  /** Wait for news of the letter as long as somebody looks at the card. */
  #look(): void {
    const looked = !this.#away.signal.aborted && !document.hidden && !this.view.element.hidden;
    if (looked && this.#news === 'waiting') this.#letters.start();
    else this.#letters.stop();
  }

  #heard(news: 'verified' | 'expired'): void {
    // Had it been used in this browser, the session would be here.
    this.#news = news === 'verified' ? 'elsewhere' : 'expired';
    this.#update();
    this.#say(news === 'verified' ? 'Signed in, in another browser.' : 'The link has expired.');
  }
}

/** Whether after `failure` the same link is of no use any more. */
function isOver(from: 'letter' | 'provider', {kind}: Failure): boolean {
  return from === 'letter' ? kind === 'link_invalid' : kind !== 'offline' && kind !== 'unreachable';
}

const CAME_BACK: Record<string, string> = {
  denied: 'You did not agree there. Nothing has been done.',
  expired: 'It took too long. Please begin again.',
  used: 'This sign-in has been used before. Please begin again.',
};

/** What the visitor is told who is back from an identity provider, and is not signed in. */
function cameBack(why: string): Failure {
  return new Failure('refused', null, {
    note: CAME_BACK[why] ?? 'It could not be confirmed who you are. Please begin again.',
  });
}

/**
 * Signing in as the visitor sees it: one card at a time, below the panel's header.
 */
import {Failure} from '../failure';
import type {Provider} from '../services/auth-client';
import {signInWordsFor} from '../failure-words';
import {createErrorUI, guarded} from '../utils/error-boundary';
import {countDown} from './countdown';
import {h, hook} from './dom';
import {icon} from './icons';
import {accountCard, linkCard, sentCard, type News, type Run} from './sign-in-cards';
import {formCard, type FormEvents} from './sign-in-form';
import {providerList} from './providers';

export type SignInCard =
  | {card: 'form'; email: string; ended: boolean}
  | {card: 'sent'; email: string; againAt: number; news: News}
  | {card: 'link'; from: 'letter' | 'provider'}
  | {card: 'account'; email: string; savable: boolean};

/** What the visitor asks for. What takes time may throw ``Failure``, which is shown on the card. */
export interface SignInEvents extends FormEvents {
  sendAgain(): Promise<void>;
  /** Another address, please. */
  startOver(): void;
  finish(): Promise<void>;
  /** To an identity provider, please. */
  goTo(provider: string): Promise<void>;
  keep(): Promise<void>;
  signOut(): Promise<void>;
  close(): void;
  failed(failure: Failure): void;
}

export class SignInView {
  readonly element: HTMLElement;
  /** Says what happened to those who do not see it, also while the card is closed. */
  readonly said = h('p', {class: 'visually-hidden', role: 'status', ...hook('sign-in-said')});
  readonly #events: SignInEvents;
  readonly #privacy: () => string | null;
  readonly #body = h('div', {class: 'sign-in-body'});
  readonly #others = h('div');
  readonly #reading = h('div');
  readonly #trouble = h('div', {class: 'sign-in-trouble'});
  #shown = '';

  /** `privacy` gives a link to what the site does with addresses, if there is one. */
  constructor(events: SignInEvents, privacy: () => string | null) {
    this.#events = events;
    this.#privacy = privacy;
    const close = h(
      'button',
      {type: 'button', class: 'quiet close', 'aria-label': 'Close', title: 'Close', ...hook('sign-in-close')},
      icon('close'),
    );
    close.addEventListener(
      'click',
      guarded(() => events.close()),
    );
    this.element = h(
      'section',
      {
        id: 'sign-in',
        class: 'sign-in',
        'aria-labelledby': 'sign-in-title',
        hidden: true,
        ...hook('sign-in'),
      },
      this.#body,
      this.#others,
      this.#reading,
      this.#trouble,
      close,
    );
    this.element.addEventListener(
      'keydown',
      guarded((event: KeyboardEvent) => this.#key(event)),
    );
  }

  /** Show `card`, if it is another than before. With `focus` the keyboard goes to where one can act. */
  show(card: SignInCard, {focus = false} = {}): void {
    const wanted = JSON.stringify(card);
    const fresh = wanted !== this.#shown;
    const focused = this.#hasFocus();
    if (fresh) {
      this.#shown = wanted;
      this.element.dataset['card'] = card.card;
      this.#trouble.replaceChildren();
      this.#reading.replaceChildren();
      this.#others.replaceChildren();
      this.#body.replaceChildren(...this.#made(card));
      this.element.scrollTop = 0;
    }
    if (focus) this.focus();
    // What had the focus is gone, and it must not fall out of the card.
    else if (fresh && focused) this.#heading()?.focus({preventScroll: true});
  }

  /** Below the card of who is signed in. */
  set reading(list: HTMLElement | null) {
    this.#reading.replaceChildren(...(list ? [list] : []));
  }

  /** Below the cards from which one can sign in, or is. What is shown already stays as it is. */
  offer(providers: readonly Provider[]): void {
    const {card} = this.element.dataset;
    if (this.#others.hasChildNodes() || (card !== 'form' && card !== 'account')) return;
    const list = providerList(providers, card === 'account', this.#events, this.#run);
    if (list) this.#others.replaceChildren(list);
  }

  /** As if the visitor had pressed the card's main button. */
  press(): void {
    this.#body.querySelector<HTMLElement>('.primary')?.click();
  }

  /** Show what has failed without a button having been pressed. */
  tell(failure: Failure): void {
    const words = signInWordsFor(failure);
    this.#trouble.replaceChildren(createErrorUI(failure, undefined, {words}));
    this.#events.failed(failure);
  }

  focus(): void {
    const first = this.#body.querySelector<HTMLElement>('input, .primary:not(:disabled)');
    (first ?? this.#heading())?.focus({preventScroll: true});
  }

  #made(card: SignInCard): HTMLElement[] {
    switch (card.card) {
      case 'form':
        return formCard(card, this.#privacy(), this.#events, this.#run);
      case 'sent':
        return sentCard(card, this.#events, this.#run);
      case 'link':
        return linkCard(card.from, this.#events, this.#run);
      case 'account':
        return accountCard(card, this.#events, this.#run);
    }
  }

  /** Meanwhile the button cannot be pressed again, and what fails is shown below. */
  readonly #run: Run = (button, doing, work) => {
    if (button.getAttribute('aria-disabled') === 'true') return;
    const label = button.textContent;
    // Not `disabled`: that would drop the keyboard's focus.
    button.setAttribute('aria-disabled', 'true');
    button.textContent = `${doing}…`;
    this.#trouble.replaceChildren();
    const over = (): void => {
      button.removeAttribute('aria-disabled');
      if (button.textContent === `${doing}…`) button.textContent = label;
    };
    const failed = (error: unknown): void => {
      over();
      const failure = Failure.from(error, null);
      if (failure.kind === 'widget') console.error('[chatkit]', failure.cause);
      if (failure.retryAfter !== undefined) countDown(button, failure.retryAfter, label, label);
      this.tell(failure);
      this.element.scrollTop = this.element.scrollHeight;
    };
    guarded(() => work().then(over, failed))();
  };

  #key(event: KeyboardEvent): void {
    if (event.key !== 'Escape' || event.isComposing) return;
    event.stopPropagation();
    this.#events.close();
  }

  #heading(): HTMLElement | null {
    return this.#body.querySelector<HTMLElement>('h3');
  }

  #hasFocus(): boolean {
    const {activeElement} = this.element.getRootNode() as Document | ShadowRoot;
    return activeElement instanceof Element && this.element.contains(activeElement);
  }
}

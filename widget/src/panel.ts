/**
 * The panel: a heading, the conversation, and the place to write; beside them, for sites that want it, signing in.
 * Nothing that fails in here leaves it.
 */
import {Account} from './account';
import {Dialogue} from './dialogue';
import {answerEvent, errorEvent} from './events';
import {Failure} from './failure';
import {Recollection} from './services/recollection';
import {Reports} from './services/reports';
import {sessionWith} from './services/session';
import {createErrorUI} from './utils/error-boundary';
import {guarded} from './utils/guard';
import {safeLink} from './utils/safe-link';
import {ComposerView} from './views/composer';
import {ConversationView} from './views/conversation';
import {h, hook} from './views/dom';
import {icon} from './views/icons';
import {welcome} from './views/welcome';

/** Where to ask: the API's address, or why there is none. */
export type Target = string | Failure;

/** What belongs to one address of the API. */
interface Place {
  dialogue: Dialogue;
  account: Account;
  recollection: Recollection;
  reports: Reports;
}

export class Panel {
  readonly element: HTMLElement;
  readonly #emit: (event: Event) => void;
  readonly #heading = h('h2', {id: 'heading', ...hook('heading')});
  readonly #tools = h('div', {class: 'tools'});
  readonly #fresh = h(
    'button',
    {
      type: 'button',
      class: 'quiet',
      'aria-label': 'New conversation',
      title: 'New conversation',
      hidden: true,
      ...hook('new-conversation'),
    },
    icon('fresh'),
  );
  readonly #header = h('header', {part: 'header'}, icon('mark'), this.#heading, this.#tools);
  readonly #conversation = new ConversationView();
  readonly #composer: ComposerView;
  #welcome: HTMLElement = h('div');
  #place: Place | null = null;
  #connected = false;
  #id = '';
  #accounts = false;
  #privacy: string | null = null;

  /** `emit` dispatches an event on the element that hosts the panel. */
  constructor(emit: (event: Event) => void) {
    this.#emit = emit;
    this.#composer = new ComposerView({
      send: (question) => this.#place?.dialogue.ask(question),
      stop: () => this.#place?.dialogue.stop(),
      failed: (error) => this.#showBug(error),
    });
    this.#fresh.addEventListener(
      'click',
      guarded(
        () => this.#beginAnew(),
        (error) => this.#showBug(error),
      ),
    );
    this.#tools.append(this.#fresh);
    this.#conversation.element.append(this.#welcome);
    this.element = h(
      'section',
      {class: 'panel', part: 'panel', 'aria-labelledby': 'heading'},
      this.#header,
      this.#conversation.element,
      this.#composer.element,
    );
  }

  set heading(text: string) {
    this.#heading.textContent = text;
  }

  set suggestions(suggestions: readonly string[]) {
    const fresh = welcome(suggestions, (question) => this.#choose(question));
    fresh.hidden = this.#welcome.hidden;
    this.#welcome.replaceWith(fresh);
    this.#welcome = fresh;
  }

  /** Tells this widget from others of the page, over reloads. */
  set id(id: string) {
    this.#id = id;
  }

  /** Whether visitors can sign in. */
  set accounts(accounts: boolean) {
    this.#accounts = accounts;
    if (this.#place) this.#place.account.used = accounts;
  }

  /** Where the site says what it does with addresses. */
  set privacyUrl(address: string | null) {
    this.#privacy = safeLink(address, location.href);
  }

  set target(target: Target) {
    this.#leave();
    const failed = target instanceof Failure;
    this.#composer.usable = !failed;
    this.element.querySelector('.misconfigured')?.remove();
    this.#welcome.hidden = failed;
    if (failed) {
      this.#conversation.element.prepend(h('div', {class: 'misconfigured'}, createErrorUI(target)));
      this.#report(target);
    } else {
      this.#place = this.#at(target);
      this.#place.account.used = this.#accounts;
      if (this.#connected) this.connect();
    }
  }

  /** The panel stands in the page. */
  connect(): void {
    this.#connected = true;
    this.#place?.recollection.claim();
    this.#place?.account.watch();
    this.#place?.dialogue.restore();
  }

  /** It does no longer, and asks for nothing; put back, it is the same. */
  disconnect(): void {
    this.#connected = false;
    this.#place?.dialogue.rest();
    this.#place?.account.rest();
    this.#place?.recollection.release();
  }

  #at(apiBase: string): Place {
    const session = sessionWith(apiBase);
    const reports = new Reports(apiBase);
    const recollection = new Recollection(`${apiBase} ${this.#id}`.trim());
    const failed = (failure: Failure): void => this.#report(failure);
    const dialogue = new Dialogue(apiBase, session, recollection, this.#conversation, {
      busy: (busy) => (this.#composer.busy = busy),
      filled: (filled) => this.#filled(filled),
      answered: ({requestId, sources, metadata}) => {
        this.#emit(answerEvent({requestId, sources: sources.length, metadata}));
        reports.retry();
      },
      failed,
      bug: (error) => this.#showBug(error),
      signIn: () => (this.#accounts ? () => account.open() : undefined),
    });
    const account = new Account(
      apiBase,
      session,
      {
        emit: this.#emit,
        conversationId: () => dialogue.conversationId,
        goOnWith: (conversationId) => dialogue.adopt(conversationId),
        left: () => dialogue.clear(),
        goTo: (url) => location.assign(url),
        failed,
      },
      () => this.#privacy,
    );
    this.#tools.append(account.button.element);
    this.#header.after(account.view.element, account.view.said);
    return {dialogue, account, recollection, reports};
  }

  /** Whatever belongs to another address stays behind. */
  #leave(): void {
    const place = this.#place;
    this.#place = null;
    place?.dialogue.rest();
    place?.account.dispose();
    place?.recollection.release();
  }

  #choose(question: string): void {
    // The button that was pressed goes away, so the focus goes to where the answer will be.
    this.#conversation.element.focus({preventScroll: true});
    this.#place?.dialogue.ask(question);
  }

  #beginAnew(): void {
    this.#place?.dialogue.clear();
    this.#composer.focus();
  }

  #filled(filled: boolean): void {
    this.#fresh.hidden = !filled;
    if (filled) this.#welcome.remove();
    else this.#conversation.element.prepend(this.#welcome);
  }

  #report(failure: Failure): void {
    const {requestId, kind, code} = failure;
    this.#emit(errorEvent({requestId, kind, code}));
    this.#place?.reports.shown(failure);
  }

  /** A bug, caught at the edge: the visitor sees a card, and the page goes on. */
  #showBug(error: unknown): void {
    const failure = Failure.from(error, null);
    this.#conversation.element.append(createErrorUI(failure));
    this.#report(failure);
  }
}

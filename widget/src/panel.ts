/**
 * The panel: a heading, the conversation, and the place to write. It asks one question at a time, and every question
 * ends in an answer, a stop or a card; nothing that fails in here leaves it.
 */
import {answerEvent, errorEvent} from './events';
import {Failure} from './failure';
import {pageAddress, RagClient} from './services/rag-client';
import {createErrorUI, guarded} from './utils/error-boundary';
import {ComposerView} from './views/composer';
import {ConversationView} from './views/conversation';
import {h, hook} from './views/dom';
import {icon} from './views/icons';
import {TurnView} from './views/turn';
import {welcome} from './views/welcome';

/** Where to ask: the API's address, or why there is none. */
export type Target = string | Failure;

export class Panel {
  readonly element: HTMLElement;
  readonly #emit: (event: Event) => void;
  readonly #heading = h('h2', {id: 'heading', ...hook('heading')});
  readonly #conversation = new ConversationView();
  readonly #composer: ComposerView;
  #welcome: HTMLElement = h('div');
  #target: Target = new Failure('configuration', null);
  #turn: TurnView | null = null;
  #running: AbortController | null = null;

  /** `emit` dispatches an event on the element that hosts the panel. */
  constructor(emit: (event: Event) => void) {
    this.#emit = emit;
    this.#composer = new ComposerView({
      send: (question) => this.#ask(question),
      stop: () => this.stop(),
      failed: (error) => this.#showBug(error),
    });
    this.#conversation.element.append(this.#welcome);
    this.element = h(
      'section',
      {class: 'panel', part: 'panel', 'aria-labelledby': 'heading'},
      h('header', {part: 'header'}, icon('mark'), this.#heading),
      this.#conversation.element,
      this.#composer.element,
    );
  }

  set heading(text: string) {
    this.#heading.textContent = text;
  }

  set suggestions(suggestions: readonly string[]) {
    const fresh = welcome(suggestions, (question) => this.#choose(question));
    this.#welcome.replaceWith(fresh);
    this.#welcome = fresh;
    fresh.hidden = this.#target instanceof Failure;
  }

  set target(target: Target) {
    this.#target = target;
    const failed = target instanceof Failure;
    this.#composer.usable = !failed;
    this.element.querySelector('.misconfigured')?.remove();
    this.#welcome.hidden = failed;
    if (failed) {
      this.#conversation.element.prepend(h('div', {class: 'misconfigured'}, createErrorUI(target)));
      this.#report(target);
    }
  }

  /** Stop the answer that is being written, if there is one. */
  stop(): void {
    this.#running?.abort();
  }

  #choose(question: string): void {
    // The button that was pressed goes away, so the focus goes to where the answer will be.
    this.#conversation.element.focus({preventScroll: true});
    this.#ask(question);
  }

  #ask(question: string): void {
    if (this.#running || this.#target instanceof Failure) return;
    this.#welcome.remove();
    this.#turn?.settle();
    const turn = new TurnView(question, this.#target, this.#conversation.reveal);
    this.#turn = turn;
    this.#conversation.element.append(turn.element);
    this.#attempt(turn, question, this.#target);
  }

  #retry(turn: TurnView, question: string): void {
    if (this.#running || this.#target instanceof Failure) return;
    this.#conversation.element.focus({preventScroll: true});
    turn.wait();
    this.#attempt(turn, question, this.#target);
  }

  #attempt(turn: TurnView, question: string, apiBase: string): void {
    guarded(
      () => this.#converse(turn, question, apiBase),
      (error) => this.#showBug(error),
    )();
  }

  async #converse(turn: TurnView, question: string, apiBase: string): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    this.#composer.busy = true;
    this.#conversation.follow(turn.element);
    let requestId: string | null = null;
    try {
      const answer = await new RagClient(apiBase).ask(
        {message: question, pageUrl: pageAddress(location)},
        {
          onSources: (sources) => turn.found(sources),
          onToken: (text) => {
            turn.write(text);
            this.#conversation.keepUp();
          },
        },
        running.signal,
      );
      requestId = answer.requestId;
      turn.finish(answer);
      this.#conversation.keepUp();
      this.#emit(answerEvent({requestId, sources: answer.sources.length, metadata: answer.metadata}));
    } catch (error) {
      this.#end(turn, question, Failure.from(error, requestId));
    } finally {
      this.#running = null;
      this.#composer.busy = false;
    }
  }

  #end(turn: TurnView, question: string, failure: Failure): void {
    if (failure.kind === 'stopped') {
      turn.stop(failure);
      this.#conversation.keepUp();
      return;
    }
    if (failure.kind === 'widget') console.error('[chatkit]', failure.cause);
    turn.fail(failure, () => this.#retry(turn, question));
    this.#conversation.endOn(turn.trouble);
    this.#report(failure);
  }

  #report({requestId, kind, code}: Failure): void {
    this.#emit(errorEvent({requestId, kind, code}));
  }

  /** A bug, caught at the edge: the visitor sees a card, and the page goes on. */
  #showBug(error: unknown): void {
    const failure = Failure.from(error, null);
    this.#conversation.element.append(createErrorUI(failure));
    this.#report(failure);
  }
}

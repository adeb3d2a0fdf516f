/**
 * Questions and their answers, one at a time. Every question ends in an answer, a stop or a card, and a reload of the
 * page finds all of them again: those answered, and the one whose answer is still being written.
 */
import {Failure} from './failure';
import {recallWordsFor} from './failure-words';
import {readConversation, type PastTurn} from './services/conversations';
import type {Answer} from './services/hearing';
import {pageAddress, type Question} from './services/questions';
import {RagClient} from './services/rag-client';
import type {Recollection, Unanswered} from './services/recollection';
import type {Session} from './services/session';
import {createErrorUI, guarded} from './utils/error-boundary';
import {generateRequestId} from './utils/http';
import type {ConversationView} from './views/conversation';
import {h} from './views/dom';
import {TurnView} from './views/turn';

export interface DialogueEvents {
  /** Whether an answer is being written. */
  busy(busy: boolean): void;
  /** There are questions on the screen now, or there are none any more. */
  filled(filled: boolean): void;
  answered(answer: Answer): void;
  failed(failure: Failure): void;
  /** Something threw that should not have. */
  bug(error: unknown): void;
  /** What lets the visitor sign in again; undefined where nobody can. */
  signIn(): (() => void) | undefined;
}

// Whether the question arrived is not known, or its answer may still come: a reload looks for it.
const UNDECIDED: ReadonlySet<string> = new Set(['offline', 'unreachable', 'cut_off']);

export class Dialogue {
  readonly #base: string;
  readonly #session: Session;
  readonly #recollection: Recollection;
  readonly #view: ConversationView;
  readonly #events: DialogueEvents;
  #turn: TurnView | null = null;
  #running: AbortController | null = null;
  #restoring: Promise<void> | null = null;
  #turns: Element[] = [];
  /** Changes when what is being brought back is wanted no longer. */
  #wanted = {};

  constructor(
    apiBase: string,
    session: Session,
    recollection: Recollection,
    view: ConversationView,
    events: DialogueEvents,
  ) {
    this.#base = apiBase;
    this.#session = session;
    this.#recollection = recollection;
    this.#view = view;
    this.#events = events;
  }

  get conversationId(): string | null {
    return this.#recollection.conversationId;
  }

  /** Ask `message`, unless an answer is being written. */
  ask(message: string): void {
    if (this.#restoring) return void this.#restoring.then(guarded(() => this.ask(message), this.#events.bug));
    if (this.#running) return;
    this.#turn?.settle();
    this.#attempt(
      this.#append(message),
      {question: this.#question(message), requestId: generateRequestId()},
      false,
    );
  }

  /** Stop the answer that is being written, if there is one. */
  stop(): void {
    this.#running?.abort();
  }

  /** The panel is not to be seen any more: stop, and bring nothing back. */
  rest(): void {
    this.#wanted = {};
    this.stop();
  }

  /** Bring back what this tab had on its screen before it was loaded anew. */
  restore(): void {
    // What is on the screen need not be brought back.
    if (this.#turns.length > 0 || this.#restoring) return;
    if (!this.#recollection.conversationId && !this.#recollection.unanswered) return;
    const restoring = this.#restore().finally(() => (this.#restoring = null));
    this.#restoring = restoring.catch(() => undefined);
    guarded(() => restoring, this.#events.bug)();
  }

  /** Begin anew: nothing of what was said is on the screen or remembered here any longer. */
  clear(): void {
    this.rest();
    this.#recollection.forget();
    for (const element of this.#turns.splice(0)) element.remove();
    this.#turn = null;
    this.#events.filled(false);
  }

  /** Go on with the conversation of another tab, unless there is one here. */
  adopt(conversationId: string): void {
    if (this.#turns.length > 0 || this.#recollection.conversationId !== null) return;
    this.#recollection.conversationId = conversationId;
    this.restore();
  }

  /** What is asked next goes on with nothing that was before; what is on the screen stays. */
  part(): void {
    this.#recollection.conversationId = null;
  }

  #show(element: Element): void {
    this.#turns.push(element);
    this.#view.element.append(element);
    this.#events.filled(true);
  }

  #append(message: string): TurnView {
    const turn = new TurnView(message, this.#base, this.#view.reveal);
    this.#turn = turn;
    this.#show(turn.element);
    return turn;
  }

  #question(message: string): Question {
    return {
      message,
      pageUrl: pageAddress(location),
      messageId: generateRequestId(),
      conversationId: this.#recollection.conversationId,
    };
  }

  async #restore(): Promise<void> {
    const {conversationId, unanswered} = this.#recollection;
    const wanted = this.#wanted;
    let past: PastTurn[] | null = [];
    try {
      if (conversationId) past = await readConversation(this.#base, this.#session, conversationId);
    } catch (error) {
      if (wanted === this.#wanted) this.#notRestored(Failure.from(error, null));
      return;
    }
    if (wanted !== this.#wanted) return;
    if (past === null) this.part();
    this.#bringBack(past ?? [], unanswered);
  }

  #bringBack(past: readonly PastTurn[], unanswered: Unanswered | null): void {
    this.#view.quietly(() => this.#recall(past));
    const last = past.at(-1);
    const found = past.find(({messageId}) => messageId === unanswered?.question.messageId);
    if (unanswered && !found) {
      this.#attempt(this.#append(unanswered.question.message), unanswered, true);
    } else if (last?.state === 'running' && this.#turn) {
      const question = {...this.#question(last.question), messageId: last.messageId};
      const known = unanswered?.question.messageId === last.messageId ? unanswered : null;
      this.#attempt(this.#turn, known ?? {question, requestId: generateRequestId()}, true);
    } else {
      this.#recollection.unanswered = null;
    }
    if (this.#turn) this.#view.reveal(this.#turn.element);
  }

  #recall(past: readonly PastTurn[]): void {
    for (const one of past) {
      const turn = this.#append(one.question);
      if (one.state !== 'running') turn.recall(one);
    }
  }

  #notRestored(failure: Failure): void {
    const card = h('div', {class: 'not-restored'});
    const again = (): void => {
      card.remove();
      this.#turns = this.#turns.filter((turn) => turn !== card);
      this.restore();
    };
    const words = recallWordsFor(failure);
    card.append(createErrorUI(failure, again, {words, signIn: this.#events.signIn()}));
    this.#show(card);
    this.#events.failed(failure);
  }

  #retry(turn: TurnView, unanswered: Unanswered): void {
    if (this.#running) return;
    this.#view.element.focus({preventScroll: true});
    turn.wait();
    this.#attempt(turn, unanswered, false);
  }

  #attempt(turn: TurnView, unanswered: Unanswered, resume: boolean): void {
    guarded(() => this.#converse(turn, unanswered, resume), this.#events.bug)();
  }

  async #converse(turn: TurnView, unanswered: Unanswered, resume: boolean): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    this.#recollection.unanswered = unanswered;
    this.#events.busy(true);
    this.#view.follow(turn.element);
    let requestId: string | null = null;
    try {
      const answer = await new RagClient(this.#base, this.#session).ask(
        unanswered.question,
        {
          onPlace: (conversationId) => {
            if (!running.signal.aborted) this.#recollection.conversationId = conversationId;
          },
          onSources: (sources) => turn.found(sources),
          onToken: (text) => {
            turn.write(text);
            this.#view.keepUp();
          },
          onLost: () => turn.lose(),
          onFound: () => turn.findAgain(),
          onRestart: () => turn.wait(),
        },
        running.signal,
        {resume, requestId: unanswered.requestId},
      );
      requestId = answer.requestId;
      turn.finish(answer);
      this.#settled(unanswered);
      this.#view.keepUp();
      this.#events.answered(answer);
    } catch (error) {
      this.#end(turn, unanswered, Failure.from(error, requestId));
    } finally {
      this.#running = null;
      this.#events.busy(false);
    }
  }

  #end(turn: TurnView, unanswered: Unanswered, failure: Failure): void {
    if (failure.ended || !UNDECIDED.has(failure.kind)) this.#settled(unanswered);
    if (failure.kind === 'stopped') {
      turn.stop(failure);
      this.#view.keepUp();
      return;
    }
    if (failure.kind === 'widget') console.error('[chatkit]', failure.cause);
    // Under the session that has ended it was asked by somebody else.
    if (failure.kind === 'session_expired') this.part();
    const {question} = unanswered;
    const retry = (): void => {
      const anew = failure.ended || failure.kind === 'session_expired' || failure.kind === 'widget';
      const again = anew ? this.#question(question.message) : question;
      this.#retry(turn, {question: again, requestId: generateRequestId()});
    };
    turn.fail(failure, retry, this.#events.signIn());
    this.#view.endOn(turn.trouble);
    this.#events.failed(failure);
  }

  /** There is nothing left to look for after a reload. */
  #settled({question}: Unanswered): void {
    if (this.#recollection.unanswered?.question.messageId === question.messageId)
      this.#recollection.unanswered = null;
  }
}

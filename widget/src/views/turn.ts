/**
 * One question and what became of it: waiting, being written, answered, stopped, or failed (with what there was).
 */
import type {Failure} from '../failure';
import type {PastTurn} from '../services/conversations';
import type {Answer} from '../services/hearing';
import type {Source} from '../services/messages';
import {createErrorUI} from '../utils/error-boundary';
import {AnswerView} from './answer';
import {h, hook} from './dom';
import {referenceLine} from './reference';
import {SourcesView} from './sources';

const LOOKING = 'Looking for the answer';
const DEGRADED = 'The assistant is not available just now. This is what the documents say.';
const CUT_OFF = 'This answer was cut off.';
const LOST = 'The connection was lost. Finding the answer again';

export class TurnView {
  readonly element: HTMLElement;
  readonly #answer: AnswerView;
  readonly #sources: SourcesView;
  readonly #waiting = h(
    'p',
    {class: 'waiting', part: 'waiting'},
    h('span', {class: 'dots', 'aria-hidden': 'true'}),
  );
  readonly #waitingText = document.createTextNode('');
  /** Right below the text: why there is no more of it. */
  readonly trouble = h('div', {class: 'trouble'});
  /** Last: the reference of an answer. */
  readonly #ending = h('div', {class: 'ending'});
  #text = '';

  /** `base` and `reveal` are for the sources. */
  constructor(question: string, base: string, reveal: (element: HTMLElement) => void) {
    this.#sources = new SourcesView(base, reveal);
    this.#answer = new AnswerView(this.#sources.cite);
    this.#waiting.append(this.#waitingText);
    this.element = h(
      'article',
      {class: 'turn', part: 'turn'},
      h(
        'p',
        {class: 'asked', ...hook('asked')},
        h('span', {class: 'visually-hidden'}, 'You asked: '),
        question,
      ),
      this.#waiting,
      this.#answer.element,
      this.trouble,
      this.#sources.element,
      this.#ending,
    );
    this.wait();
  }

  /** Nothing has come yet; also before another attempt. */
  wait(): void {
    this.#text = '';
    this.#answer.show('');
    this.#answer.state = 'waiting';
    this.#sources.hide();
    this.trouble.replaceChildren();
    this.#ending.replaceChildren();
    this.#waitingText.data = LOOKING;
    this.#waiting.hidden = false;
  }

  found(sources: readonly Source[]): void {
    this.#sources.sources = sources;
    if (sources.length > 0) {
      this.#waitingText.data =
        sources.length === 1 ? 'Reading 1 source' : `Reading ${sources.length} sources`;
    }
  }

  /** The connection is lost, and looked for. */
  lose(): void {
    if (this.#text) this.#note(`${LOST}…`);
    else this.#waitingText.data = LOST;
  }

  findAgain(): void {
    this.trouble.replaceChildren();
    if (!this.#text) this.#waitingText.data = LOOKING;
  }

  write(text: string): void {
    this.#text += text;
    this.#answer.state = 'writing';
    this.#waiting.hidden = true;
    this.#answer.show(this.#text);
  }

  finish(answer: Answer): void {
    // The final text is the one that counts, whatever was streamed.
    this.#answer.show(answer.text);
    this.#end('complete');
    if (answer.metadata.degraded) this.#note(DEGRADED);
    this.#refer(answer.requestId);
  }

  /** An answer of an earlier visit, or as much as there is of it. */
  recall({answer, sources, state, degraded, requestId}: PastTurn): void {
    this.#text = answer;
    this.#sources.sources = sources;
    this.#answer.show(answer);
    this.#end(state === 'done' ? 'complete' : 'cut-off');
    if (state !== 'done') this.#note(CUT_OFF);
    else if (degraded) this.#note(DEGRADED);
    this.#refer(requestId);
  }

  stop(failure: Failure): void {
    this.#end('stopped');
    this.#note(this.#text ? 'Stopped. This answer is incomplete.' : 'Stopped before an answer came.');
    this.#refer(failure.requestId);
  }

  /** `signIn` is for a session that has ended. */
  fail(failure: Failure, retry: () => void, signIn?: () => void): void {
    this.#end('cut-off');
    this.trouble.replaceChildren(createErrorUI(failure, retry, {signIn}));
  }

  /** The conversation has gone on: asking this again would answer out of turn. */
  settle(): void {
    for (const button of this.trouble.querySelectorAll('.retry')) button.remove();
  }

  /** Right below the text, in small print. */
  #note(text: string): void {
    this.trouble.replaceChildren(h('p', {class: 'note', ...hook('note')}, text));
  }

  #refer(requestId: string | null): void {
    if (requestId) this.#ending.replaceChildren(referenceLine(requestId));
  }

  #end(state: 'complete' | 'cut-off' | 'stopped'): void {
    this.#waiting.hidden = true;
    this.#answer.state = state;
    if (state === 'complete' || this.#text) this.#sources.show();
  }
}

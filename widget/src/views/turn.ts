/**
 * One question and what became of it: waiting, being written, answered, stopped, or failed (with what there was).
 */
import type {Failure} from '../failure';
import type {Answer} from '../services/rag-client';
import type {Source} from '../services/messages';
import {createErrorUI} from '../utils/error-boundary';
import {AnswerView} from './answer';
import {h, hook} from './dom';
import {referenceLine} from './reference';
import {SourcesView} from './sources';

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
    this.#waitingText.data = 'Looking for the answer';
    this.#waiting.hidden = false;
  }

  found(sources: readonly Source[]): void {
    this.#sources.sources = sources;
    if (sources.length > 0) {
      this.#waitingText.data =
        sources.length === 1 ? 'Reading 1 source' : `Reading ${sources.length} sources`;
    }
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
    this.#ending.replaceChildren(referenceLine(answer.requestId));
  }

  stop(failure: Failure): void {
    this.#end('stopped');
    this.trouble.replaceChildren(
      h(
        'p',
        {class: 'note'},
        this.#text ? 'Stopped. This answer is incomplete.' : 'Stopped before an answer came.',
      ),
    );
    if (failure.requestId) this.#ending.replaceChildren(referenceLine(failure.requestId));
  }

  fail(failure: Failure, retry: () => void): void {
    this.#end('cut-off');
    this.trouble.replaceChildren(createErrorUI(failure, retry));
  }

  /** The conversation has gone on: asking this again would answer out of turn. */
  settle(): void {
    this.trouble.querySelector('.retry')?.remove();
  }

  #end(state: 'complete' | 'cut-off' | 'stopped'): void {
    this.#waiting.hidden = true;
    this.#answer.state = state;
    if (state === 'complete' || this.#text) this.#sources.show();
  }
}

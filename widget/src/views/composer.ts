/**
 * Where a question is written: a text area, a counter that appears when it matters, and one button that sends or stops.
 */
import {MESSAGE_LIMIT} from '../services/questions';
import {codePoints} from '../utils/text';
import {guarded} from '../utils/guard';
import {h, hook} from './dom';
import {icon} from './icons';

// The counter is a distraction until the limit is near.
const COUNTED_FROM = MESSAGE_LIMIT - 200;

export interface ComposerEvents {
  send(question: string): void;
  stop(): void;
  failed(error: unknown): void;
}

export class ComposerView {
  readonly element: HTMLElement;
  readonly #events: ComposerEvents;
  readonly #field = h('textarea', {
    id: 'question',
    rows: '2',
    placeholder: 'Type your question',
    'aria-describedby': 'counter keys',
    // Enter sends, and the keyboard on a screen says so.
    enterkeyhint: 'send',
    ...hook('question'),
  });
  readonly #counter = h('span', {id: 'counter', class: 'counter', part: 'counter'});
  readonly #send = h(
    'button',
    {type: 'button', class: 'send', ...hook('send'), 'aria-label': 'Send the question', title: 'Send'},
    icon('send'),
  );
  readonly #stop = h(
    'button',
    {
      type: 'button',
      class: 'stop',
      ...hook('stop'),
      'aria-label': 'Stop the answer',
      title: 'Stop',
      hidden: true,
    },
    icon('stop'),
  );
  #busy = false;
  #usable = true;

  constructor(events: ComposerEvents) {
    this.#events = events;
    this.element = h(
      'div',
      {class: 'composer', part: 'composer'},
      h(
        'div',
        {class: 'field'},
        h('label', {for: 'question', class: 'visually-hidden'}, 'Your question'),
        this.#field,
        this.#send,
        this.#stop,
      ),
      h(
        'p',
        {class: 'small-print'},
        h('span', {}, 'Answers can be wrong. Check the sources.'),
        this.#counter,
        h('span', {id: 'keys', class: 'visually-hidden'}, 'Enter sends. Shift and Enter make a new line.'),
      ),
    );
    this.#on(this.#field, 'input', () => this.#update());
    this.#on(this.#field, 'keydown', (event) => this.#key(event as KeyboardEvent));
    this.#on(this.#send, 'click', () => this.#submit());
    this.#on(this.#stop, 'click', () => events.stop());
    this.#update();
  }

  /** While an answer is being written, the button stops it; the next question can be typed already. */
  set busy(busy: boolean) {
    this.#busy = busy;
    // A button that vanishes under the keyboard's focus would drop it at the top of the page.
    const focused = (this.element.getRootNode() as Document | ShadowRoot).activeElement;
    this.#send.hidden = busy;
    this.#stop.hidden = !busy;
    this.#update();
    if (focused === this.#send || focused === this.#stop) this.#field.focus({preventScroll: true});
  }

  /** Whether questions can be sent at all. */
  set usable(usable: boolean) {
    this.#usable = usable;
    this.#field.disabled = !usable;
    this.#update();
  }

  focus(): void {
    this.#field.focus({preventScroll: true});
  }

  #submit(): void {
    const question = this.#question();
    if (!this.#sendable(question)) return;
    this.#field.value = '';
    this.#update();
    this.#events.send(question);
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== 'Enter' || event.shiftKey) return;
    // While an input method is composing, Enter chooses a word (Safari tells only by the code 229).
    if (event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#submit();
  }

  #question(): string {
    return this.#field.value.trim();
  }

  #sendable(question: string): boolean {
    return this.#usable && !this.#busy && question !== '' && codePoints(question) <= MESSAGE_LIMIT;
  }

  #update(): void {
    const question = this.#question();
    const length = codePoints(question);
    const over = length - MESSAGE_LIMIT;
    this.#send.disabled = !this.#sendable(question);
    this.#field.setAttribute('aria-invalid', String(over > 0));
    this.#counter.classList.toggle('over', over > 0);
    this.#counter.textContent =
      over > 0
        ? `${over.toLocaleString('en')} ${over === 1 ? 'character' : 'characters'} too many`
        : length >= COUNTED_FROM
          ? `${length.toLocaleString('en')} of ${MESSAGE_LIMIT.toLocaleString('en')}`
          : '';
  }

  #on(target: HTMLElement, type: string, work: (event: Event) => void): void {
    target.addEventListener(type, guarded(work, this.#events.failed));
  }
}

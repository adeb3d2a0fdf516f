/**
 * An answer's text, also while it is being written: only the blocks that changed are made anew, so that what stands
 * already can be read, selected and heard in peace.
 */
import {blocksOf, type Block} from './blocks';
import {h, hook} from './dom';
import {inlineNodes, type Cite} from './inline';

export type AnswerState = 'waiting' | 'writing' | 'complete' | 'cut-off' | 'stopped';

export class AnswerView {
  readonly element = h('div', {class: 'answer', ...hook('answer')});
  readonly #cite: Cite;
  #shown: string[] = [];

  constructor(cite: Cite) {
    this.#cite = cite;
    this.state = 'waiting';
  }

  /** A screen reader waits while it is being written, and then reads it as a whole. */
  set state(state: AnswerState) {
    this.element.dataset['state'] = state;
    this.element.setAttribute('aria-busy', String(state === 'waiting' || state === 'writing'));
  }

  /** Show `text`, the whole of it so far. */
  show(text: string): void {
    const blocks = blocksOf(text);
    const wanted = blocks.map((block) => JSON.stringify(block));
    const same = wanted.findIndex((block, index) => block !== this.#shown[index]);
    const from = same === -1 ? wanted.length : same;
    while (this.element.children.length > from) this.element.lastElementChild!.remove();
    this.element.append(...blocks.slice(from).map((block) => this.#node(block)));
    this.#shown = wanted;
  }

  #node(block: Block): HTMLElement {
    switch (block.kind) {
      case 'code':
        // It may be wider than the panel; then the keyboard must be able to scroll it.
        return h('pre', {tabindex: '0'}, h('code', {}, block.text));
      case 'bullets':
      case 'numbers':
        return h(
          block.kind === 'bullets' ? 'ul' : 'ol',
          {},
          ...block.items.map((item) => h('li', {}, ...inlineNodes(item, this.#cite))),
        );
      case 'heading':
        return h('p', {class: 'answer-heading'}, ...inlineNodes(block.text, this.#cite));
      case 'quote':
        return h('blockquote', {}, ...inlineNodes(block.text, this.#cite));
      case 'paragraph':
        return h('p', {}, ...inlineNodes(block.text, this.#cite));
    }
  }
}

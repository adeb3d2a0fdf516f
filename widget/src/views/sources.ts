/**
 * Where an answer comes from: a numbered list, and the citations in the text that lead to it.
 */
import type {Source} from '../services/messages';
import {guarded} from '../utils/guard';
import {safeLink} from '../utils/safe-link';
import {h, hook} from './dom';

const POINTED_AT_MS = 1_600;

export class SourcesView {
  readonly element = h('section', {
    class: 'sources',
    ...hook('sources'),
    'aria-label': 'Sources',
    hidden: true,
  });
  readonly #base: string;
  readonly #reveal: (element: HTMLElement) => void;
  #sources: readonly Source[] = [];
  #items: HTMLElement[] = [];

  /** `base` is the address that relative links belong to; `reveal` scrolls an element into view. */
  constructor(base: string, reveal: (element: HTMLElement) => void) {
    this.#base = base;
    this.#reveal = reveal;
  }

  get count(): number {
    return this.#sources.length;
  }

  set sources(sources: readonly Source[]) {
    this.#sources = sources;
  }

  /** The list stays back until the answer stands, or each new line would push it down. */
  show(): void {
    if (this.#sources.length === 0) return;
    this.#items = this.#sources.map((source, index) => this.#item(source, index + 1));
    // Safari forgets that a list without bullets is a list, unless told.
    const list = h('ol', {role: 'list'}, ...this.#items);
    this.element.replaceChildren(h('p', {class: 'sources-title', 'aria-hidden': 'true'}, 'Sources'), list);
    this.element.hidden = false;
  }

  hide(): void {
    this.#sources = [];
    this.element.hidden = true;
  }

  /** The small button that stands for `[number]`; null when there is no such source. */
  readonly cite = (number: number): HTMLElement | null => {
    const source = this.#sources[number - 1];
    if (!source) return null;
    const label = `Source ${number}: ${source.title}`;
    const button = h(
      'button',
      {type: 'button', class: 'citation', ...hook('citation'), 'aria-label': label, title: source.title},
      `[${number}]`,
    );
    button.addEventListener(
      'click',
      guarded(() => this.#pointAt(number)),
    );
    return button;
  };

  #pointAt(number: number): void {
    const item = this.#items[number - 1];
    if (!item) return;
    this.#reveal(item);
    (item.querySelector('a') ?? item).focus({preventScroll: true});
    item.classList.add('pointed-at');
    setTimeout(() => item.classList.remove('pointed-at'), POINTED_AT_MS);
  }

  #item(source: Source, number: number): HTMLElement {
    const link = safeLink(source.url, this.#base);
    const place = link ? placeOf(link) : pathIn(source.url);
    const title = link
      ? h('a', {href: link, target: '_blank', rel: 'noopener noreferrer'}, source.title)
      : h('span', {class: 'source-name'}, source.title);
    return h(
      'li',
      {tabindex: '-1', ...hook('source')},
      h('span', {class: 'source-number', 'aria-hidden': 'true'}, String(number)),
      h(
        'div',
        {class: 'source-body'},
        h('p', {class: 'source-title'}, title, place ? h('span', {class: 'source-place'}, place) : null),
        source.excerpt ? h('p', {class: 'source-excerpt'}, source.excerpt) : null,
      ),
    );
  }
}

/** Where a link leads, in short, so that nobody has to hover to know. */
function placeOf(link: string): string {
  const url = new URL(link);
  return url.origin === location.origin ? url.pathname : url.host;
}

/** A bare path ("docs/guide.md#start") leads nowhere from here, but tells where to look; null for all else. */
function pathIn(url: string | null): string | null {
  return url && /^[\w./~%#-]+$/.test(url) ? url : null;
}

/**
 * What a visitor may want to read next: a few titles, each of which leads there if it can.
 */
import type {Source} from '../services/messages';
import {safeLink} from '../utils/safe-link';
import {h, hook} from './dom';

/** `base` is the address that relative links belong to. Null when there is nothing to read. */
export function readingList(pages: readonly Source[], base: string): HTMLElement | null {
  const items = pages.flatMap(({title, url}) => {
    const link = safeLink(url, base);
    const name = link ? h('a', {href: link, target: '_blank', rel: 'noopener noreferrer'}, title) : title;
    return [h('li', hook('recommendation'), name)];
  });
  if (items.length === 0) return null;
  return h(
    'div',
    {class: 'reading'},
    h('p', {id: 'reading', class: 'form-label'}, 'You may also want to read'),
    h('ul', {role: 'list', 'aria-labelledby': 'reading'}, ...items),
  );
}

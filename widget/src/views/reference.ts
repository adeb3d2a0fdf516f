/**
 * "Reference ID: …" in small print: what a visitor quotes to support, and what finds the request in the log.
 */
import {copyText} from '../utils/clipboard';
import {guarded} from '../utils/guard';
import {h, hook} from './dom';
import {icon} from './icons';

const SAID_FOR_MS = 2_000;

export function referenceLine(requestId: string): HTMLElement {
  const id = h('code', hook('reference-id'), requestId);
  const label = h('span', {}, 'Copy');
  const button = h('button', {
    type: 'button',
    class: 'copy',
    ...hook('copy'),
    'aria-label': 'Copy the reference ID',
  });
  button.append(icon('copy'), label);
  const said = h('span', {class: 'visually-hidden', role: 'status'});

  const copy = async (): Promise<void> => {
    const copied = await copyText(requestId, button);
    // Where the browser will not copy, the ID is at least marked for the keyboard.
    if (!copied) getSelection()?.selectAllChildren(id);
    button.classList.toggle('copied', copied);
    label.textContent = copied ? 'Copied' : 'Press Ctrl+C';
    said.textContent = copied
      ? 'Reference ID copied'
      : 'The reference ID is selected. Press Ctrl+C to copy it.';
    setTimeout(() => {
      button.classList.remove('copied');
      label.textContent = 'Copy';
      said.textContent = '';
    }, SAID_FOR_MS);
  };
  button.addEventListener('click', guarded(copy));
  return h('p', {class: 'reference', part: 'reference'}, h('span', {}, 'Reference ID: ', id), button, said);
}

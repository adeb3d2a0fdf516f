/**
 * A failure as the visitor sees it: what happened, what they can do, and the ID to quote.
 */
import type {Failure} from '../failure';
import {wordsFor} from '../failure-words';
import {guarded} from '../utils/guard';
import {countDown} from './countdown';
import {h, hook} from './dom';
import {icon} from './icons';
import {referenceLine} from './reference';

const RETRY = 'Try again';

/** The card for `failure`. With `retry`, and where it may help, a button that calls it; after `retryAfter`, if given. */
export function createErrorUI(failure: Failure, retry?: () => void): HTMLElement {
  const words = wordsFor(failure);
  const card = h(
    'div',
    {class: 'error-card', role: 'alert', 'data-kind': failure.kind, ...hook('error-card')},
    icon('alert'),
    h(
      'div',
      {class: 'error-body'},
      h('p', {class: 'error-title'}, words.title),
      h('p', {class: 'error-advice'}, words.advice),
      retry && words.retry ? retryButton(failure, retry) : null,
      failure.requestId === null ? null : referenceLine(failure.requestId),
    ),
  );
  return card;
}

function retryButton(failure: Failure, retry: () => void): HTMLElement {
  // The alert is read out once; the seconds that pass are not.
  const button = h('button', {type: 'button', class: 'retry', 'aria-live': 'off', ...hook('retry')}, RETRY);
  button.addEventListener('click', guarded(retry));
  if (failure.retryAfter !== undefined) countDown(button, failure.retryAfter, RETRY);
  return button;
}

/**
 * A failure as the visitor sees it: what happened, what they can do, and the ID to quote.
 */
import type {Failure} from '../failure';
import {wordsFor, type FailureWords} from '../failure-words';
import {guarded} from '../utils/guard';
import {countDown} from './countdown';
import {h, hook} from './dom';
import {icon} from './icons';
import {referenceLine} from './reference';

const RETRY = 'Try again';

export interface CardExtras {
  /** Called by a button "Sign in again", where the session has ended. */
  signIn?: (() => void) | undefined;
  /** Other words than those for a question. */
  words?: FailureWords;
}

/** The card for `failure`. With `retry`, and where it may help, a button that calls it; after `retryAfter`, if given. */
export function createErrorUI(failure: Failure, retry?: () => void, extras: CardExtras = {}): HTMLElement {
  const words = extras.words ?? wordsFor(failure);
  const signIn = failure.kind === 'session_expired' ? extras.signIn : undefined;
  const card = h(
    'div',
    {class: 'error-card', role: 'alert', 'data-kind': failure.kind, ...hook('error-card')},
    icon('alert'),
    h(
      'div',
      {class: 'error-body'},
      h('p', {class: 'error-title'}, words.title),
      h('p', {class: 'error-advice'}, words.advice),
      signIn ? signInButton(signIn) : null,
      retry && words.retry ? retryButton(failure, retry) : null,
      failure.requestId === null ? null : referenceLine(failure.requestId),
    ),
  );
  return card;
}

function signInButton(signIn: () => void): HTMLElement {
  const button = h('button', {type: 'button', class: 'retry', ...hook('sign-in-again')}, 'Sign in again');
  button.addEventListener('click', guarded(signIn));
  return button;
}

function retryButton(failure: Failure, retry: () => void): HTMLElement {
  // The alert is read out once; the seconds that pass are not.
  const button = h('button', {type: 'button', class: 'retry', 'aria-live': 'off', ...hook('retry')}, RETRY);
  button.addEventListener('click', guarded(retry));
  if (failure.retryAfter !== undefined) countDown(button, failure.retryAfter, RETRY);
  return button;
}

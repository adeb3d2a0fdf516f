/**
 * The button in the header that says how it stands with the visitor, and opens what can be done about it.
 */
import {guarded} from '../utils/guard';
import type {SessionDetail} from '../events';
import {h, hook} from './dom';
import {icon} from './icons';

export class AccountButton {
  readonly element: HTMLButtonElement;
  readonly #label = h('span', {class: 'account-label'});

  constructor(toggle: () => void) {
    this.element = h('button', {
      type: 'button',
      class: 'quiet account',
      'aria-controls': 'sign-in',
      'aria-expanded': 'false',
      hidden: true,
      ...hook('account'),
    });
    this.element.append(icon('person'), this.#label);
    this.element.addEventListener('click', guarded(toggle));
  }

  set open(open: boolean) {
    this.element.setAttribute('aria-expanded', String(open));
  }

  /** `email` is shown of who is signed in. */
  show(state: SessionDetail['state'], email: string): void {
    this.element.dataset['state'] = state;
    const words = {
      anonymous: 'Sign in',
      verification_pending: 'Check your mail',
      logged_in: email,
      expired: 'Sign in again',
    }[state];
    const name = state === 'logged_in' ? `Account: signed in as ${email}` : words;
    this.#label.textContent = words;
    this.element.title = name;
    this.element.setAttribute('aria-label', name);
  }
}

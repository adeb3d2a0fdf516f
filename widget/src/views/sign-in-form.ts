/**
 * Where an address is given: the address, its owner's consent, and what is wrong with them.
 */
import {guarded} from '../utils/guard';
import {h, hook} from './dom';
import {actions, button, text, title, type Run} from './sign-in-cards';

// What mail servers deliver to is theirs to say; this only catches what was forgotten.
const ADDRESS = /^[^\s@]+@[^\s@]+$/;

export interface FormEvents {
  send(email: string): Promise<void>;
  /** Whoever was signed in here shall not be named any more. */
  forget(): void;
}

/** `ended`: somebody was signed in until now, as `email`. `privacy` is a link, if there is one. */
export function formCard(
  {email, ended}: {email: string; ended: boolean},
  privacy: string | null,
  events: FormEvents,
  run: Run,
): HTMLElement[] {
  const address = h('input', {
    id: 'email',
    type: 'email',
    name: 'email',
    autocomplete: 'email',
    required: true,
    maxlength: '254',
    placeholder: 'you@example.com',
    'aria-describedby': 'email-problem',
    ...hook('email'),
  });
  address.value = email;
  const consent = h('input', {
    id: 'consent',
    type: 'checkbox',
    required: true,
    'aria-describedby': 'consent-problem',
    ...hook('consent'),
  });
  const addressProblem = h('p', {id: 'email-problem', class: 'problem', ...hook('email-problem')});
  const consentProblem = h('p', {id: 'consent-problem', class: 'problem', ...hook('consent-problem')});
  const send = button('Send link', 'send-link', 'primary');
  const forget = ended ? button('Forget this address', 'forget', 'secondary', () => events.forget()) : null;
  // What is missing is said here, in the widget's words and colours.
  const form = h(
    'form',
    {novalidate: true},
    h('label', {for: 'email', class: 'form-label'}, 'E-mail address'),
    address,
    addressProblem,
    h(
      'p',
      {class: 'consent'},
      consent,
      h(
        'span',
        {},
        h('label', {for: 'consent'}, 'Keep my address for an account, and send me sign-in letters.'),
        privacy ? ' ' : null,
        privacy ? h('a', {href: privacy, target: '_blank', rel: 'noopener noreferrer'}, 'Privacy') : null,
      ),
    ),
    consentProblem,
    actions(send, forget),
  );

  const submit = guarded(() => {
    const given = address.value.trim();
    const missing = [
      complain(address, addressProblem, ADDRESS.test(given) ? '' : 'Please give your e-mail address.'),
      complain(consent, consentProblem, consent.checked ? '' : 'Please tick this box first.'),
    ].find((field) => field !== null);
    if (missing) missing.focus();
    else run(send, 'Sending', () => events.send(given));
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  return [
    title(ended ? 'You are no longer signed in' : 'Sign in by e-mail'),
    text(
      ended ? 'Have a link sent to sign in again.' : 'We send you a link to sign in. There is no password.',
    ),
    form,
  ];
}

/** Say that `field` has a `problem`, or none; the field that has one. */
function complain(field: HTMLInputElement, place: HTMLElement, problem: string): HTMLInputElement | null {
  place.textContent = problem;
  field.setAttribute('aria-invalid', String(problem !== ''));
  return problem === '' ? null : field;
}

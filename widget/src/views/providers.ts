/**
 * Other ways to sign in than by a letter: one button for each.
 */
import type {Provider} from '../services/auth-client';
import {h, hook} from './dom';
import {button, type Run} from './sign-in-cards';

/** `account`: somebody is signed in, and adds a way to their account. Null when there are no other ways. */
export function providerList(
  providers: readonly Provider[],
  account: boolean,
  events: {goTo(provider: string): Promise<void>},
  run: Run,
): HTMLElement | null {
  if (providers.length === 0) return null;
  const buttons = providers.map(({id, name}) => {
    const label = account ? `Add ${name}` : `Continue with ${name}`;
    const go: HTMLButtonElement = button(label, `provider-${id}`, 'secondary', () =>
      run(go, `Opening ${name}`, () => events.goTo(id)),
    );
    return go;
  });
  const words = account
    ? 'Sign in to this account another way, too:'
    : 'Or go on with an account that you have. Your address is then kept for an account here.';
  return h(
    'div',
    {class: 'providers', ...hook('providers')},
    h('p', {class: 'sign-in-text'}, words),
    h('div', {class: 'actions'}, ...buttons),
  );
}

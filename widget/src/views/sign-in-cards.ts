/**
 * The cards of signing in that only tell and have buttons: a letter was sent, a link was opened, somebody is signed in.
 */
import {guarded} from '../utils/guard';
import {countDown} from './countdown';
import {h, hook, type Child} from './dom';
import {icon} from './icons';

/** Do what a button says; `doing` is its label meanwhile. */
export type Run = (button: HTMLButtonElement, doing: string, work: () => Promise<void>) => void;

/** What became of the letter. `refused`: its link was tried; `elsewhere`: it was used, and not in this browser. */
export type News = 'waiting' | 'expired' | 'refused' | 'elsewhere';

/** A letter went to `email`; another may be asked for at `againAt` (ms since 1970). */
export function sentCard(
  {email, againAt, news}: {email: string; againAt: number; news: News},
  events: {sendAgain(): Promise<void>; startOver(): void},
  run: Run,
): HTMLElement[] {
  const label = news === 'waiting' ? 'Send again' : 'Send a new link';
  const again = button(label, 'send-again', news === 'waiting' ? 'secondary' : 'primary', () =>
    run(again, 'Sending', () => events.sendAgain()),
  );
  const wait = (againAt - Date.now()) / 1_000;
  if (wait > 0) countDown(again, wait, label, label);
  const other = button('Use another address', 'start-over', 'secondary', () => events.startOver());
  const address = h('strong', {class: 'address'}, email);
  const [heading, words] = {
    waiting: [
      'Check your mail',
      ['We sent a link to ', address, '. Open it in this browser within ten minutes.'],
    ] as const,
    expired: [
      'The link has expired',
      ['A link works for ten minutes. Another one can be sent to ', address, '.'],
    ] as const,
    refused: ['Ask for a new link', ['It will be sent to ', address, '.']] as const,
    elsewhere: [
      'Signed in elsewhere',
      [
        'The link to ',
        address,
        ' was opened in another browser. To sign in here too, have another one sent.',
      ],
    ] as const,
  }[news];
  return [title(heading), text(...words), actions(again, other)];
}

/** Somebody came with the link of a letter, which is not spent before they say so, or is back from a provider. */
export function linkCard(
  from: 'letter' | 'provider',
  events: {finish(): Promise<void>; close(): void},
  run: Run,
): HTMLElement[] {
  const finish = button('Sign in', 'finish', 'primary', () =>
    run(finish, 'Signing in', () => events.finish()),
  );
  const not = button('Not now', 'not-now', 'secondary', () => events.close());
  return [
    title('Finish signing in'),
    text(
      `${from === 'letter' ? 'You opened a sign-in link.' : 'You are back.'} What you have asked in this browser comes along.`,
    ),
    actions(finish, not),
  ];
}

/** Who is signed in; with `savable` there is a conversation that can be kept. */
export function accountCard(
  {email, savable}: {email: string; savable: boolean},
  events: {keep(): Promise<void>; signOut(): Promise<void>},
  run: Run,
): HTMLElement[] {
  const kept = async (): Promise<void> => {
    await events.keep();
    keep.replaceChildren(icon('done'), 'Kept');
  };
  const keep = button('Keep this conversation', 'keep', 'secondary', () => run(keep, 'Keeping', kept));
  const out = button('Sign out', 'sign-out', 'secondary', () =>
    run(out, 'Signing out', () => events.signOut()),
  );
  const address = h('strong', {class: 'address', ...hook('account-email')}, email);
  return [title('You are signed in'), text('As ', address, '.'), actions(savable ? keep : null, out)];
}

export function title(words: string): HTMLElement {
  return h('h3', {id: 'sign-in-title', tabindex: '-1', ...hook('sign-in-title')}, words);
}

export function text(...children: Child[]): HTMLElement {
  return h('p', {class: 'sign-in-text'}, ...children);
}

export function actions(...buttons: Child[]): HTMLElement {
  return h('div', {class: 'actions'}, ...buttons);
}

export function button(
  label: string,
  name: string,
  rank: 'primary' | 'secondary',
  pressed?: () => void,
): HTMLButtonElement {
  const element = h('button', {type: pressed ? 'button' : 'submit', class: rank, ...hook(name)}, label);
  if (pressed) element.addEventListener('click', guarded(pressed));
  return element;
}

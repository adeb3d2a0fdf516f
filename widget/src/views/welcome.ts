/**
 * What is seen before the first question: a hint, and a few questions to start from.
 */
import {guarded} from '../utils/guard';
import {h, hook} from './dom';

/** `ask` is called with the suggestion that was chosen. */
export function welcome(suggestions: readonly string[], ask: (question: string) => void): HTMLElement {
  const buttons = suggestions.map((suggestion) => {
    const button = h('button', {type: 'button', class: 'suggestion', ...hook('suggestion')}, suggestion);
    button.addEventListener(
      'click',
      guarded(() => ask(suggestion)),
    );
    return h('li', {}, button);
  });
  return h(
    'div',
    {class: 'welcome', part: 'welcome'},
    h('p', {class: 'welcome-hint'}, 'Ask in your own words. Every answer names the sources it comes from.'),
    buttons.length > 0 ? h('ul', {role: 'list', 'aria-label': 'Suggested questions'}, ...buttons) : null,
  );
}

/** The questions in a `suggestions` attribute: `a|b|c`. */
export function parseSuggestions(attribute: string | null): string[] {
  return (attribute ?? '')
    .split('|')
    .map((suggestion) => suggestion.trim())
    .filter((suggestion) => suggestion !== '');
}

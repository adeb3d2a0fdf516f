// @vitest-environment happy-dom
import {expect, test} from 'vitest';
import {AnswerView} from '../../src/views/answer';
import {h} from '../../src/views/dom';

/** Two sources; a citation of any other is none. */
function view(): AnswerView {
  return new AnswerView((number) => (number === 1 || number === 2 ? h('button', {}, `[${number}]`) : null));
}

function shown(text: string): HTMLElement {
  const answer = view();
  answer.show(text);
  return answer.element;
}

function tags(element: HTMLElement): string[] {
  return [...element.querySelectorAll('*')].map((child) => child.localName);
}

test('citations of sources become buttons, others stay text', () => {
  const element = shown('Yes [1][2], no [3], none [0], and an[10] array a[1x].');
  expect([...element.querySelectorAll('button')].map((button) => button.textContent)).toEqual(['[1]', '[2]']);
  expect(element.textContent).toBe('Yes [1][2], no [3], none [0], and an[10] array a[1x].');
});

test('code and strong text are marked, and within code nothing is', () => {
  const element = shown('Use `list[1]` or **the [1] one**.');
  expect(tags(element)).toEqual(['p', 'code', 'strong', 'button']);
  expect(element.querySelector('code')!.textContent).toBe('list[1]');
});

test('markup in an answer is text', () => {
  const element = shown(
    '<b>bold</b> <img src=x onerror=alert(1)> [x](javascript:alert(1)) ![y](https://evil/i.png)',
  );
  expect(tags(element)).toEqual(['p']);
  expect(element.textContent).toContain('<img src=x onerror=alert(1)>');
});

test('each shape has its element', () => {
  expect(tags(shown('# H\n\nP\n\n- a\n- b\n\n1. c\n\n> q\n\n```\ncode\n```'))).toEqual([
    'p',
    'p',
    'ul',
    'li',
    'li',
    'ol',
    'li',
    'blockquote',
    'pre',
    'code',
  ]);
});

test('what stands already is not made anew while the rest is written', () => {
  const answer = view();
  answer.show('First.\n\nSec');
  const [first, second] = [...answer.element.children];
  answer.show('First.\n\nSecond.\n\nThird.');
  expect(answer.element.children[0]).toBe(first);
  expect(answer.element.children[1]).not.toBe(second);
  expect(answer.element.textContent).toBe('First.Second.Third.');
});

test('a shorter text takes the place of a longer one', () => {
  const answer = view();
  answer.show('One.\n\nTwo.');
  answer.show('One.');
  expect(answer.element.children).toHaveLength(1);
  answer.show('');
  expect(answer.element.textContent).toBe('');
});

test('shown token by token it ends as the whole does', () => {
  const text = 'A **b** [1].\n\n```sh\nx\n```\n- i\n- j `k`\n\n> q [2]\n\nend';
  const answer = view();
  for (let end = 0; end <= text.length; end += 1) answer.show(text.slice(0, end));
  expect(answer.element.isEqualNode(shown(text))).toBe(true);
});

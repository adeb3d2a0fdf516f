// @vitest-environment happy-dom
import {beforeEach, expect, test} from 'vitest';
import {ComposerView} from '../../src/views/composer';

let sent: string[];
let stops: number;
let composer: ComposerView;
let field: HTMLTextAreaElement;
let send: HTMLButtonElement;

function find<T extends Element>(hook: string): T {
  return composer.element.querySelector<T>(`[data-test="${hook}"]`)!;
}

beforeEach(() => {
  sent = [];
  stops = 0;
  composer = new ComposerView({
    send: (question) => sent.push(question),
    stop: () => (stops += 1),
    failed: (error) => {
      throw error;
    },
  });
  document.body.replaceChildren(composer.element);
  field = find('question');
  send = find('send');
});

function type(text: string): void {
  field.value = text;
  field.dispatchEvent(new Event('input'));
}

function press(init: KeyboardEventInit): boolean {
  return field.dispatchEvent(new KeyboardEvent('keydown', {cancelable: true, ...init}));
}

function counter(): string {
  return composer.element.querySelector('#counter')!.textContent;
}

test('Enter sends the question, trimmed, and clears the field', () => {
  type('  Why?\n ');
  expect(press({key: 'Enter'})).toBe(false);
  expect(sent).toEqual(['Why?']);
  expect(field.value).toBe('');
});

test('Shift+Enter makes a new line', () => {
  type('Why?');
  expect(press({key: 'Enter', shiftKey: true})).toBe(true);
  expect(sent).toEqual([]);
});

test.each([{isComposing: true}, {keyCode: 229}])(
  'Enter does not send while a word is composed (%j)',
  (composing) => {
    type('なぜ');
    expect(press({key: 'Enter', ...composing})).toBe(true);
    expect(sent).toEqual([]);
  },
);

test('the button sends, and has nothing to send when there is nothing but space', () => {
  expect(send.disabled).toBe(true);
  type(' \n ');
  expect(send.disabled).toBe(true);
  press({key: 'Enter'});
  type('Why?');
  expect(send.disabled).toBe(false);
  send.click();
  expect(sent).toEqual(['Why?']);
});

test('the counter keeps quiet until the limit is near', () => {
  type('x'.repeat(1799));
  expect(counter()).toBe('');
  type('x'.repeat(1800));
  expect(counter()).toBe('1,800 of 2,000');
});

test('a question at the limit is sent, counted as the server counts', () => {
  const question = '🙂'.repeat(2000);
  type(question);
  expect(field.getAttribute('aria-invalid')).toBe('false');
  press({key: 'Enter'});
  expect(sent).toEqual([question]);
});

test('a question over the limit is kept, marked, and not sent', () => {
  type('x'.repeat(2001));
  expect(counter()).toBe('1 character too many');
  expect(field.getAttribute('aria-invalid')).toBe('true');
  expect(send.disabled).toBe(true);
  press({key: 'Enter'});
  send.click();
  expect(sent).toEqual([]);
  expect(field.value).toHaveLength(2001);
});

test('while an answer is written the button stops it, and Enter keeps the next question', () => {
  composer.busy = true;
  expect(send.hidden).toBe(true);
  type('Next?');
  press({key: 'Enter'});
  expect(sent).toEqual([]);
  find<HTMLButtonElement>('stop').click();
  expect(stops).toBe(1);
  composer.busy = false;
  expect(field.value).toBe('Next?');
});

test('the focus is not lost with the button that had it', () => {
  type('Why?');
  send.focus();
  composer.busy = true;
  expect(document.activeElement).toBe(field);
});

test('the field has a name and its hints', () => {
  expect(field.labels[0]!.textContent).toBe('Your question');
  for (const id of field.getAttribute('aria-describedby')!.split(' ')) {
    expect(composer.element.querySelector(`#${id}`), id).not.toBeNull();
  }
});

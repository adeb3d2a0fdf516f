// @vitest-environment happy-dom
import {afterEach, expect, test, vi} from 'vitest';
import {referenceLine} from '../../src/views/reference';
import {ENOUGH_MS} from '../support/server';

afterEach(() => vi.unstubAllGlobals());

function clipboard(writeText: ((text: string) => Promise<void>) | undefined): void {
  Object.defineProperty(navigator, 'clipboard', {value: writeText && {writeText}, configurable: true});
}

function lineOnPage(): {line: HTMLElement; button: HTMLButtonElement} {
  const line = referenceLine('abc123-def456');
  document.body.replaceChildren(line);
  return {line, button: line.querySelector('button')!};
}

test('the ID alone is in the element that tests and people pick it from', () => {
  const {line} = lineOnPage();
  expect(line.querySelector('[data-test="reference-id"]')!.textContent).toBe('abc123-def456');
});

test('the button copies the ID and says so', async () => {
  const copied: string[] = [];
  clipboard((text) => Promise.resolve(void copied.push(text)));
  const {line, button} = lineOnPage();
  button.click();
  await vi.waitFor(() => expect(button.textContent).toBe('Copied'), ENOUGH_MS);
  expect(copied).toEqual(['abc123-def456']);
  expect(line.querySelector('[role="status"]')!.textContent).toBe('Reference ID copied');
});

test.each([
  ['is missing', undefined],
  ['refuses', () => Promise.reject(new Error('not allowed'))],
])('where the clipboard %s, the ID is copied the old way', async (_, writeText) => {
  clipboard(writeText);
  const copied: string[] = [];
  document.execCommand = () => {
    copied.push((document.querySelector('textarea') as HTMLTextAreaElement).value);
    return true;
  };
  const {button} = lineOnPage();
  button.click();
  await vi.waitFor(() => expect(button.textContent).toBe('Copied'), ENOUGH_MS);
  expect(copied).toEqual(['abc123-def456']);
  expect(document.querySelector('textarea')).toBeNull();
});

test('where nothing can copy, the visitor is told how to', async () => {
  clipboard(undefined);
  document.execCommand = () => false;
  const {button} = lineOnPage();
  button.click();
  await vi.waitFor(() => expect(button.textContent).toBe('Press Ctrl+C'), ENOUGH_MS);
  expect(getSelection()!.toString()).toBe('abc123-def456');
});

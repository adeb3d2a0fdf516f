/**
 * A widget on a page, and what a visitor can see and do in it.
 */
import processConsole from 'node:console';
import {vi} from 'vitest';
import {ChatKitWidget, defineWidget} from '../../src/element';
import {until} from './server';

/** Print nothing of what fails on purpose: neither the widget's own reports nor happy-dom's of failed requests. */
export function quietly(): void {
  for (const each of [console, processConsole]) vi.spyOn(each, 'error').mockImplementation(() => undefined);
}

export class Visitor {
  readonly widget: ChatKitWidget;
  /** What the page that hosts the widget heard. */
  readonly heard: (CustomEvent<{requestId: string | null}> & {detail: Record<string, unknown>})[] = [];

  /** Open a page with `<chatkit-widget …attributes>`. */
  constructor(attributes: Record<string, string>) {
    defineWidget('https://chat.example.com');
    this.widget = document.createElement('chatkit-widget');
    for (const [name, value] of Object.entries(attributes)) this.widget.setAttribute(name, value);
    for (const type of ['chatkit-answer', 'chatkit-error', 'chatkit-session']) {
      document.addEventListener(type, (event) => this.heard.push(event as (typeof this.heard)[number]));
    }
    document.body.replaceChildren(this.widget);
  }

  get root(): ShadowRoot {
    return this.widget.shadowRoot!;
  }

  all(name: string): HTMLElement[] {
    return [...this.root.querySelectorAll<HTMLElement>(`[data-test="${name}"]`)];
  }

  /** The one element with this hook, or null. */
  find(name: string): HTMLElement | null {
    const [element, ...more] = this.all(name);
    if (more.length > 0) throw new Error(`there are ${more.length + 1} of ${name}`);
    return element ?? null;
  }

  see(name: string): Promise<HTMLElement> {
    return until(() => this.find(name), name);
  }

  get field(): HTMLTextAreaElement {
    return this.find('question') as HTMLTextAreaElement;
  }

  type(text: string): void {
    this.field.value = text;
    this.field.dispatchEvent(new Event('input', {bubbles: true}));
  }

  press(init: KeyboardEventInit): KeyboardEvent {
    const event = new KeyboardEvent('keydown', {bubbles: true, cancelable: true, ...init});
    this.field.dispatchEvent(event);
    return event;
  }

  ask(question = 'How do I trace a request?'): void {
    this.type(question);
    this.press({key: 'Enter'});
  }

  click(name: string): void {
    this.find(name)!.click();
  }

  /** The text of what has this hook, or null. */
  text(name: string): string | null {
    return this.find(name)?.textContent ?? null;
  }
}

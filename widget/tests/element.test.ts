// @vitest-environment happy-dom
import {afterEach, beforeEach, expect, test, vi} from 'vitest';
import {ChatKitWidget, defineWidget} from '../src/element';
import {Panel} from '../src/panel';
import {answersWell, fallsSilent} from './support/answers';
import {Stage, until} from './support/server';
import {quietly, Visitor} from './support/widget';

beforeEach(quietly);
afterEach(() => document.body.replaceChildren());

test('defined twice, by a script that was loaded twice, it is the same element', () => {
  defineWidget('https://first.example.com');
  const first = customElements.get('chatkit-widget');
  expect(() => defineWidget('https://second.example.com')).not.toThrow();
  expect(customElements.get('chatkit-widget')).toBe(first);
  expect(ChatKitWidget.scriptOrigin).not.toBe('https://second.example.com');
});

test('the panel lies in an open shadow root, with its styles and without a style element', () => {
  const visitor = new Visitor({'api-base': 'https://chat.example.com'});
  expect(visitor.root.mode).toBe('open');
  expect(visitor.root.adoptedStyleSheets).toHaveLength(1);
  expect(visitor.root.querySelector('style, link, script, [style], [onclick]')).toBeNull();
});

test('the heading is what the page says, and may change', () => {
  const visitor = new Visitor({'api-base': 'https://chat.example.com', heading: 'Ask the documentation'});
  expect(visitor.text('heading')).toBe('Ask the documentation');
  visitor.widget.setAttribute('heading', '<b>Bold</b>');
  expect(visitor.text('heading')).toBe('<b>Bold</b>');
  visitor.widget.removeAttribute('heading');
  expect(visitor.text('heading')).toBe('Ask a question');
});

test('suggestions are offered, and go when the first question is asked', async () => {
  await using stage = await Stage.open(answersWell());
  const visitor = new Visitor({'api-base': stage.url, suggestions: 'How? | Why?||'});
  const [how, why] = visitor.all('suggestion');
  expect([how!.textContent, why!.textContent]).toEqual(['How?', 'Why?']);
  why!.click();
  await visitor.see('reference-id');
  expect(JSON.parse(stage.received[0]!.body)).toMatchObject({message: 'Why?'});
  expect(visitor.all('suggestion')).toEqual([]);
});

test('over plain HTTP nothing is sent, and the card tells the developer why', async () => {
  const sent = vi.spyOn(globalThis, 'fetch');
  const visitor = new Visitor({'api-base': 'http://chat.example.com'});
  expect(visitor.text('error-card')).toContain('plain HTTP is refused');
  expect(visitor.field.disabled).toBe(true);
  visitor.ask();
  expect(sent).not.toHaveBeenCalled();
  expect(visitor.heard.at(-1)!.detail).toEqual({requestId: null, kind: 'configuration', code: undefined});
});

test('an address that is put right makes the widget usable', async () => {
  await using stage = await Stage.open(answersWell());
  const visitor = new Visitor({'api-base': 'nonsense', suggestions: 'How?'});
  expect(visitor.find('error-card')).not.toBeNull();
  visitor.widget.setAttribute('api-base', stage.url);
  expect(visitor.find('error-card')).toBeNull();
  visitor.ask();
  expect((await visitor.see('reference-id')).textContent).toBe(visitor.heard.at(-1)!.detail['requestId']);
});

test('taken out of the page, it stops asking; put back, the conversation is still there', async () => {
  await using stage = await Stage.open(fallsSilent);
  const visitor = new Visitor({'api-base': stage.url});
  visitor.ask();
  await until(() => visitor.text('answer') === 'Half an ', 'the first words');
  visitor.widget.remove();
  await until(() => stage.left === 1, 'the end of the connection');
  document.body.append(visitor.widget);
  expect(visitor.text('answer')).toBe('Half an ');
  expect(visitor.find('stop')!.hidden).toBe(true);
});

test('a panel that cannot be built becomes a card, and the page does not notice', () => {
  vi.spyOn(Panel.prototype, 'heading', 'set').mockImplementation(() => {
    throw new TypeError('a bug');
  });
  const widget = document.createElement('chatkit-widget');
  expect(() => document.body.append(widget)).not.toThrow();
  expect(widget.shadowRoot!.querySelector('[role="alert"]')!.textContent).toContain('The rest of the page');
});

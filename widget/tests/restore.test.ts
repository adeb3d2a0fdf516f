// @vitest-environment happy-dom
import {afterEach, beforeEach, expect, test} from 'vitest';
import {ANSWER, answersWell, beginStream, event, idOf, METADATA, refuses, SOURCES} from './support/answers';
import {answers} from './support/accounts';
import {freshBrowser} from './support/browser';
import {CONVERSATION, OneAnswer} from './support/one-answer';
import {Stage, until, type Play} from './support/server';
import {quietly, Visitor} from './support/widget';

beforeEach(() => {
  quietly();
  freshBrowser();
});
afterEach(() => document.body.replaceChildren());

/** Two turns, as the server keeps them; `last` changes the second. */
function conversation(last: object = {}): object {
  const turn = {sources: SOURCES, asked_at: '2026-01-01T00:00:00.000Z'};
  return {
    id: CONVERSATION,
    title: 'First?',
    turns: [
      {
        ...turn,
        message_id: 'm-1',
        request_id: 'r-first',
        question: 'First?',
        answer: 'The first answer [1].',
        state: 'done',
      },
      {...turn, message_id: 'm-2', question: 'Second?', answer: 'The second', state: 'done', ...last},
    ],
  };
}

/** Answers with `kept` when the conversation is asked for, and with `other` else. */
function keeps(kept: Play, other: Play): Play {
  return (response, received) =>
    received.path === `/api/v1/conversations/${CONVERSATION}`
      ? kept(response, received)
      : other(response, received);
}

/** A tab that has asked a question of `stage` and was answered, and is then loaded anew. */
async function reloaded(stage: Stage, kept: Play): Promise<Visitor> {
  const before = new Visitor({'api-base': stage.url});
  before.ask('First?');
  await before.see('reference-id');
  stage.play = keeps(kept, new OneAnswer().play);
  stage.received.length = 0;
  return new Visitor({'api-base': stage.url, suggestions: 'How?'});
}

test('after a reload the conversation that was on the screen is there again, with its sources', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const visitor = await reloaded(stage, answers(conversation()));
  await until(() => visitor.all('asked').length === 2, 'the conversation');
  expect(visitor.all('asked').map(({textContent}) => textContent)).toEqual([
    'You asked: First?',
    'You asked: Second?',
  ]);
  expect(visitor.all('answer').map(({textContent}) => textContent)).toEqual([
    'The first answer [1].',
    'The second',
  ]);
  expect(visitor.all('answer').map(({dataset}) => dataset['state'])).toEqual(['complete', 'complete']);
  expect(visitor.all('source')).toHaveLength(4);
  expect(visitor.all('citation')).toHaveLength(1);
  expect(visitor.all('suggestion')).toEqual([]);
  expect(visitor.find('new-conversation')!.hidden).toBe(false);
  expect(stage.received[0]!.headers.authorization).toMatch(/^Bearer cka_/);
});

test('an answer that is brought back has its reference, where the server knows it', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const visitor = await reloaded(stage, answers(conversation({request_id: '<b>'})));
  await until(() => visitor.all('asked').length === 2, 'the conversation');
  expect(visitor.all('reference-id').map(({textContent}) => textContent)).toEqual(['r-first']);
});

test('an answer that was second best says so also when it is brought back', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const visitor = await reloaded(stage, answers(conversation({degraded: true})));
  await until(() => visitor.all('asked').length === 2, 'the conversation');
  expect(visitor.all('note').map(({textContent}) => textContent)).toEqual([
    'The assistant is not available just now. This is what the documents say.',
  ]);
});

test('what is brought back is not read out, and what comes then is', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const visitor = await reloaded(stage, answers(conversation()));
  await until(() => visitor.all('asked').length === 2, 'the conversation');
  expect(visitor.find('log')!.getAttribute('aria-live')).toBe('off');
  await until(() => visitor.find('log')!.getAttribute('aria-live') === 'polite', 'the live region');
});

test('after a reload the conversation goes on', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const visitor = await reloaded(stage, answers(conversation()));
  // Asked while it is still being brought back: it waits its turn.
  visitor.ask('Third?');
  await until(() => visitor.all('reference-id').length === 2, 'the answer');
  expect(visitor.all('asked').map(({textContent}) => textContent)).toEqual([
    'You asked: First?',
    'You asked: Second?',
    'You asked: Third?',
  ]);
  const question = stage.received.find(({method}) => method === 'POST')!;
  expect(JSON.parse(question.body)).toMatchObject({message: 'Third?', conversation_id: CONVERSATION});
});

test('an answer that was cut off is marked', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const visitor = await reloaded(stage, answers(conversation({state: 'cut_off'})));
  await until(() => visitor.all('answer').length === 2, 'the conversation');
  const last = visitor.all('answer').at(-1)!;
  expect(last.dataset['state']).toBe('cut-off');
  expect(last.closest('article')!.textContent).toContain('This answer was cut off.');
});

test('a page that is loaded anew in the middle of an answer shows the whole of it, once', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(12);
  let finish = (): void => undefined;
  await using stage = await Stage.open((response, received) => {
    if (received.path === `/api/v1/conversations/${CONVERSATION}`) {
      const running = {message_id: answer.made[0], question: 'First?', answer: 'Run', state: 'running'};
      return answers({id: CONVERSATION, turns: [{...running, sources: SOURCES}]})(response, received);
    }
    if (received.method === 'POST') {
      // It goes on being written, and nobody hears of it.
      const {message_id} = JSON.parse(received.body) as {message_id: string};
      answer.made.push(message_id);
      beginStream(response, idOf(received));
      const place = {sources: SOURCES, message_id, conversation_id: CONVERSATION, session: null};
      response.write(`id: 0\n${event('sources', {request_id: idOf(received), ...place})}`);
      response.write(`id: 3\n${event('token', {request_id: idOf(received), text: 'Run'})}`);
      return;
    }
    finish = () => void answer.play(response, received);
  });
  const before = new Visitor({'api-base': stage.url});
  before.ask('First?');
  await until(() => before.text('answer') === 'Run', 'the first words');
  const sent = idOf(stage.received[0]!);

  answer.breaks.length = 0;
  const visitor = new Visitor({'api-base': stage.url});
  await until(() => stage.received.some(({path}) => path?.endsWith('/events')), 'the re-attachment');
  expect(visitor.find('stop')!.hidden).toBe(false);
  finish();
  await visitor.see('reference-id');
  expect(visitor.text('answer')).toBe(ANSWER);
  expect(visitor.all('asked')).toHaveLength(1);
  expect(visitor.all('source')).toHaveLength(2);
  expect(answer.made).toHaveLength(1);
  // The same reference as before: it finds the question, and how it was answered.
  expect(visitor.text('reference-id')).toBe(sent);
});

test('a question whose page was loaded anew before it arrived is asked, once', async () => {
  const answer = new OneAnswer();
  await using stage = await Stage.open(() => undefined);
  const before = new Visitor({'api-base': stage.url});
  before.ask('Why?');
  await until(() => stage.received.length === 1, 'the question');
  stage.play = answer.play;
  const visitor = new Visitor({'api-base': stage.url});
  await visitor.see('reference-id');
  expect(visitor.text('asked')).toBe('You asked: Why?');
  expect(visitor.text('answer')).toBe(ANSWER);
  expect(answer.made).toEqual([(JSON.parse(stage.received[0]!.body) as {message_id: string}).message_id]);

  const heard = stage.received.length;
  const again = new Visitor({'api-base': stage.url});
  await until(() => stage.last('/conversations/', heard), 'the conversation');
  expect(again.find('stop')!.hidden).toBe(true);
  expect(answer.made).toHaveLength(1);
});

test('what was stopped, or refused, is not asked again behind the visitor’s back', async () => {
  await using stage = await Stage.open(refuses(429, {error: 'rate_limited', message: 'x', retry_after: 60}));
  const before = new Visitor({'api-base': stage.url});
  before.ask('Why?');
  await before.see('error-card');
  const questions = (): number => stage.received.filter(({path}) => path?.startsWith('/api/v1/chat')).length;
  expect(questions()).toBe(1);
  const visitor = new Visitor({'api-base': stage.url, suggestions: 'How?'});
  expect(visitor.all('suggestion')).toHaveLength(1);
  expect(questions()).toBe(1);
});

test('a conversation that is there no longer is begun anew', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const gone = refuses(404, {error: 'not_found', message: 'There is no such conversation.'});
  const visitor = await reloaded(stage, gone);
  visitor.ask('Second?');
  await visitor.see('reference-id');
  expect(visitor.find('error-card')).toBeNull();
  expect(JSON.parse(stage.last('/chat')!.body)).not.toHaveProperty('conversation_id');
});

test('a conversation that cannot be brought back just now says so, and can be tried again', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const visitor = await reloaded(stage, refuses(500, {error: 'internal_error', message: 'x'}));
  expect((await visitor.see('error-card')).dataset['kind']).toBe('server');
  stage.play = keeps(answers(conversation()), answersWell());
  visitor.click('retry');
  await until(() => visitor.all('asked').length === 2, 'the conversation');
  expect(visitor.find('error-card')).toBeNull();
});

test('turns that are not of the contract are left out', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const turns = [null, 7, {question: 'x'}, {message_id: 'a', question: 'b', answer: 'c', state: 'odd'}];
  const good = {message_id: 'm', question: 'Good?', answer: 'Yes.', state: 'done', sources: 'none'};
  const visitor = await reloaded(stage, answers({turns: [...turns, good]}));
  await until(() => visitor.all('asked').length > 0, 'the conversation');
  expect(visitor.text('asked')).toBe('You asked: Good?');
});

test('after a new conversation was begun, a reload finds nothing', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const before = new Visitor({'api-base': stage.url});
  before.ask();
  await before.see('reference-id');
  before.click('new-conversation');
  const asked = stage.received.length;
  const visitor = new Visitor({'api-base': stage.url, suggestions: 'How?'});
  expect(visitor.all('suggestion')).toHaveLength(1);
  expect(stage.received).toHaveLength(asked);
});

test('two widgets of a page have a conversation each, also after a reload', async () => {
  await using stage = await Stage.open(new OneAnswer().play);
  const [one, other] = [document.createElement('chatkit-widget'), document.createElement('chatkit-widget')];
  new Visitor({'api-base': stage.url});
  for (const widget of [one, other]) widget.setAttribute('api-base', stage.url);
  document.body.replaceChildren(one, other);
  const field = other.shadowRoot!.querySelector<HTMLTextAreaElement>('[data-test="question"]')!;
  field.value = 'Which?';
  field.dispatchEvent(new Event('input'));
  field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}));
  await until(() => other.shadowRoot!.querySelector('[data-test="reference-id"]'), 'the answer');

  stage.play = keeps(answers(conversation()), answersWell());
  const again = [document.createElement('chatkit-widget'), document.createElement('chatkit-widget')];
  for (const widget of again) widget.setAttribute('api-base', stage.url);
  document.body.replaceChildren(...again);
  const asked = (widget: Element): number =>
    widget.shadowRoot!.querySelectorAll('[data-test="asked"]').length;
  await until(() => asked(again[1]!) === 2, 'the conversation');
  expect(asked(again[0]!)).toBe(0);
});

test('metadata of an answer that was taken up again are told to the page', async () => {
  const answer = new OneAnswer();
  await using stage = await Stage.open(() => undefined);
  new Visitor({'api-base': stage.url}).ask('Why?');
  await until(() => stage.received.length === 1, 'the question');
  stage.play = answer.play;
  const visitor = new Visitor({'api-base': stage.url});
  await visitor.see('reference-id');
  expect(visitor.heard.at(-1)!.detail).toMatchObject({sources: 2, metadata: METADATA});
});

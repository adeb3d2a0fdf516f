// @vitest-environment happy-dom
import {afterEach, beforeEach, expect, test, vi} from 'vitest';
import {TurnView} from '../src/views/turn';
import {
  ANSWER,
  answersWell,
  beginStream,
  event,
  fallsSilent,
  idOf,
  METADATA,
  refuses,
  SOURCES,
} from './support/answers';
import {CONVERSATION, OneAnswer} from './support/one-answer';
import {deadAddress, Stage, until, type Play, type Received} from './support/server';
import {quietly, Visitor} from './support/widget';

beforeEach(quietly);
afterEach(() => document.body.replaceChildren());

async function open(
  play: Play,
  attributes: Record<string, string> = {},
): Promise<{stage: Stage; visitor: Visitor} & AsyncDisposable> {
  const stage = await Stage.open(play);
  const visitor = new Visitor({'api-base': stage.url, ...attributes});
  return {stage, visitor, [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose]()};
}

/** The failing plays hold until the client hangs up, so that what is shown meanwhile can be looked at. */
const waits: Play = () => undefined;

test('a question is answered, with its sources, and with the ID that was sent', async () => {
  await using page = await open(answersWell());
  const {stage, visitor} = page;
  visitor.ask();
  const reference = await visitor.see('reference-id');
  expect(reference.textContent).toBe(idOf(stage.received[0]!));
  expect(reference.closest('p')!.textContent).toMatch(/^Reference ID: \S+Copy$/);
  expect(visitor.text('asked')).toBe('You asked: How do I trace a request?');
  expect(visitor.text('answer')).toBe(ANSWER);
  expect(visitor.all('source').map((source) => source.querySelector('a')?.href)).toEqual([
    `${stage.url}/docs/tracing`,
    'https://example.com/log',
  ]);
  expect(visitor.field.value).toBe('');
});

test('the page hears of an answer, with its ID', async () => {
  await using page = await open(answersWell());
  page.visitor.ask();
  const id = (await page.visitor.see('reference-id')).textContent;
  const heard = page.visitor.heard.at(-1)!;
  expect(heard).toMatchObject({type: 'chatkit-answer', bubbles: true, composed: true});
  expect(heard.detail).toEqual({requestId: id, sources: 2, metadata: METADATA});
});

test('an answer that is second best says so, and the page hears it', async () => {
  await using page = await open(answersWell({metadata: {...METADATA, degraded: true}}));
  page.visitor.ask();
  await page.visitor.see('reference-id');
  expect(page.visitor.text('note')).toBe(
    'The assistant is not available just now. This is what the documents say.',
  );
  expect(page.visitor.heard.at(-1)!.detail).toMatchObject({metadata: {degraded: true}});
});

test('a good answer has no note', async () => {
  await using page = await open(answersWell({metadata: {...METADATA, degraded: false}}));
  page.visitor.ask();
  await page.visitor.see('reference-id');
  expect(page.visitor.find('note')).toBeNull();
});

test('words are shown as they come', async () => {
  await using page = await open(fallsSilent);
  page.visitor.ask();
  const answer = await until(() => {
    const found = page.visitor.find('answer');
    return found?.textContent === 'Half an ' ? found : null;
  }, 'the first words');
  expect(answer.dataset['state']).toBe('writing');
  expect(answer.getAttribute('aria-busy')).toBe('true');
  expect(page.visitor.find('reference-id')).toBeNull();
  expect(page.visitor.find('sources')!.hidden).toBe(true);
});

test('the final text is the one that stays', async () => {
  await using page = await open(async (response, received) => {
    await fallsSilent(response, received);
    response.end(event('done', {request_id: idOf(received), answer: 'Another answer.', metadata: {}}));
  });
  page.visitor.ask();
  await page.visitor.see('reference-id');
  expect(page.visitor.text('answer')).toBe('Another answer.');
  expect(page.visitor.find('answer')!.dataset['state']).toBe('complete');
  expect(page.visitor.find('answer')!.getAttribute('aria-busy')).toBe('false');
});

test('a visitor can stop, keeps what was written, and can ask on', async () => {
  await using page = await open(fallsSilent);
  const {visitor, stage} = page;
  visitor.ask();
  await until(() => visitor.text('answer') === 'Half an ', 'the first words');
  expect(visitor.find('send')!.hidden).toBe(true);
  visitor.click('stop');
  const reference = await visitor.see('reference-id');
  expect(reference.textContent).toBe(idOf(stage.received[0]!));
  expect(visitor.text('answer')).toBe('Half an ');
  expect(visitor.find('answer')!.dataset['state']).toBe('stopped');
  expect(visitor.find('error-card')).toBeNull();
  expect(visitor.heard).toEqual([]);
  await until(() => stage.left === 1, 'the end of the connection');
  expect(visitor.find('send')!.hidden).toBe(false);
});

test('one question at a time: while one is answered, another waits in the field', async () => {
  await using page = await open(waits);
  const {visitor, stage} = page;
  visitor.ask('First?');
  await until(() => stage.received.length, 'the question');
  visitor.ask('Second?');
  expect(visitor.field.value).toBe('Second?');
  expect(visitor.all('asked')).toHaveLength(1);
});

/** Begins well, and then the server says that there will be no more. */
const cutsOff: Play = async (response, received) => {
  await fallsSilent(response, received);
  response.end(event('error', {request_id: idOf(received), error: 'service_unavailable', message: 'x'}));
};

interface Asked {
  message: string;
  message_id: string;
  conversation_id?: string;
}

/** The questions that came, without what else did. */
function asked(stage: Stage): Asked[] {
  return stage.received.filter(isQuestion).map(({body}) => JSON.parse(body) as Asked);
}

function isQuestion({path}: Received): boolean {
  return path === '/api/v1/chat/stream';
}

test('an answer that was cut off is kept and marked, and can be asked for again with an ID of its own', async () => {
  await using page = await open(cutsOff);
  const {visitor, stage} = page;
  visitor.ask('Why?');
  const card = await visitor.see('error-card');
  expect(card.dataset['kind']).toBe('cut_off');
  expect(card.getAttribute('role')).toBe('alert');
  expect(visitor.text('answer')).toBe('Half an ');
  expect(visitor.find('answer')!.dataset['state']).toBe('cut-off');
  const first = visitor.text('reference-id');
  expect(first).toBe(idOf(stage.received[0]!));

  stage.play = answersWell();
  visitor.click('retry');
  await until(() => visitor.text('answer') === ANSWER, 'the answer');
  expect(visitor.find('error-card')).toBeNull();
  expect(visitor.all('asked')).toHaveLength(1);
  const [before, again] = asked(stage);
  expect([before!.message, again!.message]).toEqual(['Why?', 'Why?']);
  // Under the old one the server would give the same half answer.
  expect(again!.message_id).not.toBe(before!.message_id);
  await until(() => visitor.text('reference-id') !== first, 'the new ID');
});

test('a question of which nobody knows whether it arrived is asked again under the same message ID', async () => {
  await using page = await open((response) => void response.destroy());
  const {visitor, stage} = page;
  visitor.ask('Why?');
  expect((await visitor.see('error-card')).dataset['kind']).toBe('unreachable');
  stage.play = answersWell();
  visitor.click('retry');
  await until(() => visitor.text('answer') === ANSWER, 'the answer');
  const [before, again] = asked(stage);
  expect(again!.message_id).toBe(before!.message_id);
});

test('while a lost connection is looked for, the visitor is told, and the answer goes on', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(9);
  await using page = await open(answer.play);
  page.visitor.ask();
  await until(() => page.visitor.root.textContent!.includes('The connection was lost.'), 'the notice');
  await page.visitor.see('reference-id');
  expect(page.visitor.text('answer')).toBe(ANSWER);
  expect(page.visitor.root.querySelector<HTMLElement>('.waiting')!.hidden).toBe(true);
  expect(page.visitor.root.querySelector('.trouble')!.childElementCount).toBe(0);
});

test('the next question goes on with the conversation', async () => {
  const answer = new OneAnswer();
  await using page = await open(answer.play);
  page.visitor.ask('First?');
  await page.visitor.see('reference-id');
  page.visitor.ask('Second?');
  await until(() => page.visitor.all('reference-id').length === 2, 'the second answer');
  expect(asked(page.stage).map((question) => question.conversation_id)).toEqual([undefined, CONVERSATION]);
});

test('a new conversation can be begun, and knows nothing of the old one', async () => {
  const answer = new OneAnswer();
  await using page = await open(answer.play, {suggestions: 'How?'});
  const {visitor, stage} = page;
  expect(visitor.find('new-conversation')!.hidden).toBe(true);
  visitor.ask('First?');
  await visitor.see('reference-id');
  visitor.click('new-conversation');
  expect(visitor.all('asked')).toEqual([]);
  expect(visitor.all('suggestion')).toHaveLength(1);
  expect(visitor.find('new-conversation')!.hidden).toBe(true);
  visitor.ask('Second?');
  await visitor.see('reference-id');
  expect(asked(stage).map((question) => question.conversation_id)).toEqual([undefined, undefined]);
});

test('what the visitor was shown that went wrong is told to the server, under the same ID', async () => {
  await using page = await open(refuses(500, {error: 'internal_error', message: 'x'}));
  page.visitor.ask();
  await page.visitor.see('error-card');
  const report = await until(() => page.stage.received.find(({path}) => path === '/api/v1/analytics/event'));
  expect(idOf(report)).toBe(page.visitor.text('reference-id'));
  expect(JSON.parse(report.body)).toMatchObject({
    name: 'error_shown',
    properties: {kind: 'server', code: 'internal_error'},
  });
});

test('a failed question shows the ID under which the server knows it, and the page hears of it', async () => {
  await using page = await open(refuses(500, {error: 'internal_error', message: 'Traceback: secret'}));
  const {visitor, stage} = page;
  visitor.ask();
  const card = await visitor.see('error-card');
  expect(card.textContent).toContain('Something went wrong on our side.');
  expect(card.textContent).not.toContain('Traceback');
  const id = idOf(stage.received[0]!);
  expect(visitor.text('reference-id')).toBe(id);
  const heard = visitor.heard.at(-1)!;
  expect(heard).toMatchObject({type: 'chatkit-error', bubbles: true, composed: true});
  expect(heard.detail).toEqual({requestId: id, kind: 'server', code: 'internal_error'});
});

test('without a connection the ID that was meant to be sent is shown', async () => {
  const visitor = new Visitor({'api-base': await deadAddress()});
  visitor.ask();
  expect((await visitor.see('error-card')).dataset['kind']).toBe('unreachable');
  expect(visitor.text('reference-id')).toMatch(/^[0-9a-f-]{36}$/);
});

test('a question that failed before its first word shows no sources', async () => {
  await using page = await open((response, received) => {
    beginStream(response, idOf(received));
    response.write(event('sources', {request_id: idOf(received), sources: SOURCES}));
    response.end(event('error', {request_id: idOf(received), error: 'internal_error', message: 'x'}));
  });
  page.visitor.ask();
  await page.visitor.see('error-card');
  expect(page.visitor.find('sources')!.hidden).toBe(true);
});

test('an invalid question cannot be retried, and the server says why', async () => {
  await using page = await open(
    refuses(400, {error: 'message_too_long', message: 'At most 2,000 characters.'}),
  );
  page.visitor.ask();
  expect((await page.visitor.see('error-card')).textContent).toContain('At most 2,000 characters.');
  expect(page.visitor.find('retry')).toBeNull();
});

test('once the conversation goes on, an old failure can no longer be retried', async () => {
  await using page = await open(refuses(500, {error: 'internal_error', message: 'x'}));
  page.visitor.ask();
  await page.visitor.see('retry');
  page.stage.play = answersWell();
  page.visitor.ask('Another?');
  await until(() => page.visitor.all('reference-id').length === 2, 'the answer');
  expect(page.visitor.find('retry')).toBeNull();
});

test('nothing that a server sends becomes markup, a script or a dangerous link', async () => {
  const evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>[1](javascript:alert(1))';
  const sources = [
    {...SOURCES[0], title: evil, excerpt: evil, url: 'javascript:window.pwned=1'},
    {...SOURCES[0], title: 'data', url: 'data:text/html,<script>window.pwned=1</script>'},
    {...SOURCES[0], title: 'good', url: 'https://example.com/"onmouseover="x'},
  ];
  await using page = await open(answersWell({sources, answer: `${evil}\n\n${evil}`}));
  const {visitor} = page;
  visitor.ask(evil);
  await visitor.see('reference-id');
  expect(visitor.root.querySelector('img, script, iframe, [onerror], [onmouseover], [src]')).toBeNull();
  const links = [...visitor.root.querySelectorAll('a')];
  expect(links.map(({href}) => new URL(href).protocol)).toEqual(['https:']);
  expect(links[0]!.rel).toBe('noopener noreferrer');
  expect(visitor.text('answer')).toContain('<script>window.pwned=1</script>');
  expect(visitor.text('asked')).toContain('<img src=x');
  expect('pwned' in window).toBe(false);
});

test('an ID that the server made up to look like markup is never shown', async () => {
  await using page = await open((response) => {
    beginStream(response, 'good-id');
    response.end(event('done', {request_id: '<b>x</b>', answer: 'Yes.', metadata: {}}));
  });
  page.visitor.ask();
  expect((await page.visitor.see('reference-id')).textContent).toBe('good-id');
});

test('a bug while an answer is shown becomes a card with the ID, and the widget goes on', async () => {
  await using page = await open(answersWell());
  const {visitor, stage} = page;
  const finish = vi.spyOn(TurnView.prototype, 'finish').mockImplementation(() => {
    throw new TypeError('a bug');
  });
  visitor.ask();
  expect((await visitor.see('error-card')).dataset['kind']).toBe('widget');
  expect(visitor.text('reference-id')).toBe(idOf(stage.received[0]!));
  finish.mockRestore();
  visitor.click('retry');
  await until(() => visitor.find('answer')!.dataset['state'] === 'complete', 'the answer');
  expect(visitor.find('error-card')).toBeNull();
});

test('even a bug in showing the failure ends in a card, and not in the page', async () => {
  await using page = await open(refuses(500, {error: 'internal_error', message: 'x'}));
  const escaped: unknown[] = [];
  window.addEventListener('unhandledrejection', (event) => escaped.push(event));
  vi.spyOn(TurnView.prototype, 'fail').mockImplementation(() => {
    throw new TypeError('a bug');
  });
  page.visitor.ask();
  expect((await page.visitor.see('error-card')).dataset['kind']).toBe('widget');
  expect(page.visitor.find('send')!.hidden).toBe(false);
  expect(escaped).toEqual([]);
});

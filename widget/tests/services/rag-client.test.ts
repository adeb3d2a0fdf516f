import {afterEach, expect, test, vi} from 'vitest';
import type {Failure} from '../../src/failure';
import type {AnswerListener} from '../../src/services/hearing';
import {pageAddress} from '../../src/services/questions';
import {RagClient} from '../../src/services/rag-client';
import {Session} from '../../src/services/session';
import {
  ANSWER,
  answersWell,
  beginStream,
  breaksOff,
  event,
  fallsSilent,
  goodStream,
  idOf,
  METADATA,
  refuses,
  SOURCES,
  TOKENS,
} from '../support/answers';
import {BY_THE_CLOCK, deadAddress, pause, Stage, until} from '../support/server';

afterEach(() => vi.unstubAllGlobals());

const QUESTION = {
  message: 'How do I trace a request?',
  pageUrl: 'https://shop.example.com/help',
  messageId: 'question-1',
  conversationId: null,
};
// Whoever is patient enough for the tests of how an answer is found again is in found-again.test.ts.
const AT_ONCE = {unheard: [], begun: []};

/** Remembers what it hears. */
class Ear implements AnswerListener {
  readonly tokens: string[] = [];
  sources: unknown = null;
  onSources(sources: unknown): void {
    this.sources = sources;
  }
  onToken(text: string): void {
    this.tokens.push(text);
  }
}

function ask(url: string, {ear = new Ear(), signal = new AbortController().signal, silenceMs = 5_000} = {}) {
  return new RagClient(url, new Session(url), {silenceMs, waitsMs: AT_ONCE}).ask(QUESTION, ear, signal);
}

async function failureOf(answer: Promise<unknown>): Promise<Failure> {
  return await answer.then(
    () => Promise.reject(new Error('it was answered')),
    (failure: unknown) => failure as Failure,
  );
}

test('a question is sent as the contract says, with its ID', async () => {
  await using stage = await Stage.open(answersWell());
  const answer = await ask(stage.url);
  const [received] = stage.received;
  expect(received).toMatchObject({method: 'POST', path: '/api/v1/chat/stream'});
  expect(received!.headers).toMatchObject({
    'content-type': 'application/json',
    accept: 'text/event-stream',
    'x-request-id': answer.requestId,
  });
  expect(received!.headers.authorization).toMatch(/^Bearer cka_[A-Za-z0-9_-]{43}$/);
  expect(JSON.parse(received!.body)).toEqual({
    message: QUESTION.message,
    message_id: 'question-1',
    context: {mode: 'chat', page_url: QUESTION.pageUrl},
  });
});

test('a page without an address is not mentioned, and half characters are not sent', async () => {
  await using stage = await Stage.open(answersWell());
  await new RagClient(stage.url, new Session(stage.url)).ask(
    {...QUESTION, message: 'a\ud800b', pageUrl: null},
    new Ear(),
    new AbortController().signal,
  );
  expect(JSON.parse(stage.received[0]!.body)).toEqual({
    message: 'a\ufffdb',
    message_id: 'question-1',
    context: {mode: 'chat'},
  });
});

test('an answer comes whole, and its parts are heard in order before', async () => {
  await using stage = await Stage.open(answersWell());
  const ear = new Ear();
  const answer = await ask(stage.url, {ear});
  expect(ear.tokens).toEqual(TOKENS);
  expect(ear.sources).toEqual(SOURCES.map(({title, url, excerpt}) => ({title, url, excerpt})));
  expect(answer).toEqual({
    requestId: idOf(stage.received[0]!),
    text: ANSWER,
    sources: ear.sources,
    metadata: METADATA,
  });
});

test('tokens are heard as they come, not when all have come', async () => {
  let finish = (): void => undefined;
  await using stage = await Stage.open(async (response, received) => {
    await fallsSilent(response, received);
    await new Promise<void>((resolve) => (finish = resolve));
    response.end(event('done', {request_id: idOf(received), answer: 'Half an answer.', metadata: {}}));
  });
  const ear = new Ear();
  const answer = ask(stage.url, {ear});
  await until(() => ear.tokens.length > 0, 'the first token');
  finish();
  expect((await answer).text).toBe('Half an answer.');
});

test('when the end does not repeat the answer, the tokens are the answer', async () => {
  await using stage = await Stage.open(async (response, received) => {
    await fallsSilent(response, received);
    response.write(event('token', {request_id: idOf(received), text: 'answer.'}));
    response.end(event('done', {request_id: idOf(received), metadata: METADATA}));
  });
  expect((await ask(stage.url)).text).toBe('Half an answer.');
});

test('an answer that dribbles in byte by byte is the same answer', async () => {
  await using stage = await Stage.open(async (response, received) => {
    beginStream(response, idOf(received));
    for (const byte of Buffer.from(goodStream(idOf(received)))) {
      response.write(Uint8Array.of(byte));
      if (byte === 0x0a) await pause(1);
    }
    response.end();
  });
  expect((await ask(stage.url)).text).toBe(ANSWER);
});

test('the ID that counts is the one in the events', async () => {
  await using stage = await Stage.open((response) => {
    response.writeHead(200, {'Content-Type': 'text/event-stream; charset=utf-8'});
    response.end(goodStream('minted-by-the-server'));
  });
  expect((await ask(stage.url)).requestId).toBe('minted-by-the-server');
});

test('after the answer the server closes first, so that it does not take the visitor for gone', async () => {
  await using stage = await Stage.open(async (response, received) => {
    beginStream(response, idOf(received));
    response.write(goodStream(idOf(received)));
    await pause(150);
    response.end();
  });
  await ask(stage.url);
  await pause(300);
  expect(stage.left).toBe(0);
});

test('a server that never closes after its answer is left in the end', async () => {
  await using stage = await Stage.open((response, received) => {
    beginStream(response, idOf(received));
    response.write(goodStream(idOf(received)));
  });
  expect((await ask(stage.url)).text).toBe(ANSWER);
  await until(() => stage.left === 1, 'the end of the connection');
});

test.each([
  ['in the middle of an event', breaksOff],
  [
    'between two events',
    (response: Parameters<typeof breaksOff>[0], received: Parameters<typeof breaksOff>[1]) =>
      void response
        .writeHead(200, {'Content-Type': 'text/event-stream'})
        .end(event('token', {request_id: idOf(received), text: 'Half an '})),
  ],
])('an answer that ends %s is cut off, and keeps what was heard', async (_, play) => {
  await using stage = await Stage.open(play);
  const ear = new Ear();
  const failure = await failureOf(ask(stage.url, {ear}));
  expect(failure).toMatchObject({kind: 'cut_off', requestId: idOf(stage.received[0]!)});
  expect(ear.tokens).toEqual(['Half an ']);
});

test('silence in the middle of an answer cuts it off, and the connection is let go', async () => {
  await using stage = await Stage.open(fallsSilent);
  const failure = await failureOf(ask(stage.url, {silenceMs: 100}));
  expect(failure).toMatchObject({kind: 'cut_off', requestId: idOf(stage.received[0]!)});
  await until(() => stage.left === 1, 'the end of the connection');
});

test('heartbeats keep a slow answer alive', BY_THE_CLOCK, async () => {
  await using stage = await Stage.open(async (response, received) => {
    beginStream(response, idOf(received));
    for (let beat = 0; beat < 8; beat += 1) {
      await pause(50);
      response.write(': heartbeat\n\n');
    }
    response.end(goodStream(idOf(received)));
  });
  expect((await ask(stage.url, {silenceMs: 200})).text).toBe(ANSWER);
});

test('the beginning of an answer is a sign of life too', BY_THE_CLOCK, async () => {
  await using stage = await Stage.open(async (response, received) => {
    await pause(150);
    beginStream(response, idOf(received));
    await pause(150);
    response.end(goodStream(idOf(received)));
  });
  expect((await ask(stage.url, {silenceMs: 220})).text).toBe(ANSWER);
});

test('a server that accepts and says nothing is unreachable', async () => {
  await using stage = await Stage.open(() => undefined);
  const failure = await failureOf(ask(stage.url, {silenceMs: 100}));
  expect(failure).toMatchObject({kind: 'unreachable', requestId: idOf(stage.received[0]!)});
});

test('no connection is unreachable, with the ID that was meant to be sent', async () => {
  const failure = await failureOf(ask(await deadAddress()));
  expect(failure.kind).toBe('unreachable');
  expect(failure.requestId).toMatch(/^[0-9a-f-]{36}$/);
});

test('no connection is offline where the browser knows it', async () => {
  vi.stubGlobal('navigator', {onLine: false});
  expect(await failureOf(ask(await deadAddress()))).toMatchObject({kind: 'offline'});
});

test('an error answer is the failure that its envelope names', async () => {
  await using stage = await Stage.open(refuses(429, {error: 'rate_limited', message: 'x', retry_after: 9}));
  expect(await failureOf(ask(stage.url))).toMatchObject({
    kind: 'rate_limited',
    retryAfter: 9,
    requestId: idOf(stage.received[0]!),
  });
});

test('an error in the middle of the stream is a failure of its kind, and keeps what was heard', async () => {
  await using stage = await Stage.open(async (response, received) => {
    await fallsSilent(response, received);
    response.end(
      event('error', {
        request_id: idOf(received),
        error: 'service_unavailable',
        message: 'x',
        retry_after: 3,
      }),
    );
  });
  const ear = new Ear();
  const failure = await failureOf(ask(stage.url, {ear}));
  expect(failure).toMatchObject({kind: 'unavailable', retryAfter: 3, requestId: idOf(stage.received[0]!)});
  expect(ear.tokens).toEqual(['Half an ']);
});

test('a page that answers in place of the server, as in a hotel, is not taken for an answer', async () => {
  await using stage = await Stage.open(
    (response) =>
      void response.writeHead(200, {'Content-Type': 'text/html'}).end('<h1>Welcome to our Wi-Fi</h1>'),
  );
  expect(await failureOf(ask(stage.url))).toMatchObject({kind: 'unreachable'});
});

test.each([
  ['before the answer', () => undefined],
  ['in the middle of it', fallsSilent],
])('whoever stops %s gets no error, and the server hears of it', async (_, play) => {
  await using stage = await Stage.open(play);
  const visitor = new AbortController();
  const answer = failureOf(ask(stage.url, {signal: visitor.signal}));
  await until(() => stage.received.length > 0, 'the question');
  await pause(50);
  visitor.abort();
  expect(await answer).toMatchObject({kind: 'stopped', requestId: idOf(stage.received[0]!)});
  await until(() => stage.left === 1, 'the end of the connection');
});

test('a bug in what shows the answer is the widget’s, with the ID of the question', async () => {
  await using stage = await Stage.open(answersWell());
  const ear = new Ear();
  ear.onToken = () => {
    throw new TypeError('a bug');
  };
  expect(await failureOf(ask(stage.url, {ear}))).toMatchObject({
    kind: 'widget',
    requestId: idOf(stage.received[0]!),
  });
});

test('the page is named without its query and fragment', () => {
  expect(pageAddress(new URL('https://shop.example.com/help?token=secret#me'))).toBe(
    'https://shop.example.com/help',
  );
});

test.each(['about:blank', 'file:///home/me/page.html', `https://example.com/${'x'.repeat(2000)}`])(
  '%s is no address worth sending',
  (address) => expect(pageAddress(new URL(address))).toBeNull(),
);

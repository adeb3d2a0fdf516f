import {afterEach, expect, test, vi} from 'vitest';
import type {Failure} from '../../src/failure';
import type {AnswerListener} from '../../src/services/hearing';
import type {Question} from '../../src/services/questions';
import {RagClient} from '../../src/services/rag-client';
import {Session} from '../../src/services/session';
import {ANSWER, beginStream, event, fallsSilent, idOf, refuses} from '../support/answers';
import {CONVERSATION, OneAnswer} from '../support/one-answer';
import {deadAddress, Stage, until, type Play} from '../support/server';

afterEach(() => vi.unstubAllGlobals());

const QUESTION: Question = {
  message: 'How do I trace a request?',
  pageUrl: null,
  messageId: 'question-1',
  conversationId: null,
};
const QUICKLY = {unheard: [5, 5], begun: [5, 5, 5, 5, 5]};

class Ear implements AnswerListener {
  text = '';
  lost = 0;
  restarts = 0;
  place: string | null = null;
  onPlace(conversationId: string): void {
    this.place = conversationId;
  }
  onSources(): void {}
  onToken(text: string): void {
    this.text += text;
  }
  onLost(): void {
    this.lost += 1;
  }
  onRestart(): void {
    this.restarts += 1;
    this.text = '';
  }
}

interface Asking {
  ear?: Ear;
  question?: Partial<Question>;
  signal?: AbortSignal;
  silenceMs?: number;
  resume?: boolean;
  session?: Session;
}

function ask(url: string, asking: Asking = {}) {
  const {ear = new Ear(), question = {}, signal = new AbortController().signal, silenceMs = 5_000} = asking;
  const client = new RagClient(url, asking.session ?? new Session(url), {silenceMs, waitsMs: QUICKLY});
  return client.ask({...QUESTION, ...question}, ear, signal, {resume: asking.resume ?? false});
}

async function failureOf(answer: Promise<unknown>): Promise<Failure> {
  return await answer.then(
    () => Promise.reject(new Error('it was answered')),
    (failure: unknown) => failure as Failure,
  );
}

test('an answer whose connection breaks in the middle goes on where it was: no character lost, none twice', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(9, 17, 33);
  await using stage = await Stage.open(answer.play);
  const ear = new Ear();
  expect((await ask(stage.url, {ear})).text).toBe(ANSWER);
  expect(ear.text).toBe(ANSWER);
  expect(answer.made).toEqual(['question-1']);
  expect(stage.received.map(({method, headers}) => [method, headers['last-event-id']])).toEqual([
    ['POST', undefined],
    ['GET', '9'],
    ['GET', '17'],
    ['GET', '33'],
  ]);
  expect([ear.lost, ear.restarts]).toEqual([3, 0]);
});

test('wherever it breaks, the answer is the same', async () => {
  const length = [...ANSWER].length;
  for (let at = 0; at <= length; at += 1) {
    const answer = new OneAnswer({size: 1 + (at % 7)});
    answer.breaks.push(at);
    await using stage = await Stage.open(answer.play);
    const ear = new Ear();
    expect((await ask(stage.url, {ear})).text).toBe(ANSWER);
    expect(ear.text).toBe(ANSWER);
  }
});

test('all attempts carry the one ID that the visitor can quote, and show who asks', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(9, 20);
  await using stage = await Stage.open(answer.play);
  const {requestId} = await ask(stage.url);
  expect(new Set(stage.received.map(idOf))).toEqual(new Set([requestId]));
  expect(new Set(stage.received.map(({headers}) => headers.authorization)).size).toBe(1);
});

test('a server that tells again what was heard already is heard once', async () => {
  const tells = (text: string, end: number): string =>
    `id: ${end}\n${event('token', {request_id: 'a-1', text})}`;
  await using stage = await Stage.open((response, received) => {
    beginStream(response, idOf(received));
    if (received.method === 'POST') {
      response.write(
        `id: 0\n${event('sources', {request_id: 'a-1', sources: []})}${tells('One 🙂 two ', 10)}`,
      );
      setTimeout(() => response.destroy(), 20);
    } else {
      response.end(
        `${tells('One ', 4)}${tells('🙂 two three', 15)}${event('done', {request_id: 'a-1', metadata: {}})}`,
      );
    }
  });
  const ear = new Ear();
  expect((await ask(stage.url, {ear})).text).toBe('One 🙂 two three');
  expect(ear.text).toBe('One 🙂 two three');
});

test('where a piece is missing, the answer is told from its beginning', async () => {
  const whole = new OneAnswer();
  let skipped = false;
  await using stage = await Stage.open((response, received) => {
    if (received.method === 'GET' && !skipped) {
      skipped = true;
      beginStream(response, idOf(received));
      response.end(`id: 30\n${event('token', {request_id: 'a-1', text: 'later'})}`);
      return;
    }
    return whole.play(response, received);
  });
  whole.breaks.push(9);
  const ear = new Ear();
  expect((await ask(stage.url, {ear})).text).toBe(ANSWER);
  expect(ear.text).toBe(ANSWER);
  expect(ear.restarts).toBe(1);
});

test('a question that never arrived is sent again, under the same message ID', async () => {
  const answer = new OneAnswer();
  answer.loseNext = true;
  await using stage = await Stage.open(answer.play);
  expect((await ask(stage.url)).text).toBe(ANSWER);
  expect(stage.received.map(({method}) => method)).toEqual(['POST', 'GET', 'POST']);
  expect(answer.made).toEqual(['question-1']);
});

test('after a reload the answer is taken up without asking again', async () => {
  const answer = new OneAnswer();
  answer.made.push('question-1');
  await using stage = await Stage.open(answer.play);
  const ear = new Ear();
  expect((await ask(stage.url, {ear, resume: true})).text).toBe(ANSWER);
  expect(stage.received.map(({method}) => method)).toEqual(['GET']);
  expect(ear.text).toBe(ANSWER);
});

test('after a reload a question that never arrived is asked', async () => {
  const answer = new OneAnswer();
  await using stage = await Stage.open(answer.play);
  expect((await ask(stage.url, {resume: true})).text).toBe(ANSWER);
  expect(stage.received.map(({method}) => method)).toEqual(['GET', 'POST']);
});

test('an answer that the server has forgotten is asked for anew, and nothing of the old one stays', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(9);
  answer.forgetful = true;
  await using stage = await Stage.open(answer.play);
  const ear = new Ear();
  expect((await ask(stage.url, {ear})).text).toBe(ANSWER);
  expect(ear.text).toBe(ANSWER);
  expect(ear.restarts).toBe(1);
});

test('204 means that all of the answer has been heard', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(1_000);
  await using stage = await Stage.open((response, received) =>
    received.method === 'GET' ? void response.writeHead(204).end() : answer.play(response, received),
  );
  expect((await ask(stage.url)).text).toBe(ANSWER);
});

test('what cannot be found again is cut off in the end, and keeps what was heard', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(9, ...Array<number>(20).fill(0));
  await using stage = await Stage.open(answer.play);
  const ear = new Ear();
  const failure = await failureOf(ask(stage.url, {ear}));
  expect(failure).toMatchObject({kind: 'cut_off', ended: false, requestId: idOf(stage.received[0]!)});
  expect(ear.text).toBe([...ANSWER].slice(0, 9).join(''));
  expect(stage.received).toHaveLength(1 + QUICKLY.begun.length);
});

test('silence in the middle is a lost connection too', async () => {
  const answer = new OneAnswer();
  await using stage = await Stage.open((response, received) => {
    if (received.method === 'GET') return answer.play(response, received);
    answer.made.push('question-1');
    return fallsSilent(response, received);
  });
  const ear = new Ear();
  const {text} = await ask(stage.url, {ear, silenceMs: 100});
  expect(text.startsWith('Half an ')).toBe(true);
  expect([...text]).toHaveLength([...ANSWER].length);
});

test('a server that is just starting again is waited for', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(9);
  let refusals = 2;
  await using stage = await Stage.open((response, received) =>
    received.method === 'GET' && refusals-- > 0
      ? void response.writeHead(502).end('<h1>Bad Gateway</h1>')
      : answer.play(response, received),
  );
  expect((await ask(stage.url)).text).toBe(ANSWER);
});

test('a server that refuses a question is not asked again', async () => {
  await using stage = await Stage.open(
    refuses(503, {error: 'service_unavailable', message: 'x', retry_after: 1}),
  );
  expect(await failureOf(ask(stage.url))).toMatchObject({kind: 'unavailable', retryAfter: 1});
  expect(stage.received).toHaveLength(1);
});

test('an error of the server ends the answer for good', async () => {
  await using stage = await Stage.open(async (response, received) => {
    await fallsSilent(response, received);
    response.end(event('error', {request_id: idOf(received), error: 'service_unavailable', message: 'x'}));
  });
  expect(await failureOf(ask(stage.url))).toMatchObject({kind: 'cut_off', ended: true});
  expect(stage.received).toHaveLength(1);
});

test('without any connection a few attempts are made, and then it is unreachable', async () => {
  const ear = new Ear();
  expect(await failureOf(ask(await deadAddress(), {ear}))).toMatchObject({kind: 'unreachable', ended: false});
  expect(ear.lost).toBe(QUICKLY.unheard.length);
});

test('who goes offline in the middle is waited for', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(9);
  await using stage = await Stage.open(answer.play);
  const network = new EventTarget();
  const navigator = {onLine: true};
  vi.stubGlobal('navigator', navigator);
  vi.stubGlobal('addEventListener', network.addEventListener.bind(network));
  vi.stubGlobal('removeEventListener', network.removeEventListener.bind(network));
  const ear = new Ear();
  ear.onLost = () => {
    navigator.onLine = false;
    setTimeout(() => {
      navigator.onLine = true;
      network.dispatchEvent(new Event('online'));
    }, 150);
  };
  expect((await ask(stage.url, {ear})).text).toBe(ANSWER);
});

test('whoever stops while the connection is looked for gets no error', async () => {
  const answer = new OneAnswer();
  answer.breaks.push(9, ...Array<number>(20).fill(0));
  await using stage = await Stage.open(answer.play);
  const visitor = new AbortController();
  const ear = new Ear();
  ear.onLost = () => visitor.abort();
  expect(await failureOf(ask(stage.url, {ear, signal: visitor.signal}))).toMatchObject({kind: 'stopped'});
});

test('the conversation is told as soon as it is known, and goes on with the next question', async () => {
  const answer = new OneAnswer();
  await using stage = await Stage.open(answer.play);
  const ear = new Ear();
  await ask(stage.url, {ear});
  expect(ear.place).toBe(CONVERSATION);
  await ask(stage.url, {question: {conversationId: ear.place, messageId: 'question-2'}});
  expect(JSON.parse(stage.received[1]!.body)).toMatchObject({conversation_id: CONVERSATION});
});

test('a conversation that is gone is begun anew', async () => {
  const answer = new OneAnswer();
  await using stage = await Stage.open((response, received) =>
    received.body.includes('conversation_id')
      ? refuses(404, {error: 'not_found', message: 'There is no such conversation.'})(response, received)
      : answer.play(response, received),
  );
  expect((await ask(stage.url, {question: {conversationId: CONVERSATION}})).text).toBe(ANSWER);
  expect(stage.received).toHaveLength(2);
});

test('an anonymous visitor whom the server has forgotten begins anew, without noticing', async () => {
  const answer = new OneAnswer();
  const session = {url: ''};
  let old: string | undefined;
  const forgets: Play = (response, received) => {
    old ??= received.headers.authorization;
    return received.headers.authorization === old
      ? refuses(401, {error: 'session_expired', message: 'x'})(response, received)
      : answer.play(response, received);
  };
  await using stage = await Stage.open(forgets);
  session.url = stage.url;
  expect((await ask(stage.url, {question: {conversationId: CONVERSATION}})).text).toBe(ANSWER);
  expect(stage.received).toHaveLength(2);
  expect(JSON.parse(stage.received[1]!.body)).not.toHaveProperty('conversation_id');
});

test('who was signed in and is no longer is told, and the question is not asked behind their back', async () => {
  await using stage = await Stage.open(refuses(401, {error: 'session_expired', message: 'x'}));
  const session = new Session(stage.url);
  session.begin({token: `cks_${'s'.repeat(43)}`, email: 'a@example.com', tier: 1, expiresIn: 86_400});
  expect(await failureOf(ask(stage.url, {session}))).toMatchObject({kind: 'session_expired'});
  expect(stage.received).toHaveLength(1);
  expect(session.standing).toEqual({state: 'expired', email: 'a@example.com'});
});

test('a session that another tab has renewed meanwhile is used', async () => {
  const answer = new OneAnswer();
  const [old, fresh] = [`cks_${'o'.repeat(43)}`, `cks_${'f'.repeat(43)}`];
  await using stage = await Stage.open(async (response, received) => {
    if (received.headers.authorization !== `Bearer ${old}`) return answer.play(response, received);
    session.begin({token: fresh, email: 'a@example.com', tier: 1, expiresIn: 86_400});
    return await refuses(401, {error: 'session_expired', message: 'x'})(response, received);
  });
  const session = new Session(stage.url);
  session.begin({token: old, email: 'a@example.com', tier: 1, expiresIn: 86_400});
  expect((await ask(stage.url, {session})).text).toBe(ANSWER);
  expect(stage.last('/chat')!.headers.authorization).toBe(`Bearer ${fresh}`);
  await until(() => session.account === fresh);
});

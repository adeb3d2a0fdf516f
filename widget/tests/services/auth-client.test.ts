import {expect, test} from 'vitest';
import type {Failure} from '../../src/failure';
import {AuthClient} from '../../src/services/auth-client';
import {idOf, refuses} from '../support/answers';
import {answers} from '../support/accounts';
import {deadAddress, Stage} from '../support/server';

const ID = '3f0c8f0e8a3f4f6e9a550d3c5c8a1f11';
const SESSION = `cks_${'s'.repeat(43)}`;
const ANONYMOUS = `cka_${'a'.repeat(43)}`;
const OPENED = {state: 'logged_in', token: SESSION, tier: 1, email: 'a@example.com', expires_in: 86_400};
const PAGE = 'https://shop.example.com/help';

/** What `work` gives when the server answers `body`, and what the server received. */
async function told<T>(body: object, work: (client: AuthClient) => Promise<T>, status = 200) {
  await using stage = await Stage.open(answers(body, status));
  const result = await work(new AuthClient(stage.url));
  const [received] = stage.received;
  return {result, received: received!, sent: received!.body ? (JSON.parse(received!.body) as object) : null};
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  return await work.then(
    () => Promise.reject(new Error('it succeeded')),
    (failure: unknown) => failure as Failure,
  );
}

test('to sign up, an address and its owner’s consent are sent, and the page to come back to', async () => {
  const body = {state: 'verification_pending', verification_id: ID, expires_in: 600};
  const {result, received, sent} = await told(body, (client) => client.signUp('a@example.com', PAGE), 202);
  expect(result).toEqual({verificationId: ID, expiresIn: 600});
  expect(received).toMatchObject({method: 'POST', path: '/api/v1/auth/signup'});
  expect(sent).toEqual({email: 'a@example.com', consent: true, page_url: PAGE});
  expect(idOf(received)).toMatch(/^[0-9a-f-]{36}$/);
});

test('another letter is asked for without consent being given again', async () => {
  const body = {state: 'verification_pending', verification_id: ID, expires_in: 600};
  const {received, sent} = await told(body, (client) => client.resend('a@example.com', null), 202);
  expect(received.path).toBe('/api/v1/auth/resend-verification');
  expect(sent).toEqual({email: 'a@example.com'});
});

test.each(['pending', 'verified', 'expired'] as const)('a verification that is %s is', async (state) => {
  const {result, received} = await told({state}, (client) => client.status(ID));
  expect(result).toBe(state);
  expect(received).toMatchObject({
    method: 'GET',
    path: `/api/v1/auth/verification-status?verification_id=${ID}`,
  });
});

test('a link is spent together with the anonymous session, whose conversations come along', async () => {
  const {result, received, sent} = await told(OPENED, (client) => client.verify('ckv_token', ANONYMOUS));
  expect(result).toEqual({token: SESSION, email: 'a@example.com', tier: 1, expiresIn: 86_400});
  expect(received).toMatchObject({method: 'POST', path: '/api/v1/auth/verify'});
  expect(received.headers.authorization).toBe(`Bearer ${ANONYMOUS}`);
  expect(sent).toEqual({token: 'ckv_token'});
});

test('who is new shows no session', async () => {
  const {received} = await told(OPENED, (client) => client.verify('ckv_token', null));
  expect(received.headers.authorization).toBeUndefined();
});

test('a session is checked, refreshed and ended by showing it', async () => {
  const checked = await told({state: 'logged_in'}, (client) => client.check(SESSION));
  expect(checked.result).toBe(true);
  const gone = await told({state: 'expired'}, (client) => client.check(SESSION));
  expect(gone.result).toBe(false);
  const refreshed = await told(OPENED, (client) => client.refresh(SESSION));
  expect(refreshed.result.token).toBe(SESSION);
  const ended = await told({state: 'anonymous'}, (client) => client.logOut(SESSION));
  for (const {received} of [checked, refreshed, ended]) {
    expect(received.headers.authorization).toBe(`Bearer ${SESSION}`);
  }
  expect([checked, refreshed, ended].map(({received}) => received.path)).toEqual([
    '/api/v1/auth/session-check',
    '/api/v1/auth/refresh-token',
    '/api/v1/auth/logout',
  ]);
});

test('what an anonymous visitor had is brought along', async () => {
  const {result, sent} = await told({conversations: 2}, (client) => client.migrate(SESSION, ANONYMOUS));
  expect(result).toBe(2);
  expect(sent).toEqual({session: ANONYMOUS});
});

test.each([
  ['no token', {...OPENED, token: undefined}],
  ['a token of another kind', {...OPENED, token: 'ckv_x'}],
  ['nobody’s session', {...OPENED, email: null}],
])('a session with %s is not believed', async (_, body) => {
  await using stage = await Stage.open(answers(body));
  const failure = await failureOf(new AuthClient(stage.url).verify('ckv_token', null));
  expect(failure).toMatchObject({kind: 'unreachable', requestId: idOf(stage.received[0]!)});
});

test('times that make no sense are none', async () => {
  for (const expires_in of [undefined, '600', -5, null]) {
    const {result} = await told({...OPENED, expires_in}, (client) => client.refresh(SESSION));
    expect(result.expiresIn).toBe(0);
  }
});

test.each([
  [400, 'invalid_token', 'link_invalid'],
  [400, 'token_expired', 'link_invalid'],
  [400, 'invalid_email', 'invalid'],
  [401, 'session_expired', 'session_expired'],
  [429, 'rate_limited', 'rate_limited'],
])('%i %s is a failure of kind %3$s, with its ID', async (status, error, kind) => {
  await using stage = await Stage.open(refuses(status, {error, message: 'In words.', retry_after: 7}));
  const failure = await failureOf(new AuthClient(stage.url).verify('ckv_token', null));
  expect(failure).toMatchObject({kind, code: error, retryAfter: 7, requestId: idOf(stage.received[0]!)});
});

test('a page in place of an answer, and no answer at all, are failures with the ID that was sent', async () => {
  await using stage = await Stage.open((response) => void response.end('<h1>Welcome to our Wi-Fi</h1>'));
  expect(await failureOf(new AuthClient(stage.url).status(ID))).toMatchObject({kind: 'unreachable'});
  const failure = await failureOf(new AuthClient(await deadAddress()).status(ID));
  expect(failure.kind).toBe('unreachable');
  expect(failure.requestId).toMatch(/^[0-9a-f-]{36}$/);
});

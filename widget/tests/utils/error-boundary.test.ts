import {afterEach, expect, test, vi} from 'vitest';
import {handleFetchError, handleNetworkError, handleStreamError} from '../../src/utils/error-boundary';
import {fetchWithRequestId, NetworkFailure} from '../../src/utils/http';
import {refuses} from '../support/answers';
import {Stage, type Play} from '../support/server';

afterEach(() => vi.unstubAllGlobals());

async function failureOf(play: Play) {
  await using stage = await Stage.open(play);
  const {response} = await fetchWithRequestId(stage.url, {}, 'sent-1');
  return await handleFetchError(response, 'sent-1');
}

test.each([
  [400, 'invalid_request', 'invalid'],
  [400, 'message_too_long', 'too_long'],
  [400, 'invalid_token', 'link_invalid'],
  [400, 'token_expired', 'link_invalid'],
  [401, 'unauthorized', 'session_expired'],
  [401, 'session_expired', 'session_expired'],
  [403, 'forbidden', 'refused'],
  [404, 'not_found', 'unreachable'],
  [408, 'invalid_request', 'unavailable'],
  [413, 'payload_too_large', 'too_long'],
  [415, 'unsupported_media_type', 'invalid'],
  [429, 'rate_limited', 'rate_limited'],
  [500, 'internal_error', 'server'],
  [503, 'service_unavailable', 'unavailable'],
])('%i %s is shown as %s, with the ID', async (status, error, kind) => {
  const failure = await failureOf(refuses(status, {error, message: 'As the server put it.'}));
  expect(failure).toMatchObject({kind, code: error, requestId: 'sent-1'});
});

test('the wait that the envelope names is kept', async () => {
  const failure = await failureOf(refuses(429, {error: 'rate_limited', message: 'x', retry_after: 17}));
  expect(failure.retryAfter).toBe(17);
});

test('the wait in the header serves when the body names none', async () => {
  const failure = await failureOf(
    (response) => void response.writeHead(503, {'Retry-After': '5'}).end('<html>'),
  );
  expect(failure).toMatchObject({kind: 'unavailable', retryAfter: 5});
});

test('what the server says of an invalid question is passed on; what it says of its own failure is not', async () => {
  const invalid = await failureOf(
    refuses(400, {error: 'message_too_long', message: 'At most 2,000 characters.'}),
  );
  expect(invalid.note).toBe('At most 2,000 characters.');
  const broken = await failureOf(refuses(500, {error: 'internal_error', message: 'KeyError in line 7'}));
  expect(broken.note).toBeUndefined();
});

test('a 502 page of a proxy is a server that is not available, and the ID that was sent is kept', async () => {
  const failure = await failureOf(
    (response) => void response.writeHead(502, {'Content-Type': 'text/html'}).end('<h1>502 Bad Gateway</h1>'),
  );
  expect(failure).toMatchObject({kind: 'unavailable', requestId: 'sent-1', note: undefined, code: undefined});
});

test.each([
  [418, 'invalid'],
  [507, 'server'],
  [304, 'unreachable'],
])('a bare %i, which nobody planned, is shown as %s', async (status, kind) => {
  expect(await failureOf((response) => void response.writeHead(status).end())).toMatchObject({kind});
});

test('an error in the stream is of the kind its code says, and of the server when it says nothing known', () => {
  const envelope = {message: 'x', requestId: 'a-1', retryAfter: undefined};
  expect(handleStreamError({...envelope, error: 'service_unavailable'}, 's').kind).toBe('unavailable');
  expect(handleStreamError({...envelope, error: 'invalid_request'}, 's').kind).toBe('invalid');
  expect(handleStreamError({...envelope, error: 'llm_exploded'}, 's').kind).toBe('server');
  expect(handleStreamError({...envelope, error: '', requestId: null}, 's').requestId).toBe('s');
});

test('an error in the stream has ended this very answer, and half of one is cut off when there is nothing to wait for', () => {
  const envelope = {error: 'service_unavailable', message: 'x', requestId: 'a-1', retryAfter: undefined};
  expect(handleStreamError(envelope, 's', true)).toMatchObject({kind: 'cut_off', ended: true});
  expect(handleStreamError({...envelope, retryAfter: 5}, 's', true).kind).toBe('unavailable');
  expect(handleStreamError({...envelope, error: 'internal_error'}, 's', true).kind).toBe('server');
});

test('no connection means offline when the browser says so, and unreachable otherwise', () => {
  const error = new NetworkFailure('sent-2', {cause: new TypeError('failed')});
  vi.stubGlobal('navigator', {onLine: false});
  expect(handleNetworkError(error)).toMatchObject({kind: 'offline', requestId: 'sent-2', cause: error});
  vi.stubGlobal('navigator', {onLine: true});
  expect(handleNetworkError(error)).toMatchObject({kind: 'unreachable', requestId: 'sent-2'});
});

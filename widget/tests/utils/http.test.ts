import {afterEach, expect, test, vi} from 'vitest';
import {
  fetchWithRequestId,
  generateRequestId,
  getRequestIdFromResponse,
  isRequestId,
  NetworkFailure,
} from '../../src/utils/http';
import {idOf} from '../support/answers';
import {deadAddress, Stage} from '../support/server';

const UUID4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

afterEach(() => vi.unstubAllGlobals());

test('every call carries an ID that was minted before it was sent', async () => {
  await using stage = await Stage.open((response) => void response.end());
  const {requestId} = await fetchWithRequestId(stage.url, {headers: {'X-Other': 'kept'}});
  expect(requestId).toMatch(UUID4);
  expect(stage.received[0]!.headers).toMatchObject({'x-request-id': requestId, 'x-other': 'kept'});
});

test('two calls never share an ID', async () => {
  await using stage = await Stage.open((response) => void response.end());
  await fetchWithRequestId(stage.url);
  await fetchWithRequestId(stage.url);
  expect(new Set(stage.received.map(idOf)).size).toBe(2);
});

test('the ID that the server answers with is the one that counts', async () => {
  await using stage = await Stage.open(
    (response) => void response.setHeader('X-Request-ID', 'theirs-1').end(),
  );
  expect((await fetchWithRequestId(stage.url)).requestId).toBe('theirs-1');
});

test('an ID that the server would never send is not believed', async () => {
  await using stage = await Stage.open(
    (response) => void response.setHeader('X-Request-ID', '<b>quote me</b>').end(),
  );
  const {requestId, response} = await fetchWithRequestId(stage.url, {}, 'mine-1');
  expect(getRequestIdFromResponse(response)).toBeNull();
  expect(requestId).toBe('mine-1');
});

test('a failed connection names the ID that was sent', async () => {
  const error = await fetchWithRequestId(await deadAddress(), {}, 'mine-2').catch(
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(NetworkFailure);
  expect(error).toMatchObject({requestId: 'mine-2', cause: expect.any(TypeError) as unknown});
});

test('an aborted call names the ID that was sent', async () => {
  await using stage = await Stage.open(() => undefined);
  const error = await fetchWithRequestId(stage.url, {signal: AbortSignal.timeout(20)}, 'mine-3').catch(
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({name: 'NetworkFailure', requestId: 'mine-3'});
});

test('without crypto.randomUUID, as on plain HTTP, an ID is a random UUID all the same', () => {
  vi.stubGlobal('crypto', {getRandomValues: crypto.getRandomValues.bind(crypto)});
  const ids = Array.from({length: 200}, generateRequestId);
  for (const id of ids) expect(id).toMatch(UUID4);
  expect(new Set(ids).size).toBe(200);
});

test.each([
  ['abc123-def456', true],
  ['A.b_c-9', true],
  ['x'.repeat(64), true],
  ['x'.repeat(65), false],
  ['', false],
  ['---', false],
  ['a b', false],
  ['a\nb', false],
  [null, false],
  [7, false],
])('%j is an ID: %j', (value, expected) => {
  expect(isRequestId(value)).toBe(expected);
});

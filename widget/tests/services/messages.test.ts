import {expect, test} from 'vitest';
import {parseMessage} from '../../src/services/messages';

function parse(name: string, data: unknown) {
  return parseMessage(name, JSON.stringify(data));
}

test('each event of the contract is understood', () => {
  const sources = [{title: 'T', url: '/t', excerpt: 'E'}];
  const conversation = '3f0c8f0e8a3f4f6e9a550d3c5c8a1f11';
  expect(parse('sources', {request_id: 'a-1', sources, conversation_id: conversation})).toEqual({
    kind: 'sources',
    requestId: 'a-1',
    sources,
    conversationId: conversation,
  });
  expect(parseMessage('token', '{"request_id": "a-1", "text": " word"}', '12')).toEqual({
    kind: 'token',
    requestId: 'a-1',
    text: ' word',
    end: 12,
  });
  expect(parse('done', {request_id: 'a-1', answer: 'All.', metadata: {model: 'm', tokens_used: 3}})).toEqual({
    kind: 'done',
    requestId: 'a-1',
    answer: 'All.',
    metadata: {model: 'm', tokens_used: 3},
  });
  expect(
    parse('error', {request_id: 'a-1', error: 'internal_error', message: 'M', retry_after: 2}),
  ).toMatchObject({
    kind: 'error',
    envelope: {error: 'internal_error', message: 'M', requestId: 'a-1', retryAfter: 2},
  });
});

test.each([
  ['an event of a later version', 'progress', '{"request_id": "a-1"}'],
  ['an event without a name', undefined, '{"text": "x"}'],
  ['what is not JSON', 'token', '{"text": '],
  ['JSON that is no object', 'token', '"text"'],
  ['a token without text', 'token', '{"request_id": "a-1"}'],
])('%s is no message', (_, name, data) => {
  expect(parseMessage(name, data)).toBeUndefined();
});

test('an end need not repeat the answer', () => {
  expect(parse('done', {request_id: 'a-1', metadata: {}})).toMatchObject({kind: 'done', answer: null});
});

test('an error is an error, however badly the server says so', () => {
  expect(parse('error', {oops: true})).toMatchObject({kind: 'error', envelope: {error: '', requestId: null}});
});

test('a broken source keeps its place, so that the numbers in the answer stay right', () => {
  const message = parse('sources', {sources: [null, {title: 7, url: ['x']}, {title: 'Third', url: '/3'}]});
  expect(message).toMatchObject({
    sources: [
      {title: 'Untitled', url: null, excerpt: ''},
      {title: 'Untitled', url: null},
      {title: 'Third', url: '/3'},
    ],
  });
});

test('sources that are no list are none', () => {
  expect(parse('sources', {sources: 'all of them'})).toMatchObject({sources: []});
});

test('metadata of the wrong type are left out', () => {
  expect(
    parse('done', {answer: 'x', metadata: {model: 5, tokens_used: '9', total_time_ms: 4}}),
  ).toMatchObject({
    metadata: {total_time_ms: 4},
  });
});

test('what is no ID of a conversation is none', () => {
  for (const conversation_id of [undefined, 7, '../../x', 'A'.repeat(32)]) {
    expect(parse('sources', {sources: [], conversation_id})).toMatchObject({conversationId: null});
  }
});

test.each([undefined, '', 'done', '-1', '1e3', '99999999'])(
  'the ID %s of a token says nothing of its place',
  (id) => {
    expect(parseMessage('token', '{"text": "x"}', id)).toMatchObject({end: null});
  },
);

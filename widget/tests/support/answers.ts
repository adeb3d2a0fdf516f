/**
 * Answers as ChatKit's server sends them: the contract of the stream and of the error envelope.
 */
import type {ServerResponse} from 'node:http';
import {pause, type Play, type Received} from './server';

export const SOURCES = [
  {
    id: 'a',
    title: 'Tracing a request',
    url: '/docs/tracing',
    excerpt: 'One ID from click to log line.',
    score: 0.9,
  },
  {
    id: 'b',
    title: 'Das Ereignisprotokoll – größer',
    url: 'https://example.com/log',
    excerpt: 'Zeilen.',
    score: 0.5,
  },
];

export const METADATA = {
  model: 'extractive',
  tokens_used: 0,
  retrieval_time_ms: 1.5,
  generation_time_ms: 2,
  total_time_ms: 3.5,
};

export const TOKENS = ['Run the ', 'trace command [1], ', '“größer” 🙂 ', 'than grep [2].'];
export const ANSWER = TOKENS.join('');

export function idOf(received: Received): string {
  return String(received.headers['x-request-id']);
}

export function event(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** The whole stream of a good answer, as one text. */
export function goodStream(
  requestId: string,
  {sources = SOURCES as unknown, answer = ANSWER, metadata = METADATA as object} = {},
): string {
  const tokens = answer === ANSWER ? TOKENS : [answer];
  return [
    event('sources', {request_id: requestId, sources}),
    ': heartbeat\n\n',
    ...tokens.map((text) => event('token', {request_id: requestId, text})),
    event('done', {request_id: requestId, answer, metadata}),
  ].join('');
}

export function beginStream(response: ServerResponse, requestId: string): void {
  response.writeHead(200, {'Content-Type': 'text/event-stream', 'X-Request-ID': requestId});
  response.flushHeaders();
}

/** Answers well, with what `parts` changes. */
export function answersWell(parts: Parameters<typeof goodStream>[1] = {}): Play {
  return (response, received) => {
    beginStream(response, idOf(received));
    response.end(goodStream(idOf(received), parts));
  };
}

/** Begins well, and then nothing more comes. */
export const fallsSilent: Play = (response, received) => {
  beginStream(response, idOf(received));
  response.write(event('sources', {request_id: idOf(received), sources: SOURCES}));
  response.write(event('token', {request_id: idOf(received), text: 'Half an '}));
};

/** Begins well, and then the connection breaks in the middle of an event. */
export const breaksOff: Play = async (response, received) => {
  await fallsSilent(response, received);
  response.write('event: token\ndata: {"request_id": "x", "te');
  await pause(20);
  response.destroy();
};

/** Answers with an error, in the one envelope. */
export function refuses(
  status: number,
  body: Record<string, unknown>,
  headers: Record<string, string> = {},
): Play {
  return (response, received) => {
    response.writeHead(status, {
      'Content-Type': 'application/json',
      'X-Request-ID': idOf(received),
      ...headers,
    });
    response.end(JSON.stringify({...body, request_id: idOf(received)}));
  };
}

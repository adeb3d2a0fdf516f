import {expect, test} from 'vitest';
import {readEvents} from '../../src/services/event-stream';
import {goodStream} from '../support/answers';

const WHOLE = new TextEncoder().encode(goodStream('a-1').replaceAll('\n', '\r\n'));

function bodyOf(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function eventsOf(body: ReadableStream<Uint8Array>, heard = (): void => undefined) {
  const events = [];
  for await (const event of readEvents(body, heard)) events.push([event.event, JSON.parse(event.data)]);
  return events;
}

test('a stream reads the same wherever its bytes are split', async () => {
  const expected = await eventsOf(bodyOf(WHOLE));
  expect(expected.map(([name]) => name as string)).toEqual([
    'sources',
    ...Array.from({length: 4}, () => 'token'),
    'done',
  ]);
  for (let at = 0; at <= WHOLE.length; at += 1) {
    expect(await eventsOf(bodyOf(WHOLE.subarray(0, at), WHOLE.subarray(at)))).toEqual(expected);
  }
});

test('a stream reads the same byte by byte', async () => {
  const bytes = Array.from(WHOLE, (_, at) => WHOLE.subarray(at, at + 1));
  expect(await eventsOf(bodyOf(...bytes))).toEqual(await eventsOf(bodyOf(WHOLE)));
});

test('heartbeats are heard, though they are no events', async () => {
  let heard = 0;
  const heartbeat = new TextEncoder().encode(': heartbeat\n\n');
  expect(await eventsOf(bodyOf(heartbeat, heartbeat), () => (heard += 1) as unknown as void)).toEqual([]);
  expect(heard).toBe(2);
});

test('an event that the end cut off is not given', async () => {
  const cut = new TextEncoder().encode(
    'event: token\ndata: {"text": "whole"}\n\nevent: token\ndata: {"text": "ha',
  );
  expect(await eventsOf(bodyOf(cut))).toEqual([['token', {text: 'whole'}]]);
});

test('a body that never ends its event is given up, not collected without bound', async () => {
  const line = new TextEncoder().encode(`data: ${'x'.repeat(99_990)}\n`);
  let sent = 0;
  const flood = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += line.length;
      controller.enqueue(line);
    },
  });
  await expect(eventsOf(flood)).rejects.toThrow();
  expect(sent).toBeLessThan(2_000_000);
});

test('whoever stops listening lets go of the body', async () => {
  let cancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(WHOLE),
    cancel: () => void (cancelled = true),
  });
  for await (const _ of readEvents(endless, () => undefined)) break;
  expect(cancelled).toBe(true);
});

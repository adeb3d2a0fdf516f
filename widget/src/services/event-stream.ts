/**
 * A body of server-sent events, as an async sequence. Bytes may be split anywhere, within a character too.
 */
import {createParser, type EventSourceMessage} from 'eventsource-parser';

// One event holds at most an answer. A body that grows beyond this without an event's end is not ours.
const LONGEST_EVENT = 1_000_000;

/**
 * The events of `body`, in order. `heard` is called for every piece that arrives, heartbeats included. Throws what
 * the connection throws; an event that the end cut off is not given.
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  heard: () => void,
): AsyncGenerator<EventSourceMessage, void, undefined> {
  const decoder = new TextDecoder();
  const arrived: EventSourceMessage[] = [];
  const parser = createParser({onEvent: (event) => arrived.push(event), maxBufferSize: LONGEST_EVENT});
  const reader = body.getReader();
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      heard();
      parser.feed(decoder.decode(value, {stream: true}));
      yield* arrived.splice(0);
    }
  } finally {
    // Whoever stops listening early lets go of the connection too.
    reader.cancel().catch(() => undefined);
  }
}

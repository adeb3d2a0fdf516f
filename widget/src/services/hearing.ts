/**
 * What was heard of one answer, over however many connections it takes. The server counts the characters it has told;
 * so does this, and what comes twice is told once.
 */
import {Failure} from '../failure';
import {handleStreamError} from '../utils/error-boundary';
import {codePoints} from '../utils/text';
import {readEvents} from './event-stream';
import {parseMessage, type Metadata, type ServerMessage, type Source} from './messages';

export interface Answer {
  requestId: string;
  text: string;
  sources: readonly Source[];
  metadata: Metadata;
}

/** Hears of the parts of an answer while it is being written. */
export interface AnswerListener {
  /** In which conversation the question was asked. */
  onPlace?(conversationId: string): void;
  onSources(sources: readonly Source[]): void;
  /** The next piece of text. */
  onToken(text: string): void;
  /** The connection is lost; it is tried to find back to the answer. */
  onLost?(): void;
  /** The answer is found again; what there is more of it comes. */
  onFound?(): void;
  /** Nothing of what was heard counts any more: the answer is told from its beginning. */
  onRestart?(): void;
}

/** The connection ended before the answer did: it may go on over another. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

export class Hearing {
  readonly #listener: AnswerListener;
  #requestId: string;
  #sources: readonly Source[] | null = null;
  #text = '';
  #told = 0;

  /** `requestId` is what the answer is known by until the server says otherwise. */
  constructor(listener: AnswerListener, requestId: string) {
    this.#listener = listener;
    this.#requestId = requestId;
  }

  get requestId(): string {
    return this.#requestId;
  }

  /** How much was heard, to tell whether there is more now than before; 0 for nothing. */
  get progress(): number {
    return this.#told + (this.#sources ? 1 : 0);
  }

  /** The ID of the last event that was heard; null when the server should begin at the beginning. */
  get lastEventId(): string | null {
    return this.#sources ? String(this.#told) : null;
  }

  /** The answer, when there is no more of it than was heard. */
  whole(metadata: Metadata = {}, text: string | null = null): Answer {
    return {requestId: this.#requestId, text: text ?? this.#text, sources: this.#sources ?? [], metadata};
  }

  /** There is a connection again. */
  found(): void {
    this.#listener.onFound?.();
  }

  /** Forget what was heard. */
  restart(): void {
    if (this.progress > 0) this.#listener.onRestart?.();
    this.#sources = null;
    this.#text = '';
    this.#told = 0;
  }

  /**
   * Hear `body` to the end of the answer, calling `heard` for all that arrives. Throws ``ConnectionLost``, and ``Failure``
   * for an answer that the server has ended.
   */
  async listen(body: ReadableStream<Uint8Array>, requestId: string, heard: () => void): Promise<Answer> {
    this.#requestId = requestId;
    const messages = readMessages(body, heard);
    for (;;) {
      const message = await nextOf(messages);
      this.#requestId = message.requestId ?? this.#requestId;
      switch (message.kind) {
        case 'sources':
          if (message.conversationId) this.#listener.onPlace?.(message.conversationId);
          this.#sources = message.sources;
          this.#listener.onSources(message.sources);
          break;
        case 'token':
          this.#hear(message.text, message.end);
          break;
        case 'done':
          return this.whole(message.metadata, message.answer);
        case 'error':
          throw handleStreamError(message.envelope, this.#requestId, this.#told > 0);
      }
    }
  }

  #hear(text: string, end: number | null): void {
    const length = codePoints(text);
    const begin = end === null ? this.#told : end - length;
    if (begin > this.#told) {
      // Something is missing in between, and only the beginning is sure.
      this.restart();
      throw new ConnectionLost('a piece of the answer is missing');
    }
    const known = this.#told - begin;
    if (known >= length) return;
    const fresh = known === 0 ? text : [...text].slice(known).join('');
    this.#told += length - known;
    this.#text += fresh;
    this.#listener.onToken(fresh);
  }
}

async function* readMessages(
  body: ReadableStream<Uint8Array>,
  heard: () => void,
): AsyncGenerator<ServerMessage, void, undefined> {
  for await (const {event, data, id} of readEvents(body, heard)) {
    const message = parseMessage(event, data, id);
    if (message) yield message;
  }
}

/** The next message. An end that comes before it, for whatever reason, is a lost connection. */
async function nextOf(messages: AsyncGenerator<ServerMessage, void>): Promise<ServerMessage> {
  let next: IteratorResult<ServerMessage, void>;
  try {
    next = await messages.next();
  } catch (cause) {
    throw new ConnectionLost('the connection broke', {cause});
  }
  if (next.done) throw new ConnectionLost('the stream ended');
  return next.value;
}

/** What the visitor is told when the answer could not be found again. */
export function cutOff(hearing: Hearing, cause: unknown): Failure {
  return new Failure('cut_off', hearing.requestId, {cause});
}

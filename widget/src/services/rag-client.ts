/**
 * Asks one question and hears the answer as it is written. Whatever happens, the caller gets a whole answer or one
 * `Failure`, and either carries the request's ID.
 */
import {Failure} from '../failure';
import {handleFetchError, handleNetworkError, handleStreamError} from '../utils/error-boundary';
import {fetchWithRequestId, generateRequestId, NetworkFailure} from '../utils/http';
import {Patience} from '../utils/patience';
import {wellFormed} from '../utils/text';
import {readEvents} from './event-stream';
import {parseMessage, type Metadata, type ServerMessage, type Source} from './messages';

/** The server refuses longer questions (in code points). */
export const MESSAGE_LIMIT = 2000;

// The server sends a heartbeat each 10 s: three of them missing is silence.
const SILENCE_MS = 30_000;
// After `done` the server only has to close. Hanging up before it does would look to it like a visitor who left.
const CLOSING_MS = 2_000;
const LONGEST_PAGE_URL = 2000;

export interface Question {
  message: string;
  /** Where it was asked; null when the page has no address to speak of. */
  pageUrl: string | null;
}

export interface Answer {
  requestId: string;
  text: string;
  sources: readonly Source[];
  metadata: Metadata;
}

/** Hears of the parts of an answer while it is being written. */
export interface AnswerListener {
  onSources(sources: readonly Source[]): void;
  /** The next piece of text. */
  onToken(text: string): void;
}

export class RagClient {
  readonly #url: string;
  readonly #silenceMs: number;

  /** `apiBase` comes from `resolveApiBase`. */
  constructor(apiBase: string, {silenceMs = SILENCE_MS}: {silenceMs?: number} = {}) {
    this.#url = `${apiBase}/api/v1/chat/stream`;
    this.#silenceMs = silenceMs;
  }

  /** The whole answer to `question`. Throws only ``Failure``: `stopped` when `signal` was aborted. */
  async ask(question: Question, listener: AnswerListener, signal: AbortSignal): Promise<Answer> {
    const sentId = generateRequestId();
    const patience = new Patience(this.#silenceMs, signal);
    try {
      return await this.#converse(question, listener, sentId, patience);
    } catch (error) {
      const failure =
        error instanceof NetworkFailure ? handleNetworkError(error) : Failure.from(error, sentId);
      throw signal.aborted ? new Failure('stopped', failure.requestId, {cause: error}) : failure;
    } finally {
      patience.endWithin(CLOSING_MS);
    }
  }

  async #converse(
    question: Question,
    listener: AnswerListener,
    sentId: string,
    patience: Patience,
  ): Promise<Answer> {
    const {response, requestId} = await fetchWithRequestId(
      this.#url,
      {
        method: 'POST',
        headers: {'Content-Type': 'application/json', Accept: 'text/event-stream'},
        body: JSON.stringify({
          message: wellFormed(question.message),
          context: {mode: 'chat', ...(question.pageUrl === null ? {} : {page_url: question.pageUrl})},
        }),
        signal: patience.signal,
      },
      sentId,
    );
    patience.renew();
    if (!response.ok) throw await handleFetchError(response, sentId);
    if (!isEventStream(response)) {
      // A sign-in page of a hotel, a single-page app that answers to every address: not our server.
      throw new Failure('unreachable', requestId, {cause: new Error('the answer is not an event stream')});
    }
    return await this.#listen(response.body, listener, requestId, patience);
  }

  async #listen(
    body: ReadableStream<Uint8Array>,
    listener: AnswerListener,
    sentId: string,
    patience: Patience,
  ): Promise<Answer> {
    let requestId = sentId;
    let sources: readonly Source[] = [];
    let text = '';
    const events = readMessages(body, () => patience.renew());
    for (;;) {
      const message = await nextOf(events, requestId);
      requestId = message.requestId ?? requestId;
      switch (message.kind) {
        case 'sources':
          sources = message.sources;
          listener.onSources(sources);
          break;
        case 'token':
          text += message.text;
          listener.onToken(message.text);
          break;
        case 'done':
          return {requestId, text: message.answer ?? text, sources, metadata: message.metadata};
        case 'error':
          throw handleStreamError(message.envelope, requestId);
      }
    }
  }
}

/** The page's address without its query and fragment, which may hold what is none of ours; null for about: and file:. */
export function pageAddress(location: Pick<Location, 'protocol' | 'origin' | 'pathname'>): string | null {
  if (!/^https?:$/.test(location.protocol)) return null;
  const address = location.origin + location.pathname;
  return address.length <= LONGEST_PAGE_URL ? address : null;
}

function isEventStream(response: Response): response is Response & {body: ReadableStream<Uint8Array>} {
  return response.body !== null && /^text\/event-stream\b/i.test(response.headers.get('Content-Type') ?? '');
}

async function* readMessages(
  body: ReadableStream<Uint8Array>,
  heard: () => void,
): AsyncGenerator<ServerMessage, void, undefined> {
  for await (const {event, data} of readEvents(body, heard)) {
    const message = parseMessage(event, data);
    if (message) yield message;
  }
}

/** The next message. An end that comes before it, for whatever reason, cuts the answer off. */
async function nextOf(
  messages: AsyncGenerator<ServerMessage, void>,
  requestId: string,
): Promise<ServerMessage> {
  let next: IteratorResult<ServerMessage, void>;
  try {
    next = await messages.next();
  } catch (cause) {
    throw new Failure('cut_off', requestId, {cause});
  }
  if (next.done) throw new Failure('cut_off', requestId);
  return next.value;
}

/**
 * A server with one answer: it makes it once for each message ID, tells it from where a client left off, and loses
 * connections as a test wants it to.
 */
import {event, METADATA, SOURCES, TOKENS, beginStream, idOf, refuses} from './answers';
import type {Play, Received} from './server';

export const CONVERSATION = '3f0c8f0e8a3f4f6e9a550d3c5c8a1f11';

export class OneAnswer {
  /** The message IDs for which an answer was made, in order. */
  readonly made: string[] = [];
  /** After how many characters the next connections break; those after them do not. */
  readonly breaks: number[] = [];
  /** Whether the next question is lost before it arrives. */
  loseNext = false;
  /** Whether answers that were made are known no longer. */
  forgetful = false;
  readonly #text: string;
  readonly #size: number;

  /** `size` is how many characters a token holds when an answer is taken up again. */
  constructor({tokens = TOKENS, size = 5}: {tokens?: string[]; size?: number} = {}) {
    this.#text = tokens.join('');
    this.#size = size;
  }

  readonly play: Play = (response, received) => {
    if (received.method === 'POST' && received.path === '/api/v1/chat/stream') {
      if (this.loseNext) {
        this.loseNext = false;
        response.destroy();
        return;
      }
      const {message_id} = JSON.parse(received.body) as {message_id: string};
      if (!this.made.includes(message_id)) this.made.push(message_id);
      return this.#tell(response, received, null);
    }
    const asked = /^\/api\/v1\/chat\/([^/]+)\/events$/.exec(received.path ?? '');
    if (!asked)
      return refuses(404, {error: 'not_found', message: 'There is nothing here.'})(response, received);
    if (this.forgetful || !this.made.includes(asked[1]!)) {
      return refuses(404, {error: 'not_found', message: 'There is no such message.'})(response, received);
    }
    const last = received.headers['last-event-id'];
    return this.#tell(response, received, last === undefined ? null : Number(last));
  };

  #tell(response: Parameters<Play>[0], received: Received, after: number | null): void {
    const id = idOf(received);
    beginStream(response, id);
    const {message_id} = received.body
      ? (JSON.parse(received.body) as {message_id: string})
      : {message_id: ''};
    if (after === null) {
      const data = {
        request_id: id,
        sources: SOURCES,
        message_id,
        conversation_id: CONVERSATION,
        session: null,
      };
      response.write(`id: 0\n${event('sources', data)}`);
    }
    const characters = [...this.#text];
    const broken = this.breaks.shift();
    const end = Math.min(broken ?? characters.length, characters.length);
    for (let at = after ?? 0; at < end;) {
      const piece = characters.slice(at, Math.min(at + this.#size, end));
      at += piece.length;
      response.write(`id: ${at}\n${event('token', {request_id: id, text: piece.join('')})}`);
    }
    // Let what was written arrive before the connection breaks.
    if (broken !== undefined) setTimeout(() => response.destroy(), 20);
    else response.end(`id: done\n${event('done', {request_id: id, metadata: METADATA})}`);
  }
}

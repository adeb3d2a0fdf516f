/**
 * A real HTTP server on this machine that plays ChatKit's part, as well or as badly as a test wants it to.
 */
import {createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';

export interface Received {
  method: string | undefined;
  path: string | undefined;
  headers: IncomingHttpHeaders;
  body: string;
}

export type Play = (response: ServerResponse, received: Received) => void | Promise<void>;

export class Stage implements AsyncDisposable {
  readonly received: Received[] = [];
  /** How many clients hung up before the answer was over. */
  left = 0;
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  #play: Play;

  private constructor(play: Play) {
    this.#play = play;
  }

  static async open(play: Play): Promise<Stage> {
    const stage = new Stage(play);
    await new Promise<void>((resolve) => stage.#server.listen(0, '127.0.0.1', resolve));
    return stage;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** From now on answer like this. */
  set play(play: Play) {
    this.#play = play;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.socket?.setNoDelay(true);
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader(
      'Access-Control-Allow-Headers',
      'Content-Type, Accept, X-Request-ID, Last-Event-ID, Authorization',
    );
    response.setHeader('Access-Control-Expose-Headers', 'X-Request-ID, Retry-After');
    if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    response.on('close', () => (this.left += response.writableFinished ? 0 : 1));
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const received = {method: request.method, path: request.url, headers: request.headers, body};
    this.received.push(received);
    await this.#play(response, received);
  }

  /** The last request, after the first `from`, whose path has `part` in it; others, such as reports, may have come since. */
  last(part: string, from = 0): Received | undefined {
    return this.received
      .slice(from)
      .filter(({path}) => path?.includes(part))
      .at(-1);
  }
}

/** An address on this machine at which nobody listens. */
export async function deadAddress(): Promise<string> {
  const stage = await Stage.open(() => undefined);
  const url = stage.url;
  await stage[Symbol.asyncDispose]();
  return url;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// A machine that others use too may stand still for seconds.
export const ENOUGH_MS = 30_000;
/** For a test of what goes by the real time: it is tried again, as a moment of the machine's may have been in it. */
export const BY_THE_CLOCK = {retry: 5};

/** Wait until `check` gives something true. */
export async function until<T>(check: () => T, what = 'the condition'): Promise<NonNullable<T>> {
  const deadline = performance.now() + ENOUGH_MS;
  while (performance.now() < deadline) {
    const value = check();
    if (value) return value;
    await pause(5);
  }
  throw new Error(`${what} did not come about`);
}

/**
 * Asks one question and hears the answer as it is written. Whatever happens, the caller gets a whole answer or one
 * `Failure`, and either carries the request's ID.
 *
 *     send ──► listen ──────────────────────────► answer
 *               │  ▲                        error of the server ──► failure
 *          lost │  │ attach: what follows the last event that was heard
 *               ▼  │
 *              wait ── not there: it never arrived ──► send, under the same message ID
 *               └───── tried often enough ──► failure
 *
 * The message ID makes a question that is sent twice one question. All attempts carry one request ID: what a visitor
 * quotes finds them all.
 */
import {Failure} from '../failure';
import {handleFetchError, handleNetworkError} from '../utils/error-boundary';
import {isOffline, waitBefore} from '../utils/backoff';
import {generateRequestId, NetworkFailure} from '../utils/http';
import {Patience} from '../utils/patience';
import {ConnectionLost, cutOff, Hearing, type Answer, type AnswerListener} from './hearing';
import {misunderstood} from './api';
import {attachTo, sendQuestion, type Question} from './questions';

// The server sends a heartbeat each 10 s: three of them missing is silence.
const SILENCE_MS = 30_000;
// After `done` the server only has to close. Hanging up before it does would look to it like a visitor who left.
const CLOSING_MS = 2_000;
// A server that is there says at once whether it knows the question.
const ATTACH_MS = 10_000;
// Waits before each attempt to find back: a few for a question of which nothing was heard, more for half an answer.
const WAITS_MS = {unheard: [400, 1_200], begun: [300, 1_000, 2_000, 4_000, 8_000]};
// Other things that are put right on the way: a session renewed, a conversation that is gone.
const MENDS = 4;
// A server that wants to be left alone for longer is not waited for: the visitor decides.
const LONGEST_WAIT_S = 30;

/** By what the server knows the visitor; see `Session`. */
export interface Identity {
  token(): Promise<string>;
  refused(token: string): Promise<'renewed' | 'forgotten' | 'expired'>;
  bring(): Promise<boolean>;
}

export interface AskOptions {
  /** Whether it was asked before, so that there may be an answer to go on with. */
  resume?: boolean;
  requestId?: string;
}

/** How far one question has come. */
interface Course {
  question: Question;
  attach: boolean;
  token: string;
  readonly hearing: Hearing;
  readonly requestId: string;
  /** Attempts in a row that brought nothing new. */
  lost: number;
  heard: number;
  mends: number;
}

export interface Delays {
  silenceMs?: number;
  waitsMs?: typeof WAITS_MS;
}

export class RagClient {
  readonly #base: string;
  readonly #identity: Identity;
  readonly #silenceMs: number;
  readonly #waitsMs: typeof WAITS_MS;

  /** `apiBase` comes from `resolveApiBase`. */
  constructor(
    apiBase: string,
    identity: Identity,
    {silenceMs = SILENCE_MS, waitsMs = WAITS_MS}: Delays = {},
  ) {
    this.#base = `${apiBase}/api/v1/chat`;
    this.#identity = identity;
    this.#silenceMs = silenceMs;
    this.#waitsMs = waitsMs;
  }

  /** The whole answer to `question`. Throws only ``Failure``: `stopped` when `signal` was aborted. */
  async ask(
    question: Question,
    listener: AnswerListener,
    signal: AbortSignal,
    {resume = false, requestId = generateRequestId()}: AskOptions = {},
  ): Promise<Answer> {
    const hearing = new Hearing(listener, requestId);
    const course = {question, attach: resume, token: '', hearing, requestId, lost: 0, heard: 0, mends: 0};
    for (;;) {
      try {
        return await this.#attempt(course, signal);
      } catch (error) {
        if (signal.aborted) throw new Failure('stopped', hearing.requestId, {cause: error});
        const failure = failureOf(error, course);
        const mended = await this.#mended(failure, course);
        if (!mended) await this.#waited(error, failure, course, listener, signal);
        if (signal.aborted) throw new Failure('stopped', hearing.requestId, {cause: error});
      }
    }
  }

  async #attempt(course: Course, signal: AbortSignal): Promise<Answer> {
    course.token = '';
    course.token = await this.#identity.token();
    const patience = new Patience(this.#silenceMs, signal);
    const late = course.attach
      ? setTimeout(() => patience.endWithin(0), Math.min(ATTACH_MS, this.#silenceMs))
      : undefined;
    try {
      const asking = {token: course.token, requestId: course.requestId, signal: patience.signal};
      const {response, requestId} = await (course.attach
        ? attachTo(this.#base, course.question, course.hearing.lastEventId, asking)
        : sendQuestion(this.#base, course.question, asking));
      clearTimeout(late);
      patience.renew();
      if (!response.ok) throw await handleFetchError(response, course.requestId);
      // There is nothing more than what was heard.
      if (response.status === 204) return course.hearing.whole();
      // A sign-in page of a hotel, a single-page app that answers to every address: not our server.
      if (!isEventStream(response)) throw misunderstood(requestId);
      if (course.lost > 0) course.hearing.found();
      return await course.hearing.listen(response.body, requestId, () => patience.renew());
    } catch (error) {
      // Whoever kept silent to a question would keep silent to another attempt.
      const silent = patience.signal.aborted && course.hearing.progress === 0 && !course.attach;
      throw error instanceof NetworkFailure && silent ? handleNetworkError(error) : error;
    } finally {
      clearTimeout(late);
      patience.endWithin(CLOSING_MS);
    }
  }

  /** Put right what stands in the way, if that can be done without the visitor. Throws ``Failure``. */
  async #mended(failure: Failure, course: Course): Promise<boolean> {
    if (course.mends >= MENDS) return false;
    if (failure.kind === 'session_expired' && course.token !== '') {
      course.mends += 1;
      const meaning = await this.#identity.refused(course.token);
      if (meaning === 'expired') return false;
      if (meaning === 'forgotten') sendAnew(course);
      return true;
    }
    if (failure.code !== 'not_found') return false;
    course.mends += 1;
    if (course.attach) {
      course.attach = false;
      course.hearing.restart();
      return true;
    }
    if (course.question.conversationId === null) return false;
    // Deleted, or forgotten, or left behind when another tab signed in.
    if (!(await this.#identity.bring())) sendAnew(course);
    return true;
  }

  /** Wait until it makes sense to look for the answer again. Throws `failure` when it does not, or no longer. */
  async #waited(
    error: unknown,
    failure: Failure,
    course: Course,
    listener: AnswerListener,
    signal: AbortSignal,
  ): Promise<void> {
    const {hearing} = course;
    if (hearing.progress > course.heard) course.lost = 0;
    course.heard = hearing.progress;
    const waits = hearing.progress > 0 ? this.#waitsMs.begun : this.#waitsMs.unheard;
    const wait = waits[course.lost];
    const asked = failure.retryAfter ?? 0;
    if (wait === undefined || asked > LONGEST_WAIT_S || !isLost(error, failure, course)) throw failure;
    if (hearing.progress === 0 && isOffline()) throw failure;
    course.lost += 1;
    course.attach = true;
    listener.onLost?.();
    await waitBefore(Math.max(wait, asked * 1_000), signal);
  }
}

/** As a new visitor, in a new conversation. */
function sendAnew(course: Course): void {
  course.question = {...course.question, conversationId: null};
  course.attach = false;
  course.hearing.restart();
}

/** Whether the answer may go on, or be found, over another connection. */
function isLost(error: unknown, failure: Failure, {attach}: Course): boolean {
  if (error instanceof NetworkFailure || error instanceof ConnectionLost) return true;
  // A proxy whose server is just starting again.
  return attach && failure.kind === 'unavailable' && !failure.ended;
}

function failureOf(error: unknown, {hearing}: Course): Failure {
  if (error instanceof ConnectionLost) return cutOff(hearing, error);
  if (!(error instanceof NetworkFailure)) return Failure.from(error, hearing.requestId);
  // Half an answer stays one, however the attempts to find its other half fail.
  return hearing.progress > 0 ? cutOff(hearing, error) : handleNetworkError(error);
}

function isEventStream(response: Response): response is Response & {body: ReadableStream<Uint8Array>} {
  return response.body !== null && /^text\/event-stream\b/i.test(response.headers.get('Content-Type') ?? '');
}

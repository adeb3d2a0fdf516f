/**
 * What can go wrong between a question and its answer, as a family of kinds.
 *
 *   never answered   offline        the browser knows it has no network
 *                    unreachable    no connection, a blocked one, silence, or something else answered in its place
 *   answered no      rate_limited   429; `retryAfter` says when
 *                    unavailable    503 and its kin; `retryAfter` may say when
 *                    too_long       the question is over its limit
 *                    invalid        the request was refused as it stands
 *                    refused        this page may not ask here
 *                    session_expired  the visitor was signed in, and is no longer
 *                    link_invalid   the link of a letter that was used before, or too late, or is none
 *                    server         the server failed
 *   half answered    cut_off        the stream ended, or went silent, before the answer did
 *   on this side     stopped        the visitor stopped it: no error, only an end
 *                    configuration  the embedding page gave an address that cannot be used; `note` is for its developer
 *                    widget         a bug in the widget
 */
export type FailureKind =
  | 'offline'
  | 'unreachable'
  | 'rate_limited'
  | 'unavailable'
  | 'too_long'
  | 'invalid'
  | 'refused'
  | 'session_expired'
  | 'link_invalid'
  | 'server'
  | 'cut_off'
  | 'stopped'
  | 'configuration'
  | 'widget';

export interface FailureFacts {
  /** The server's own code, where it gave one. */
  code?: string | undefined;
  /** A sentence that may be shown to the visitor as it is. */
  note?: string | undefined;
  /** Seconds until another attempt makes sense. */
  retryAfter?: number | undefined;
  /** Whether the server has ended this very answer: the same question needs a new message ID to be answered. */
  ended?: boolean | undefined;
  cause?: unknown;
}

/** A question that got no whole answer, with the ID under which the server knows of it (if one was ever sent). */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly kind: FailureKind;
  readonly requestId: string | null;
  readonly code: string | undefined;
  readonly note: string | undefined;
  readonly retryAfter: number | undefined;
  readonly ended: boolean;

  constructor(kind: FailureKind, requestId: string | null, facts: FailureFacts = {}) {
    super(`${kind}${facts.code ? ` (${facts.code})` : ''}`, {cause: facts.cause});
    this.kind = kind;
    this.requestId = requestId;
    this.code = facts.code;
    this.note = facts.note;
    this.retryAfter = facts.retryAfter;
    this.ended = facts.ended ?? false;
  }

  /** `error` if it is a failure already; anything else that was thrown is a bug of the widget's own. */
  static from(error: unknown, requestId: string | null): Failure {
    return error instanceof Failure ? error : new Failure('widget', requestId, {cause: error});
  }
}

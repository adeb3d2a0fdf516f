/**
 * Where failures stop: whatever goes wrong in a call becomes a `Failure` with the ID to quote, and is shown as a card.
 * (What goes wrong in the widget's own code is stopped by `guarded`.)
 */
import {Failure, type FailureFacts, type FailureKind} from '../failure';
import {asEnvelope, seconds, type Envelope} from './envelope';
import {getRequestIdFromResponse, type NetworkFailure} from './http';

export {createErrorUI} from '../views/error-card';
export {guarded} from './guard';

const KIND_OF_CODE: Record<string, FailureKind> = {
  rate_limited: 'rate_limited',
  service_unavailable: 'unavailable',
  message_too_long: 'too_long',
  selected_text_too_long: 'too_long',
  payload_too_large: 'too_long',
  forbidden: 'refused',
  unauthorized: 'session_expired',
  session_expired: 'session_expired',
  invalid_token: 'link_invalid',
  token_expired: 'link_invalid',
  internal_error: 'server',
};

// For whoever answered without our envelope: a proxy, a firewall, another server altogether.
const KIND_OF_STATUS: Record<number, FailureKind> = {
  401: 'refused',
  403: 'refused',
  404: 'unreachable',
  405: 'unreachable',
  408: 'unavailable',
  413: 'too_long',
  429: 'rate_limited',
  502: 'unavailable',
  503: 'unavailable',
  504: 'unavailable',
};

// Of these the server knows more than we do, and says it in a sentence for people.
const SERVER_EXPLAINS: ReadonlySet<FailureKind> = new Set(['too_long', 'invalid', 'refused']);

/** The failure that a non-2xx answer is. Never throws, whatever the body holds. */
export async function handleFetchError(response: Response, sentId: string): Promise<Failure> {
  const envelope = asEnvelope(await response.json().catch(() => undefined));
  const retryAfter = envelope?.retryAfter ?? seconds(response.headers.get('Retry-After'));
  const requestId = envelope?.requestId ?? getRequestIdFromResponse(response) ?? sentId;
  const kind =
    KIND_OF_CODE[envelope?.error ?? ''] ?? KIND_OF_STATUS[response.status] ?? kindOf(response.status);
  return new Failure(kind, requestId, {...explained(kind, envelope), retryAfter});
}

/** The failure that an `error` event in a stream is; `begun` when a part of the answer was heard before. */
export function handleStreamError(envelope: Envelope, sentId: string, begun = false): Failure {
  const named = KIND_OF_CODE[envelope.error] ?? (envelope.error.startsWith('invalid') ? 'invalid' : 'server');
  // With a time to wait it is the server that is busy; without one it is this answer that is over.
  const kind = begun && named === 'unavailable' && envelope.retryAfter === undefined ? 'cut_off' : named;
  return new Failure(kind, envelope.requestId ?? sentId, {
    ...explained(kind, envelope),
    retryAfter: envelope.retryAfter,
    ended: true,
  });
}

/** The failure of a call that got no answer at all: offline when the browser says so, unreachable otherwise. */
export function handleNetworkError(error: NetworkFailure): Failure {
  const offline = typeof navigator !== 'undefined' && navigator.onLine === false;
  return new Failure(offline ? 'offline' : 'unreachable', error.requestId, {cause: error});
}

function kindOf(status: number): FailureKind {
  return status >= 500 ? 'server' : status >= 400 ? 'invalid' : 'unreachable';
}

function explained(kind: FailureKind, envelope: Envelope | undefined): FailureFacts {
  return {
    code: envelope?.error,
    note: SERVER_EXPLAINS.has(kind) ? envelope?.message : undefined,
  };
}

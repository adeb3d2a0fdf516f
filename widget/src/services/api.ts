/**
 * One call to the API that is answered with JSON at once: everything but the answers to questions, which are streams.
 */
import {Failure} from '../failure';
import {handleFetchError, handleNetworkError} from '../utils/error-boundary';
import {fetchWithRequestId, generateRequestId, NetworkFailure, type Traced} from '../utils/http';

const PATIENCE_MS = 15_000;

export interface Call {
  method?: 'GET' | 'POST';
  /** Sent as JSON. */
  body?: object;
  /** The session that is shown, if one is. */
  token?: string | null;
  /** Whether the call outlives the page. */
  keepalive?: boolean;
  requestId?: string;
}

/** The JSON that `path` answers with, to be checked before it is believed. Throws only ``Failure``. */
export async function call(
  apiBase: string,
  path: string,
  init: Call = {},
): Promise<Traced<Record<string, unknown>>> {
  const {method = 'GET', body, token, keepalive = false, requestId: sentId = generateRequestId()} = init;
  const headers = new Headers({Accept: 'application/json'});
  if (body) headers.set('Content-Type', 'application/json');
  if (token) headers.set('Authorization', `Bearer ${token}`);
  try {
    const {response, requestId} = await fetchWithRequestId(
      apiBase + path,
      {
        method,
        headers,
        keepalive,
        signal: AbortSignal.timeout(PATIENCE_MS),
        ...(body ? {body: JSON.stringify(body)} : {}),
      },
      sentId,
    );
    if (!response.ok) throw await handleFetchError(response, sentId);
    const answer: unknown = await response.json().catch(() => undefined);
    if (typeof answer !== 'object' || answer === null) throw misunderstood(requestId);
    return {requestId, response: answer as Record<string, unknown>};
  } catch (error) {
    throw error instanceof NetworkFailure ? handleNetworkError(error) : Failure.from(error, sentId);
  }
}

/** Something answered, and it was not our server: a page of a hotel's network, or of a proxy. */
export function misunderstood(requestId: string): Failure {
  return new Failure('unreachable', requestId, {cause: new Error('the answer is not of the contract')});
}

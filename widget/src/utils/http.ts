/** One request, one ID: every call the widget makes goes through here. */

export const REQUEST_ID_HEADER = 'X-Request-ID';

// What the server accepts as an ID, so that nothing else is ever shown as one.
const REQUEST_ID = /^(?=.*[A-Za-z0-9])[A-Za-z0-9._-]{1,64}$/;

export interface Traced<T> {
  /** The ID under which the server knows of the call. */
  requestId: string;
  response: T;
}

/** No answer came. The ID was sent, or meant to be: it is what a visitor can quote. */
export class NetworkFailure extends Error {
  override readonly name = 'NetworkFailure';
  readonly requestId: string;

  constructor(requestId: string, options: ErrorOptions) {
    super('no answer', options);
    this.requestId = requestId;
  }
}

/**
 * `fetch`, with `requestId` in the header X-Request-ID. Resolves to the answer and the ID that the server gave it
 * (its own, if it refused ours). Throws ``NetworkFailure`` when there is no answer.
 */
export async function fetchWithRequestId(
  url: string | URL,
  init: RequestInit = {},
  requestId = generateRequestId(),
): Promise<Traced<Response>> {
  const headers = new Headers(init.headers);
  headers.set(REQUEST_ID_HEADER, requestId);
  try {
    const response = await fetch(url, {...init, headers});
    return {requestId: getRequestIdFromResponse(response) ?? requestId, response};
  } catch (cause) {
    throw new NetworkFailure(requestId, {cause});
  }
}

/** A random UUID (version 4). Pages on plain HTTP have no `crypto.randomUUID`, but they have random bytes. */
export function generateRequestId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The ID in the answer's header; null when there is none, or it is none that the server would have sent. */
export function getRequestIdFromResponse(response: Response): string | null {
  const requestId = response.headers.get(REQUEST_ID_HEADER);
  return isRequestId(requestId) ? requestId : null;
}

export function isRequestId(value: unknown): value is string {
  return typeof value === 'string' && REQUEST_ID.test(value);
}

/**
 * A question as it goes over the wire: sent, and sent again only to find the answer that is being made of it.
 */
import {fetchWithRequestId, type Traced} from '../utils/http';
import {wellFormed} from '../utils/text';

/** The server refuses longer questions (in code points). */
export const MESSAGE_LIMIT = 2000;

const LONGEST_PAGE_URL = 2000;

export interface Question {
  message: string;
  /** Where it was asked; null when the page has no address to speak of. */
  pageUrl: string | null;
  /** Unique for the visitor: sent again under it, the question is answered once. */
  messageId: string;
  /** The conversation that it goes on with; null to begin one. */
  conversationId: string | null;
}

/** Who asks, under which ID, and until when. */
export interface Asking {
  token: string;
  requestId: string;
  signal: AbortSignal;
}

/** Ask `question` below `base`. Throws ``NetworkFailure``. */
export function sendQuestion(base: string, question: Question, asking: Asking): Promise<Traced<Response>> {
  const {message, pageUrl, messageId, conversationId} = question;
  const body = {
    message: wellFormed(message),
    message_id: messageId,
    ...(conversationId === null ? {} : {conversation_id: conversationId}),
    context: {mode: 'chat', ...(pageUrl === null ? {} : {page_url: pageUrl})},
  };
  const headers = {...headersOf(asking), 'Content-Type': 'application/json'};
  const init = {method: 'POST', headers, body: JSON.stringify(body), signal: asking.signal};
  return fetchWithRequestId(`${base}/stream`, init, asking.requestId);
}

/** Hear what follows the event `lastEventId` of its answer, or all of it for null. Throws ``NetworkFailure``. */
export function attachTo(
  base: string,
  {messageId}: Question,
  lastEventId: string | null,
  asking: Asking,
): Promise<Traced<Response>> {
  const headers = {...headersOf(asking), ...(lastEventId === null ? {} : {'Last-Event-ID': lastEventId})};
  const url = `${base}/${encodeURIComponent(messageId)}/events`;
  return fetchWithRequestId(url, {headers, signal: asking.signal}, asking.requestId);
}

/** The page's address without its query and fragment, which may hold what is none of ours; null for about: and file:. */
export function pageAddress(location: Pick<Location, 'protocol' | 'origin' | 'pathname'>): string | null {
  if (!/^https?:$/.test(location.protocol)) return null;
  const address = location.origin + location.pathname;
  return address.length <= LONGEST_PAGE_URL ? address : null;
}

function headersOf({token}: Asking): Record<string, string> {
  return {Authorization: `Bearer ${token}`, Accept: 'text/event-stream'};
}

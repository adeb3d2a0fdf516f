/**
 * What the server says while it answers, checked before it is believed: an event that is not of the contract's shape
 * is no event, and of a broken source only what is sound is kept.
 */
import {asEnvelope, type Envelope} from '../utils/envelope';
import {isRequestId} from '../utils/http';

export interface Source {
  title: string;
  /** As the server sent it: nothing to be followed before `safeLink` has seen it. */
  url: string | null;
  excerpt: string;
}

/** Durations in milliseconds. */
export interface Metadata {
  model?: string;
  /** Passages were told, because the language model did not answer. */
  degraded?: boolean;
  tokens_used?: number;
  retrieval_time_ms?: number;
  generation_time_ms?: number;
  total_time_ms?: number;
}

export type ServerMessage = {requestId: string | null} &
  /** `conversationId` is where the question was asked. */
  (
    | {kind: 'sources'; sources: readonly Source[]; conversationId: string | null}
    /** `end` is how many characters of the answer have been told with this piece, where the server says so. */
    | {kind: 'token'; text: string; end: number | null}
    /** `answer` is null where the tokens are all there is. */
    | {kind: 'done'; answer: string | null; metadata: Metadata}
    | {kind: 'error'; envelope: Envelope}
  );

const PLACE = /^\d{1,7}$/;

/** The message that the SSE event `name` with `data` and `id` is; undefined for what this widget does not know. */
export function parseMessage(name: string | undefined, data: string, id?: string): ServerMessage | undefined {
  const body = parseObject(data);
  if (!body) return undefined;
  const requestId = isRequestId(body['request_id']) ? body['request_id'] : null;
  switch (name) {
    case 'sources':
      return {
        kind: 'sources',
        requestId,
        sources: asSources(body['sources']),
        conversationId: isConversationId(body['conversation_id']) ? body['conversation_id'] : null,
      };
    case 'token': {
      const end = id !== undefined && PLACE.test(id) ? Number(id) : null;
      return typeof body['text'] === 'string'
        ? {kind: 'token', requestId, text: body['text'], end}
        : undefined;
    }
    case 'done':
      return {
        kind: 'done',
        requestId,
        answer: typeof body['answer'] === 'string' ? body['answer'] : null,
        metadata: asMetadata(body['metadata']),
      };
    case 'error': {
      // A server that says "error" has failed, however badly it says so.
      const envelope = asEnvelope(body) ?? {error: '', message: '', requestId, retryAfter: undefined};
      return {kind: 'error', requestId, envelope};
    }
    default:
      return undefined;
  }
}

/** Whether `value` has the form of the server's IDs of conversations. */
export function isConversationId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);
}

export function asSources(value: unknown): Source[] {
  if (!Array.isArray(value)) return [];
  return value.map((entry: unknown) => {
    // A broken entry keeps its place: the numbers in the answer count on it.
    const source = (typeof entry === 'object' && entry !== null ? entry : {}) as Record<string, unknown>;
    return {
      title: text(source['title']) || text(source['url']) || 'Untitled',
      url: text(source['url']) || null,
      excerpt: text(source['excerpt']),
    };
  });
}

function asMetadata(value: unknown): Metadata {
  if (typeof value !== 'object' || value === null) return {};
  const given = value as Record<string, unknown>;
  const metadata: Metadata = {};
  if (typeof given['model'] === 'string') metadata.model = given['model'];
  if (typeof given['degraded'] === 'boolean') metadata.degraded = given['degraded'];
  for (const name of ['tokens_used', 'retrieval_time_ms', 'generation_time_ms', 'total_time_ms'] as const) {
    if (typeof given[name] === 'number') metadata[name] = given[name];
  }
  return metadata;
}

function parseObject(data: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.trim() : '';
}

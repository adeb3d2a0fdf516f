/**
 * The server's one shape of error: `{error, message, request_id, retry_after?, details?}`, checked before it is
 * believed.
 */
import {isRequestId} from './http';

export interface Envelope {
  error: string;
  message: string;
  requestId: string | null;
  /** Seconds, at least 1. */
  retryAfter: number | undefined;
}

// Longer "messages" are a page that some proxy sent, not a sentence for a person.
const LONGEST_MESSAGE = 300;

/** `value` as an envelope; undefined when it is none. */
export function asEnvelope(value: unknown): Envelope | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const {error, message, request_id, retry_after} = value as Record<string, unknown>;
  if (typeof error !== 'string' || typeof message !== 'string') return undefined;
  if (message.length > LONGEST_MESSAGE) return undefined;
  return {
    error,
    message,
    requestId: isRequestId(request_id) ? request_id : null,
    retryAfter: seconds(retry_after),
  };
}

/** A number of seconds from a body or from a `Retry-After` header; undefined when it is not a sensible one. */
export function seconds(value: unknown): number | undefined {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number) || number < 0) return undefined;
  return Math.max(1, Math.ceil(number));
}

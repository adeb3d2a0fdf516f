/**
 * A visitor's conversations as the server keeps them: read again after a reload, kept for good, and what they lead to.
 */
import {Failure} from '../failure';
import {isRequestId} from '../utils/http';
import {call} from './api';
import {asSources, type Source} from './messages';
import type {Identity} from './rag-client';

/** A question of before, and what is known of its answer. */
export interface PastTurn {
  messageId: string;
  /** Of the request that asked; null where the server does not say. */
  requestId: string | null;
  question: string;
  answer: string;
  sources: readonly Source[];
  /** Passages were told, because the language model did not answer. */
  degraded: boolean;
  /** `running`: it can be followed. `cut_off`: it is not whole, and will not be. */
  state: 'running' | 'done' | 'cut_off';
}

/** The turns of a conversation in the order asked; null when the visitor has no such one. Throws ``Failure``. */
export async function readConversation(
  apiBase: string,
  identity: Identity,
  conversationId: string,
): Promise<PastTurn[] | null> {
  const path = `/api/v1/conversations/${conversationId}`;
  for (let mends = 0; ; mends += 1) {
    const token = await identity.token();
    try {
      const {response} = await call(apiBase, path, {token});
      return Array.isArray(response['turns']) ? response['turns'].flatMap(asTurn) : [];
    } catch (error) {
      const failure = Failure.from(error, null);
      if (failure.code === 'not_found') return null;
      if (failure.kind !== 'session_expired' || mends > 0) throw failure;
      const meaning = await identity.refused(token);
      if (meaning === 'forgotten') return null;
      if (meaning === 'expired') throw failure;
    }
  }
}

/** Keep a conversation for good. Throws ``Failure``. */
export async function saveConversation(
  apiBase: string,
  token: string,
  conversationId: string,
): Promise<void> {
  await call(apiBase, '/api/v1/chat/save', {
    method: 'POST',
    token,
    body: {conversation_id: conversationId},
  });
}

/** At most `limit` pages that bear on what the visitor has asked, and that no answer has shown. Throws ``Failure``. */
export async function recommendations(apiBase: string, token: string, limit: number): Promise<Source[]> {
  const {response} = await call(apiBase, '/api/v1/user/personalize', {method: 'POST', token, body: {limit}});
  return asSources(response['recommendations']);
}

/** A turn of a list, or nothing for what is none. */
function asTurn(value: unknown): PastTurn[] {
  if (typeof value !== 'object' || value === null) return [];
  const {message_id, request_id, question, answer, sources, degraded, state} = value as Record<
    string,
    unknown
  >;
  if (typeof message_id !== 'string' || typeof question !== 'string' || typeof answer !== 'string') return [];
  if (state !== 'running' && state !== 'done' && state !== 'cut_off') return [];
  return [
    {
      messageId: message_id,
      requestId: isRequestId(request_id) ? request_id : null,
      question,
      answer,
      sources: asSources(sources),
      degraded: degraded === true,
      state,
    },
  ];
}

/**
 * What a tab remembers of its conversation: which it is, and the question that has no answer yet. It outlives a reload
 * and the way to another page of the site; the words themselves stay with the server.
 */
import {ofThisTab} from '../utils/storage';
import {isConversationId} from './messages';
import type {Question} from './questions';

/** A question on its way, with the ID under which it was first sent. */
export interface Unanswered {
  question: Question;
  requestId: string;
}

// Two widgets of one page do not share a conversation.
const taken = new Set<string>();

export class Recollection {
  readonly #name: string;
  #key: string | null = null;

  /** `name` is the same after a reload; `claim` makes a key of it that no other widget of the page has. */
  constructor(name: string) {
    this.#name = `chatkit conversation ${name}`;
  }

  /** From now on this is what is remembered. */
  claim(): void {
    if (this.#key !== null) return;
    let key = this.#name;
    for (let number = 2; taken.has(key); number += 1) key = `${this.#name} ${number}`;
    taken.add(key);
    this.#key = key;
  }

  /** Another widget may go on with it. */
  release(): void {
    if (this.#key !== null) taken.delete(this.#key);
    this.#key = null;
  }

  get conversationId(): string | null {
    const {conversationId} = this.#kept();
    return isConversationId(conversationId) ? conversationId : null;
  }

  set conversationId(conversationId: string | null) {
    this.#keep({...this.#kept(), conversationId});
  }

  get unanswered(): Unanswered | null {
    return asUnanswered(this.#kept()['unanswered']);
  }

  set unanswered(unanswered: Unanswered | null) {
    this.#keep({...this.#kept(), unanswered});
  }

  forget(): void {
    if (this.#key !== null) ofThisTab.remove(this.#key);
  }

  #kept(): Record<string, unknown> {
    const kept = this.#key === null ? undefined : ofThisTab.get(this.#key);
    return typeof kept === 'object' && kept !== null ? (kept as Record<string, unknown>) : {};
  }

  #keep(kept: Record<string, unknown>): void {
    if (this.#key !== null) ofThisTab.set(this.#key, kept);
  }
}

function asUnanswered(value: unknown): Unanswered | null {
  if (typeof value !== 'object' || value === null) return null;
  const {question, requestId} = value as Record<string, unknown>;
  if (typeof question !== 'object' || question === null || typeof requestId !== 'string') return null;
  const {message, pageUrl, messageId, conversationId} = question as Record<string, unknown>;
  if (typeof message !== 'string' || typeof messageId !== 'string') return null;
  return {
    question: {
      message,
      messageId,
      pageUrl: typeof pageUrl === 'string' ? pageUrl : null,
      conversationId: isConversationId(conversationId) ? conversationId : null,
    },
    requestId,
  };
}

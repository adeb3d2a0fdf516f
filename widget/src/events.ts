/**
 * What the page that hosts the widget may listen to. All events bubble and leave the shadow root.
 */
import type {FailureKind} from './failure';
import type {Metadata} from './services/messages';

export interface AnswerDetail {
  requestId: string;
  /** How many sources the answer came with. */
  sources: number;
  metadata: Metadata;
}

export interface ErrorDetail {
  /** The ID that was sent, or null when nothing was. */
  requestId: string | null;
  kind: FailureKind;
  /** The server's code for the error, where it gave one. */
  code: string | undefined;
}

export interface SessionDetail {
  /** How it stands with the visitor. Who it is stays between the visitor and the server. */
  state: 'anonymous' | 'verification_pending' | 'logged_in' | 'expired';
}

declare global {
  interface HTMLElementEventMap {
    'chatkit-answer': CustomEvent<AnswerDetail>;
    'chatkit-error': CustomEvent<ErrorDetail>;
    'chatkit-session': CustomEvent<SessionDetail>;
  }
}

export function answerEvent(detail: AnswerDetail): CustomEvent<AnswerDetail> {
  return new CustomEvent('chatkit-answer', {detail, bubbles: true, composed: true});
}

export function errorEvent(detail: ErrorDetail): CustomEvent<ErrorDetail> {
  return new CustomEvent('chatkit-error', {detail, bubbles: true, composed: true});
}

export function sessionEvent(detail: SessionDetail): CustomEvent<SessionDetail> {
  return new CustomEvent('chatkit-session', {detail, bubbles: true, composed: true});
}

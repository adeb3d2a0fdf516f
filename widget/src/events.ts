/**
 * What the page that hosts the widget may listen to. Both events bubble and leave the shadow root.
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

declare global {
  interface HTMLElementEventMap {
    'chatkit-answer': CustomEvent<AnswerDetail>;
    'chatkit-error': CustomEvent<ErrorDetail>;
  }
}

export function answerEvent(detail: AnswerDetail): CustomEvent<AnswerDetail> {
  return new CustomEvent('chatkit-answer', {detail, bubbles: true, composed: true});
}

export function errorEvent(detail: ErrorDetail): CustomEvent<ErrorDetail> {
  return new CustomEvent('chatkit-error', {detail, bubbles: true, composed: true});
}

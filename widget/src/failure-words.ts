/**
 * What a visitor reads when something failed: what happened, and what they can do. No blame, no internals.
 */
import type {Failure, FailureKind} from './failure';

export interface FailureWords {
  /** What happened, in one line. */
  title: string;
  /** What the visitor can do about it. */
  advice: string;
  /** Whether the same question may succeed when sent again. */
  retry: boolean;
}

const WORDS: Record<FailureKind, FailureWords> = {
  offline: {
    title: 'You appear to be offline.',
    advice: 'Check your internet connection, then try again.',
    retry: true,
  },
  unreachable: {
    title: 'The answer service could not be reached.',
    advice: 'Check your connection, or whether a browser extension or firewall blocks it, then try again.',
    retry: true,
  },
  rate_limited: {
    title: 'That was a lot of questions in a short time.',
    advice: 'Your question is kept. You can send it again in a moment.',
    retry: true,
  },
  unavailable: {
    title: 'The answer service is busy or restarting.',
    advice: 'Please try again in a moment.',
    retry: true,
  },
  too_long: {
    title: 'Your question is too long.',
    advice: 'Please shorten it and send it again.',
    retry: false,
  },
  invalid: {
    title: 'Your question could not be processed.',
    advice: 'Please rephrase it. If it happens again, quote the reference below to support.',
    retry: false,
  },
  refused: {
    title: 'This page may not use the answer service.',
    advice: 'If you expected an answer here, quote the reference below to support.',
    retry: false,
  },
  server: {
    title: 'Something went wrong on our side.',
    advice: 'Please try again. If it happens again, quote the reference below to support.',
    retry: true,
  },
  cut_off: {
    title: 'The answer was cut off.',
    advice: 'The connection ended early, so the answer is incomplete. You can ask the same question again.',
    retry: true,
  },
  stopped: {title: 'Stopped.', advice: '', retry: true},
  configuration: {
    title: 'This assistant is not set up correctly.',
    advice: 'The website’s developer needs to correct it.',
    retry: false,
  },
  widget: {
    title: 'Something went wrong in this assistant.',
    advice: 'The rest of the page is not affected. Please try again, or reload the page.',
    retry: true,
  },
};

/** The words for `failure`. A note from the server (made for people) says more than our own advice can. */
export function wordsFor(failure: Failure): FailureWords {
  const words = WORDS[failure.kind];
  return failure.note ? {...words, advice: failure.note} : words;
}

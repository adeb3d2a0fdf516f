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
  session_expired: {
    title: 'You are no longer signed in.',
    advice: 'Your question is kept. Sign in again, or send it without an account.',
    retry: true,
  },
  link_invalid: {
    title: 'This link can no longer be used.',
    advice: 'A link works once, and for ten minutes. Ask for a new one.',
    retry: false,
  },
  server: {
    title: 'Something went wrong on our side.',
    advice: 'Please try again. If it happens again, quote the reference below to support.',
    retry: true,
  },
  cut_off: {
    title: 'The answer was cut off.',
    advice: 'It ended early and is incomplete. You can ask the same question again.',
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

/** The words for a `failure` to bring a conversation back. */
export function recallWordsFor(failure: Failure): FailureWords {
  if (failure.kind !== 'session_expired') {
    return {...wordsFor(failure), title: 'Your conversation could not be brought back.', retry: true};
  }
  return {...WORDS.session_expired, advice: 'Sign in again to see your conversation.'};
}

const SIGN_IN_WORDS: Partial<Record<FailureKind, FailureWords>> = {
  rate_limited: {
    title: 'Too many letters in a short time.',
    advice: 'You can ask for another one in a moment.',
    retry: false,
  },
  invalid: {title: 'That did not work.', advice: 'Please check the address and try again.', retry: false},
  refused: {title: 'You are not signed in.', advice: WORDS.refused.advice, retry: false},
  unreachable: {...WORDS.unreachable, title: 'The server could not be reached.', retry: false},
  unavailable: {...WORDS.unavailable, title: 'The server is busy or restarting.', retry: false},
};

/** The words for a `failure` to sign in or out; there the visitor presses the same button again. */
export function signInWordsFor(failure: Failure): FailureWords {
  const words = SIGN_IN_WORDS[failure.kind] ?? {...WORDS[failure.kind], retry: false};
  const title = failure.code === 'invalid_email' ? 'Please check the e-mail address.' : words.title;
  return {...words, title, advice: failure.note ?? words.advice};
}

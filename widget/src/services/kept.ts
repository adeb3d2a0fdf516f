/**
 * What is kept in the browser of who the visitor is.
 */
import {isSessionToken} from '../utils/token';

/** How it stands with the visitor, for those who show it. */
export type Standing =
  | {state: 'anonymous'}
  | {state: 'logged_in'; email: string; tier: number}
  /** There was an account's session, and it has ended; `email` is whose it was. */
  | {state: 'expired'; email: string};

/** `was` is the address of an account whose session has ended; `refreshing` marks a refresh whose end nobody has heard of. */
export type Kept =
  | {kind: 'anonymous'; token: string | null; was: string | null}
  | {kind: 'account'; token: string; email: string; tier: number; expiresAt: number; refreshing: boolean};

export const NOBODY: Kept = {kind: 'anonymous', token: null, was: null};

export function standingOf(kept: Kept): Standing {
  if (kept.kind === 'account') return {state: 'logged_in', email: kept.email, tier: kept.tier};
  return kept.was === null ? {state: 'anonymous'} : {state: 'expired', email: kept.was};
}

/** `value`, whatever it is, as what is kept; what is not sound is nobody. */
export function asKept(value: unknown): Kept {
  if (typeof value !== 'object' || value === null) return NOBODY;
  const {kind, token, email, tier, expiresAt, refreshing, was} = value as Record<string, unknown>;
  if (
    kind === 'account' &&
    isSessionToken(token) &&
    typeof email === 'string' &&
    typeof expiresAt === 'number'
  ) {
    return {
      kind,
      token,
      email,
      tier: typeof tier === 'number' ? tier : 0,
      expiresAt,
      refreshing: refreshing === true,
    };
  }
  return {
    kind: 'anonymous',
    token: isSessionToken(token) ? token : null,
    was: typeof was === 'string' ? was : null,
  };
}

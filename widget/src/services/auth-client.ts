/**
 * Signing up, in and out: one method for each call, whose answer is checked before it is believed. All throw only
 * ``Failure``.
 */
import type {Traced} from '../utils/http';
import {isSessionToken} from '../utils/token';
import {call, misunderstood} from './api';

/** A letter is on its way. */
export interface Pending {
  verificationId: string;
  /** How long its link can be used, in seconds. */
  expiresIn: number;
}

export type VerificationState = 'pending' | 'verified' | 'expired';

/** Somebody who vouches for people: `name` is for them. */
export interface Provider {
  id: string;
  name: string;
}

/** A session that has just begun. */
export interface Opened {
  token: string;
  email: string;
  tier: number;
  /** Seconds. */
  expiresIn: number;
}

const PROVIDER_ID = /^[a-z]{1,32}$/;
const VERIFICATION_ID = /^[0-9a-f]{32}$/;

export class AuthClient {
  readonly #base: string;

  constructor(apiBase: string) {
    this.#base = apiBase;
  }

  /** Have a letter sent whose link leads back to `pageUrl`, or to the server's own page for null. */
  async signUp(email: string, pageUrl: string | null): Promise<Pending> {
    return pending(await this.#post('signup', {email, consent: true, ...linkTo(pageUrl)}));
  }

  /** Have another letter sent, to somebody who has agreed to that before. */
  async resend(email: string, pageUrl: string | null): Promise<Pending> {
    return pending(await this.#post('resend-verification', {email, ...linkTo(pageUrl)}));
  }

  async status(verificationId: string): Promise<VerificationState> {
    const path = `/api/v1/auth/verification-status?verification_id=${encodeURIComponent(verificationId)}`;
    const {requestId, response} = await call(this.#base, path);
    const {state} = response;
    if (state === 'pending' || state === 'verified' || state === 'expired') return state;
    throw misunderstood(requestId);
  }

  /** Spend the token of a link. The conversations of `anonymous`, the session that is shown, move to the account. */
  async verify(linkToken: string, anonymous: string | null): Promise<Opened> {
    return opened(await this.#post('verify', {token: linkToken}, anonymous));
  }

  /** With whom one can sign in, in the order to show. */
  async providers(): Promise<Provider[]> {
    const {requestId, response} = await call(this.#base, '/api/v1/auth/providers');
    const {providers} = response;
    if (!Array.isArray(providers)) throw misunderstood(requestId);
    return providers.filter(isProvider).map(({id, name}) => ({id, name}));
  }

  /**
   * Begin to sign in with the provider `id`, to come back to `pageUrl`; with the session of `account`, to add the provider
   * to that account. Where to send the browser, and the secret to finish with.
   */
  async begin(
    id: string,
    pageUrl: string | null,
    account: string | null,
  ): Promise<{url: string; flow: string}> {
    const body = {consent: true, link: account !== null, ...linkTo(pageUrl)};
    const {requestId, response} = await this.#post(`oauth/${id}/start`, body, account);
    const {authorization_url: url, flow} = response;
    if (typeof url !== 'string' || !/^https?:\/\//.test(url) || typeof flow !== 'string')
      throw misunderstood(requestId);
    return {url, flow};
  }

  /** The browser is back with `token`. The conversations of an anonymous session `shown` move to the account. */
  async finish(token: string, flow: string, shown: string | null): Promise<Opened> {
    return opened(await this.#post('oauth/finish', {token, flow}, shown));
  }

  /** Whether the session of `token` still holds. */
  async check(token: string): Promise<boolean> {
    const {requestId, response} = await call(this.#base, '/api/v1/auth/session-check', {token});
    if (typeof response['state'] !== 'string') throw misunderstood(requestId);
    return response['state'] === 'logged_in';
  }

  /** Continue the session under a new token. The old one has then ended, whether or not the answer is heard. */
  async refresh(token: string): Promise<Opened> {
    const path = '/api/v1/auth/refresh-token';
    return opened(await call(this.#base, path, {method: 'POST', token, keepalive: true}));
  }

  /** Give the account of `token` the conversations of an anonymous session; how many they were. */
  async migrate(token: string, anonymous: string): Promise<number> {
    const {response} = await this.#post('migrate-session', {session: anonymous}, token);
    return typeof response['conversations'] === 'number' ? response['conversations'] : 0;
  }

  async logOut(token: string): Promise<void> {
    await call(this.#base, '/api/v1/auth/logout', {method: 'POST', token, keepalive: true});
  }

  #post(name: string, body: object, token: string | null = null): Promise<Traced<Record<string, unknown>>> {
    return call(this.#base, `/api/v1/auth/${name}`, {method: 'POST', body, token});
  }
}

function linkTo(pageUrl: string | null): {page_url?: string} {
  return pageUrl === null ? {} : {page_url: pageUrl};
}

function isProvider(value: unknown): value is Provider {
  if (typeof value !== 'object' || value === null) return false;
  const {id, name} = value as Record<string, unknown>;
  return typeof id === 'string' && PROVIDER_ID.test(id) && typeof name === 'string' && name !== '';
}

function pending({requestId, response}: Traced<Record<string, unknown>>): Pending {
  const {verification_id, expires_in} = response;
  if (typeof verification_id !== 'string' || !VERIFICATION_ID.test(verification_id))
    throw misunderstood(requestId);
  return {verificationId: verification_id, expiresIn: seconds(expires_in)};
}

function opened({requestId, response}: Traced<Record<string, unknown>>): Opened {
  const {token, email, tier, expires_in} = response;
  if (!isSessionToken(token) || typeof email !== 'string') throw misunderstood(requestId);
  return {token, email, tier: typeof tier === 'number' ? tier : 0, expiresIn: seconds(expires_in)};
}

function seconds(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0;
}

/**
 * The server's part in signing in: letters, of which only the links' tokens are of interest, and sessions.
 */
import {refuses} from './answers';
import type {Play} from './server';

export const LINK = `ckv_${'t'.repeat(43)}`;
export const BACK = `cko_${'b'.repeat(43)}`;
export const FLOW = `ckf_${'f'.repeat(43)}`;
export const AUTHORIZE = 'https://provider.example/authorize?state=x';
export const EMAIL = 'visitor@example.com';
const DAY = 86_400;

/** Answers with `body` as JSON, whatever is asked. */
export function answers(body: object, status = 200): Play {
  return (response, received) => {
    const id = String(received.headers['x-request-id']);
    response.writeHead(status, {'Content-Type': 'application/json', 'X-Request-ID': id});
    response.end(JSON.stringify(body));
  };
}

export class Accounts {
  /** How many letters were asked for, and whether their link still works. */
  letters = 0;
  link: 'good' | 'spent' | 'expired' = 'good';
  /** What a question about the letter is answered with. */
  status: 'pending' | 'verified' | 'expired' = 'pending';
  /** The session that holds, if one does; those that were refreshed. */
  token: string | null = null;
  readonly refreshed: string[] = [];
  /** Whether one that had been refreshed came to be refreshed again: then all of its family has ended. */
  reused = false;
  /** The anonymous sessions that were shown with a link. */
  readonly moved: string[] = [];
  readonly saved: string[] = [];
  recommended: object[] = [];
  /** With whom one can sign in, and what the server says to who is back from there. */
  providers: unknown[] = [];
  back: 'good' | 'spent' | 'refused' | 'unheard' = 'good';
  expiresIn = DAY;
  #number = 0;

  /** A session that somebody else's doing has begun. */
  open(): string {
    this.#number += 1;
    this.token = `cks_${String(this.#number).padStart(43, 's')}`;
    return this.token;
  }

  /** Plays what begins with /api/v1/auth/, and saving; the rest is `other`'s. */
  play(other: Play): Play {
    return (response, received) => {
      const shown = String(received.headers.authorization ?? '').replace('Bearer ', '');
      const body = received.body ? (JSON.parse(received.body) as Record<string, string>) : {};
      const answer = (value: object, status = 200): unknown => answers(value, status)(response, received);
      const refuse = (status: number, error: string): unknown =>
        refuses(status, {error, message: 'In the server’s words.'})(response, received);
      const name = received.path?.replace(/\?.*/, '').replace('/api/v1/', '');
      switch (name) {
        case 'auth/signup':
        case 'auth/resend-verification':
          this.letters += 1;
          return void answer(
            {state: 'verification_pending', verification_id: '0'.repeat(32), expires_in: 600},
            202,
          );
        case 'auth/verification-status':
          return void answer({state: this.status});
        case 'auth/verify':
          if (body['token'] !== LINK || this.link === 'spent') return void refuse(400, 'invalid_token');
          if (this.link === 'expired') return void refuse(400, 'token_expired');
          this.link = 'spent';
          if (shown) this.moved.push(shown);
          this.open();
          return void answer(this.#session());
        case 'auth/providers':
          return void answer({providers: this.providers});
        case 'auth/oauth/oidc/start':
          return void answer({authorization_url: AUTHORIZE, flow: FLOW, expires_in: 600});
        case 'auth/oauth/finish':
          if (this.back === 'unheard') return void response.destroy();
          if (this.back === 'refused') return void refuse(403, 'forbidden');
          if (this.back === 'spent' || body['token'] !== BACK || body['flow'] !== FLOW)
            return void refuse(400, 'invalid_token');
          this.back = 'spent';
          if (shown) this.moved.push(shown);
          this.open();
          return void answer(this.#session());
        case 'auth/session-check':
          return void answer({state: shown === this.token ? 'logged_in' : 'expired', tier: 1, email: EMAIL});
        case 'auth/refresh-token':
          if (this.refreshed.includes(shown)) {
            this.reused = true;
            this.token = null;
          }
          if (shown !== this.token) return void refuse(401, 'session_expired');
          this.refreshed.push(shown);
          this.open();
          this.expiresIn = DAY;
          return void answer(this.#session());
        case 'auth/migrate-session':
          return void answer({conversations: 1});
        case 'auth/logout':
          if (shown !== this.token) return void refuse(401, 'session_expired');
          this.token = null;
          return void answer({state: 'anonymous'});
        case 'user/personalize':
          return void answer({recommendations: this.recommended});
        case 'chat/save':
          this.saved.push(String(body['conversation_id']));
          return void answer({id: body['conversation_id'], title: 'x', saved: true});
      }
      if (shown.startsWith('cks_') && shown !== this.token) return void refuse(401, 'session_expired');
      return other(response, received);
    };
  }

  #session(): object {
    return {state: 'logged_in', token: this.token, tier: 1, email: EMAIL, expires_in: this.expiresIn};
  }
}

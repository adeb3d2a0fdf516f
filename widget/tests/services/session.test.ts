// @vitest-environment happy-dom
import {afterEach, beforeEach, expect, test, vi} from 'vitest';
import {AuthClient} from '../../src/services/auth-client';
import {Session, sessionWith} from '../../src/services/session';
import {Accounts, EMAIL, LINK} from '../support/accounts';
import {freshBrowser} from '../support/browser';
import {quietly} from '../support/widget';
import {pause, Stage, until, type Play} from '../support/server';

const HOUR = 3_600;
const nothing: Play = (response) => void response.writeHead(204).end();

beforeEach(() => {
  quietly();
  freshBrowser();
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

async function open(play?: (accounts: Accounts) => Play) {
  const accounts = new Accounts();
  const stage = await Stage.open(play ? play(accounts) : accounts.play(nothing));
  return {accounts, stage, [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose]()};
}

/** Sign in at `url`, with a session that ends in `expiresIn` seconds. */
async function signedIn(accounts: Accounts, url: string, expiresIn: number): Promise<Session> {
  accounts.expiresIn = expiresIn;
  const session = new Session(url);
  session.begin(await new AuthClient(url).verify(LINK, null));
  return session;
}

/** Other tabs of the browser hear what this one has kept. */
function tellTabs(): void {
  for (let index = 0; index < localStorage.length; index += 1) {
    dispatchEvent(new StorageEvent('storage', {key: localStorage.key(index)}));
  }
}

test('an anonymous visitor makes a token, and is known by it in all tabs and after a reload', async () => {
  const session = new Session('https://chat.example.com');
  expect(session.anonymous).toBeNull();
  const token = await session.token();
  expect(token).toMatch(/^cka_/);
  expect(await session.token()).toBe(token);
  expect(await new Session('https://chat.example.com').token()).toBe(token);
  expect(await new Session('https://other.example.com').token()).not.toBe(token);
  expect(session.standing).toEqual({state: 'anonymous'});
});

test('where the browser keeps nothing, the visitor is known as long as the page lasts', async () => {
  vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
    throw new DOMException('denied', 'SecurityError');
  });
  const session = new Session('https://blocked.example.com');
  expect(await session.token()).toBe(await session.token());
});

test('who is signed in shows the account’s session', async () => {
  await using site = await open();
  const session = await signedIn(site.accounts, site.stage.url, 24 * HOUR);
  expect(session.standing).toEqual({state: 'logged_in', email: EMAIL, tier: 1});
  expect(await session.token()).toBe(site.accounts.token);
  expect(await new Session(site.stage.url).token()).toBe(site.accounts.token);
  expect(site.accounts.refreshed).toEqual([]);
});

test('a session with under an hour left is refreshed before it is shown', async () => {
  await using site = await open();
  const session = await signedIn(site.accounts, site.stage.url, HOUR - 1);
  const old = site.accounts.token;
  expect(await session.token()).toBe(site.accounts.token);
  expect(site.accounts.refreshed).toEqual([old]);
  expect(await session.token()).toBe(site.accounts.token);
  expect(site.accounts.refreshed).toHaveLength(1);
});

// By the lease: happy-dom has no locks. tests/browser does the same in Chromium, which has.
test('however many tabs want it refreshed at once, it is done once', async () => {
  await using site = await open();
  await signedIn(site.accounts, site.stage.url, 60);
  const tabs = Array.from({length: 5}, () => new Session(site.stage.url));
  const tokens = await Promise.all(tabs.flatMap((tab) => [tab.token(), tab.token()]));
  expect(new Set(tokens)).toEqual(new Set([site.accounts.token]));
  expect(site.accounts.refreshed).toHaveLength(1);
  expect(site.accounts.reused).toBe(false);
});

test('when the answer to a refresh was lost, the old token is not shown to be refreshed again', async () => {
  await using site = await open((accounts) => (response, received) => {
    if (received.path?.endsWith('refresh-token') && accounts.refreshed.length === 0) {
      accounts.refreshed.push(accounts.token!);
      accounts.open();
      response.destroy();
      return;
    }
    return accounts.play(nothing)(response, received);
  });
  const session = await signedIn(site.accounts, site.stage.url, 60);
  await session.token();
  await expect(session.token()).rejects.toMatchObject({kind: 'session_expired'});
  expect(site.accounts.reused).toBe(false);
  expect(session.standing).toEqual({state: 'expired', email: EMAIL});
});

test('when a refresh never arrived, it is tried again', async () => {
  let lost = 1;
  await using site = await open((accounts) => (response, received) => {
    if (received.path?.endsWith('refresh-token') && lost-- > 0) return void response.destroy();
    return accounts.play(nothing)(response, received);
  });
  const session = await signedIn(site.accounts, site.stage.url, 60);
  const old = site.accounts.token;
  expect(await session.token()).toBe(old);
  expect(await session.token()).not.toBe(old);
  expect(site.accounts.refreshed).toEqual([old]);
});

test('a session that cannot be refreshed just now is shown as long as it holds', async () => {
  let busy = 1;
  await using site = await open((accounts) => (response, received) => {
    if (received.path?.endsWith('refresh-token') && busy-- > 0) {
      response.writeHead(503, {'Content-Type': 'application/json'});
      return void response.end('{"error": "service_unavailable", "message": "x", "request_id": "a-1"}');
    }
    return accounts.play(nothing)(response, received);
  });
  const session = await signedIn(site.accounts, site.stage.url, 60);
  const old = site.accounts.token;
  expect(await session.token()).toBe(old);
  // The server said that it had done nothing, so it need not be asked how it stands.
  expect(await session.token()).toBe(site.accounts.token);
  expect(site.stage.received.some(({path}) => path?.endsWith('session-check'))).toBe(false);
});

test('who is told once that the session has ended goes on as somebody anonymous', async () => {
  await using site = await open();
  const session = await signedIn(site.accounts, site.stage.url, 60);
  site.accounts.token = null;
  await expect(session.token()).rejects.toMatchObject({kind: 'session_expired'});
  expect(await session.token()).toMatch(/^cka_/);
  expect(session.standing).toEqual({state: 'expired', email: EMAIL});
  session.forgetFormer();
  expect(session.standing).toEqual({state: 'anonymous'});
  expect(session.anonymous).toMatch(/^cka_/);
});

test('a refused token means what it means by then', async () => {
  await using site = await open();
  const session = new Session(site.stage.url);
  const anonymous = await session.token();
  expect(await session.refused(anonymous)).toBe('forgotten');
  expect(await session.refused(anonymous)).toBe('renewed');
  expect(await session.token()).not.toBe(anonymous);
  const signed = await signedIn(site.accounts, site.stage.url, 24 * HOUR);
  expect(await session.refused(anonymous)).toBe('renewed');
  expect(await session.refused(await signed.token())).toBe('expired');
});

test('a refresh that another tab has just sent is waited for before a token counts as refused', async () => {
  let answer = (): void => undefined;
  await using site = await open((accounts) => async (response, received) => {
    if (received.path?.endsWith('refresh-token')) await new Promise<void>((resolve) => (answer = resolve));
    return await accounts.play(nothing)(response, received);
  });
  const one = await signedIn(site.accounts, site.stage.url, 60);
  const other = new Session(site.stage.url);
  const old = site.accounts.token!;
  const refreshing = one.token();
  await until(() => site.stage.received.some(({path}) => path?.endsWith('refresh-token')), 'the refresh');
  const refused = other.refused(old);
  await pause(50);
  answer();
  await refreshing;
  expect(await refused).toBe('renewed');
  expect(other.standing.state).toBe('logged_in');
});

test('signing out ends the session here at once, and on the server', async () => {
  await using site = await open();
  const session = await signedIn(site.accounts, site.stage.url, 24 * HOUR);
  const ending = session.end();
  expect(session.standing).toEqual({state: 'anonymous'});
  await ending;
  expect(site.accounts.token).toBeNull();
  expect(await session.token()).toMatch(/^cka_/);
});

test('other tabs hear of it when the visitor signs in or out', async () => {
  await using site = await open();
  const other = new Session(site.stage.url);
  const heard: string[] = [];
  const stop = other.subscribe(() => heard.push(other.standing.state));
  const session = await signedIn(site.accounts, site.stage.url, 24 * HOUR);
  tellTabs();
  expect(heard).toEqual(['logged_in']);
  await session.end();
  localStorage.clear();
  dispatchEvent(new StorageEvent('storage', {key: null}));
  expect(heard.at(-1)).toBe('anonymous');
  stop();
  tellTabs();
  expect(heard).toHaveLength(2);
});

test('what was asked here while another tab signed in is brought along, once', async () => {
  await using site = await open();
  const here = new Session(site.stage.url);
  const anonymous = await here.token();
  expect(await here.bring()).toBe(false);
  await signedIn(site.accounts, site.stage.url, 24 * HOUR);
  tellTabs();
  expect(await here.bring()).toBe(true);
  expect(await here.bring()).toBe(false);
  const moves = site.stage.received.filter(({path}) => path?.endsWith('migrate-session'));
  expect(moves.map(({body}) => JSON.parse(body) as object)).toEqual([{session: anonymous}]);
});

test('a page that lies open is refreshed in time, unless nobody looks at it', async () => {
  await using site = await open();
  vi.useFakeTimers({toFake: ['setTimeout', 'clearTimeout']});
  const session = await signedIn(site.accounts, site.stage.url, 30);
  session.subscribe(() => undefined);
  const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  await vi.advanceTimersByTimeAsync(61_000);
  expect(site.accounts.refreshed).toEqual([]);
  hidden.mockReturnValue(false);
  await vi.advanceTimersByTimeAsync(61_000);
  vi.useRealTimers();
  await until(() => site.accounts.refreshed.length === 1, 'the refresh');
});

test.each([
  '7',
  '"x"',
  '{"kind":"account","token":"cks_short"}',
  '{"kind":"account"}',
  'null',
  '{"token":7}',
])('whatever else lies in the storage (%s), the visitor is anonymous', async (text) => {
  localStorage.setItem('chatkit session https://chat.example.com', text);
  const session = new Session('https://chat.example.com');
  expect(session.standing).toEqual({state: 'anonymous'});
  expect(await session.token()).toMatch(/^cka_/);
});

test('all widgets of a page that ask the same server share one session', () => {
  expect(sessionWith('https://a.example.com')).toBe(sessionWith('https://a.example.com'));
  expect(sessionWith('https://a.example.com')).not.toBe(sessionWith('https://b.example.com'));
});

// @vitest-environment happy-dom
import {afterEach, beforeEach, expect, test, vi} from 'vitest';
import {Accounts, answers, AUTHORIZE, BACK, EMAIL, FLOW} from './support/accounts';
import {idOf, refuses} from './support/answers';
import {freshBrowser} from './support/browser';
import {CONVERSATION, OneAnswer} from './support/one-answer';
import {pause, Stage, until} from './support/server';
import {quietly, Visitor} from './support/widget';

beforeEach(() => {
  quietly();
  freshBrowser();
});
afterEach(() => {
  document.body.replaceChildren();
  vi.restoreAllMocks();
});

interface Site extends AsyncDisposable {
  accounts: Accounts;
  stage: Stage;
  /** Where the browser was sent. */
  left: string[];
  load(hash?: string): Visitor;
}

const STAFF = {id: 'oidc', name: 'Staff'};

async function open(providers: unknown[] = [STAFF]): Promise<Site> {
  const accounts = new Accounts();
  accounts.providers = providers;
  const stage = await Stage.open(accounts.play(new OneAnswer().play));
  const left: string[] = [];
  vi.spyOn(location, 'assign').mockImplementation((url) => void left.push(String(url)));
  const load = (hash = ''): Visitor => {
    history.replaceState(null, '', `/help?page=3${hash}`);
    return new Visitor({'api-base': stage.url, accounts: ''});
  };
  return {accounts, stage, left, load, [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose]()};
}

/** Begin at the provider's button, and be away. */
async function go(site: Site): Promise<Visitor> {
  const visitor = site.load();
  visitor.click('account');
  (await visitor.see('provider-oidc')).click();
  await until(() => site.left.length > 0, 'the browser was sent');
  return visitor;
}

function signedIn(visitor: Visitor): Promise<unknown> {
  return until(() => visitor.find('account')!.dataset['state'] === 'logged_in', 'the session');
}

function sent(site: Site, path: string): Record<string, unknown>[] {
  return site.stage.received
    .filter((request) => request.path === `/api/v1/auth/${path}`)
    .map(({body}) => JSON.parse(body) as Record<string, unknown>);
}

test('without a provider there is no word of it', async () => {
  await using site = await open([]);
  const visitor = site.load();
  visitor.click('account');
  await until(() => site.stage.received.length > 0, 'the question who there is');
  await pause(50);
  expect(visitor.find('providers')).toBeNull();
});

test('what is no provider is not shown', async () => {
  await using site = await open([{id: '../x', name: 'X'}, null, {id: 'google'}, STAFF]);
  const visitor = site.load();
  visitor.click('account');
  await visitor.see('providers');
  expect(visitor.find('providers')!.querySelectorAll('button').length).toBe(1);
});

test('what was typed stays when the providers become known', async () => {
  await using site = await open();
  const visitor = site.load();
  visitor.click('account');
  (visitor.find('email') as HTMLInputElement).value = 'half an addr';
  await visitor.see('providers');
  expect((visitor.find('email') as HTMLInputElement).value).toBe('half an addr');
});

test('the button sends the browser to the provider, to come back to this very page', async () => {
  await using site = await open();
  const visitor = await go(site);
  expect(site.left).toEqual([AUTHORIZE]);
  expect(visitor.text('provider-oidc')).toBe('Continue with Staff');
  expect(sent(site, 'oauth/oidc/start')).toEqual([
    {consent: true, link: false, page_url: 'http://localhost:3000/help?page=3'},
  ]);
});

test('who is back is signed in without another word, and what they asked comes along', async () => {
  await using site = await open();
  const before = site.load();
  before.ask();
  await until(() => before.find('answer')?.dataset['state'] === 'complete', 'the answer');
  before.click('account');
  (await before.see('provider-oidc')).click();
  await until(() => site.left.length > 0, 'the browser was sent');
  const turn = {message_id: 'm-1', question: 'First?', answer: 'Yes.', state: 'done', sources: []};
  site.stage.play = site.accounts.play((response, received) =>
    received.path === `/api/v1/conversations/${CONVERSATION}`
      ? answers({turns: [turn]})(response, received)
      : refuses(404, {error: 'not_found', message: 'x'})(response, received),
  );
  const visitor = site.load(`#chatkit-oauth=${BACK}`);
  await signedIn(visitor);
  expect(location.hash).toBe('');
  expect(sent(site, 'oauth/finish')).toEqual([{token: BACK, flow: FLOW}]);
  expect(site.accounts.moved.length).toBe(1);
  expect(visitor.find('sign-in')!.hidden).toBe(true);
  expect(visitor.text('sign-in-said')).toBe(`Signed in as ${EMAIL}.`);
  expect(sessionStorage.length === 0 || !JSON.stringify({...sessionStorage}).includes(FLOW)).toBe(true);
  await until(() => visitor.find('asked'), 'what was on the screen');
});

test('a token that another tab should have got signs nobody in', async () => {
  await using site = await open();
  const visitor = site.load(`#chatkit-oauth=${BACK}`);
  await visitor.see('error-card');
  expect(visitor.text('error-card')).toContain('begun in another tab');
  expect(sent(site, 'oauth/finish')).toEqual([]);
  expect(visitor.find('sign-in')!.dataset['card']).toBe('form');
});

test.each([
  ['spent', 'This sign-in was used before, or took too long.'],
  ['refused', 'In the server’s words.'],
] as const)('one that is %s says why, with its reference, and where to begin again', async (back, words) => {
  await using site = await open();
  await go(site);
  site.accounts.back = back;
  const visitor = site.load(`#chatkit-oauth=${BACK}`);
  const card = await visitor.see('error-card');
  expect(card.textContent).toContain('You are not signed in.');
  expect(card.textContent).toContain(words);
  expect(visitor.text('reference-id')).toBe(
    idOf(site.stage.received.find(({path}) => path?.includes('finish'))!),
  );
  expect(visitor.find('sign-in')!.dataset['card']).toBe('form');
  await visitor.see('provider-oidc');
  // The secret is of no use any more.
  const again = site.load(`#chatkit-oauth=${BACK}`);
  expect((await again.see('error-card')).textContent).toContain('another tab');
});

test('what the server did not hear can be sent again', async () => {
  await using site = await open();
  await go(site);
  site.accounts.back = 'unheard';
  const visitor = site.load(`#chatkit-oauth=${BACK}`);
  await visitor.see('error-card');
  expect(visitor.find('sign-in')!.dataset['card']).toBe('link');
  site.accounts.back = 'good';
  visitor.click('finish');
  await signedIn(visitor);
});

test.each([
  ['denied', 'You did not agree there.'],
  ['expired', 'It took too long.'],
  ['used', 'has been used before'],
  ['failed', 'could not be confirmed'],
  ['whatever', 'could not be confirmed'],
])('who is back with “%s” is told so', async (why, words) => {
  await using site = await open();
  const visitor = site.load(`#chatkit-sign-in-error=${why}`);
  expect((await visitor.see('error-card')).textContent).toContain(words);
  expect(location.hash).toBe('');
  expect(visitor.find('sign-in')!.hidden).toBe(false);
});

test('who is signed in adds a way to the account', async () => {
  await using site = await open();
  await go(site);
  const visitor = site.load(`#chatkit-oauth=${BACK}`);
  await signedIn(visitor);
  visitor.click('account');
  const add = await visitor.see('provider-oidc');
  expect(add.textContent).toBe('Add Staff');
  add.click();
  await until(() => site.left.length === 2, 'the browser was sent');
  expect(sent(site, 'oauth/oidc/start')[1]!['link']).toBe(true);
  expect(site.stage.received.at(-1)!.headers.authorization).toBe(`Bearer ${site.accounts.token}`);
});

test('a provider that is away is told, and the letter is still there', async () => {
  await using site = await open([{id: 'github', name: 'GitHub'}]);
  const visitor = site.load();
  visitor.click('account');
  (await visitor.see('provider-github')).click();
  await visitor.see('error-card');
  expect(visitor.find('email')).not.toBeNull();
  expect(site.left).toEqual([]);
});

// @vitest-environment happy-dom
import {afterEach, beforeEach, expect, test, vi} from 'vitest';
import {ANSWER, idOf, refuses} from './support/answers';
import {Accounts, answers, EMAIL, LINK} from './support/accounts';
import {freshBrowser} from './support/browser';
import {CONVERSATION, OneAnswer} from './support/one-answer';
import {ENOUGH_MS, pause, Stage, until, type Play, type Received} from './support/server';
import {quietly, Visitor} from './support/widget';

beforeEach(() => {
  quietly();
  freshBrowser();
});
afterEach(() => {
  document.body.replaceChildren();
  vi.useRealTimers();
});

interface Site extends AsyncDisposable {
  accounts: Accounts;
  stage: Stage;
  visitor: Visitor;
  /** Load the page anew, at `hash`. */
  load(hash?: string): Visitor;
}

async function open(attributes: Record<string, string> = {accounts: ''}, other?: Play): Promise<Site> {
  const accounts = new Accounts();
  const stage = await Stage.open(accounts.play(other ?? new OneAnswer().play));
  const load = (hash = ''): Visitor => {
    history.replaceState(null, '', `/help?page=3${hash}`);
    return new Visitor({'api-base': stage.url, ...attributes});
  };
  return {accounts, stage, load, visitor: load(), [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose]()};
}

/** What the server was asked, but for who else vouches for people. */
function asked(stage: Stage): Received[] {
  return stage.received.filter(({path}) => path !== '/api/v1/auth/providers');
}

function field(visitor: Visitor, name: string): HTMLInputElement {
  return visitor.find(name) as HTMLInputElement;
}

function submit(visitor: Visitor): void {
  visitor.root.querySelector('form')!.dispatchEvent(new Event('submit', {cancelable: true}));
}

/** Give an address, and have a link sent. */
async function askForLink(visitor: Visitor): Promise<void> {
  visitor.click('account');
  field(visitor, 'email').value = EMAIL;
  field(visitor, 'consent').checked = true;
  submit(visitor);
  await visitor.see('send-again');
}

/** Come with the link of a letter, and say that it was meant. */
async function signIn(site: Site): Promise<Visitor> {
  const visitor = site.load(`#chatkit-sign-in=${LINK}`);
  visitor.click('finish');
  await until(() => visitor.find('account')!.dataset['state'] === 'logged_in', 'the session');
  return visitor;
}

function states(visitor: Visitor): unknown[] {
  return visitor.heard.filter(({type}) => type === 'chatkit-session').map(({detail}) => detail['state']);
}

test('only sites that want it show that one can sign in', async () => {
  await using site = await open({});
  expect(site.visitor.find('account')!.hidden).toBe(true);
  site.visitor.widget.setAttribute('accounts', '');
  expect(site.visitor.find('account')!.hidden).toBe(false);
  expect(site.visitor.text('account')).toBe('Sign in');
  expect(site.visitor.find('sign-in')!.hidden).toBe(true);
});

test('the button opens the card and closes it, for the keyboard and for screen readers too', async () => {
  await using site = await open();
  const {visitor} = site;
  const button = visitor.find('account')!;
  expect(button.getAttribute('aria-expanded')).toBe('false');
  expect(visitor.root.getElementById(button.getAttribute('aria-controls')!)).toBe(visitor.find('sign-in'));
  button.click();
  expect(button.getAttribute('aria-expanded')).toBe('true');
  expect(visitor.root.activeElement).toBe(visitor.find('email'));
  const labelled = visitor.find('sign-in')!.getAttribute('aria-labelledby')!;
  expect(visitor.root.getElementById(labelled)!.textContent).toBe('Sign in by e-mail');
  visitor.find('email')!.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}));
  expect(visitor.find('sign-in')!.hidden).toBe(true);
  expect(visitor.root.activeElement).toBe(button);
});

test('every field has a label, and what is wrong with it is said where it is', async () => {
  await using site = await open();
  const {visitor, stage} = site;
  visitor.click('account');
  for (const name of ['email', 'consent']) {
    const label = visitor.root.querySelector(`label[for="${field(visitor, name).id}"]`);
    expect(label!.textContent).not.toBe('');
    expect(
      visitor.root.getElementById(field(visitor, name).getAttribute('aria-describedby')!),
    ).not.toBeNull();
  }
  field(visitor, 'email').value = 'visitor';
  submit(visitor);
  expect(visitor.text('email-problem')).toBe('Please give your e-mail address.');
  expect(field(visitor, 'email').getAttribute('aria-invalid')).toBe('true');
  expect(visitor.root.activeElement).toBe(visitor.find('email'));
  field(visitor, 'email').value = EMAIL;
  submit(visitor);
  expect(visitor.text('email-problem')).toBe('');
  expect(visitor.text('consent-problem')).toBe('Please tick this box first.');
  expect(visitor.root.activeElement).toBe(visitor.find('consent'));
  expect(asked(stage)).toEqual([]);
});

test('a link is sent to the address, and leads back to this very page', async () => {
  await using site = await open();
  const {visitor, stage} = site;
  await askForLink(visitor);
  expect(JSON.parse(asked(stage)[0]!.body)).toEqual({
    email: EMAIL,
    consent: true,
    page_url: 'http://localhost:3000/help?page=3',
  });
  expect(visitor.text('sign-in-title')).toBe('Check your mail');
  expect(visitor.text('sign-in')).toContain(EMAIL);
  expect(visitor.text('sign-in-said')).toBe(`A link was sent to ${EMAIL}. Check your mail.`);
  expect(visitor.find('account')!.dataset['state']).toBe('verification_pending');
  expect(visitor.text('account')).toBe('Check your mail');
  expect(states(visitor)).toEqual(['verification_pending']);
  // The field that had the focus is gone; the focus is still on the card.
  expect(visitor.find('sign-in')!.contains(visitor.root.activeElement)).toBe(true);
});

test('another letter can be asked for after a while, and the button says when', async () => {
  await using site = await open();
  const {visitor} = site;
  await askForLink(visitor);
  const again = visitor.find('send-again') as HTMLButtonElement;
  expect(again.disabled).toBe(true);
  expect(again.textContent).toMatch(/^Send again in (30|29) s$/);
  vi.useFakeTimers({toFake: ['Date']});
  vi.setSystemTime(Date.now() + 31_000);
  const later = site.load();
  later.click('account');
  expect((later.find('send-again') as HTMLButtonElement).disabled).toBe(false);
  later.click('send-again');
  await until(() => site.accounts.letters === 2, 'the second letter');
});

test('a server that has had enough says when the next letter may be asked for', async () => {
  await using site = await open();
  await askForLink(site.visitor);
  vi.useFakeTimers({toFake: ['Date']});
  vi.setSystemTime(Date.now() + 31_000);
  const visitor = site.load();
  visitor.click('account');
  site.stage.play = refuses(429, {error: 'rate_limited', message: 'x', retry_after: 90});
  visitor.click('send-again');
  const card = await visitor.see('error-card');
  expect(card.textContent).toContain('Too many letters in a short time.');
  expect(visitor.find('reference-id')!.textContent).toBe(idOf(site.stage.last('/auth/')!));
  expect(visitor.text('send-again')).toBe('Send again in 2 min');
});

test('that a letter is on its way is still known after a reload, and another address can be given', async () => {
  await using site = await open();
  await askForLink(site.visitor);
  const visitor = site.load();
  expect(visitor.text('account')).toBe('Check your mail');
  visitor.click('account');
  visitor.click('start-over');
  expect(visitor.find('email')).toBe(visitor.root.activeElement);
  expect(visitor.text('account')).toBe('Sign in');
});

test.each([
  ['verified', 'Signed in elsewhere'],
  ['expired', 'The link has expired'],
] as const)('now and then it is asked what became of the letter: %s', async (status, title) => {
  await using site = await open();
  const {visitor, accounts, stage} = site;
  vi.useFakeTimers({toFake: ['setTimeout', 'clearTimeout', 'Date']});
  visitor.click('account');
  field(visitor, 'email').value = EMAIL;
  field(visitor, 'consent').checked = true;
  submit(visitor);
  const asks = (): number => stage.received.filter(({path}) => path?.includes('verification-status')).length;
  await vi.waitUntil(() => visitor.find('send-again'), ENOUGH_MS);
  await vi.advanceTimersByTimeAsync(9_000);
  expect(asks()).toBe(0);
  await vi.advanceTimersByTimeAsync(1_500);
  await vi.waitUntil(() => asks() === 1, ENOUGH_MS);
  accounts.status = status;
  await vi.waitUntil(async () => {
    await vi.advanceTimersByTimeAsync(1_000);
    return visitor.text('sign-in-title') === title;
  }, ENOUGH_MS);
  expect(asks()).toBe(2);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asks()).toBe(2);
});

test('nobody who is not looking has the server asked', async () => {
  await using site = await open();
  const {visitor, stage} = site;
  await askForLink(visitor);
  vi.useFakeTimers({toFake: ['setTimeout', 'clearTimeout', 'Date']});
  const asks = (): number => stage.received.filter(({path}) => path?.includes('verification-status')).length;
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  document.dispatchEvent(new Event('visibilitychange'));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asks()).toBe(0);
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(false);
  visitor.click('sign-in-close');
  document.dispatchEvent(new Event('visibilitychange'));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asks()).toBe(0);
});

test('a link is taken out of the address at once, and spent only when somebody says so', async () => {
  await using site = await open();
  const visitor = site.load(`#top&chatkit-sign-in=${LINK}`);
  expect(location.href).toBe('http://localhost:3000/help?page=3#top');
  expect(visitor.text('sign-in-title')).toBe('Finish signing in');
  expect(visitor.root.activeElement).toBe(visitor.find('finish'));
  expect(asked(site.stage)).toEqual([]);
  expect(JSON.stringify({...localStorage, ...sessionStorage})).not.toContain(LINK);
  visitor.click('finish');
  await until(() => visitor.find('account')!.dataset['state'] === 'logged_in', 'the session');
  expect(visitor.text('account')).toBe(EMAIL);
  expect(visitor.find('account')!.getAttribute('aria-label')).toBe(`Account: signed in as ${EMAIL}`);
  expect(visitor.text('sign-in-said')).toBe(`Signed in as ${EMAIL}.`);
  expect(visitor.find('sign-in')!.hidden).toBe(true);
  expect(visitor.root.activeElement).toBe(visitor.find('account'));
  expect(states(visitor)).toEqual(['logged_in']);
});

test('a link that is opened where the page is shown already is taken too', async () => {
  await using site = await open();
  history.replaceState(null, '', `#chatkit-sign-in=${LINK}`);
  dispatchEvent(new HashChangeEvent('hashchange'));
  expect(site.visitor.text('sign-in-title')).toBe('Finish signing in');
  expect(location.hash).toBe('');
});

test('of several widgets one takes the link', async () => {
  await using site = await open();
  const others = [document.createElement('chatkit-widget'), document.createElement('chatkit-widget')];
  for (const widget of others) {
    widget.setAttribute('api-base', site.stage.url);
    widget.setAttribute('accounts', '');
  }
  history.replaceState(null, '', `#chatkit-sign-in=${LINK}`);
  document.body.replaceChildren();
  for (const widget of others) {
    document.body.append(widget);
    // happy-dom cannot say what has the focus in one shadow root while another has it.
    (widget.shadowRoot!.activeElement as HTMLElement | null)?.blur();
  }
  const cards = others.map((widget) =>
    widget.shadowRoot!.querySelector<HTMLElement>('[data-test="sign-in"]')!,
  );
  expect(cards.map(({hidden}) => hidden)).toEqual([false, true]);
});

test('what was asked before signing in comes along, and the conversation goes on with the account', async () => {
  await using site = await open();
  site.visitor.ask('First?');
  await site.visitor.see('reference-id');
  const anonymous = site.stage.received[0]!.headers.authorization!.replace('Bearer ', '');
  const visitor = await signIn(site);
  expect(site.accounts.moved).toEqual([anonymous]);
  visitor.ask('Second?');
  await until(() => visitor.all('reference-id').length > 0, 'the answer');
  const question = site.stage.received.filter(({path}) => path === '/api/v1/chat/stream').at(-1)!;
  expect(question.headers.authorization).toBe(`Bearer ${site.accounts.token}`);
});

test('the conversation goes on in the tab that the letter’s link has opened', async () => {
  await using site = await open();
  site.visitor.ask('First?');
  await site.visitor.see('reference-id');
  await askForLink(site.visitor);
  const turn = {message_id: 'm-1', question: 'First?', answer: 'Yes.', state: 'done', sources: []};
  site.stage.play = site.accounts.play((response, received) =>
    received.path === `/api/v1/conversations/${CONVERSATION}`
      ? answers({turns: [turn]})(response, received)
      : refuses(404, {error: 'not_found', message: 'x'})(response, received),
  );
  // Another tab remembers nothing of its own.
  sessionStorage.clear();
  const visitor = await signIn(site);
  await until(() => visitor.find('asked'), 'the conversation');
  expect(visitor.text('asked')).toBe('You asked: First?');
  expect(site.stage.last('/conversations/')!.headers.authorization).toBe(`Bearer ${site.accounts.token}`);
});

test.each(['spent', 'expired'] as const)('a link that is %s says so, and offers a new one', async (link) => {
  await using site = await open();
  await askForLink(site.visitor);
  site.accounts.link = link;
  const visitor = site.load(`#chatkit-sign-in=${LINK}`);
  visitor.click('finish');
  const card = await visitor.see('error-card');
  expect(card.textContent).toContain('This link can no longer be used.');
  expect(visitor.text('sign-in-title')).toBe('Ask for a new link');
  expect(visitor.text('send-again')).toMatch(/^Send a new link/);
});

test('without knowing whose letter it was, an address can be given', async () => {
  await using site = await open();
  site.accounts.link = 'expired';
  const visitor = site.load(`#chatkit-sign-in=${LINK}`);
  visitor.click('finish');
  await visitor.see('error-card');
  expect(visitor.root.activeElement).toBe(visitor.find('email'));
});

test('a link that could not be spent just now can be tried again', async () => {
  await using site = await open();
  const visitor = site.load(`#chatkit-sign-in=${LINK}`);
  const {stage, accounts} = site;
  stage.play = refuses(503, {error: 'service_unavailable', message: 'x'});
  visitor.click('finish');
  await visitor.see('error-card');
  stage.play = accounts.play(new OneAnswer().play);
  visitor.click('finish');
  await until(() => visitor.find('account')!.dataset['state'] === 'logged_in', 'the session');
});

test('a conversation can be kept by who is signed in', async () => {
  await using site = await open();
  const visitor = await signIn(site);
  visitor.click('account');
  expect(visitor.find('keep')).toBeNull();
  visitor.click('sign-in-close');
  visitor.ask();
  await visitor.see('reference-id');
  visitor.click('account');
  visitor.click('keep');
  await until(() => visitor.text('keep') === 'Kept', 'the confirmation');
  expect(site.accounts.saved).toEqual([CONVERSATION]);
});

test('who is signed in is told what to read next, and only links that are safe can be followed', async () => {
  await using site = await open();
  const visitor = await signIn(site);
  site.accounts.recommended = [
    {title: 'Tracing', url: '/docs/tracing', excerpt: 'x', score: 0.5, because: 'How?'},
    {title: 'A file', url: 'docs/file.md', excerpt: '', score: 0.4, because: 'How?'},
    {title: 'Evil', url: 'javascript:alert(1)', excerpt: '', score: 0.3, because: 'How?'},
  ];
  visitor.click('account');
  await until(() => visitor.all('recommendation').length === 3, 'the recommendations');
  const {root} = visitor;
  expect([...root.querySelectorAll<HTMLAnchorElement>('.reading a')].map(({href}) => href)).toEqual([
    `${site.stage.url}/docs/tracing`,
  ]);
  expect(root.querySelector('.reading ul')!.getAttribute('aria-labelledby')).toBe('reading');
  const asked = site.stage.received.find(({path}) => path === '/api/v1/user/personalize')!;
  expect(JSON.parse(asked.body)).toEqual({limit: 3});
  expect(asked.headers.authorization).toBe(`Bearer ${site.accounts.token}`);
  visitor.click('sign-out');
  expect(visitor.all('recommendation')).toEqual([]);
});

test('that nothing can be recommended just now is no trouble', async () => {
  await using site = await open();
  const visitor = await signIn(site);
  site.stage.play = refuses(500, {error: 'internal_error', message: 'x'});
  const before = site.stage.received.length;
  visitor.click('account');
  await until(() => site.stage.last('personalize', before), 'the call');
  await pause(50);
  expect(visitor.find('error-card')).toBeNull();
  expect(visitor.all('recommendation')).toEqual([]);
});

test('who signs out leaves nothing on the screen or in the tab for the next', async () => {
  await using site = await open();
  const visitor = await signIn(site);
  visitor.ask();
  await visitor.see('reference-id');
  visitor.click('account');
  expect(visitor.text('account-email')).toBe(EMAIL);
  visitor.click('sign-out');
  await until(() => site.accounts.token === null, 'the end of the session');
  expect(visitor.all('asked')).toEqual([]);
  expect(visitor.text('account')).toBe('Sign in');
  expect(states(visitor)).toEqual(['logged_in', 'anonymous']);
  const kept = JSON.stringify({...localStorage, ...sessionStorage});
  for (const secret of [EMAIL, 'cks_', CONVERSATION]) expect(kept).not.toContain(secret);
});

test('what is on the screen goes when another tab signs out, or in as somebody else', async () => {
  await using site = await open();
  const visitor = await signIn(site);
  const key = Object.keys(localStorage).find((name) => name.includes('session'))!;
  const kept = JSON.parse(localStorage.getItem(key)!) as object;
  const other = (value: object): void => {
    localStorage.setItem(key, JSON.stringify(value));
    dispatchEvent(new StorageEvent('storage', {key}));
  };
  visitor.ask();
  await visitor.see('reference-id');
  other({...kept, expiresAt: Date.now() + 86_000_000});
  expect(visitor.all('asked')).toHaveLength(1);
  other({...kept, email: 'somebody@example.com'});
  expect(visitor.all('asked')).toEqual([]);
  expect(visitor.text('account')).toBe('somebody@example.com');
  visitor.ask();
  await visitor.see('reference-id');
  other({kind: 'anonymous', token: null, was: null});
  expect(visitor.all('asked')).toEqual([]);
});

test('what was being brought back for somebody is not shown once they have signed out', async () => {
  await using site = await open();
  const before = await signIn(site);
  before.ask();
  await before.see('reference-id');
  let answer = (): void => undefined;
  const turn = {message_id: 'm-1', question: 'Secret?', answer: 'Yes.', state: 'done', sources: []};
  site.stage.play = site.accounts.play((response, received) => {
    answer = () => void answers({turns: [turn]})(response, received);
  });
  const heard = site.stage.received.length;
  const visitor = site.load();
  await until(() => site.stage.last('/conversations/', heard), 'the conversation');
  visitor.click('account');
  visitor.click('sign-out');
  await until(() => site.accounts.token === null, 'the end of the session');
  answer();
  await pause(100);
  expect(visitor.all('asked')).toEqual([]);
});

test('where one cannot sign in, nobody is asked to', async () => {
  await using site = await open();
  await signIn(site);
  site.accounts.token = null;
  const visitor = new Visitor({'api-base': site.stage.url});
  visitor.ask();
  await visitor.see('error-card');
  expect(visitor.find('sign-in-again')).toBeNull();
  expect(visitor.find('retry')).not.toBeNull();
});

test('a session that has ended is told with the question, which is not lost', async () => {
  await using site = await open();
  const visitor = await signIn(site);
  site.accounts.token = null;
  visitor.ask('Why?');
  const card = await visitor.see('error-card');
  expect(card.dataset['kind']).toBe('session_expired');
  expect(card.textContent).toContain('You are no longer signed in.');
  expect(visitor.find('account')!.dataset['state']).toBe('expired');
  expect(states(visitor)).toEqual(['logged_in', 'expired']);

  visitor.click('sign-in-again');
  expect(visitor.find('sign-in')!.hidden).toBe(false);
  expect(visitor.text('sign-in-title')).toBe('You are no longer signed in');
  expect(field(visitor, 'email').value).toBe(EMAIL);

  visitor.click('retry');
  await until(() => visitor.text('answer') === ANSWER, 'the answer');
  const question = site.stage.last('/chat')!;
  expect(question.headers.authorization).toMatch(/^Bearer cka_/);
  expect(JSON.parse(question.body)).toMatchObject({message: 'Why?'});
});

test('who was signed in can have the address forgotten', async () => {
  await using site = await open();
  const visitor = await signIn(site);
  site.accounts.token = null;
  visitor.ask();
  await visitor.see('error-card');
  visitor.click('sign-in-again');
  visitor.click('forget');
  expect(field(visitor, 'email').value).toBe('');
  expect(visitor.text('account')).toBe('Sign in');
  expect(JSON.stringify({...localStorage})).not.toContain(EMAIL);
});

test('only an https address is linked as the page on privacy', async () => {
  await using site = await open({accounts: '', 'privacy-url': '/privacy'});
  site.visitor.click('account');
  const link = site.visitor.find('sign-in')!.querySelector('a')!;
  expect(link.href).toBe('http://localhost:3000/privacy');
  expect(link.rel).toBe('noopener noreferrer');
  await using bad = await open({accounts: '', 'privacy-url': 'javascript:alert(1)'});
  bad.visitor.click('account');
  expect(bad.visitor.find('sign-in')!.querySelector('a')).toBeNull();
});

test('a widget that is taken out of the page takes no links', async () => {
  await using site = await open();
  const {visitor} = site;
  visitor.widget.remove();
  history.replaceState(null, '', `#chatkit-sign-in=${LINK}`);
  dispatchEvent(new HashChangeEvent('hashchange'));
  expect(location.hash).not.toBe('');
  document.body.append(visitor.widget);
  expect(visitor.text('sign-in-title')).toBe('Finish signing in');
});

// @vitest-environment happy-dom
import {beforeEach, expect, test} from 'vitest';
import {takeSignInLink} from '../../src/utils/sign-in-link';
import {freshBrowser} from '../support/browser';

const TOKEN = `ckv_${'t'.repeat(43)}`;

beforeEach(() => freshBrowser());

function at(hash: string): void {
  history.replaceState({page: 'state'}, '', `/help?page=3${hash}`);
}

test.each([
  [`#chatkit-sign-in=${TOKEN}`, ''],
  [`#top&chatkit-sign-in=${TOKEN}`, '#top'],
  [`#chatkit-sign-in=${TOKEN}&tab=2`, '#tab=2'],
  [`#a=1&chatkit-sign-in=${TOKEN}&b=2`, '#a=1&b=2'],
])('%s gives its token, and leaves “%s”', (hash, rest) => {
  at(hash);
  expect(takeSignInLink()).toEqual({from: 'letter', token: TOKEN});
  expect(location.href).toBe(`http://localhost:3000/help?page=3${rest}`);
  expect(history.state).toEqual({page: 'state'});
  expect(takeSignInLink()).toBeNull();
});

test.each(['', '#top', '#my-chatkit-sign-in=x', '#/route?chatkit-sign-in=x'])(
  '%s is none of ours',
  (hash) => {
    at(hash);
    const before = location.href;
    expect(takeSignInLink()).toBeNull();
    expect(location.href).toBe(before);
  },
);

test('what cannot be a token is taken out too, and is none', () => {
  at('#chatkit-sign-in=<script>');
  expect(takeSignInLink()).toBeNull();
  expect(location.hash).toBe('');
});

test.each([
  ['#chatkit-oauth=cko_abc', {from: 'provider', token: 'cko_abc'}],
  ['#chatkit-sign-in-error=denied', {from: 'nowhere', why: 'denied'}],
  ['#chatkit-sign-in-error=', {from: 'nowhere', why: ''}],
])('%s is somebody who is back from a provider', (hash, link) => {
  at(`${hash}&tab=2`);
  expect(takeSignInLink()).toEqual(link);
  expect(location.hash).toBe('#tab=2');
});

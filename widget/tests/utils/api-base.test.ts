import {expect, test} from 'vitest';
import {Failure} from '../../src/failure';
import {resolveApiBase} from '../../src/utils/api-base';

const SCRIPT = 'https://chat.example.com';
const PAGE = 'https://shop.example.com/basket?item=7';

function refusal(attribute: string | null, script = SCRIPT): Failure {
  try {
    resolveApiBase(attribute, script, PAGE);
  } catch (error) {
    if (error instanceof Failure) return error;
  }
  throw new Error(`${attribute} was not refused`);
}

test.each([null, '', '  '])('with api-base=%j, questions go where the script came from', (attribute) => {
  expect(resolveApiBase(attribute, SCRIPT, PAGE)).toBe('https://chat.example.com');
});

test.each([
  ['https://api.example.com', 'https://api.example.com'],
  ['https://api.example.com/', 'https://api.example.com'],
  ['https://api.example.com:8443/chat//', 'https://api.example.com:8443/chat'],
  [' https://api.example.com/chat ', 'https://api.example.com/chat'],
  ['/chat', 'https://shop.example.com/chat'],
  ['//api.example.com', 'https://api.example.com'],
  ['http://localhost:8000', 'http://localhost:8000'],
  ['http://127.0.0.1:8000', 'http://127.0.0.1:8000'],
  ['http://[::1]:8000', 'http://[::1]:8000'],
])('%s is asked at %s', (attribute, expected) => {
  expect(resolveApiBase(attribute, SCRIPT, PAGE)).toBe(expected);
});

test.each([
  'http://api.example.com',
  'http://192.168.1.5:8000',
  'http://localhost.evil.example',
  'http://127.0.0.1.evil.example',
  'http://localhost@evil.example',
])('%s is refused', (attribute) => {
  expect(refusal(attribute).kind).toBe('configuration');
});

test('the refusal of plain HTTP says so to the developer', () => {
  expect(refusal('http://api.example.com').note).toMatch(
    /plain HTTP is refused.*nothing was sent.*https:\/\//,
  );
});

test('plain HTTP is refused also when it is only where the script came from', () => {
  expect(refusal(null, 'http://chat.example.com').note).toContain('http://chat.example.com');
});

test.each([
  'chat.example.com',
  'javascript:alert(1)',
  'data:text/html,x',
  'ftp://example.com',
  'https://',
  'null',
])('%s is no address to ask at', (attribute) =>
  expect(refusal(attribute).note).toContain('must be an https:// address'),
);

test.each(['https://user:pw@example.com', 'https://example.com/?key=1', 'https://example.com/#x'])(
  '%s is refused without repeating what may be secret in it',
  (attribute) => {
    const {note} = refusal(attribute);
    expect(note).toContain('must not hold');
    expect(note).not.toContain('pw');
    expect(note).not.toContain('key=1');
  },
);

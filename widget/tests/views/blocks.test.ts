import {expect, test} from 'vitest';
import {blocksOf} from '../../src/views/blocks';

test('prose becomes paragraphs', () => {
  expect(blocksOf('One\nline.\n\n\nAnother.')).toEqual([
    {kind: 'paragraph', text: 'One\nline.'},
    {kind: 'paragraph', text: 'Another.'},
  ]);
});

test('a fence is code, word for word, and markup in it is nothing but text', () => {
  expect(blocksOf('Run:\n```sh\n# not a heading\n- not a list\n\n```\nDone.')).toEqual([
    {kind: 'paragraph', text: 'Run:'},
    {kind: 'code', text: '# not a heading\n- not a list\n'},
    {kind: 'paragraph', text: 'Done.'},
  ]);
});

test('a fence that is still open is code already', () => {
  expect(blocksOf('```\npython -m')).toEqual([{kind: 'code', text: 'python -m'}]);
});

test('lists keep their items, and an indented line goes on with its item', () => {
  expect(blocksOf('- one\n  goes on\n* two\n\n1. first\n2) second')).toEqual([
    {kind: 'bullets', items: ['one\ngoes on', 'two']},
    {kind: 'numbers', items: ['first', 'second']},
  ]);
});

test('headings, quotes and tables have a shape of their own', () => {
  expect(blocksOf('## Why ##\n> because\n> so\n| a | b |\n|---|---|')).toEqual([
    {kind: 'heading', text: 'Why'},
    {kind: 'quote', text: 'because\nso'},
    {kind: 'code', text: '| a | b |\n|---|---|'},
  ]);
});

test('what looks almost like markup stays text', () => {
  expect(blocksOf('#hashtag and 3.14 and -5 and `one`')).toEqual([
    {kind: 'paragraph', text: '#hashtag and 3.14 and -5 and `one`'},
  ]);
});

test('no text is lost and no reading hangs, whatever the text', () => {
  const pieces = [
    '`',
    '```',
    '\n',
    '\n\n',
    '- ',
    '1. ',
    '> ',
    '# ',
    '| ',
    'word',
    ' ',
    '~~~',
    '**',
    '[1]',
    '\r\n',
  ];
  let state = 7;
  const random = (): number => (state = (state * 48_271) % 2_147_483_647);
  for (let round = 0; round < 2_000; round += 1) {
    const text = Array.from({length: 12}, () => pieces[random() % pieces.length]).join('');
    const words = text.split('word').length - 1;
    // The line of an opening fence is its label.
    const labels = text
      .split('\n')
      .filter((line) => /^\s{0,3}(`{3,}|~{3,})/.test(line))
      .join('')
      .split('word');
    const shown = JSON.stringify(blocksOf(text)).split('word').length - 1;
    expect(shown, JSON.stringify(text)).toBeGreaterThanOrEqual(words - (labels.length - 1));
  }
});

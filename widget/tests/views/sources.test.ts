// @vitest-environment happy-dom
import {expect, test} from 'vitest';
import {SourcesView} from '../../src/views/sources';

const SOURCES = [
  {title: 'Guide', url: '/guide', excerpt: 'How to.'},
  {title: 'No link', url: 'guide.md', excerpt: ''},
];

function view(sources = SOURCES): {view: SourcesView; revealed: HTMLElement[]} {
  const revealed: HTMLElement[] = [];
  const made = new SourcesView('https://chat.example.com', (element) => revealed.push(element));
  made.sources = sources;
  made.show();
  document.body.replaceChildren(made.element);
  return {view: made, revealed};
}

test('each source shows its number, title, excerpt, and where it leads', () => {
  const [first, second] = [...view().view.element.querySelectorAll('li')];
  expect(first!.textContent).toBe('1Guidechat.example.comHow to.');
  expect(first!.querySelector('a')).toMatchObject({
    href: 'https://chat.example.com/guide',
    rel: 'noopener noreferrer',
    target: '_blank',
  });
  expect(second!.textContent).toBe('2No linkguide.md');
  expect(second!.querySelector('a')).toBeNull();
});

test('an address that may not be followed is not shown either', () => {
  const [source] = view([
    {title: 'Bad', url: 'javascript:alert(1)', excerpt: ''},
  ]).view.element.querySelectorAll('li');
  expect(source!.textContent).toBe('1Bad');
});

test('a citation leads to its source', () => {
  const {view: sources, revealed} = view();
  const citation = sources.cite(1)!;
  expect(citation.getAttribute('aria-label')).toBe('Source 1: Guide');
  citation.click();
  const [first] = [...sources.element.querySelectorAll('li')];
  expect(revealed).toEqual([first]);
  expect(document.activeElement).toBe(first!.querySelector('a'));
});

test('a citation made before the list is shown leads to it afterwards', () => {
  const revealed: HTMLElement[] = [];
  const sources = new SourcesView('https://chat.example.com', (element) => revealed.push(element));
  sources.sources = SOURCES;
  const citation = sources.cite(2)!;
  citation.click();
  expect(revealed).toEqual([]);
  sources.show();
  citation.click();
  expect(revealed).toHaveLength(1);
});

test.each([0, 3, 99])('there is no citation of source %i of two', (number) => {
  expect(view().view.cite(number)).toBeNull();
});

test('no sources, no list', () => {
  expect(view([]).view.element.hidden).toBe(true);
});

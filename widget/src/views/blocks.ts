/**
 * The plain shape of an answer: paragraphs, lists, quotes, headings, code. A small part of Markdown, enough for prose
 * about software; what is not recognised stays the text it was. Links, images and HTML are never recognised.
 */

export type Block =
  | {kind: 'paragraph' | 'heading' | 'quote'; text: string}
  | {kind: 'code'; text: string}
  | {kind: 'bullets' | 'numbers'; items: readonly string[]};

const FENCE = /^\s{0,3}(`{3,}|~{3,})/;
const HEADING = /^\s{0,3}#{1,6}\s+(.*?)\s*#*$/;
const QUOTE = /^\s{0,3}>\s?/;
const BULLET = /^\s*[-*•+]\s+/;
const NUMBER = /^\s*\d{1,3}[.)]\s+/;
const TABLE = /^\s*\|/;

/** The blocks of `text`. An answer that is still being written may end within one: an open fence is code already. */
export function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split(/\r?\n/);
  let at = 0;

  /** Take lines from here on as long as `belongs`. */
  const take = (belongs: (line: string) => boolean): string[] => {
    const from = at;
    while (at < lines.length && belongs(lines[at]!)) at += 1;
    return lines.slice(from, at);
  };

  while (at < lines.length) {
    const line = lines[at]!;
    const fence = FENCE.exec(line)?.[1];
    if (fence) {
      at += 1;
      const code = take((next) => !next.trim().startsWith(fence));
      at += 1;
      blocks.push({kind: 'code', text: code.join('\n')});
    } else if (line.trim() === '') {
      at += 1;
    } else if (HEADING.test(line)) {
      at += 1;
      blocks.push({kind: 'heading', text: HEADING.exec(line)![1]!});
    } else if (TABLE.test(line)) {
      // Columns are legible only in a fixed pitch.
      blocks.push({kind: 'code', text: take((next) => TABLE.test(next)).join('\n')});
    } else if (QUOTE.test(line)) {
      const quoted = take((next) => QUOTE.test(next)).map((next) => next.replace(QUOTE, ''));
      blocks.push({kind: 'quote', text: quoted.join('\n')});
    } else if (BULLET.test(line)) {
      blocks.push({kind: 'bullets', items: takeItems(take, BULLET)});
    } else if (NUMBER.test(line)) {
      blocks.push({kind: 'numbers', items: takeItems(take, NUMBER)});
    } else {
      const paragraph = take((next) => !opensOther(next));
      blocks.push({kind: 'paragraph', text: paragraph.join('\n')});
    }
  }
  return blocks;
}

function opensOther(line: string): boolean {
  return (
    line.trim() === '' || [FENCE, HEADING, TABLE, QUOTE, BULLET, NUMBER].some((pattern) => pattern.test(line))
  );
}

/** The items of one list; an indented line goes on with the item before it. */
function takeItems(take: (belongs: (line: string) => boolean) => string[], marker: RegExp): string[] {
  const items: string[] = [];
  for (const line of take((next) => marker.test(next) || /^\s+\S/.test(next))) {
    if (marker.test(line)) items.push(line.replace(marker, ''));
    else items.push(`${items.pop() ?? ''}\n${line.trim()}`);
  }
  return items;
}

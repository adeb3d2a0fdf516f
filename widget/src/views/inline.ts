/**
 * A run of an answer's text as nodes: `code`, **strong**, and citations such as [1]. All else is text.
 */
import {h} from './dom';

/** Makes the element for citation `number`; null when there is no such source, and then it stays text. */
export type Cite = (number: number) => HTMLElement | null;

const MARKS = /`([^`]+)`|\*\*(?=\S)([^*]+?)\*\*|\[(\d{1,2})\]/g;

export function inlineNodes(text: string, cite: Cite): Node[] {
  const nodes: Node[] = [];
  let end = 0;
  for (const mark of text.matchAll(MARKS)) {
    const [whole, code, strong, number] = mark;
    const element =
      code !== undefined
        ? h('code', {}, code)
        : strong !== undefined
          ? h('strong', {}, ...inlineNodes(strong, cite))
          : cite(Number(number));
    if (!element) continue;
    nodes.push(document.createTextNode(text.slice(end, mark.index)), element);
    end = mark.index + whole.length;
  }
  nodes.push(document.createTextNode(text.slice(end)));
  return nodes;
}

/**
 * Elements from data. Text is only ever text here: there is no way in for markup, inline script or inline style.
 */

type Attributes = Record<string, string | boolean | null>;
export type Child = Node | string | null;

/** `<tag …attributes>…children`. A `true` attribute is present and empty; `false` and `null` ones are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** The attributes by which a page styles an element (`::part`) and a browser test finds it. Both are stable. */
export function hook(name: string): Attributes {
  return {part: name, 'data-test': name};
}

export function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, '');
    else if (typeof value === 'string') element.setAttribute(name, value);
  }
}

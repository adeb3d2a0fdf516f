/**
 * Copying, also where the clipboard API is missing (pages on plain HTTP) or refused.
 */

/** Put `text` on the clipboard; false when the browser would not. `near` is an element of the tree to work in. */
export async function copyText(text: string, near: Element): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text, near);
  }
}

function copyBySelection(text: string, near: Element): boolean {
  const field = document.createElement('textarea');
  field.value = text;
  field.readOnly = true;
  field.className = 'visually-hidden';
  const focused = (near.getRootNode() as Document | ShadowRoot).activeElement;
  near.append(field);
  try {
    field.select();
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    field.remove();
    if (focused instanceof HTMLElement) focused.focus();
  }
}

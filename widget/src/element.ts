/**
 * `<chatkit-widget api-base heading suggestions theme accounts privacy-url>`: the panel, in an open shadow root.
 *
 * Nothing thrown in here reaches the page that hosts it; a widget that cannot even be built shows a card instead.
 */
import {Failure} from './failure';
import {Panel, type Target} from './panel';
import {styleSheet} from './styles';
import {resolveApiBase} from './utils/api-base';
import {createErrorUI, guarded} from './utils/error-boundary';
import {parseSuggestions} from './views/welcome';

export const TAG = 'chatkit-widget';

const HEADING = 'Ask a question';

/** Define the element, unless this page has it already. `scriptOrigin` is where questions go by default. */
export function defineWidget(scriptOrigin: string): void {
  if (typeof customElements === 'undefined' || customElements.get(TAG)) return;
  ChatKitWidget.scriptOrigin = scriptOrigin;
  customElements.define(TAG, ChatKitWidget);
}

export class ChatKitWidget extends HTMLElement {
  static readonly observedAttributes = ['accounts', 'privacy-url', 'api-base', 'heading', 'suggestions'];
  static scriptOrigin = '';

  #panel: Panel | null = null;

  connectedCallback(): void {
    this.#safely(() => {
      // Taken out of the page and put back, it is still the same conversation.
      if (this.#panel) return this.#panel.connect();
      const root = this.shadowRoot ?? this.attachShadow({mode: 'open'});
      root.adoptedStyleSheets = [styleSheet()];
      const panel = new Panel((event) => this.dispatchEvent(event));
      this.#panel = panel;
      panel.id = this.id;
      for (const name of ChatKitWidget.observedAttributes) this.#apply(panel, name);
      root.replaceChildren(panel.element);
      panel.connect();
    });
  }

  disconnectedCallback(): void {
    this.#safely(() => this.#panel?.disconnect());
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    this.#safely(() => {
      if (this.#panel && before !== now) this.#apply(this.#panel, name);
    });
  }

  #apply(panel: Panel, name: string): void {
    if (name === 'api-base') panel.target = this.#target();
    else if (name === 'accounts') panel.accounts = this.hasAttribute('accounts');
    else if (name === 'privacy-url') panel.privacyUrl = this.getAttribute('privacy-url');
    else if (name === 'heading') panel.heading = this.getAttribute('heading')?.trim() || HEADING;
    else if (name === 'suggestions') panel.suggestions = parseSuggestions(this.getAttribute('suggestions'));
  }

  #target(): Target {
    try {
      return resolveApiBase(this.getAttribute('api-base'), ChatKitWidget.scriptOrigin, location.href);
    } catch (error) {
      return Failure.from(error, null);
    }
  }

  #safely(work: () => void): void {
    guarded(work, (error) => {
      const root = this.shadowRoot ?? this.attachShadow({mode: 'open'});
      root.replaceChildren(createErrorUI(Failure.from(error, null)));
    })();
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'chatkit-widget': ChatKitWidget;
  }
}

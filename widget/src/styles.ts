/**
 * How the widget looks. One constructable style sheet, shared by every widget on the page: it needs no 'unsafe-inline'
 * in the page's policy, and the page's own rules do not reach in.
 *
 * What a page may change are the `--chatkit-…` properties and the parts (widget/README.md lists both). Text has a
 * contrast of at least 4.5 to 1 on what it stands on, edges of controls 3 to 1, in both themes.
 */

const LIGHT = `
  color-scheme: light;
  --accent: var(--chatkit-accent, #0b6b66);
  --on-accent: var(--chatkit-on-accent, #ffffff);
  --background: var(--chatkit-background, #ffffff);
  --surface: var(--chatkit-surface, #f4f7f7);
  --text: var(--chatkit-text, #17212b);
  --muted: var(--chatkit-muted, #566370);
  --border: var(--chatkit-border, #dde3e6);
  --edge: #84919d;
  --danger: #a8261c;
  --danger-surface: #fdf4f3;
  --danger-border: #f0cfcb;
  --shadow: 0 1px 2px rgb(16 32 40 / 5%), 0 12px 32px -12px rgb(16 32 40 / 16%);
`;

const DARK = `
  color-scheme: dark;
  --accent: var(--chatkit-accent, #6ccfc5);
  --on-accent: var(--chatkit-on-accent, #06211f);
  --background: var(--chatkit-background, #141b21);
  --surface: var(--chatkit-surface, #1d262e);
  --text: var(--chatkit-text, #e6ebef);
  --muted: var(--chatkit-muted, #a0adb9);
  --border: var(--chatkit-border, #2d3943);
  --edge: #6c7b89;
  --danger: #ffb4a9;
  --danger-surface: #2a1b1a;
  --danger-border: #573330;
  --shadow: 0 1px 2px rgb(0 0 0 / 30%), 0 12px 32px -12px rgb(0 0 0 / 55%);
`;

const CSS = `
:host {
  /* Nothing of the page's type leaks in; what hides the widget from outside still does. */
  all: initial;
  ${LIGHT}
  display: block;
  visibility: inherit;
  pointer-events: inherit;
  container-type: inline-size;
  color: var(--text);
  /* Never below 15 px, on pages that shrink the root's size; larger where the visitor wants larger. */
  font-size: var(--chatkit-font-size, max(15px, 1rem));
  font-family: var(--chatkit-font-family, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif);
  line-height: 1.6;
  -webkit-text-size-adjust: 100%;
}
:host([theme="dark"]) { ${DARK} }
@media (prefers-color-scheme: dark) {
  :host(:not([theme="light"])) { ${DARK} }
}
:host([hidden]), [hidden] { display: none !important; }

*, *::before, *::after { box-sizing: border-box; }
h2, h3, p, ul, ol, pre, blockquote { margin: 0; padding: 0; }
ul[role="list"], ol[role="list"] { list-style: none; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
button:disabled { cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.visually-hidden {
  position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
.icon {
  flex: none; width: 1.25em; height: 1.25em;
  fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round;
}
.icon-stop { fill: currentColor; }

.panel {
  display: flex;
  flex-direction: column;
  /* It fits the window, but with very large text the conversation keeps some room all the same. */
  max-block-size: var(--chatkit-max-height, max(min(42rem, 88dvh), 24em));
  overflow: hidden;
  background: var(--background);
  border: 1px solid var(--border);
  border-radius: var(--chatkit-radius, 16px);
  box-shadow: var(--shadow);
}
header {
  display: flex;
  align-items: center;
  gap: 0.7em;
  padding: 0.95em 1.25em;
  border-block-end: 1px solid var(--border);
}
.icon-mark { color: var(--accent); width: 1.5em; height: 1.5em; }
h2 { font-size: 1.0625em; font-weight: 620; line-height: 1.35; letter-spacing: -0.006em; overflow-wrap: anywhere; }

/* What stands beside the heading */
.tools { display: flex; align-items: center; gap: 0.3em; margin-inline-start: auto; min-inline-size: 0; }
.quiet {
  display: inline-flex; align-items: center; gap: 0.4em;
  flex: none;
  min-block-size: 2.15em;
  padding: 0.2em 0.5em;
  font-size: 0.875em;
  color: var(--muted);
  border-radius: 9px;
  transition: background-color 0.15s, color 0.15s;
}
.quiet:hover, .quiet[aria-expanded="true"] { color: var(--text); background: var(--surface); }
.account { flex: 0 1 auto; min-inline-size: 0; }
.account-label { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-inline-size: 13em; }
.account[data-state="logged_in"] { color: var(--text); }
.account[data-state="logged_in"] .icon { color: var(--accent); }
.account[data-state="verification_pending"] { color: var(--accent); }
.account[data-state="expired"] { color: var(--danger); }

/* Signing in */
.sign-in {
  position: relative;
  /* Where there is little room, it scrolls, and the place to write stays. */
  flex: 0 1 auto;
  min-block-size: 6em;
  overflow-y: auto;
  padding: 1.1em 1.25em 1.2em;
  background: var(--surface);
  border-block-end: 1px solid var(--border);
}
.sign-in-body { max-inline-size: 27em; }
.sign-in-trouble { max-inline-size: 34em; }
.sign-in .close { position: absolute; inset-block-start: 0.75em; inset-inline-end: 0.85em; padding: 0.2em 0.45em; }
.sign-in .close:hover { background: var(--background); }
h3 { padding-inline-end: 2em; font-size: 1em; font-weight: 620; line-height: 1.4; }
h3:focus-visible { outline-offset: 3px; border-radius: 3px; }
.sign-in-text { margin-block-start: 0.2em; padding-inline-end: 1.5em; font-size: 0.9375em; color: var(--muted); text-wrap: pretty; }
.address { font-weight: 590; color: var(--text); overflow-wrap: anywhere; }
.form-label { display: block; margin-block: 0.9em 0.3em; font-size: 0.875em; font-weight: 590; }
input[type="email"] {
  inline-size: 100%;
  padding: 0.5em 0.75em;
  font: inherit;
  font-size: max(16px, 1em);
  line-height: 1.5;
  color: inherit;
  background: var(--background);
  border: 1px solid var(--edge);
  border-radius: 10px;
}
input[type="email"]:focus-visible { outline: none; border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
input[type="email"]::placeholder { color: var(--muted); opacity: 1; }
input[type="email"][aria-invalid="true"] { border-color: var(--danger); box-shadow: 0 0 0 1px var(--danger); }
.consent { display: flex; gap: 0.6em; margin-block-start: 0.8em; font-size: 0.875em; line-height: 1.5; }
.consent input { flex: none; inline-size: 1.2em; block-size: 1.2em; margin: 0.15em 0 0; accent-color: var(--accent); }
.consent a { color: inherit; text-underline-offset: 0.18em; }
.problem { margin-block-start: 0.35em; font-size: 0.875em; color: var(--danger); }
.problem:empty { display: none; }
.actions { display: flex; flex-wrap: wrap; gap: 0.55em; margin-block-start: 1em; }
.primary, .secondary {
  display: inline-flex; align-items: center; gap: 0.35em;
  min-block-size: 2.4em;
  padding: 0.3em 1em;
  font-weight: 590;
  font-size: 0.9375em;
  font-variant-numeric: tabular-nums;
  border: 1px solid transparent;
  border-radius: 10px;
  transition: filter 0.15s, border-color 0.15s;
}
.primary { color: var(--on-accent); background: var(--accent); }
.primary:hover:not(:disabled, [aria-disabled]) { filter: brightness(1.1); }
.secondary { color: var(--text); background: var(--background); border-color: var(--edge); }
.secondary:hover:not(:disabled, [aria-disabled]) { border-color: var(--text); }
:is(.primary, .secondary):disabled { color: var(--muted); background: transparent; border: 1px dashed var(--edge); }
:is(.primary, .secondary)[aria-disabled] { opacity: 0.75; cursor: progress; }
.providers { margin-block-start: 1.2em; padding-block-start: 1em; border-block-start: 1px solid var(--border); }
.reading ul { display: grid; gap: 0.3em; font-size: 0.9375em; }
.reading a { color: var(--accent); text-underline-offset: 0.18em; overflow-wrap: anywhere; }
.sign-in-trouble:not(:empty) { margin-block-start: 1em; }

/* The conversation */
.log {
  position: relative;
  /* Of all that stands in the panel it gives way first. */
  flex: 1 1000 auto;
  min-block-size: 0;
  overflow-y: auto;
  padding: 1.25em;
  scrollbar-width: thin;
  scrollbar-color: var(--border) transparent;
}
.log:focus-visible { outline-offset: -3px; border-radius: 6px; }
.misconfigured + .turn, .turn + .turn, .turn + .error-card, .turn + .not-restored, .not-restored + .turn { margin-block-start: 2em; }

.welcome-hint { color: var(--muted); text-wrap: pretty; }
.welcome ul { display: flex; flex-wrap: wrap; gap: 0.55em; margin-block-start: 1em; }
.suggestion {
  padding: 0.45em 0.95em;
  text-align: start;
  line-height: 1.4;
  color: var(--accent);
  background: var(--background);
  border: 1px solid color-mix(in srgb, var(--accent) 40%, var(--border));
  border-radius: 1.3em;
  transition: background-color 0.15s;
}
.suggestion:hover { background: color-mix(in srgb, var(--accent) 8%, var(--background)); }

.asked {
  inline-size: fit-content;
  max-inline-size: min(88%, 36em);
  margin-inline-start: auto;
  padding: 0.5em 0.95em;
  background: color-mix(in srgb, var(--accent) 11%, var(--background));
  border-radius: 1.15em 1.15em 0.3em 1.15em;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}

.waiting { display: flex; align-items: center; gap: 0.75em; margin-block-start: 1.1em; color: var(--muted); }
.dots {
  inline-size: 1.6em; block-size: 0.4em;
  background: radial-gradient(circle closest-side, var(--accent) 92%, transparent) 0 / calc(100% / 3) 100%;
  animation: wait 1.2s ease-in-out infinite alternate;
}
@keyframes wait { from { opacity: 0.25; } to { opacity: 1; } }

.answer { margin-block-start: 1.1em; overflow-wrap: anywhere; }
.answer:empty { display: none; }
.answer > * + * { margin-block-start: 0.75em; }
.answer-heading { font-weight: 620; }
.answer > ul, .answer > ol { padding-inline-start: 1.5em; }
.answer li + li { margin-block-start: 0.3em; }
.answer blockquote { padding-inline-start: 0.9em; border-inline-start: 3px solid var(--border); color: var(--muted); }
strong { font-weight: 640; }
code, kbd { font-family: ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, "Liberation Mono", monospace; font-size: 0.9em; }
.answer :not(pre) > code { padding: 0.1em 0.35em; background: var(--surface); border-radius: 5px; }
pre {
  padding: 0.75em 0.95em;
  overflow-x: auto;
  background: var(--surface);
  border: 1px solid var(--border);
  border-radius: 10px;
  line-height: 1.5;
  overflow-wrap: normal;
  tab-size: 2;
}
.answer[data-state="writing"] > :last-child:not(pre)::after {
  content: "";
  display: inline-block;
  inline-size: 0.5em; block-size: 1.05em;
  margin-inline-start: 0.15em;
  vertical-align: -0.16em;
  background: var(--accent);
  border-radius: 2px;
  opacity: 0.75;
  animation: wait 0.6s ease-in-out infinite alternate;
}
.citation {
  padding: 0 0.18em;
  font-size: 0.78em;
  font-weight: 600;
  line-height: 1.5;
  vertical-align: 0.22em;
  color: var(--accent);
  border-radius: 5px;
}
.citation:hover { background: color-mix(in srgb, var(--accent) 14%, var(--background)); }

/* Sources */
.sources { margin-block-start: 1.25em; }
.sources-title { margin-block-end: 0.5em; font-size: 0.8125em; font-weight: 620; color: var(--muted); }
.sources ol { display: grid; gap: 0.5em; }
.sources li {
  display: flex;
  gap: 0.8em;
  padding: 0.65em 0.85em;
  background: var(--surface);
  border: 1px solid transparent;
  border-radius: 10px;
  transition: border-color 0.2s;
}
.sources li.pointed-at { border-color: var(--accent); }
.source-number { flex: none; min-inline-size: 1ch; font-size: 0.875em; line-height: 1.65; font-weight: 620; color: var(--accent); }
.source-body { min-inline-size: 0; font-size: 0.875em; line-height: 1.5; }
.source-title { display: flex; flex-wrap: wrap; align-items: baseline; column-gap: 0.7em; overflow-wrap: anywhere; }
.source-title a, .source-name { font-weight: 590; color: var(--text); text-underline-offset: 0.18em; }
.source-title a { text-decoration-color: color-mix(in srgb, var(--accent) 55%, transparent); }
.source-title a:hover { color: var(--accent); text-decoration-color: currentColor; }
.source-place { color: var(--muted); font-size: 0.93em; }
.source-excerpt {
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden;
  color: var(--muted); overflow-wrap: anywhere;
}

/* The end of a turn */
.trouble, .ending { margin-block-start: 1em; }
.trouble:empty, .ending:empty { display: none; }
.note { font-size: 0.875em; font-style: italic; color: var(--muted); }
.reference {
  display: flex; flex-wrap: wrap; align-items: center; column-gap: 0.6em;
  font-size: 0.8125em; color: var(--muted); overflow-wrap: anywhere;
}
.reference code { font-size: 0.96em; }
.copy {
  display: inline-flex; align-items: center; gap: 0.3em;
  min-block-size: 24px;
  padding: 0.05em 0.4em;
  border-radius: 6px;
}
.copy .icon { width: 1.1em; height: 1.1em; }
.copy:hover { color: var(--text); background: var(--surface); }
.copy.copied { color: var(--accent); }

.error-card {
  display: flex;
  gap: 0.8em;
  padding: 0.9em 1em;
  background: var(--danger-surface);
  border: 1px solid var(--danger-border);
  border-radius: 12px;
}
.error-card > .icon { margin-block-start: 0.14em; color: var(--danger); }
.error-body { min-inline-size: 0; }
.error-title { font-weight: 620; }
.error-advice { color: var(--text); overflow-wrap: anywhere; }
.error-body .reference { margin-block-start: 0.6em; }
.error-body .copy:hover { background: var(--background); }
.retry {
  margin-block-start: 0.7em;
  padding: 0.38em 0.95em;
  font-weight: 590;
  font-variant-numeric: tabular-nums;
  color: var(--text);
  background: var(--background);
  border: 1px solid var(--edge);
  border-radius: 9px;
}
.retry:has(+ .retry) { margin-inline-end: 0.5em; }
.retry:hover:not(:disabled) { border-color: var(--text); }
.retry:disabled { color: var(--muted); border-style: dashed; }

/* Writing a question */
.composer { position: relative; padding: 0.3em 1.25em 0.9em; }
/* The conversation fades out behind it. */
.composer::before {
  content: "";
  position: absolute;
  inset: -1.1em 0 auto;
  block-size: 1.1em;
  background: linear-gradient(transparent, var(--background));
  pointer-events: none;
}
.field {
  display: flex;
  align-items: flex-end;
  gap: 0.4em;
  padding: 0.35em;
  background: var(--background);
  border: 1px solid var(--edge);
  border-radius: 14px;
  transition: border-color 0.15s, box-shadow 0.15s;
}
.field:has(:disabled:not(button)) { background: var(--surface); border-color: var(--border); }
.field:focus-within { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
.field:has([aria-invalid="true"]) { border-color: var(--danger); box-shadow: 0 0 0 1px var(--danger); }
textarea {
  flex: 1;
  min-inline-size: 0;
  min-block-size: 2.5em;
  max-block-size: 10em;
  padding: 0.4em 0.65em;
  field-sizing: content;
  resize: none;
  font: inherit;
  /* Below 16 px, phones zoom the page when the field is focused. */
  font-size: max(16px, 1em);
  line-height: 1.5;
  color: inherit;
  background: transparent;
  border: 0;
}
/* The field around it shows the focus. */
textarea:focus-visible { outline: none; }
textarea::placeholder { color: var(--muted); opacity: 1; }
.send, .stop {
  flex: none;
  display: grid;
  place-items: center;
  inline-size: 2.5em;
  block-size: 2.5em;
  color: var(--on-accent);
  background: var(--accent);
  border: 1px solid transparent;
  border-radius: 10px;
  transition: filter 0.15s;
}
.send:hover:not(:disabled), .stop:hover { filter: brightness(1.1); }
.send:disabled { color: var(--muted); background: var(--surface); border-color: var(--border); }
.small-print {
  display: flex; flex-wrap: wrap; justify-content: space-between; column-gap: 1em;
  margin-block-start: 0.55em;
  padding-inline: 0.2em;
  font-size: 0.8125em; line-height: 1.4; color: var(--muted);
}
.counter { font-variant-numeric: tabular-nums; }
.counter.over { color: var(--danger); font-weight: 590; }

@container (max-width: 30em) {
  header { padding: 0.8em 1em; }
  .log { padding: 1em; }
  .composer { padding: 0.3em 0.75em 0.75em; }
  .error-card { padding: 0.8em; }
  .sign-in { padding: 0.9em 1em 1em; }
}
@container (max-width: 27em) {
  /* The words are still the button's name; a dot says that there is something to see. */
  .account-label { position: absolute; inline-size: 1px; block-size: 1px; clip-path: inset(50%); }
  .account { position: relative; flex: none; padding-inline: 0.6em; }
  .account:is([data-state="verification_pending"], [data-state="expired"])::after {
    content: "";
    position: absolute;
    inset: 0.3em 0.35em auto auto;
    inline-size: 0.5em; block-size: 0.5em;
    background: currentColor;
    border-radius: 50%;
  }
}
@media (prefers-reduced-motion: reduce) {
  * { animation: none !important; transition: none !important; }
}
@media (prefers-contrast: more) {
  .panel { --muted: var(--text); --border: var(--edge); }
}
@media (forced-colors: active) {
  .composer::before { display: none; }
  .send, .stop, .citation, .copy, .quiet, .primary, .sources li { border: 1px solid ButtonBorder; }
  .asked { border: 1px solid CanvasText; }
  .field:focus-within { outline: 2px solid Highlight; }
}
`;

let sheet: CSSStyleSheet | undefined;

/** The style sheet; made when it is first needed, so that a browser without them fails inside the error boundary. */
export function styleSheet(): CSSStyleSheet {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}

/**
 * The demo page's own few lines: the snippet names this server, the trace command names the latest answer, and both
 * can be copied.
 */

const SAID_FOR_MS = 2000;

const snippet = document.getElementById('embed-snippet');
snippet.textContent = snippet.textContent.replace('src="/', `src="${location.origin}/`);

const command = document.getElementById('trace-command');
const note = document.getElementById('trace-note');

/** Fill in the ID of what just happened in the widget. */
function follow({detail: {requestId}}) {
  if (!requestId) return;
  command.textContent = `python -m pipeline trace ${requestId}`;
  note.textContent = 'This is the ID of your latest question.';
}
document.addEventListener('chatkit-answer', follow);
document.addEventListener('chatkit-error', follow);

for (const button of document.querySelectorAll('[data-copy]')) {
  const text = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = 'Copied';
    } catch {
      // Pages on plain HTTP may not copy; marked text can still be taken by hand.
      getSelection().selectAllChildren(text);
      button.textContent = 'Press Ctrl+C';
    }
    setTimeout(() => (button.textContent = label), SAID_FOR_MS);
  });
}

/**
 * The script a page loads. Defines `<chatkit-widget>` once; loaded twice, or where there are no custom elements,
 * it does nothing.
 */
import {defineWidget} from './element';

defineWidget(new URL(import.meta.url).origin);

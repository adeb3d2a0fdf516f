/**
 * The few signs the widget draws, in the colour of the text around them. All are decoration: the words say it too.
 */
import {setAttributes} from './dom';

const SVG = 'http://www.w3.org/2000/svg';

const PATHS = {
  mark: 'M4 5.5h16v10.5h-8.5L7 19.8V16H4z M8 9.2h8 M8 12.3h5',
  send: 'M12 19.5V5 M5.8 11 12 4.8 18.2 11',
  stop: 'M6.5 6.5h11v11h-11z',
  copy: 'M9 9h10v10H9z M5 15V5h10',
  done: 'M5 12.8l4.6 4.4L19 7.4',
  person: 'M12 12.2a4 4 0 1 0 0-8 4 4 0 0 0 0 8z M4.5 20c.8-3.4 3.8-5.2 7.5-5.2s6.7 1.8 7.5 5.2',
  fresh: 'M12 5.5v13 M5.5 12h13',
  close: 'M6 6l12 12 M18 6 6 18',
  alert: 'M12 8v5 M12 16.2v.1 M12 3.2l9.3 16.6H2.7z',
} as const;

export function icon(name: keyof typeof PATHS): SVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  setAttributes(svg, {
    class: `icon icon-${name}`,
    viewBox: '0 0 24 24',
    'aria-hidden': 'true',
    focusable: 'false',
  });
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

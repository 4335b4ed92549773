// Plots by day: stacked bars and lines, with values where the pointer or the focus is.

import { el, svg } from './element.js';
import { counted } from './text.js';

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [640, 210, 78, 28, 12];
// Numbers of steps between the lines of a plot, the first that fits.
const STEPS = [4, 5, 2, 1];

// A plot of `days` (texts) as `bars` or `lines`, each series {name, values} and maybe `kind`, its colour. `write` writes a value,
// and `tick` one beside the plot, where there is little room.
export function plot({ title, days, series, kind, write, tick = write }) {
  const totals = days.map((_, at) => (kind === 'bars' ? series.reduce((sum, each) => sum + each.values[at], 0) : Math.max(0, ...series.map((each) => each.values[at]))));
  const most = nice(Math.max(...totals, 0));
  const step = (WIDTH - LEFT - 8) / Math.max(1, days.length);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
  const x = (at) => LEFT + step * (at + 0.5);
  const root = svg('svg', { class: 'plot', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${title}, by day. ${counted(days.length, 'day')}; the table below has the figures.` });
  // Values that are counted have lines at whole numbers.
  const isCounted = series.every((each) => each.values.every(Number.isInteger));
  const steps = STEPS.find((steps) => !isCounted || most % steps === 0) ?? 1;
  for (let line = 0; line <= steps; line += 1) {
    const value = (most * line) / steps;
    root.append(svg('line', { class: 'grid', x1: LEFT, x2: WIDTH - 8, y1: y(value), y2: y(value) }), svg('text', { class: 'tick', x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' }, tick(value)));
  }
  const every = Math.max(1, Math.ceil(days.length / 7));
  days.forEach((day, at) => {
    if (at % every === 0) root.append(svg('text', { class: 'tick', x: x(at), y: HEIGHT - 6, 'text-anchor': 'middle' }, day.slice(5)));
  });
  if (kind === 'bars') {
    const width = Math.min(46, Math.max(1, step * 0.7));
    days.forEach((_, at) => {
      let below = 0;
      series.forEach((each, nth) => {
        if (!each.values[at]) return;
        const [top, bottom] = [y(below + each.values[at]), y(below)];
        root.append(svg('rect', { class: kindOf(each, nth), x: x(at) - width / 2, width, y: top, height: Math.max(0.5, bottom - top) }));
        below += each.values[at];
      });
    });
  } else {
    series.forEach((each, nth) => {
      const points = each.values.map((value, at) => `${x(at)},${y(value)}`).join(' ');
      root.append(svg('polyline', { class: `${kindOf(each, nth)} line`, points }));
      if (days.length <= 40) each.values.forEach((value, at) => root.append(svg('circle', { class: kindOf(each, nth), cx: x(at), cy: y(value), r: 2.5 })));
    });
  }
  const value = el('p', { className: 'value', role: 'status' });
  const showValues = (at) => {
    const shown = series.map((each) => [each.name, each.values[at]]).filter(([, value]) => value);
    value.textContent = `${days[at]}: ${shown.length ? shown.map(([name, value]) => `${name} ${write(value)}`).join(', ') : 'nothing'}`;
  };
  days.forEach((day, at) => {
    const area = svg('rect', { class: 'area', x: LEFT + step * at, width: step, y: TOP, height: HEIGHT - TOP - BOTTOM });
    area.addEventListener('pointerenter', () => showValues(at));
    root.append(area);
  });
  root.addEventListener('pointerleave', () => {
    value.textContent = '';
  });
  const legend = el('ul', { className: 'legend' }, series.map((each, nth) => el('li', {}, el('span', { className: `swatch ${kindOf(each, nth)}` }), each.name)));
  return el('figure', { className: 'plot-box' }, el('figcaption', {}, title), root, series.length > 1 ? legend : null, value, figures(days, series, write));
}

// The class that gives a series its colour.
function kindOf(each, nth) {
  return `series-${each.kind ?? nth % 8}`;
}

// The same as a table, for those who do not see or point.
function figures(days, series, write) {
  const head = el('tr', {}, el('th', { scope: 'col' }, 'Day'), series.map((each) => el('th', { className: 'n', scope: 'col' }, each.name)));
  const rows = days.map((day, at) => el('tr', {}, el('td', {}, day), series.map((each) => el('td', { className: 'n' }, write(each.values[at])))));
  return el('details', { className: 'figures' }, el('summary', {}, 'Figures'), el('div', { className: 'wide', tabIndex: 0, role: 'region', ariaLabel: 'Figures' }, el('table', { className: 'plain-table' }, el('thead', {}, head), el('tbody', {}, rows))));
}

// A round number that is not less.
function nice(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= value);
}

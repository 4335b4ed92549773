// The agents of a run, and who handed over to whom.

import { el, svg } from './element.js';
import { counted, dollars, number } from './text.js';

const [WIDTH, HEIGHT, ACROSS, DOWN] = [190, 64, 90, 26];
// Agents that are drawn; a table has all.
const DRAWN = 60;

export function draw({ agents, edges }) {
  const columns = ['Agent', 'Spans', 'Model calls', 'Tokens', 'Cost', 'Errors'];
  const row = (agent) => el('tr', {}, el('td', { title: agent.id }, agent.role), ...[agent.spans, agent.calls, agent.tokens].map((value) => el('td', { className: 'n' }, number(value))), el('td', { className: 'n' }, agent.cost ? dollars(agent.cost) : ''), el('td', { className: 'n' }, agent.errors ? number(agent.errors) : ''));
  const table = el('table', { className: 'plain-table' }, el('thead', {}, el('tr', {}, columns.map((name, at) => el('th', { className: at ? 'n' : '', scope: 'col' }, name)))), el('tbody', {}, agents.map(row)));
  return [el('h2', {}, 'Agents and hand-overs'), el('div', { className: 'wide', tabIndex: 0, role: 'region', ariaLabel: 'Graph of agents' }, graph(agents.slice(0, DRAWN), edges)), el('div', { className: 'wide', tabIndex: 0, role: 'region', ariaLabel: 'Figures of agents' }, table)];
}

function graph(agents, edges) {
  const levels = new Map();
  const place = new Map();
  for (const agent of agents) {
    const at = levels.get(agent.depth) ?? 0;
    levels.set(agent.depth, at + 1);
    place.set(agent.id, { x: 10 + agent.depth * (WIDTH + ACROSS), y: 10 + at * (HEIGHT + DOWN) });
  }
  const width = 20 + (Math.max(0, ...levels.keys()) + 1) * (WIDTH + ACROSS) - ACROSS;
  const height = 20 + Math.max(1, ...levels.values()) * (HEIGHT + DOWN) - DOWN;
  const root = svg('svg', { class: 'graph', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `${counted(agents.length, 'agent')} and ${counted(edges.length, 'kind')} of hand-overs between them; the table below has the figures` });
  for (const { from, to, count } of edges) {
    const [a, b] = [place.get(from), place.get(to)];
    if (!a || !b) continue;
    const isBack = b.x <= a.x;
    const [x1, y1, x2, y2] = isBack ? [a.x, a.y + HEIGHT / 2 + 8, b.x + WIDTH, b.y + HEIGHT / 2 + 8] : [a.x + WIDTH, a.y + HEIGHT / 2, b.x, b.y + HEIGHT / 2];
    const bend = Math.max(30, Math.abs(x2 - x1) / 2);
    const sign = isBack ? -1 : 1;
    root.append(
      svg('path', { class: 'edge', d: `M${x1} ${y1}C${x1 + sign * bend} ${y1} ${x2 - sign * bend} ${y2} ${x2} ${y2}` }),
      svg('path', { class: 'arrow', d: `M${x2} ${y2}l${-sign * 8} -4v8z` }),
      svg('text', { class: 'count', x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 5, 'text-anchor': 'middle' }, `${count}×`),
    );
  }
  for (const agent of agents) {
    const { x, y } = place.get(agent.id);
    const name = agent.role.length > 22 ? `${agent.role.slice(0, 21)}…` : agent.role;
    root.append(
      svg('g', { class: agent.errors ? 'agent failed' : 'agent' },
        svg('title', {}, agent.role),
        svg('rect', { x, y, width: WIDTH, height: HEIGHT, rx: 8 }),
        svg('text', { x: x + 12, y: y + 24, class: 'name' }, name),
        svg('text', { x: x + 12, y: y + 46 }, `${number(agent.tokens)} tokens${agent.cost ? `, ${dollars(agent.cost)}` : ''}`)),
    );
  }
  return root;
}

// Chromium, and what every page of it has to keep to.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
// Kinds of violations that fail a test.
const SERIOUS = ['serious', 'critical'];

export const launch = (program) => chromium.launch({ executablePath: program, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

// How long a page may take for anything: only what hangs reaches it.
let limit = 60_000;

export function setLimit(millis) {
  limit = millis;
}

// A page of a size and a scheme. Errors of its scripts and requests elsewhere are gathered in `faults`.
export async function open(browser, url, { width = 1400, height = 900, scheme = 'light' } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce', timezoneId: 'Europe/Lisbon', locale: 'en-GB', bypassCSP: false, permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(`a script failed: ${error.message}`));
  page.on('console', (message) => {
    const isExpected = /status of 40[0149]/.test(message.text());
    if (message.type() === 'error' && !isExpected) faults.push(`the console has: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(new URL(url).origin) && !request.url().startsWith('blob:')) faults.push(`a request went to ${request.url()}`);
  });
  page.setDefaultTimeout(limit);
  await page.goto(url);
  return { page, faults, close: () => context.close() };
}

// Goes to a view by its address and waits until it is drawn.
export async function visit(page, hash, selector) {
  await page.evaluate((hash) => {
    location.hash = hash;
  }, hash);
  await page.waitForSelector(selector);
}

// What axe finds that is serious, as lines.
export async function violations(page) {
  const session = await page.context().newCDPSession(page);
  // The policy of the page lets no script in but its own: this one comes from the debugger.
  await session.send('Runtime.evaluate', { expression: `if (!window.axe) { ${axe} }` });
  const result = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa'] }));
  await session.detach();
  return result.violations
    .filter((each) => SERIOUS.includes(each.impact))
    .map((each) => `${each.id}: ${each.nodes.slice(0, 3).map((node) => `${node.target.join(' ')} (${node.failureSummary?.split('\n')[1]?.trim()})`).join('; ')}`);
}

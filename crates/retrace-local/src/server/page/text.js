// How things are written: numbers, times, and JSON with all its digits.

const count = new Intl.NumberFormat('en');

export function number(value) {
  return count.format(value);
}

// A number with its noun.
export function counted(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

// A number for where there is little room: exact up to `exact`, else the first digits of it.
export function short(value, exact = 10_000) {
  return value < exact ? number(Math.round(value * 100) / 100) : compact.format(value);
}

const small = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const large = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export function dollars(value) {
  return `$${(value < 1 ? small : large).format(value)}`;
}

// The same for where there is little room.
export function shortDollars(value) {
  return value < 10_000 ? dollars(value) : `$${compact.format(value)}`;
}

export function bytes(value) {
  if (value < 1000) return `${value} B`;
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} kB`;
  return `${(value / 1e6).toFixed(1)} MB`;
}

// A length of time, given in microseconds.
export function duration(micros) {
  if (micros === 0) return '0 s';
  if (micros < 1000) return `${Math.round(micros)} µs`;
  if (micros < 1e6) return `${(micros / 1e3).toFixed(micros < 1e4 ? 1 : 0)} ms`;
  if (micros < 60e6) return `${(micros / 1e6).toFixed(micros < 1e7 ? 2 : 1)} s`;
  const seconds = Math.round(micros / 1e6);
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  const two = (value) => String(value).padStart(2, '0');
  if (hours >= 100) return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
  return hours ? `${hours} h ${two(minutes % 60)} min` : `${minutes} min ${two(seconds % 60)} s`;
}

// The same in one unit, for where there is little room.
export function shortDuration(micros) {
  for (const [unit, length] of [['d', 86_400e6], ['h', 3600e6], ['min', 60e6]]) {
    if (micros >= length) return `${small.format(micros / length)} ${unit}`;
  }
  return duration(micros);
}

const TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?$/i;

// Microseconds since 1970 UTC of a time as it is sent, without a zone UTC; null when it is none.
export function micros(text) {
  const [, date, time, fraction = '', zone = 'Z'] = TIME.exec(text ?? '') ?? [];
  const whole = Date.parse(`${date}T${time}${zone.toUpperCase()}`);
  return Number.isNaN(whole) ? null : whole * 1000 + Number(fraction.padEnd(6, '0').slice(0, 6));
}

// A time in the reader's zone, to the millisecond.
export function clock(text) {
  const at = micros(text);
  if (at === null) return text ?? '';
  const local = new Date(at / 1000);
  const two = (value) => String(value).padStart(2, '0');
  const date = `${local.getFullYear()}-${two(local.getMonth() + 1)}-${two(local.getDate())}`;
  const time = [local.getHours(), local.getMinutes(), local.getSeconds()].map(two).join(':');
  return `${date} ${time}.${String(local.getMilliseconds()).padStart(3, '0')}`;
}

// How long ago something was, in the largest unit that fits.
export function ago(text) {
  const at = micros(text);
  if (at === null) return '';
  const seconds = Math.round((Date.now() - at / 1000) / 1000);
  for (const [unit, length] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit} ago`;
  }
  return seconds < 2 ? 'just now' : `${seconds} s ago`;
}

// The members of a JSON object as [name, JSON text]; reading the values would cost them digits.
export function members(json) {
  const found = [];
  let at = json.indexOf('{') + 1;
  for (;;) {
    at = afterBlank(json, at);
    if (json[at] === ',') at = afterBlank(json, at + 1);
    if (json[at] !== '"') return found;
    const nameEnd = afterString(json, at);
    const name = JSON.parse(json.slice(at, nameEnd));
    const start = afterBlank(json, json.indexOf(':', nameEnd) + 1);
    at = afterValue(json, start);
    found.push([name, json.slice(start, at).trimEnd()]);
  }
}

// JSON text with line breaks and indentation, and with characters instead of their numbers (`\u00e9`). Digits stay.
export function indented(json) {
  const parts = [];
  let depth = 0;
  const line = () => `\n${'  '.repeat(Math.min(depth, 40))}`;
  for (let at = 0; at < json.length; ) {
    const char = json[at];
    if (char === '"') {
      const end = afterString(json, at);
      parts.push(legible(json.slice(at, end)));
      at = end;
      continue;
    }
    at += 1;
    if (char === '{' || char === '[') {
      const next = afterBlank(json, at);
      if (json[next] === '}' || json[next] === ']') {
        parts.push(char, json[next]);
        at = next + 1;
      } else {
        depth += 1;
        parts.push(char, line());
      }
    } else if (char === '}' || char === ']') {
      depth -= 1;
      parts.push(line(), char);
    } else if (char === ',') parts.push(char, line());
    else if (char === ':') parts.push(': ');
    else if (!isBlank(char)) parts.push(char);
  }
  return parts.join('');
}

function legible(string) {
  return string.includes('\\u') ? JSON.stringify(JSON.parse(string)) : string;
}

function isBlank(char) {
  return char === ' ' || char === '\n' || char === '\t' || char === '\r';
}

function afterBlank(json, at) {
  while (isBlank(json[at])) at += 1;
  return at;
}

// What follows the string that begins at `at`.
function afterString(json, at) {
  for (let end = at + 1; ; end += 1) {
    end = json.indexOf('"', end);
    if (end < 0) return json.length;
    let slashes = 0;
    while (json[end - 1 - slashes] === '\\') slashes += 1;
    if (slashes % 2 === 0) return end + 1;
  }
}

// What follows the value that begins at `at`, inside an object.
function afterValue(json, at) {
  let depth = 0;
  while (at < json.length) {
    const char = json[at];
    if (char === '"') {
      at = afterString(json, at);
      continue;
    }
    if (char === '{' || char === '[') depth += 1;
    else if (char === '}' || char === ']') {
      if (depth === 0) return at;
      depth -= 1;
    } else if (char === ',' && depth === 0) return at;
    at += 1;
  }
  return at;
}

// The items of a JSON array as JSON texts.
export function items(json) {
  const found = [];
  let at = json.indexOf('[') + 1;
  for (;;) {
    at = afterBlank(json, at);
    if (json[at] === ',') at = afterBlank(json, at + 1);
    if (at >= json.length || json[at] === ']') return found;
    const start = at;
    at = afterValue(json, start);
    if (at === start) return found;
    found.push(json.slice(start, at).trimEnd());
  }
}

// Microseconds since 1970 as a time that the other functions take.
export function timestamp(micros) {
  return micros === null || micros === undefined ? undefined : new Date(micros / 1000).toISOString();
}

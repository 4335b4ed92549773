// A retrace-local of its own, and requests to it.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

// Starts a receiver on a free port; {url, send, stop}.
export async function start(program, ...settings) {
  const child = spawn(program, ['serve', '--addr', '127.0.0.1:0', '--grpc-addr', '127.0.0.1:0', ...settings], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      const [, found] = /Retrace, local: (\S+)/.exec(line) ?? [];
      if (found) resolve(found);
    });
    child.on('exit', (code) => reject(new Error(`the receiver ended with ${code}`)));
  });
  const send = async (method, path, body) => {
    const response = await fetch(`${url}${path}`, { method, body: body === undefined ? undefined : JSON.stringify(body), headers: { 'content-type': 'application/json' } });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response;
  };
  const stop = () => new Promise((resolve) => {
    child.removeAllListeners('exit');
    child.on('exit', resolve);
    child.kill('SIGTERM');
  });
  return { url, send, stop };
}

// The example whose runs can be forked, connected to a receiver.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

// Starts the example and waits until it serves; {stop}. The receiver has one run of it then.
export async function start(program, receiver) {
  const environment = { ...process.env, RETRACE_BASE_URL: receiver.url, RETRACE_API_KEY: 'rt_browser' };
  const child = spawn(program, [], { stdio: ['ignore', 'pipe', 'inherit'], env: environment });
  const lines = createInterface({ input: child.stdout });
  await new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      if (line.includes('can be forked')) resolve();
    });
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`the agent ended with ${code}`)));
  });
  const stop = () => new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.removeAllListeners('exit');
    child.on('exit', resolve);
    return child.kill('SIGTERM');
  });
  return { stop };
}

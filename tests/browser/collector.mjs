/** The real binaries as processes, on a copy of the finished demo: what they show is known, and stays as it was. */

import { spawn } from 'node:child_process';
import { cp, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const BINARIES = process.env.DRIFTLINE_BINARIES ?? path.join(ROOT, 'target', 'ci');
export const DEMO = process.env.DRIFTLINE_DEMO ?? path.join(ROOT, 'driftline-demo');
const PATIENCE_MILLISECONDS = 60_000;
// Below the ports that the kernel gives to whoever calls out. Every process begins elsewhere, and gives no port twice.
const [FIRST_PORT, PORTS] = [10_000, 22_000];
let asked = process.pid * 101;

/** @typedef {{url: string, api: (path: string) => Promise<any>, stop: () => Promise<void>}} Collector */

export async function freePort() {
  for (let looks = 0; looks < PORTS; looks += 1) {
    const port = FIRST_PORT + asked % PORTS;
    asked += 1;
    const server = createServer();
    const isFree = await new Promise((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (isFree) {
      await new Promise((resolve) => { server.close(resolve); });
      return port;
    }
  }
  throw new Error('no port is free');
}

/**
 * Looks until it sees something, and fails otherwise.
 * @template T
 * @param {() => Promise<T>} look
 * @param {string} what
 * @returns {Promise<T>}
 */
export async function eventually(look, what) {
  const deadline = Date.now() + PATIENCE_MILLISECONDS;
  /** @type {unknown} */
  let last;
  while (Date.now() < deadline) {
    try {
      const seen = await look();
      if (seen) return seen;
      last = seen;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  throw new Error(`${what}: still ${last} after ${PATIENCE_MILLISECONDS / 1000} s`);
}

/**
 * Starts a binary, and gives what stops it.
 * @param {string} name
 * @param {string[]} options
 * @param {string} log
 */
async function start(name, options, log) {
  const output = await open(log, 'a');
  // Nothing routes to a test's sidecar that would have to learn that it leaves.
  const env = { DRIFTLINE_DRAIN_DELAY: '0s', ...process.env };
  const child = spawn(path.join(BINARIES, name), options, { stdio: ['ignore', output.fd, output.fd], env });
  const ended = new Promise((resolve) => { child.once('close', resolve); child.once('error', resolve); });
  await output.close();
  return {
    isRunning: () => child.exitCode === null && child.pid !== undefined,
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/**
 * A collector that runs by the configuration in a folder, once it is ready.
 * @param {string} folder
 * @param {number} port where the configuration lets it listen
 * @returns {Promise<Collector>}
 */
export async function collectorIn(folder, port) {
  const url = `http://127.0.0.1:${port}`;
  const log = path.join(folder, 'browser-tests.log');
  const { isRunning, stop } = await start('driftline', ['serve', '--config', path.join(folder, 'driftline.yaml')], log);
  try {
    await eventually(async () => {
      if (!isRunning()) throw new Error(await readFile(log, 'utf8'));
      return (await fetch(`${url}/readyz`)).ok;
    }, 'the collector is ready');
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url, stop,
    api: async (question) => {
      const answer = await fetch(`${url}/api/v1${question}`);
      if (!answer.ok) throw new Error(`${question}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    },
  };
}

/**
 * A collector on a copy of the demo's folder.
 * @param {string} [more] lines for its configuration
 * @returns {Promise<Collector>}
 */
export async function demoCollector(more = '') {
  await readFile(path.join(DEMO, 'summary.json')).catch(() => {
    throw new Error(`${DEMO} holds no finished demo; tests/run makes one`);
  });
  const folder = await mkdtemp(path.join(tmpdir(), 'driftline-browser-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  await cp(DEMO, folder, { recursive: true });
  const port = await freePort();
  const config = path.join(folder, 'driftline.yaml');
  const kept = (await readFile(config, 'utf8')).split('\n').filter((line) => !/^(listen|public_url):/.test(line)).join('\n');
  await writeFile(config, `listen: 127.0.0.1:${port}\npublic_url: http://127.0.0.1:${port}\n${kept}${more}`);
  try {
    const collector = await collectorIn(folder, port);
    return { ...collector, stop: () => collector.stop().then(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
}

/**
 * A sidecar before a model's server.
 * @param {string} collector
 * @param {string} upstream host and port
 * @param {string} model
 */
export async function sidecar(collector, upstream, model) {
  const [port, admin] = [await freePort(), await freePort()];
  const folder = await mkdtemp(path.join(tmpdir(), 'driftline-browser-'));
  const started = await start('driftline-sidecar', [
    `--listen=127.0.0.1:${port}`, `--admin=127.0.0.1:${admin}`, `--upstream=${upstream}`, `--collector=${collector}`, `--model=${model}`,
  ], path.join(folder, 'sidecar.log'));
  await eventually(async () => (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok, 'the sidecar is ready');
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      await started.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

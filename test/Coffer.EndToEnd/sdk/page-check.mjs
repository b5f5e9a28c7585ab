// Opens pages in Chromium and says what axe finds there and what the browser refuses:
// node page-check.mjs CHROMIUM PROFILE '[{"url": …, "scheme": "light" or "dark", "width": pixels}, …]'
// It drives the browser by its DevTools protocol over a pipe: the policy of the page, which allows no script, does not
// keep axe out.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [chromium, profile, pages] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = spawn(chromium, ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', `--user-data-dir=${profile}`, '--remote-debugging-pipe'],
  { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
process.on('exit', () => browser.kill());

let number = 0;
const asked = new Map();
const awaited = new Map();
let text = '';
browser.stdio[4].setEncoding('utf8').on('data', (more) => {
  const messages = (text + more).split('\0');
  text = messages.pop();
  for (const message of messages.map(JSON.parse)) {
    const { resolve, reject } = asked.get(message.id) ?? {};
    if (message.error)
      reject(new Error(JSON.stringify(message.error)));
    else if (resolve)
      resolve(message.result);
    else
      awaited.get(message.method)?.();
  }
});

const ask = (method, params = {}, sessionId = undefined) => new Promise((resolve, reject) => {
  asked.set(++number, { resolve, reject });
  browser.stdio[3].write(JSON.stringify({ id: number, method, params, sessionId }) + '\0');
});

const { targetId } = await ask('Target.createTarget', { url: 'about:blank' });
const { sessionId } = await ask('Target.attachToTarget', { targetId, flatten: true });
const tell = (method, params) => ask(method, params, sessionId);
const run = async (expression) => {
  const { result, exceptionDetails } = await tell('Runtime.evaluate',
    { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails)
    throw new Error(JSON.stringify(exceptionDetails));
  return result.value;
};

await tell('Page.enable');
await tell('Page.addScriptToEvaluateOnNewDocument', { source: `globalThis.refused = [];
  document.addEventListener('securitypolicyviolation',
    (e) => refused.push(e.violatedDirective + ' ' + e.blockedURI));` });
const said = [];
for (const { url, scheme, width } of JSON.parse(pages)) {
  await tell('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
  await tell('Emulation.setDeviceMetricsOverride', { width, height: 800, deviceScaleFactor: 1, mobile: false });
  const loaded = new Promise((resolve) => awaited.set('Page.loadEventFired', resolve));
  await tell('Page.navigate', { url });
  await loaded;
  await run(axe);
  said.push(await run(`axe.run({ resultTypes: ['violations'] }).then((found) => ({
    violations: found.violations.map(
      (each) => each.id + ': ' + each.nodes.slice(0, 3).map((node) => node.html).join(' ')),
    passes: found.passes.length,
    refused,
    background: getComputedStyle(document.body).backgroundColor,
    isTooWide: document.documentElement.scrollWidth > innerWidth,
    heading: document.querySelector('h1').textContent,
  }))`));
}

process.stdout.write(JSON.stringify(said));
await ask('Browser.close').catch(() => {});

'use strict';
const { test, mock } = require('node:test');
const assert = require('node:assert/strict');
const { page, kinds } = require('./load.js');

const STATUS = {
  state: 'serving', since: 1_000_000, listening: ['0.0.0.0:10001'], isListening: true, error: null, fault: null, retry_in_ms: null,
  connections: 2, last_error: null,
};
const LIVE = {
  daemon: { ok: true, message: '', version: '0.1', boot_id: 'a' }, status: STATUS, counters: { clientRxBytes: 1024 }, lines: [],
};
const COUNTERS = kinds()[0].counters.map((one) => ({ ...one, main: one.name === 'clientRxBytes' || one.name === 'activeConnections' }));
const line = (seq, text, level = 'info') => ({ seq, at: 1_000_000, level, text });

/** A panel whose polls are answered by `answers` in turn (the last one again and again), by a clock that the test moves. */
async function panel(answers, options = {}) {
  const at = page(['dom', 'texts', 'format', 'live'], '<div id="here"></div><div id="summary"></div>');
  const told = { polls: [], restarts: 0, shown: true, now: 1_180_000, timers: [] };
  at.window.setTimeout = (run, ms) => told.timers.push({ run, ms });
  at.window.clearTimeout = () => told.timers.splice(0);
  const live = at.Domoflux.makeLive({
    container: at.here, summary: at.document.getElementById('summary'), counters: COUNTERS, texts: at.Domoflux.texts, enabled: true,
    poll(after) {
      told.polls.push(after);
      const answer = answers[Math.min(told.polls.length, answers.length) - 1];
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(structuredClone(answer));
    },
    restart() {
      told.restarts += 1;
      return Promise.resolve();
    },
    isShown: () => told.shown,
    clock: () => told.now,
    ...options,
  });
  const settle = () => new Promise((resolve) => { setImmediate(resolve); });
  await settle();
  const next = async () => {
    told.now += 3000;
    const timers = told.timers.splice(0);
    timers.forEach(({ run }) => run());
    await settle();
    return timers.length;
  };
  const text = (selector) => [...at.here.querySelectorAll(selector)].filter((node) => !node.closest('[hidden]'))
    .map((node) => node.textContent.trim()).join('|');
  return { ...at, live, told, next, text, settle };
}

test('it shows what the flow does', async () => {
  const { text, document } = await panel([LIVE]);
  assert.match(text('dd'), /En service depuis 3 min\|0\.0\.0\.0:10001\|2/);
  assert.match(document.getElementById('summary').textContent, /En service/);
  assert.equal(text('.alert'), '');
});

test('devices, units and clients of a flow are shown, where there are any', async () => {
  const details = {
    devices: [
      { device: '192.168.1.22:502', connected: 1, waiting: 0, retry_in_ms: null },
      { device: '<b>x</b>:502', connected: 0, waiting: 3, retry_in_ms: 4000 },
    ],
    units: { 1: { requests: 9, answers: 7, exceptions: 2, failures: 1 } },
    clients: ['10.0.0.1:5', '10.0.0.2:6'],
  };
  const { text, next, here } = await panel([{ ...LIVE, status: { ...STATUS, details } }, LIVE,
    { ...LIVE, status: { ...STATUS, details: { devices: 'none', units: null } } }]);
  const rows = [...here.querySelectorAll('.domoflux-details tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent));
  assert.deepEqual(rows, [
    ['192.168.1.22:502', '1', '0', ''], ['<b>x</b>:502', '0', '3', 'Nouvel essai dans 4 s'], ['1', '9', '7', '2', '1'],
  ]);
  assert.equal(text('.domoflux-details .domoflux-hint'), 'Clients : 10.0.0.1:5, 10.0.0.2:6');
  await next();
  assert.equal(here.querySelector('.domoflux-details').hidden, true, 'a kind without details has none');
  await next();
  assert.equal(here.querySelector('.domoflux-details').hidden, true, 'nor has what is not understood');
});

test('an error comes with what to do and when it is tried again', async () => {
  const error = '0.0.0.0:10001: address in use';
  const status = { ...STATUS, state: 'backoff', listening: [], error, fault: 'listen', retry_in_ms: 4000 };
  const { text } = await panel([{ ...LIVE, status }]);
  assert.match(text('dd'), /address in useVérifiez l'adresse.*Nouvel essai dans 4 s/);
  assert.match(text('.label-warning'), /Nouvel essai/);
});

test('main counters first, the rest folded, bytes and rates', async () => {
  const { here, next } = await panel([LIVE, { ...LIVE, counters: { clientRxBytes: 1024 + 3 * 2048, clientConnections: 1 } }]);
  const cells = (row) => [...row.cells].map((cell) => cell.textContent);
  const rows = () => [...here.querySelectorAll('table')].map((table) => [...table.rows].map(cells));
  assert.equal(rows()[0].length, 2);
  const bytes = () => rows()[0].find(([title]) => title === 'Octets reçus des clients');
  assert.deepEqual(bytes().slice(1), ['1 Kio', '']);
  await next();
  assert.deepEqual(bytes().slice(1), ['7 Kio', '2 Kio/s']);
  assert.ok(here.querySelector('details table').rows.length > 20);
});

test('a rate is not said after a reset of the counters', async () => {
  const { here, next } = await panel([LIVE, { ...LIVE, counters: { clientRxBytes: 0 } }]);
  await next();
  assert.doesNotMatch(here.textContent, /\/s/);
});

test('lines are added once, coloured by level, and are text', async () => {
  const evil = '<img src=x onerror=alert(1)>';
  const { here, next, told } = await panel([
    { ...LIVE, lines: [line(1, 'one'), line(4, evil, 'error')] }, { ...LIVE, lines: [line(4, 'again'), line(5, 'five', '"><b')] },
  ]);
  await next();
  assert.deepEqual(told.polls, [0, 4]);
  const lines = [...here.querySelectorAll('.domoflux-line')];
  assert.deepEqual(lines.map((node) => node.textContent.replace(/^\S+( [\d:]+)? /, '')), ['one', evil, 'five']);
  assert.ok(lines[1].classList.contains('domoflux-line-error'));
  assert.equal(here.querySelectorAll('img, b').length, 0);
});

test('another run of the daemon begins its log anew', async () => {
  const other = { ...LIVE, daemon: { ...LIVE.daemon, boot_id: 'b' }, lines: [line(1, 'new')] };
  const { here, next, told } = await panel([{ ...LIVE, lines: [line(9, 'old')] }, { ...other, lines: [] }, other]);
  await next();
  assert.equal(here.querySelectorAll('.domoflux-line').length, 0);
  await next();
  assert.deepEqual(told.polls, [0, 9, 0]);
  assert.match(here.querySelector('.domoflux-log').textContent, /new/);
});

test('a daemon that is away is said plainly, and forgotten when it is back', async () => {
  const away = { daemon: { ok: false, message: 'connection refused', version: '' }, status: null, counters: null, lines: [] };
  const { text, next } = await panel([away, LIVE]);
  assert.match(text('.alert'), /ne répond pas.*connection refused/);
  assert.match(text('.label'), /Inconnu/);
  await next();
  assert.equal(text('.alert'), '');
});

test('Jeedom that does not answer is said, and asked again', async () => {
  const { text, next, told } = await panel([new Error('502'), LIVE]);
  assert.match(text('.alert'), /502/);
  await next();
  assert.equal(told.polls.length, 2);
  assert.equal(text('.alert'), '');
});

test('a flow that the daemon does not know', async () => {
  const unknown = { ...LIVE, status: null, counters: null };
  assert.match((await panel([unknown])).text('.alert'), /sauvegardez/);
  assert.match((await panel([unknown], { enabled: false })).text('.alert'), /désactivé/);
  const blank = await panel([unknown], { configured: false });
  assert.match(blank.text('.alert'), /remplissez le formulaire/);
  assert.equal(blank.here.querySelector('.domoflux-facts').hidden, true);
});

test('nothing is asked while nobody looks', async () => {
  const { told, next, document } = await panel([LIVE]);
  told.shown = false;
  await next();
  assert.equal(told.polls.length, 1);
  told.shown = true;
  Object.defineProperty(document, 'hidden', { value: true, configurable: true });
  await next();
  assert.equal(told.polls.length, 1);
  Object.defineProperty(document, 'hidden', { value: false, configurable: true });
  await next();
  assert.equal(told.polls.length, 2);
});

test('no timer is left when the page is left, or the panel stopped', async () => {
  const left = await panel([LIVE]);
  left.here.remove();
  assert.equal(await left.next(), 1);
  assert.equal(await left.next(), 0);
  const stopped = await panel([LIVE]);
  stopped.live.stop();
  assert.equal(await stopped.next(), 0);
  assert.equal(stopped.told.polls.length, 1);
});

test('an answer that comes after the stop changes nothing', async () => {
  let answer;
  const poll = mock.fn(() => new Promise((resolve) => { answer = resolve; }));
  const { live, here, settle, told } = await panel([LIVE], { poll });
  live.stop();
  answer(LIVE);
  await settle();
  assert.doesNotMatch(here.textContent, /En service/);
  assert.equal(told.timers.length, 0);
});

test('the restart is asked for, and its effect looked at', async () => {
  const { here, told, settle } = await panel([LIVE]);
  here.querySelector('.domoflux-restart').click();
  await settle();
  assert.equal(told.restarts, 1);
  assert.equal(told.polls.length, 2);
  assert.equal(here.querySelector('.domoflux-restart').disabled, false);
});

test('numbers and times as a person reads them', () => {
  const { Domoflux } = page(['dom', 'texts', 'format']);
  const { texts } = Domoflux;
  const bytes = (value) => Domoflux.bytes(value, texts).replace(/\s/g, ' ');
  assert.deepEqual([0, 1023, 1536, 268435456, 5e15].map(bytes), ['0 o', '1 023 o', '1,5 Kio', '256 Mio', '4 547 Tio']);
  const times = [0, 999, 1536, 250000, 1.5e6, 9e8].map((us) => Domoflux.counter(us, 'microseconds', texts).replace(/\s/g, ' '));
  assert.deepEqual(times, ['0 µs', '999 µs', '1,5 ms', '250 ms', '1,5 s', '900 s']);
  assert.deepEqual([-5, 59e3, 3600e3, 49 * 3600e3].map((ms) => Domoflux.span(ms, texts)), ['0 s', '59 s', '1 h', '2 j']);
  assert.equal(Domoflux.rate(undefined, 5, 1000, 'none', texts), null);
  assert.equal(Domoflux.rate(5, 8, 2000, 'none', texts), '1,5/s');
});

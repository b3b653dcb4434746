'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { form, kinds, plain, type, control } = require('./load.js');
const { generator, valid, anything, damaged } = require('./random.js');

const mirror = kinds()[0].schema;
const RUNS = Number(process.env.RUNS || 60);

/** A made-up kind with the constructs that later kinds may have. */
const other = {
  type: 'object',
  $defs: { Unit: { type: 'object', properties: { id: { type: 'integer' } }, required: ['id'] } },
  required: ['broker', 'flag', 'inside'],
  properties: {
    broker: { type: 'string', title: 'Broker' },
    password: { type: 'string', 'x-secret': true, title: 'Password' },
    flag: { type: 'boolean', title: 'Flag' },
    maybe: { type: ['boolean', 'null'], title: 'Maybe' },
    qos: { enum: [0, 1, 2], default: 1, title: 'QoS' },
    mode: { anyOf: [{ oneOf: [{ const: 'a' }, { const: 'b' }] }, { type: 'null' }], title: 'Mode' },
    units: { type: 'array', items: { $ref: '#/$defs/Unit' }, title: 'Units' },
    registers: { type: 'array', items: { type: 'integer' }, title: 'Registers' },
    inside: { type: 'object', properties: { level: { type: 'number' } }, title: 'Inside' },
    wait: { type: ['integer', 'null'], default: 5, title: 'Wait' },
    labels: { type: 'object', additionalProperties: { type: 'string' }, title: 'Labels' },
    shape: { oneOf: [{ type: 'object', properties: { a: { type: 'string' } } }, { type: 'boolean' }], title: 'Shape' },
    free: { title: 'Free', type: 'string' },
  },
};

for (const [name, schema] of [...kinds().map((kind) => [kind.kind, kind.schema]), ['made up', other]]) {
  test(`${name}: what is set comes back`, () => {
    const at = form(schema);
    for (let seed = 1; seed <= RUNS; seed += 1) {
      const spec = valid(schema, generator(seed));
      at.form.set(spec);
      assert.deepEqual(plain(at.form.value()), spec, `seed ${seed}`);
    }
  });

  test(`${name}: what is no valid spec comes back all the same`, () => {
    const at = form(schema);
    for (let seed = 1; seed <= RUNS; seed += 1) {
      const random = generator(seed);
      const spec = damaged(valid(schema, random), random);
      at.form.set(spec);
      assert.deepEqual(JSON.stringify(sorted(plain(at.form.value()))), JSON.stringify(sorted(spec)), `seed ${seed}`);
    }
  });

  test(`${name}: an edit changes that field and nothing else`, () => {
    for (let seed = 1; seed <= RUNS / 5; seed += 1) {
      const random = generator(seed);
      const spec = valid(schema, random);
      const at = form(schema);
      at.form.set(spec);
      const [key] = Object.entries(schema.properties).find(([, one]) => one.type === 'string');
      type(control(at.here, schema.properties[key].title), 'edited:1');
      assert.deepEqual(plain(at.form.value()), { ...spec, [key]: 'edited:1' }, `seed ${seed}`);
    }
  });
}

function sorted(value) {
  if (Array.isArray(value)) {
    return value.map(sorted);
  }
  return value !== null && typeof value === 'object'
    ? Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, one]) => [key, sorted(one)]) : value;
}

test('no field of any kind is shown as JSON', () => {
  const { Domoflux } = form(mirror);
  const names = (plan, at) => [plan.widget === 'json' ? at : null,
    ...(plan.properties || []).flatMap(({ key, plan: one }) => names(one, `${at}/${key}`)),
    ...(plan.item ? names(plan.item, `${at}/0`) : [])].filter((name) => name !== null);
  for (const language of ['en', 'fr']) {
    for (const { kind, schema } of kinds(language)) {
      assert.deepEqual(names(Domoflux.plan(schema, schema), kind), []);
    }
  }
});

test('any JSON at all comes back', () => {
  const at = form(mirror);
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const value = anything(generator(seed), 4);
    at.form.set(value);
    assert.equal(JSON.stringify(sorted(plain(at.form.value()))), JSON.stringify(sorted(value)), `seed ${seed}`);
  }
});

test('rows that are no objects come back', () => {
  const at = form(mirror);
  for (const mirrors of [[null], [true, null], [false, 0, '', [], {}]]) {
    at.form.set({ mirrors });
    assert.deepEqual(plain(at.form.value()), { mirrors });
  }
});

test('an empty form is an empty spec, and has a row to fill in', () => {
  const at = form(mirror);
  assert.deepEqual(plain(at.form.value()), {});
  assert.equal(at.here.querySelectorAll('.domoflux-row-panel').length, 1);
});

test('what is typed is what a person would write in TOML', () => {
  const at = form(mirror);
  type(control(at.here, "Adresse d'écoute"), ' 0.0.0.0:10001 ');
  type(control(at.here, 'Destination'), 'a.example:1\n\n b.example:2 ');
  type(control(at.here.querySelector('.domoflux-row-panel'), 'Adresse'), '127.0.0.1:10002');
  type(control(at.here, 'Délai de connexion'), '2.5');
  type(control(at.here, "Délai d'inactivité"), '5m');
  type(control(at.here, 'Connexions maximum'), '100');
  type(control(at.here, 'Clients autorisés'), '192.168.1.0/24');
  const protocol = control(at.here, 'Protocole');
  type(protocol, [...protocol.options].find((option) => option.textContent === 'UDP').value);
  assert.deepEqual(plain(at.form.value()), {
    listen: '0.0.0.0:10001', protocol: 'udp', target: ['a.example:1', 'b.example:2'], mirrors: [{ address: '127.0.0.1:10002' }],
    connect_timeout: 2.5, idle_timeout: '5m', max_connections: 100, allow: ['192.168.1.0/24'],
  });
  type(control(at.here, 'Destination'), 'a.example:1');
  type(control(at.here, 'Délai de connexion'), '');
  type(control(at.here, 'Connexions maximum'), 'beaucoup');
  const value = plain(at.form.value());
  assert.equal(value.target, 'a.example:1');
  assert.equal('connect_timeout' in value, false);
  assert.equal(value.max_connections, 'beaucoup', 'the daemon says what is wrong with it');
});

test('a checkbox at its default is absent, unless the spec said so', () => {
  const at = form(mirror);
  const toggle = (label) => control(at.here, label).click();
  toggle('Trafic de la destination vers le miroir');
  assert.deepEqual(plain(at.form.value()), { mirrors: [{ from_target: true }] });
  toggle('Trafic de la destination vers le miroir');
  assert.deepEqual(plain(at.form.value()), {});
  at.form.set({ mirrors: [{ from_client: true }] });
  toggle('Trafic du client vers le miroir');
  assert.deepEqual(plain(at.form.value()), { mirrors: [{ from_client: false }] });
});

test('a nullable object is a checkbox that unfolds', () => {
  const at = form(mirror);
  at.form.set({ mirrors: [{ address: 'a:1' }] });
  const checkbox = control(at.here, "File d'attente sur disque");
  assert.equal(checkbox.type, 'checkbox');
  const members = checkbox.closest('.domoflux-place').querySelector('.domoflux-members');
  assert.equal(members.hidden, true);
  checkbox.click();
  assert.equal(members.hidden, false);
  assert.deepEqual(plain(at.form.value()), { mirrors: [{ address: 'a:1', spool: {} }] });
  type(control(members, 'Octets maximum'), '64 MiB');
  assert.deepEqual(plain(at.form.value()).mirrors[0].spool, { max_bytes: '64 MiB' });
  checkbox.click();
  assert.deepEqual(plain(at.form.value()), { mirrors: [{ address: 'a:1' }] });
});

test('rows are added, moved and removed', () => {
  let changes = 0;
  const at = form(mirror, { onChange: () => { changes += 1; } });
  at.form.set({ mirrors: [{ address: 'a:1', buffer: 1024 }, { address: 'b:2' }, { address: 'c:3', spool: null }] });
  assert.equal(changes, 0, 'setting is no edit');
  const button = (row, name) => at.here.querySelectorAll('.domoflux-row-panel')[row].querySelector(`[aria-label="${name}"]`);
  button(0, 'Descendre').click();
  button(2, 'Monter').click();
  const addresses = () => plain(at.form.value()).mirrors.map((one) => one.address);
  assert.deepEqual(addresses(), ['b:2', 'c:3', 'a:1']);
  assert.deepEqual(plain(at.form.value()).mirrors[1], { address: 'c:3', spool: null });
  assert.equal(plain(at.form.value()).mirrors[2].buffer, 1024);
  const titles = [...at.here.querySelectorAll('.domoflux-row-title')].map((node) => node.textContent);
  assert.deepEqual(titles, ['Miroir 1', 'Miroir 2', 'Miroir 3']);
  button(1, 'Supprimer').click();
  at.here.querySelector('.domoflux-add').click();
  assert.deepEqual(plain(at.form.value()).mirrors, [{ address: 'b:2' }, { address: 'a:1', buffer: 1024 }, {}]);
  assert.ok(changes >= 4);
  assert.equal(button(0, 'Monter').disabled, true);
});

test('no more rows than there may be', () => {
  const at = form(mirror);
  at.form.set({ mirrors: Array.from({ length: 16 }, (_, index) => ({ address: `a:${index}` })) });
  assert.equal(at.here.querySelector('.domoflux-add').disabled, true);
});

test('fields that the schema does not know are shown and kept', () => {
  const at = form(mirror);
  at.form.set({ listen: 'a:1', future: { x: [1] } });
  const textarea = control(at.here, 'Autres paramètres');
  assert.deepEqual(JSON.parse(textarea.value), { future: { x: [1] } });
  type(control(at.here, "Adresse d'écoute"), 'b:1');
  assert.deepEqual(plain(at.form.value()), { listen: 'b:1', future: { x: [1] } });
});

test('JSON that is none is said at its field', () => {
  const at = form(other);
  type(control(at.here, 'Labels'), '{"a": ');
  assert.equal(at.form.ownProblems().length, 1);
  assert.equal(at.form.showProblems([]), 1);
  assert.match(at.here.querySelector('.domoflux-problem').textContent, /JSON/);
  type(control(at.here, 'Labels'), '{"a": "b"}');
  assert.equal(at.form.showProblems([]), 0);
  assert.deepEqual(plain(at.form.value()), { labels: { a: 'b' } });
});

test('a secret is a password field, kept as typed', () => {
  const at = form(other);
  const field = control(at.here, 'Password');
  assert.equal(field.type, 'password');
  type(field, ' s ');
  assert.equal(at.form.value().password, ' s ');
});

test('text in a schema is never HTML', () => {
  const evil = '<img src=x onerror=alert(1)>';
  const at = form({
    type: 'object', title: evil, properties: {
      [evil]: { type: 'string', title: evil, description: evil, default: evil },
      list: { type: 'array', title: evil, items: { type: 'object', title: evil, properties: { a: { type: 'string' } } } },
      one: { title: evil, oneOf: [{ const: evil, description: evil }] },
    },
  });
  at.form.set({ [evil]: evil, list: [{ a: evil, b: evil }], one: evil, [`${evil}2`]: evil });
  at.form.showProblems([{ pointer: '', message: evil }, { pointer: `/${evil}`, message: evil }, { pointer: '/list/0/b', message: evil }]);
  at.form.showFindings([{ pointer: '/one', ok: true, text: evil, ms: 3 }]);
  assert.equal(at.here.querySelectorAll('img').length, 0);
  for (const tip of at.here.querySelectorAll('[title]')) {
    assert.doesNotMatch(tip.getAttribute('title'), /</, "the core's tooltips take HTML");
  }
});

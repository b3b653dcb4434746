'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { page, form, kinds, type, control } = require('./load.js');

const mirror = kinds()[0].schema;
const SPEC = { listen: 'a:1', target: ['x:1', 'y:2'], mirrors: [{ address: 'b:1' }, { address: 'c:1', spool: { max_age: 1 } }] };

function shown(problems, spec = SPEC) {
  const at = form(mirror);
  at.form.set(spec);
  const count = at.form.showProblems(problems);
  return { ...at, count };
}

test('a problem stands at its field, and the field says so', () => {
  const { here, count, document } = shown([{ pointer: '/mirrors/1/address', message: 'no port' }]);
  assert.equal(count, 1);
  const rows = here.querySelectorAll('.domoflux-row-panel');
  const field = control(rows[1], 'Adresse');
  assert.equal(field.getAttribute('aria-invalid'), 'true');
  assert.equal(control(rows[0], 'Adresse').getAttribute('aria-invalid'), null);
  const described = field.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id).textContent);
  assert.ok(described.some((text) => text.includes('no port')), described.join('|'));
  assert.equal(document.activeElement, field);
});

test('what is folded is unfolded', () => {
  const { here } = shown([{ pointer: '/mirrors/1/spool/max_age', message: 'too short' }]);
  const folds = [...here.querySelectorAll('.domoflux-row-panel')].map((row) => row.querySelector('details').open);
  assert.deepEqual(folds, [false, true]);
});

test('a pointer that leads further than the fields goes to the nearest one', () => {
  const { here } = shown([
    { pointer: '/target/1', message: 'twice' },
    { pointer: '/listen/deep/er', message: 'odd' },
    { pointer: '/mirrors/7/address', message: 'gone' },
  ]);
  const at = (label) => control(here, label).closest('.domoflux-slot').querySelector('.domoflux-problem').textContent.trim();
  assert.equal(at('Destination'), 'ligne 2 : twice');
  assert.equal(at("Adresse d'écoute"), 'deep/er : odd');
  const rows = here.querySelector('.domoflux-rows').closest('.domoflux-slot');
  assert.match(rows.textContent, /7\/address : gone/);
});

test('the whole, and what no field is for, stands at the top', () => {
  const { here } = shown([{ pointer: '', message: 'port in use' }, { pointer: '/nothing', message: 'unknown' }]);
  assert.deepEqual([...here.querySelectorAll('.domoflux-top .alert')].map((node) => node.textContent.trim()),
    ['port in use', 'nothing : unknown']);
});

test('~0 and ~1 in pointers are read', () => {
  const at = form({ type: 'object', properties: { 'a/b~c': { type: 'string', title: 'Odd' } } });
  at.form.showProblems([{ pointer: '/a~1b~0c', message: 'here' }]);
  assert.equal(control(at.here, 'Odd').getAttribute('aria-invalid'), 'true');
});

test('a problem with an unknown field is shown where the unknown fields are', () => {
  const { here } = shown([{ pointer: '/future', message: 'unknown field' }], { ...SPEC, future: 1 });
  const others = control(here, 'Autres paramètres');
  assert.match(others.closest('.domoflux-slot').textContent, /future : unknown field/);
});

test('an edit takes the problem of that field away, and no other', () => {
  const { here } = shown([{ pointer: '/listen', message: 'one' }, { pointer: '/target', message: 'two' }]);
  type(control(here, "Adresse d'écoute"), 'b:1');
  assert.deepEqual([...here.querySelectorAll('.domoflux-problem')].map((node) => node.textContent.trim()), ['two']);
});

test('leaving a field that was edited before does not take a new problem away', () => {
  const { here, window } = shown([{ pointer: '/target', message: 'two' }]);
  control(here, 'Destination').dispatchEvent(new window.Event('change', { bubbles: true }));
  assert.equal(here.querySelectorAll('.domoflux-problem').length, 1);
});

test('the first problem in the order of the page has the focus', () => {
  const { here, document } = shown([{ pointer: '/mirrors/0/address', message: 'later' }, { pointer: '/listen', message: 'first' }]);
  assert.equal(document.activeElement, control(here, "Adresse d'écoute"));
});

test('new problems replace the old, findings stay', () => {
  const { here, form: shownForm } = shown([{ pointer: '/listen', message: 'one' }]);
  shownForm.showFindings([
    { pointer: '/target/0', ok: true, text: 'connected', ms: 12 },
    { pointer: '/target/1', ok: false, text: 'refused', ms: null },
    { pointer: '/mirrors/0/address', ok: null, text: 'UDP', ms: 0 },
  ]);
  shownForm.showProblems([]);
  assert.equal(here.querySelectorAll('.domoflux-problem').length, 0);
  const findings = [...here.querySelectorAll('.domoflux-finding')];
  assert.deepEqual(findings.map((node) => [node.className.split('-').pop(), node.textContent.trim()]), [
    ['true', 'ligne 1 : connected (12 ms)'], ['false', 'ligne 2 : refused'], ['null', 'UDP (< 1 ms)'],
  ]);
});

test('a name and what is said about it, with each language\'s colon', () => {
  const { Domoflux } = page();
  assert.equal(Domoflux.named('$&', 'refused', { named: '%s :' }), '$& : refused');
  assert.equal(Domoflux.named('Target', 'refused', { named: '%s:' }), 'Target: refused');
});

test('every control has a name', () => {
  const { here, document } = shown([]);
  for (const node of here.querySelectorAll('input, select, textarea, button')) {
    const named = node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.textContent.trim()
      || (node.id && document.querySelector(`label[for="${node.id}"]`));
    assert.ok(named, node.outerHTML);
  }
});

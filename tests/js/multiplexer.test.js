'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { form, kinds, plain, type, control } = require('./load.js');

const multiplexer = kinds().find(({ kind }) => kind === 'multiplexer').schema;

/** Chooses the option whose text begins with this. */
function choose(select, text) {
  const option = [...select.options].find((one) => one.textContent.startsWith(text));
  assert.ok(option, `no option ${text} among ${[...select.options].map((one) => one.textContent).join(', ')}`);
  type(select, option.value);
}

/** Adds a row to the list of this title, and types into it. */
function addRow(at, title, fields) {
  const heading = [...at.here.querySelectorAll('.domoflux-heading')].find((one) => one.textContent.trim().startsWith(title));
  const adds = heading.parentElement.querySelectorAll('.domoflux-add');
  adds[adds.length - 1].click();
  const rows = heading.parentElement.querySelectorAll('.domoflux-row-panel');
  Object.entries(fields).forEach(([label, text]) => type(control(rows[rows.length - 1], label), text));
}

// tests/jeedom asks a daemon about the same file.
test('a multiplexer that is filled in is the spec that somebody would write', () => {
  const at = form(multiplexer);
  at.here.querySelectorAll('details').forEach((details) => { details.open = true; });
  const fill = (label, text) => type(control(at.here, label), text);
  fill("Adresse d'écoute", '0.0.0.0:5020');
  const protocols = [...control(at.here, 'Protocole').options].map((option) => option.textContent.split(' ')[0]);
  assert.deepEqual(protocols, ['echo', 'http', 'iso8583', 'mpu', 'modbus', 'modbus-tcp-crc', 'modbus-rtu-tcp', 'modbus-rtu']);
  choose(control(at.here, 'Protocole'), 'modbus –');
  fill('Appareil', '192.168.1.22:502\n192.168.1.23:502');
  fill('Délai de réponse', '5');
  fill('Pause après la connexion', '1500ms');
  fill("Connexions à l'appareil", '2');
  fill('Requêtes simultanées', '4');
  control(at.here, 'Lecture de surveillance').click();
  const probe = control(at.here, 'Lecture de surveillance').closest('.domoflux-place');
  type(control(probe, 'Unité'), '3');
  type(control(probe, 'Adresse'), '40000');
  choose(control(at.here, 'Quand la file est pleine'), 'Le client est averti');
  fill('Fermeture si inactif', '10m');
  fill('Clients autorisés', '192.168.1.0/24');
  control(at.here, 'Partager les lectures identiques').click();
  addRow(at, 'Cache', { Durée: '2', Unités: '1', Adresses: '0-99,200' });
  addRow(at, 'Cache', { Durée: '500ms' });
  choose(control(at.here, 'Lecture seule'), 'Les écritures sont refusées');
  addRow(at, 'Écritures autorisées', { Fonctions: '6,16', Adresses: '40100-40120' });
  addRow(at, "Numéros d'unité", { 'Numéro pour les clients': '1', "Numéro pour l'appareil": '247' });
  addRow(at, 'Autres appareils', { Unités: '2-4', Appareil: '192.168.1.24:502' });
  assert.deepEqual(plain(at.form.value()), require('./multiplexer.json'));
  assert.equal(at.here.querySelectorAll('.domoflux-json:not([hidden] *)').length, 0, 'nothing is JSON');
});

test('what a multiplexer need not have is added and taken away', () => {
  const at = form(multiplexer);
  at.form.set({ listen: 'a:1', protocol: 'modbus-rtu', serial: { device: '/dev/ttyUSB0', baud_rate: 19200, parity: 'even' } });
  const line = control(at.here, 'Ligne série');
  assert.equal(line.checked, true);
  const members = line.closest('.domoflux-place').querySelector('.domoflux-members');
  choose(control(members, 'Parité'), 'Aucune');
  type(control(members, "Bits d'arrêt"), '2');
  assert.deepEqual(plain(at.form.value()).serial, { device: '/dev/ttyUSB0', baud_rate: 19200, parity: 'none', stop_bits: 2 });
  line.click();
  assert.equal(members.hidden, true);
  assert.equal('serial' in plain(at.form.value()), false);
  line.click();
  assert.equal(plain(at.form.value()).serial.device, '/dev/ttyUSB0', 'what was typed is still there');
  control(at.here, 'Cache').click();
  assert.deepEqual(plain(at.form.value()).cache, [{}], 'the daemon says what is missing in it');
  assert.equal(at.form.showProblems([{ pointer: '/cache/0/ttl', message: 'manque' }, { pointer: '/routes', message: 'trop' }]), 2);
  at.here.querySelector('.domoflux-row-panel [aria-label="Supprimer"]').click();
  assert.equal('cache' in plain(at.form.value()), false);
});

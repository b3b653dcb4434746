'use strict';
/* A page with the plugin's scripts in it, as the core serves them in French: `{{text}}` is text. */
const fs = require('node:fs');
const path = require('node:path');
const { JSDOM } = require('jsdom');

const PLUGIN = path.join(__dirname, '..', '..', 'plugin-jeedom');
const FORM = ['dom', 'texts', 'format', 'schema', 'fields', 'slot', 'groups', 'form'];

function source(name) {
  const file = path.join(PLUGIN, 'desktop', 'js', name ? `domoflux.${name}.js` : 'domoflux.js');
  return fs.readFileSync(file, 'utf8').replace(/\{\{(.*?)\}\}/gs, '$1');
}

/** A window with these scripts run, and `#here` to put things into. */
function page(scripts = FORM, html = '<div id="here"></div>') {
  const dom = new JSDOM(`<!DOCTYPE html><body>${html}</body>`, {
    runScripts: 'outside-only', pretendToBeVisual: true, url: 'http://jeedom.test/',
  });
  scripts.forEach((name) => dom.window.eval(source(name)));
  const { window } = dom;
  return { window, document: window.document, Domoflux: window.Domoflux, here: window.document.getElementById('here') };
}

/** The kinds as `domoflux schema kinds` writes them. */
function kinds(language = 'fr') {
  const file = path.join(PLUGIN, '..', 'resources', 'kinds.json');
  return JSON.parse(fs.readFileSync(file, 'utf8'))[language];
}

/** A form of `schema` on a page of its own. */
function form(schema, options = {}) {
  const at = page();
  const made = at.Domoflux.makeForm({ container: at.here, schema, texts: at.Domoflux.texts, ...options });
  return { ...at, form: made };
}

/** Types a text into a control, as a person does: `input`, then `change`. */
function type(field, text) {
  const { Event } = field.ownerDocument.defaultView;
  field.value = text;
  field.dispatchEvent(new Event('input', { bubbles: true }));
  field.dispatchEvent(new Event('change', { bubbles: true }));
}

/** What JSON makes of a value: values of a jsdom window have other prototypes than ours. */
const plain = (value) => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));

/** The control whose label begins with a text, within a node. */
function control(within, label) {
  const found = [...within.querySelectorAll('label[for], .domoflux-heading')]
    .find((node) => node.textContent.trim().startsWith(label) && !node.closest('[hidden]'));
  if (!found) {
    throw new Error(`no field is called ${label}`);
  }
  const id = found.getAttribute('for');
  return id ? within.ownerDocument.getElementById(id)
    : found.parentElement.querySelector('.domoflux-checkbox input, textarea, button.domoflux-add');
}

module.exports = { PLUGIN, FORM, source, page, kinds, form, type, plain, control };

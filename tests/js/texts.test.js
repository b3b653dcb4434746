'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { PLUGIN } = require('./load.js');
const { all, translations } = require('./texts.js');

const texts = all();
const english = translations('en_US');

test('every text has its English, and there is none without a text', () => {
  const missing = [];
  const left = [];
  for (const [file, found] of Object.entries(texts)) {
    missing.push(...found.filter((text) => !(english[file] || {})[text]).map((text) => `${file}: ${text}`));
  }
  for (const [file, known] of Object.entries(english)) {
    left.push(...Object.keys(known).filter((text) => !(texts[file] || []).includes(text)).map((text) => `${file}: ${text}`));
  }
  assert.deepEqual({ missing, left }, { missing: [], left: [] });
});

test('one text has one English', () => {
  const seen = new Map();
  for (const known of Object.values(english)) {
    for (const [text, translated] of Object.entries(known)) {
      assert.equal(seen.get(text) || translated, translated, text);
      seen.set(text, translated);
    }
  }
});

test('what stands for data is in both', () => {
  const holes = (text) => (text.match(/%(\d\$)?[sd]/g) || []).sort();
  for (const known of Object.values(english)) {
    for (const [text, translated] of Object.entries(known)) {
      assert.deepEqual(holes(translated), holes(text), text);
    }
  }
});

test('no English breaks the string or the attribute that it is put into', () => {
  for (const [file, known] of Object.entries(english)) {
    for (const translated of Object.values(known)) {
      // The core puts a backslash before ' in scripts; in a page it is in an attribute between ".
      assert.ok(!/["\\]|\n/.test(translated) || file.endsWith('.php'), `${file}: ${translated}`);
    }
  }
});

test('no script has braces that the core would take for a text', () => {
  const folder = path.join(PLUGIN, 'desktop', 'js');
  for (const name of fs.readdirSync(folder)) {
    for (const [, text] of fs.readFileSync(path.join(folder, name), 'utf8').matchAll(/\{\{(.*?)\}\}/gs)) {
      assert.ok(text.length < 200 && !text.includes('\n'), `${name}: ${text}`);
    }
  }
});

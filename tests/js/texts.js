'use strict';
/* The texts of the plugin that the core translates, by the file they are in, as the core looks them up. */
const fs = require('node:fs');
const path = require('node:path');
const { PLUGIN } = require('./load.js');

const PLACES = ['core', 'desktop', 'plugin_info'];

function files(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const at = path.join(folder, entry.name);
    return entry.isDirectory() ? files(at) : [at];
  });
}

/** `{{text}}` anywhere, and `__('text', __FILE__)` in PHP. */
function inFile(text, isPhp) {
  const found = [...text.matchAll(/\{\{(.*?)\}\}/gs)].map((match) => match[1]);
  if (isPhp) {
    for (const match of text.matchAll(/\b__\(\s*'((?:[^'\\]|\\.)*)'\s*,/gs)) {
      found.push(match[1].replace(/\\'/g, "'"));
    }
  }
  return [...new Set(found.filter((one) => one.trim() !== ''))];
}

/** `plugins/domoflux/<path>` => its texts. */
function all() {
  const result = {};
  for (const place of PLACES.map((name) => path.join(PLUGIN, name)).filter((name) => fs.existsSync(name))) {
    for (const file of files(place).filter((name) => /\.(php|js|html)$/.test(name)).sort()) {
      const texts = inFile(fs.readFileSync(file, 'utf8'), file.endsWith('.php'));
      if (texts.length > 0) {
        result['plugins/domoflux/' + path.relative(PLUGIN, file).split(path.sep).join('/')] = texts;
      }
    }
  }
  return result;
}

function translations(language) {
  return JSON.parse(fs.readFileSync(path.join(PLUGIN, 'core', 'i18n', `${language}.json`), 'utf8'));
}

module.exports = { all, translations };

'use strict';

const browser = ['window', 'document', 'Event', 'Node', 'Intl', 'fetch', 'FormData', 'URLSearchParams', 'setTimeout',
  'clearTimeout', 'MutationObserver'];
// What the core gives to a page.
const jeedom = ['jeedom', 'jeedomUtils', 'jeeDialog', 'jeeFrontEnd', 'domUtils', 'eqType', 'modifyWithoutSave', 'Domoflux'];
const node = ['setImmediate', 'setTimeout', 'require', 'module', 'process', '__dirname', 'structuredClone', 'console'];
const readonly = (names) => Object.fromEntries(names.map((name) => [name, 'readonly']));

const rules = {
  'no-unused-vars': ['error', { ignoreRestSiblings: true, caughtErrors: 'none' }],
  'no-undef': 'error',
  'no-redeclare': 'error',
  'no-shadow': 'error',
  'no-var': 'error',
  'prefer-const': 'error',
  eqeqeq: 'error',
  curly: 'error',
  semi: 'error',
  quotes: ['error', 'single', { avoidEscape: true, allowTemplateLiterals: true }],
  strict: ['error', 'safe'],
  complexity: ['error', 10],
  'max-depth': ['error', 3],
  'max-len': ['error', { code: 140 }],
  'max-lines': ['error', 300],
  'no-eval': 'error',
  'no-implied-eval': 'error',
};

// Texts of peers, names and errors are text. An exception has to say why at its place.
const htmlFromText = ['error',
  ...['innerHTML', 'outerHTML', 'insertAdjacentHTML'].map((property) => ({ property, message: 'use textContent' }))];

module.exports = [
  {
    files: ['**/desktop/js/*.js', '**/tests/js/*.js'],
    languageOptions: { ecmaVersion: 2022 },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules,
  },
  {
    files: ['**/desktop/js/*.js'],
    languageOptions: { sourceType: 'script', globals: readonly([...browser, ...jeedom]) },
    rules: { 'no-restricted-properties': htmlFromText },
  },
  { files: ['**/tests/js/*.js'], languageOptions: { sourceType: 'commonjs', globals: readonly(node) } },
];

/* What all of the plugin's scripts use: elements from data without innerHTML, JSON pointers, copies of JSON values.
 * Jeedom runs a page's scripts again at each visit: so every file is a function, and all of them share one name. */
(function (Domoflux) {
  'use strict';

  let lastId = 0;

  /** An id that no other element of the page has, for `for=` and `aria-describedby=`. */
  Domoflux.newId = function (name) {
    lastId += 1;
    return 'domoflux-' + name.replace(/[^A-Za-z0-9_-]/g, '_') + '-' + lastId;
  };

  /** An element. Attributes that are null, undefined or false are left out, `on` has listeners; texts among the children
   * become text, never HTML. */
  Domoflux.element = function (tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === 'on') {
        for (const [type, listener] of Object.entries(value)) {
          node.addEventListener(type, listener);
        }
      } else if (value !== null && value !== undefined && value !== false) {
        node.setAttribute(name, value === true ? '' : String(value));
      }
    }
    node.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
    return node;
  };

  /** An icon of Font Awesome, which says nothing to a screen reader. */
  Domoflux.icon = function (name) {
    return Domoflux.element('i', { class: 'fas fa-' + name, 'aria-hidden': 'true' });
  };

  /** The core's tooltips take HTML, so a text has to be escaped for them. */
  Domoflux.tooltip = function (text) {
    return String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  };

  /** The core's question mark with a tooltip, and the same text for who can't hover. */
  Domoflux.help = function (text, id) {
    return Domoflux.element('span', {},
      Domoflux.element('sup', {}, Domoflux.element('i', {
        class: 'fas fa-question-circle tooltips', title: Domoflux.tooltip(text), 'aria-hidden': 'true',
      })),
      Domoflux.element('span', { id, class: 'sr-only' }, text));
  };

  /** A text about something that has a name. */
  Domoflux.named = function (name, text, { named }) {
    return named.replace('%s', () => name) + ' ' + text;
  };

  /** The tokens of a JSON pointer (RFC 6901): '/a~1b/0' is ['a/b', '0'], '' is []. */
  Domoflux.pointerTokens = function (pointer) {
    return String(pointer || '').split('/').slice(1).map((token) => token.replace(/~1/g, '/').replace(/~0/g, '~'));
  };

  /** A copy of a JSON value; undefined stays undefined. */
  Domoflux.copy = function (value) {
    return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
  };

  /** Whether a JSON value is an object: no array, not null. */
  Domoflux.isObject = function (value) {
    return value !== null && typeof value === 'object' && !Array.isArray(value);
  };
}(window.Domoflux = window.Domoflux || {}));

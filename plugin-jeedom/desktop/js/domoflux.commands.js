/* A row of the table of commands. They are made by PHP: so a person can name, show and log them, not add any. */
(function (Domoflux) {
  'use strict';

  const { element, icon, texts } = Domoflux;

  const attr = (l1key, l2key) => ({ 'data-l1key': l1key, 'data-l2key': l2key });

  function name() {
    return element('td', {}, element('div', { class: 'input-group' },
      element('input', { class: 'cmdAttr form-control input-sm roundedLeft', 'aria-label': texts.commandName, ...attr('name') }),
      element('span', { class: 'input-group-btn' }, element('a', {
        class: 'cmdAction btn btn-sm btn-default', title: texts.chooseIcon, ...attr('chooseIcon'),
      }, icon('icons'))),
      element('span', { class: 'cmdAttr input-group-addon roundedRight domoflux-cmd-icon', ...attr('display', 'icon') })));
  }

  function options(cmd) {
    const box = (text, ...keys) => element('label', { class: 'checkbox-inline' },
      element('input', { type: 'checkbox', class: 'cmdAttr', ...attr(...keys) }), text);
    const td = element('td', {}, box(texts.show, 'isVisible'), ' ');
    if (cmd.type === 'info') {
      td.append(box(texts.history, 'isHistorized'), ' ');
    }
    if (cmd.subType === 'binary') {
      td.append(box(texts.invert, 'display', 'invertBinary'), ' ');
    }
    if (cmd.subType === 'numeric') {
      td.append(element('input', {
        class: 'tooltips cmdAttr form-control input-sm domoflux-cmd-unit', placeholder: texts.unit, title: texts.unit, ...attr('unite'),
      }));
    }
    return td;
  }

  function actions() {
    return element('td', {},
      element('a', { class: 'btn btn-default btn-xs cmdAction', 'data-action': 'configure', title: texts.configure }, icon('cogs')), ' ',
      element('a', { class: 'btn btn-default btn-xs cmdAction', 'data-action': 'test' }, icon('rss'), ' ' + texts.test), ' ',
      element('i', { class: 'fas fa-minus-circle pull-right cmdAction cursor', 'data-action': 'remove', title: texts.remove }));
  }

  /** Adds a command to the core's `#table_cmd`. */
  Domoflux.addCommand = function (cmd) {
    const type = (texts.types[cmd.type] || cmd.type) + ' / ' + (texts.subTypes[cmd.subType] || cmd.subType);
    const row = element('tr', { class: 'cmd', 'data-cmd_id': cmd.id },
      element('td', { class: 'hidden-xs' }, element('span', { class: 'cmdAttr', ...attr('id') })),
      name(),
      element('td', { title: Domoflux.tooltip(cmd.logicalId) }, type),
      options(cmd),
      // The core made its content, without the tags of the value.
      element('td', {}, element('span', { class: 'cmdAttr', ...attr('htmlstate') })),
      actions());
    document.querySelector('#table_cmd tbody').append(row);
    row.setJeeValues(cmd, '.cmdAttr');
  };
}(window.Domoflux = window.Domoflux || {}));

/* The dialog that takes over equipment of trafficmirror, and gives it back. */
(function (Domoflux) {
  'use strict';

  const { element, texts, newId } = Domoflux;
  const root = document.getElementById('md_domofluxImport');
  const place = root.querySelector('[data-domoflux="list"]');
  const note = root.querySelector('[data-domoflux="note"]');
  let rows = [];

  function say(text, level) {
    note.hidden = !text;
    note.className = 'alert alert-' + (level || 'info');
    note.textContent = text || '';
  }

  /** What an equipment becomes, in a line: listen → target, and the mirrors. */
  function becomes(spec) {
    const mirrors = (spec.mirrors || []).map((mirror) => mirror.address).join(', ');
    return [(spec.protocol || 'tcp').toUpperCase(), spec.listen, '→', [].concat(spec.target || '?').join(', '), '+', mirrors].join(' ');
  }

  /** The field of a spec as the form calls it. */
  function field(pointer) {
    const [name] = Domoflux.pointerTokens(pointer);
    return texts.importFields[name] || name;
  }

  function problems(list) {
    return list.map(({ pointer, message }) => element('div', { class: 'domoflux-message domoflux-problem' },
      pointer ? Domoflux.named(field(pointer), message, texts) : message));
  }

  function row(one) {
    const id = newId('import');
    const box = element('input', { type: 'checkbox', id });
    box.checked = one.state === 'new' && one.problems.length === 0;
    const node = element('tr', {},
      element('td', {}, box),
      element('td', {}, element('label', { for: id }, one.name)),
      element('td', {}, one.enabled ? texts.importEnabled : texts.importDisabled),
      element('td', {}, element('span', { class: 'domoflux-becomes' }, becomes(one.spec || {})), ...problems(one.problems)),
      element('td', {}, element('span', { class: 'label label-' + (one.state === 'new' ? 'info' : 'success') },
        one.state === 'new' ? texts.importNew : texts.importDone)));
    return { one, box, node };
  }

  function load() {
    return Domoflux.call('importPreview').then((preview) => {
      rows = preview.equipment.map(row);
      place.replaceChildren(...rows.map(({ node }) => node));
      if (rows.length === 0) {
        say(texts.importNone);
      } else if (!preview.daemon.ok) {
        say(texts.daemonAway + ' ' + preview.daemon.message, 'warning');
      }
    }, (error) => say(error.message, 'danger'));
  }

  function run(action, state, question, done) {
    const ids = rows.filter(({ one, box }) => box.checked && one.state === state).map(({ one }) => one.id);
    if (ids.length === 0) {
      say(texts.importNoSelection, 'warning');
      return;
    }
    Domoflux.confirm(question).then((yes) => {
      if (!yes) {
        return;
      }
      Domoflux.call(action, { ids: JSON.stringify(ids) }).then((result) => {
        const names = new Map(rows.map(({ one }) => [one.id, one.name]));
        const failed = result.failed.map(({ id, message }) => Domoflux.named(names.get(id) || id, message, texts));
        const told = [done.replace('%s', result.imported.length)];
        load().then(() => say(told.concat(failed.length ? [texts.failed, failed.join(' ; ')] : []).join(' '),
          failed.length ? 'danger' : 'success'));
      }, (error) => say(error.message, 'danger'));
    });
  }

  root.addEventListener('click', (event) => {
    const button = event.target.closest('[data-domoflux-action]');
    const action = button && button.getAttribute('data-domoflux-action');
    if (action === 'importApply') {
      run('importApply', 'new', texts.importSure, texts.importResult);
    } else if (action === 'importUndo') {
      run('importUndo', 'imported', texts.undoSure, texts.undoResult);
    } else if (action === 'close') {
      jeedomUtils.loadPage('index.php?v=d&m=domoflux&p=domoflux');
    }
  });

  load();
}(window.Domoflux = window.Domoflux || {}));

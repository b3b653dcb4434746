/* The dialog behind "Ajouter": a name and a kind. */
(function (Domoflux) {
  'use strict';

  const { element, texts, newId } = Domoflux;

  function save(name, kind) {
    jeedom.eqLogic.save({
      type: 'domoflux',
      eqLogics: [{ name, isEnable: 1, isVisible: 1, configuration: { kind } }],
      error: (error) => jeedomUtils.showAlert({ message: error.message, level: 'danger' }),
      success: (saved) => {
        Domoflux.unmodified();
        jeedomUtils.loadPage('index.php?v=d&m=domoflux&p=domoflux&id=' + encodeURIComponent(saved.id) + '&saveSuccessFull=1');
      },
    });
  }

  function fields(kinds) {
    const [nameId, kindId] = [newId('name'), newId('kind')];
    const name = element('input', { type: 'text', class: 'form-control promptAttr', id: nameId, maxlength: 127 });
    const kind = element('select', { class: 'form-control', id: kindId },
      ...kinds.map((one) => element('option', { value: one.kind }, one.title)));
    const about = element('div', { class: 'domoflux-hint' });
    const describe = () => {
      about.textContent = (kinds.find((one) => one.kind === kind.value) || {}).description || '';
    };
    kind.addEventListener('change', describe);
    describe();
    const node = element('div', { class: 'domoflux-dialog' },
      element('label', { for: nameId }, texts.name), name,
      element('label', { for: kindId }, texts.kind), kind, about);
    return { node, name, kind };
  }

  /** Asks for the name and the kind of new equipment, and makes it. */
  Domoflux.add = function (kinds) {
    const asked = fields(kinds);
    const done = (event) => {
      if (asked.name.value.trim() === '') {
        asked.name.setAttribute('aria-invalid', 'true');
        asked.name.placeholder = texts.nameMissing;
        asked.name.focus();
        return;
      }
      const dialog = event.target.closest('div.jeeDialog');
      dialog._jeeDialog.close(dialog);
      save(asked.name.value.trim(), asked.kind.value);
    };
    jeeDialog.prompt({
      id: 'domoflux_add',
      title: texts.addTitle,
      inputType: false,
      buttons: { confirm: { callback: { click: done } } },
      onShown: (container) => container.querySelector('div.jeeDialogContent').replaceChildren(asked.node),
    });
  };
}(window.Domoflux = window.Domoflux || {}));

/* The plugin's page: the core's hooks, and the buttons that are the plugin's own. */
(function (Domoflux) {
  'use strict';

  const { texts } = Domoflux;
  const root = document.getElementById('domoflux_page');
  const find = (name) => root.querySelector('[data-domoflux="' + name + '"]');

  let kinds = null;
  let open = null;
  // Counts what was opened, so that an answer that comes late is not for another equipment.
  let turn = 0;
  let passing = false;
  let busy = false;

  function askKinds() {
    kinds = kinds || Domoflux.call('kinds').catch((error) => {
      kinds = null;
      throw error;
    });
    return kinds;
  }

  function close() {
    turn += 1;
    if (open) {
      open.close();
    }
    open = null;
  }

  // ---- What the core calls

  window.prePrintEqLogic = close;

  window.printEqLogic = function (eqLogic) {
    close();
    const mine = turn;
    askKinds().then((all) => {
      if (mine === turn && root.isConnected) {
        open = Domoflux.openEquipment(eqLogic, all, find);
        jeedomUtils.initTooltips(root);
      }
    }, (error) => Domoflux.alert(error.message));
  };

  window.saveEqLogic = function (eqLogic) {
    const configuration = eqLogic.configuration || {};
    // As text: the core reads what begins with a brace as JSON.
    const spec = open ? open.specText() : find('spec').value;
    return { ...eqLogic, configuration: { ...configuration, kind: find('kind').value || (open ? open.name : 'mirror'), spec } };
  };

  window.addCmdToTable = (cmd) => Domoflux.addCommand(cmd);

  // ---- Before it is saved, the daemon says what is wrong

  function goToForm() {
    const tab = root.querySelector('.nav-tabs a[href="#eqlogictab"], .nav-tabs a[data-target="#eqlogictab"]');
    if (tab && !tab.parentElement.classList.contains('active')) {
      tab.click();
    }
  }

  function save(button) {
    if (busy) {
      return;
    }
    busy = true;
    goToForm();
    open.check().then((ok) => {
      busy = false;
      if (!ok) {
        Domoflux.alert(texts.notSaved);
        return;
      }
      // A click, because the core's saving reads the event it is called by.
      passing = true;
      button.click();
      passing = false;
    });
  }

  const saveButton = () => root.querySelector('.eqLogicAction[data-action="save"]');
  const toSave = () => open && !passing && saveButton().isVisible();

  // The container is replaced when the page is left, and its listeners with it.
  document.getElementById('div_pageContainer').addEventListener('click', (event) => {
    const button = event.target.closest('.eqLogicAction[data-action="save"]');
    if (button && toSave()) {
      event.stopImmediatePropagation();
      event.preventDefault();
      save(button);
    }
  }, true);

  // The core saves on Ctrl+S by itself, without a click.
  function onKey(event) {
    if (!root.isConnected) {
      window.removeEventListener('keydown', onKey, true);
    } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 's' && toSave() && !jeedomUtils.getOpenedModal()) {
      event.stopImmediatePropagation();
      event.preventDefault();
      save(saveButton());
    }
  }
  window.addEventListener('keydown', onKey, true);

  // ---- Buttons

  const modal = (name, title) => jeeDialog.dialog({
    id: 'jee_modal', title, contentUrl: 'index.php?v=d&plugin=domoflux&modal=' + name,
  });

  const ACTIONS = {
    addFlow: () => askKinds().then(Domoflux.add, (error) => Domoflux.alert(error.message)),
    importFlows: () => modal('import', texts.importTitle),
    documentation: (card) => window.open(card.getAttribute('data-url'), '_blank', 'noopener'),
    health: () => modal('health', texts.healthTitle),
    probe(button) {
      if (open) {
        button.setAttribute('disabled', '');
        open.probe().then(() => button.removeAttribute('disabled'));
      }
    },
  };

  root.addEventListener('click', (event) => {
    const button = event.target.closest('[data-domoflux-action]');
    if (button) {
      ACTIONS[button.getAttribute('data-domoflux-action')](button);
    }
  });
  root.addEventListener('keydown', (event) => {
    if ((event.key === 'Enter' || event.key === ' ') && event.target.matches('[role][data-domoflux-action]')) {
      event.preventDefault();
      event.target.click();
    }
  });
}(window.Domoflux = window.Domoflux || {}));

/* Calls of the plugin's PHP, and the core's dialogs, as promises. */
(function (Domoflux) {
  'use strict';

  /** The text of a bit of HTML: errors of the core and of this plugin's PHP come escaped. Nothing in it is run. */
  Domoflux.textOf = function (html) {
    return new window.DOMParser().parseFromString(String(html), 'text/html').documentElement.textContent;
  };

  /** Promises the result of an action of core/ajax/domoflux.ajax.php. `quiet`: without the core's spinner. */
  Domoflux.call = function (action, data = {}, { quiet = false } = {}) {
    return new Promise((resolve, reject) => {
      domUtils.ajax({
        type: 'POST',
        url: 'plugins/domoflux/core/ajax/domoflux.ajax.php',
        data: { action, ...data },
        dataType: 'json',
        global: !quiet,
        noDisplayError: true,
        error: (error) => reject(new Error(String((error && error.message) || error))),
        success: (answer) => {
          if (answer.state === 'ok') {
            resolve(answer.result);
          } else {
            reject(new Error(Domoflux.textOf(answer.result)));
          }
        },
      });
    });
  };

  /** Shows a text of anybody in the core's alert, which takes HTML. */
  Domoflux.alert = function (text, level) {
    jeedomUtils.showAlert({ message: Domoflux.tooltip(text), level: level || 'danger' });
  };

  /** Asks yes or no. */
  Domoflux.confirm = function (text) {
    return new Promise((resolve) => {
      jeeDialog.confirm({ message: Domoflux.tooltip(text) }, (yes) => resolve(yes === true));
    });
  };

  /** The page has changes that are not saved. */
  Domoflux.modified = function () {
    jeeFrontEnd.modifyWithoutSave = true;
    window.modifyWithoutSave = true;
  };

  Domoflux.unmodified = function () {
    jeeFrontEnd.modifyWithoutSave = false;
    window.modifyWithoutSave = false;
  };
}(window.Domoflux = window.Domoflux || {}));

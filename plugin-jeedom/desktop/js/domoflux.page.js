/* One equipment on the page: its form, its test, its live panel. */
(function (Domoflux) {
  'use strict';

  const { texts } = Domoflux;

  /** The spec that an equipment's configuration has: JSON as text, maybe none yet. */
  function specOf(configuration) {
    const { spec } = configuration;
    if (typeof spec !== 'string') {
      return { spec: spec || {} };
    }
    try {
      return { spec: spec.trim() === '' ? {} : JSON.parse(spec) };
    } catch (error) {
      return { spec, broken: true };
    }
  }

  /** `find` gives the page's elements by name: form, findings, live, summary, isEnable, kind, spec. */
  Domoflux.openEquipment = function (eqLogic, kinds, find) {
    const configuration = eqLogic.configuration || {};
    const name = configuration.kind || 'mirror';
    const kind = kinds.find((one) => one.kind === name);
    const { spec, broken } = specOf(configuration);
    find('kindTitle').textContent = kind ? kind.title : name;
    find('kindHelp').textContent = kind ? kind.description : '';

    const form = Domoflux.makeForm({
      container: find('form'),
      schema: kind ? kind.schema : {},
      texts,
      onChange: Domoflux.modified,
    });
    form.set(spec);
    if (!kind) {
      form.showProblems([{ pointer: '', message: texts.unknownKind + ' ' + name }]);
    } else if (broken) {
      form.showProblems([{ pointer: '', message: texts.specBroken }]);
    }
    find('findings').textContent = '';

    const specText = () => {
      const value = form.value();
      return typeof value === 'string' ? value : JSON.stringify(value);
    };
    const asked = () => ({ id: eqLogic.id, kind: name, spec: specText() });

    const live = Domoflux.makeLive({
      container: find('live'),
      summary: find('summary'),
      counters: kind ? kind.counters : [],
      texts,
      poll: (after) => Domoflux.call('live', { id: eqLogic.id, after }, { quiet: true }),
      restart: () => Domoflux.confirm(texts.restartSure)
        .then((yes) => (yes ? Domoflux.call('restart', { id: eqLogic.id }).then(() => Domoflux.alert(texts.restarted, 'success')) : null)),
      isShown: () => find('live').closest('.eqLogic').style.display !== 'none',
      enabled: String(eqLogic.isEnable) === '1',
      configured: Boolean(configuration.spec),
    });

    function summaryOf(findings) {
      const bad = findings.filter((one) => one.ok === false).length;
      if (findings.length === 0) {
        return texts.testNothing;
      }
      return texts.tested.replace('%s', bad === 0 ? texts.testOk : texts.testBad.replace('%s', bad));
    }

    return {
      name,
      specText,
      /** Promises whether it may be saved; says at the fields why not. */
      check() {
        if (form.showProblems([]) > 0) {
          return Promise.resolve(false);
        }
        if (!find('isEnable').checked) {
          return Promise.resolve(true);
        }
        return Domoflux.call('check', asked()).then((checked) => {
          // Daemon away: PHP saves it, and the live panel says so.
          return !checked.daemon || checked.ok || form.showProblems(checked.problems) === 0;
        }, (error) => {
          form.showProblems([{ pointer: '', message: error.message }]);
          return false;
        });
      },
      /** Dials what the spec names, saved or not, and shows what it found. */
      probe() {
        form.clearFindings();
        find('findings').textContent = '';
        return Domoflux.call('probe', asked()).then((result) => {
          if (form.showProblems(result.problems || []) === 0) {
            form.showFindings(result.findings);
            find('findings').textContent = summaryOf(result.findings);
          }
        }, (error) => Domoflux.alert(error.message));
      },
      close() {
        live.stop();
        form.remove();
      },
    };
  };
}(window.Domoflux = window.Domoflux || {}));

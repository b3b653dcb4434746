/* The live panel: what the daemon says about a flow, asked every few seconds while somebody looks. */
(function (Domoflux) {
  'use strict';

  const { element, icon } = Domoflux;

  const PERIOD_MS = 3000;
  const MOST_LINES = 500;

  const COLOURS = { serving: 'success', starting: 'warning', backoff: 'warning', failed: 'danger', disabled: 'default' };

  /** A pill with the state's name. */
  Domoflux.statePill = function (state, texts) {
    const known = texts.states[state] ? state : 'unknown';
    return element('span', { class: 'label label-' + (COLOURS[known] || 'default') }, texts.states[known]);
  };

  /** What to do about a status that is not well, in a person's words; null where there is nothing to say. */
  function advice(status, texts) {
    if (!status.error) {
      return null;
    }
    const retry = status.retry_in_ms === null || status.retry_in_ms === undefined ? null
      : texts.retry.replace('%s', Domoflux.span(Math.max(1000, status.retry_in_ms), texts));
    return [texts.advice[status.fault], retry].filter((text) => text).join(' ') || null;
  }

  /** The lines of "name: value", of which those without a value are hidden. */
  function makeFacts(names) {
    const values = {};
    const node = element('dl', { class: 'domoflux-facts' });
    for (const [key, name] of Object.entries(names)) {
      const line = element('div', { hidden: true }, element('dt', {}, name), element('dd', {}));
      values[key] = line;
      node.append(line);
    }
    return {
      node,
      set(key, ...content) {
        const shown = content.filter((one) => one !== null && one !== undefined && one !== '');
        values[key].hidden = shown.length === 0;
        values[key].lastChild.replaceChildren(...shown);
      },
    };
  }

  const UNKNOWN = { state: 'unknown', listening: null, error: null, last_error: null };

  function statusFacts(facts, known, texts, now) {
    const status = known || UNKNOWN;
    facts.set('state', Domoflux.statePill(status.state, texts),
      known ? ' ' + texts.since + ' ' + Domoflux.span(now - known.since, texts) : null);
    facts.set('listening', known ? known.listening.join(', ') || texts.notListening : null);
    facts.set('connections', known ? String(known.connections) : null);
    const tip = advice(status, texts);
    facts.set('error', status.error, tip ? element('div', { class: 'domoflux-advice' }, tip) : null);
    const troubles = (status.troubles || []).map((trouble) => trouble.text);
    facts.set('troubles', ...troubles.map((text) => element('div', {}, text)));
    facts.set('lastError', pastError(status.last_error, [status.error, ...troubles], texts, now));
  }

  /** The last error, unless it is among those that are shown already. */
  function pastError(last, shown, texts, now) {
    return last && !shown.includes(last.text) ? last.text + ' (' + Domoflux.moment(last.at, now, texts.language) + ')' : null;
  }

  /** The counters, the main ones first, the rest folded; each with how fast it went since the last poll. */
  function makeCounters(defs, texts) {
    const rows = new Map(defs.map((def) => {
      const cells = ['th', 'td', 'td'].map((tag) => element(tag, tag === 'th' ? { scope: 'row' } : {}));
      cells[0].textContent = def.title;
      return [def.name, { def, cells, row: element('tr', {}, ...cells) }];
    }));
    const main = defs.some((def) => def.main) ? (def) => def.main : (def) => def.gauge;
    const table = (wanted) => element('table', { class: 'table table-condensed domoflux-counters' },
      element('tbody', {}, ...[...rows.values()].filter(({ def }) => wanted(def)).map(({ row }) => row)));
    const node = element('div', {}, table((def) => main(def)),
      element('details', {}, element('summary', {}, texts.moreCounters), table((def) => !main(def))));
    let before = null;
    return {
      node,
      update(counters, now) {
        for (const [name, { def, cells }] of rows) {
          const value = counters[name];
          const rate = before && !def.gauge && value !== undefined
            ? Domoflux.rate(before.counters[name], value, now - before.at, def.unit, texts) : null;
          cells[1].textContent = value === undefined ? '' : Domoflux.counter(value, def.unit, texts);
          cells[2].textContent = rate === null || value === before.counters[name] ? '' : rate;
        }
        before = { counters, at: now };
      },
      forget() {
        before = null;
      },
    };
  }

  /** What is so inside the flow, where its kind says: the devices of a multiplexer, their units, and who is connected. */
  function makeDetails(texts) {
    const node = element('div', { class: 'domoflux-details', hidden: true });
    const table = (heads, rows) => (rows.length === 0 ? null : element('table', { class: 'table table-condensed domoflux-counters' },
      element('thead', {}, element('tr', {}, ...heads.map((head) => element('th', { scope: 'col' }, head)))),
      element('tbody', {}, ...rows.map(([name, ...cells]) => element('tr', {},
        element('th', { scope: 'row' }, name), ...cells.map((cell) => element('td', {}, cell)))))));
    const retry = (ms) => (typeof ms === 'number' ? texts.retry.replace('%s', Domoflux.span(Math.max(1000, ms), texts)) : '');
    const list = (value) => (Array.isArray(value) ? value : []);
    return {
      node,
      update(status) {
        const { devices, units, clients } = (status && status.details) || {};
        const tables = [
          table(texts.deviceColumns, list(devices).map((one) => [
            String(one.device), String(one.connected), String(one.waiting), retry(one.retry_in_ms),
          ])),
          table(texts.unitColumns, Object.entries(Domoflux.isObject(units) ? units : {}).map(([unit, one]) => [
            unit, ...['requests', 'answers', 'exceptions', 'failures'].map((name) => String(one[name])),
          ])),
          list(clients).length === 0 ? null : element('div', { class: 'domoflux-hint' },
            Domoflux.named(texts.clients, list(clients).join(', '), texts)),
        ].filter((one) => one);
        node.hidden = tables.length === 0;
        node.replaceChildren(...tables);
      },
    };
  }

  /** The last lines of the log; follows its end unless somebody scrolled up. */
  function makeLog(texts) {
    const box = element('div', { class: 'domoflux-log', role: 'log', tabindex: 0, 'aria-label': texts.log });
    const empty = element('div', { class: 'domoflux-hint' }, texts.noLines);
    const node = element('div', {}, box, empty);
    return {
      node,
      add(lines, now) {
        const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
        for (const line of lines) {
          box.append(element('div', { class: 'domoflux-line domoflux-line-' + (/^[a-z]+$/.test(line.level) ? line.level : 'info') },
            element('time', {}, Domoflux.moment(line.at, now, texts.language)), ' ' + line.text));
        }
        while (box.childNodes.length > MOST_LINES) {
          box.firstChild.remove();
        }
        empty.hidden = box.childNodes.length > 0;
        if (atEnd) {
          box.scrollTop = box.scrollHeight;
        }
      },
      clear() {
        box.replaceChildren();
        empty.hidden = false;
      },
    };
  }

  /** Fills `container` and, if there is one, `summary`, which has state and error only.
   *
   * `poll(after)` promises what the plugin's `live` answers; `restart()` promises nothing; `isShown()` says whether anybody
   * can see it; `configured` whether anybody filled in the form yet. It ends with `stop()`, and by itself when the container
   * has left the page. */
  Domoflux.makeLive = function ({
    container, summary, counters: defs, texts, poll, restart, isShown, enabled, configured = true, clock = Date.now,
  }) {
    const names = {
      state: texts.state, listening: texts.listening, connections: texts.connections, error: texts.error, troubles: texts.troubles,
      lastError: texts.lastError,
    };
    const parts = [container, summary].filter((place) => place).map((place) => ({
      place,
      note: element('div', { class: 'alert alert-warning', role: 'status', hidden: true }),
      facts: makeFacts(names),
    }));
    const counters = makeCounters(defs, texts);
    const details = makeDetails(texts);
    const log = makeLog(texts);
    let timer = null;
    let stopped = false;
    let asking = false;
    let after = 0;
    let boot = null;

    const note = (text) => parts.forEach((part) => {
      part.note.hidden = !text;
      part.note.textContent = text || '';
    });

    const show = (live) => {
      const now = clock();
      const { daemon, status } = live;
      if (daemon.boot_id !== undefined && daemon.boot_id !== boot) {
        // Another run of the daemon counts its lines anew; the first answer brings all that it has.
        const again = boot !== null;
        boot = daemon.boot_id;
        counters.forget();
        if (again) {
          after = 0;
          log.clear();
          live.lines = [];
        }
      }
      const missing = configured ? (enabled ? texts.noFlow : texts.noFlowDisabled) : texts.noSpec;
      note(daemon.ok ? (daemon.message || (status ? null : missing)) : texts.daemonAway + ' ' + daemon.message);
      parts.forEach((part) => {
        part.facts.node.hidden = !status && !configured;
        statusFacts(part.facts, status, texts, now);
      });
      details.update(status);
      if (live.counters) {
        counters.update(live.counters, now);
      }
      log.add(live.lines.filter((line) => line.seq > after), now);
      after = live.lines.reduce((most, line) => Math.max(most, line.seq), after);
    };

    const ask = () => {
      if (asking || stopped) {
        return Promise.resolve();
      }
      asking = true;
      return poll(after)
        .then((live) => stopped || show(live), (error) => stopped || note(texts.noAnswer + ' ' + error.message))
        .then(() => {
          asking = false;
        });
    };

    const tick = () => {
      timer = null;
      if (stopped || !container.isConnected) {
        stopped = true;
        return;
      }
      const seen = !document.hidden && isShown();
      (seen ? ask() : Promise.resolve()).then(() => {
        if (!stopped) {
          timer = setTimeout(tick, PERIOD_MS);
        }
      });
    };

    const again = element('button', { type: 'button', class: 'btn btn-sm btn-warning domoflux-restart' },
      icon('redo'), ' ' + texts.restart);
    again.addEventListener('click', () => {
      again.disabled = true;
      restart().then(ask, (error) => note(error.message)).then(() => {
        again.disabled = false;
      });
    });

    const [whole, short] = parts;
    container.replaceChildren(whole.note, whole.facts.node, element('div', {}, again),
      details.node, element('div', { class: 'domoflux-heading' }, texts.counters), counters.node,
      element('div', { class: 'domoflux-heading' }, texts.log), log.node);
    if (short) {
      summary.replaceChildren(short.note, short.facts.node);
    }
    tick();
    return {
      stop() {
        stopped = true;
        clearTimeout(timer);
      },
      ask,
    };
  };
}(window.Domoflux = window.Domoflux || {}));

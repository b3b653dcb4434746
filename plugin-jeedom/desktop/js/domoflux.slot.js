/* A slot is the place of one value in the form: its label, its help, its widget, and what is said about it. A value that
 * the widget can't show is shown as JSON in the same place. */
(function (Domoflux) {
  'use strict';

  const { element, icon, help, newId } = Domoflux;

  const ICONS = { true: 'check', false: 'times', null: 'question' };

  function labelled(slot, plan, required, context) {
    const { texts } = context;
    const title = plan.title || slot.key;
    const star = required ? element('span', { class: 'domoflux-required', title: texts.required }, ' *') : null;
    const id = newId('help');
    const description = [plan.description, texts.unitHelp[plan.unit]].filter((text) => text).join(' ');
    const tip = description ? help(description, id) : null;
    slot.helpId = tip ? id : null;
    slot.heading = [title, star, tip];
  }

  /** A line of Jeedom's forms: label left, widget right. */
  function line(slot) {
    const id = newId(slot.key);
    slot.place = element('div', { class: 'col-sm-8 domoflux-place' });
    slot.wire = () => slot.widget.control.setAttribute('id', id);
    return element('div', { class: 'form-group domoflux-slot' },
      element('label', { class: 'col-sm-4 control-label', for: id }, ...slot.heading), slot.place);
  }

  /** A group of its own: a legend, and what belongs to it under it. */
  function block(slot) {
    const id = newId(slot.key);
    slot.place = element('div', { class: 'domoflux-place' });
    // A button has a name already: what it does.
    slot.wire = () => slot.widget.control.matches('button') || slot.widget.control.setAttribute('aria-labelledby', id);
    return element('div', { class: 'domoflux-slot domoflux-block', role: 'group', 'aria-labelledby': id },
      element('div', { class: 'domoflux-heading', id }, ...slot.heading), slot.place);
  }

  /** Neither label nor legend: the form itself, and the rows of a list, which have a title of their own. */
  function bare(slot) {
    slot.place = element('div', { class: 'domoflux-place' });
    slot.wire = () => slot.widget.control.setAttribute('aria-label', slot.key);
    return element('div', { class: 'domoflux-slot' }, slot.place);
  }

  function describe(slot) {
    const control = slot.widget.control || slot.place;
    const bad = slot.messages.querySelector('.domoflux-problem') !== null;
    const ids = [slot.helpId, slot.messages.childNodes.length > 0 ? slot.messages.id : null].filter((id) => id);
    slot.node.classList.toggle('has-error', bad);
    for (const [name, value] of [['aria-describedby', ids.join(' ')], ['aria-invalid', bad ? 'true' : '']]) {
      if (value) {
        control.setAttribute(name, value);
      } else {
        control.removeAttribute(name);
      }
    }
  }

  function say(slot, kind, iconName, text) {
    slot.messages.append(element('div', { class: 'domoflux-message ' + kind }, icon(iconName), ' ' + text));
    describe(slot);
  }

  function use(slot, name, context) {
    if (slot.widgetName === name) {
      return;
    }
    slot.widgetName = name;
    slot.widget = Domoflux.Widgets[name].make(slot.plan, context, slot.required);
    slot.place.replaceChildren(slot.widget.node, slot.messages);
    if (slot.widget.control) {
      slot.wire();
      describe(slot);
    }
  }

  /** A text, and of what in the slot it is: a line of a list, say. */
  function words(slot, tokens, text, texts) {
    const rest = tokens.length === 0 ? '' : (slot.widget.rest ? slot.widget.rest(tokens) : tokens.join('/'));
    return rest === '' ? text : Domoflux.named(rest, text, texts);
  }

  /** `layout` is 'bare' for what has no label. */
  Domoflux.makeSlot = function (key, plan, context, { required = false, layout = null } = {}) {
    const slot = { key, plan, required, helpId: null };
    labelled(slot, plan, required, context);
    slot.messages = element('div', { class: 'domoflux-messages', id: newId('messages'), 'aria-live': 'polite' });
    const layouts = { object: block, rows: block };
    slot.node = (layout === 'bare' ? bare : layouts[plan.widget] || line)(slot);
    context.slots.set(slot.node, slot);
    use(slot, plan.widget, context);

    slot.get = () => slot.widget.get();
    slot.set = (value) => {
      const fits = value === undefined || Domoflux.Widgets[plan.widget].fits(plan, value);
      use(slot, fits ? plan.widget : 'json', context);
      slot.widget.set(value);
      slot.clear();
    };
    /** The slot of the next token of a pointer, or null where the pointer goes no further. */
    slot.child = (token) => (slot.widget.child ? slot.widget.child(token) : null);
    slot.children = () => (slot.widget.children ? slot.widget.children() : []);
    slot.problem = (text, tokens) => say(slot, 'domoflux-problem', 'exclamation-circle', words(slot, tokens, text, context.texts));
    slot.finding = ({ ok, text, ms }, tokens) => {
      const time = typeof ms === 'number' ? ' (' + (ms < 1 ? '< 1' : ms) + ' ms)' : '';
      say(slot, 'domoflux-finding domoflux-finding-' + ok, ICONS[ok] || 'question', words(slot, tokens, text, context.texts) + time);
    };
    slot.ownProblem = () => (slot.widget.problem ? slot.widget.problem() : null);
    slot.clear = (kind) => {
      slot.messages.querySelectorAll(kind || '.domoflux-message').forEach((node) => node.remove());
      describe(slot);
    };
    return slot;
  };
}(window.Domoflux = window.Domoflux || {}));

/* The widgets of values that have others in them: objects and lists of objects. See domoflux.fields.js. */
(function (Domoflux) {
  'use strict';

  const { element, icon, newId, isObject, copy } = Domoflux;
  const { Widgets } = Domoflux;

  /** The advanced settings of an object, folded; the summary says how many of them are set. */
  function advanced(slots, context) {
    const count = element('span', { class: 'domoflux-count' });
    const details = element('details', { class: 'domoflux-advanced' },
      element('summary', {}, context.texts.advanced, ' ', count), ...slots.map((slot) => slot.node));
    const update = () => {
      const set = slots.filter((slot) => slot.get() !== undefined).length;
      count.textContent = set === 0 ? '' : '(' + context.texts.changed.replace('%s', set) + ')';
    };
    details.addEventListener('input', update);
    details.addEventListener('change', update);
    return { node: details, update };
  }

  /** The members of an object, those of its spec that the schema does not know among them. */
  function members(plan, context) {
    const slots = new Map(plan.properties.map(({ key, plan: one, required }) => [
      key, Domoflux.makeSlot(key, one, context, { required }),
    ]));
    const others = Domoflux.makeSlot('', {
      widget: 'json', title: context.texts.others, description: context.texts.othersHelp, examples: [],
    }, context);
    others.together = true;
    const isAdvanced = ({ key, plan: one, required }) => one.advanced && !required && slots.has(key);
    const of = (list) => list.map(({ key }) => slots.get(key));
    const fold = advanced(of(plan.properties.filter(isAdvanced)), context);
    const folded = plan.properties.some(isAdvanced);
    const node = element('div', { class: 'domoflux-members' },
      ...of(plan.properties.filter((one) => !isAdvanced(one))).map((slot) => slot.node),
      folded ? fold.node : null, others.node);
    return {
      node,
      get() {
        const entries = [...slots].map(([key, slot]) => [key, slot.get()]).filter(([, value]) => value !== undefined);
        const rest = others.get();
        return Object.fromEntries([...entries, ...Object.entries(isObject(rest) ? rest : {})]);
      },
      set(value) {
        slots.forEach((slot, key) => slot.set(Object.hasOwn(value, key) ? value[key] : undefined));
        const unknown = Object.entries(value).filter(([key]) => !slots.has(key));
        others.set(unknown.length > 0 ? Object.fromEntries(unknown) : undefined);
        others.node.hidden = unknown.length === 0;
        fold.update();
      },
      child: (token) => slots.get(token) || (others.node.hidden ? null : others),
      children: () => [...slots.values(), others],
    };
  }

  Widgets.object = {
    fits: (plan, value) => isObject(value) || (value === null && plan.nullable),
    /** One that need not be there has a checkbox, which unfolds it. */
    make(plan, context, required) {
      const inside = members(plan, context);
      const group = { child: inside.child, children: inside.children };
      let original;
      if (required && !plan.nullable) {
        return {
          ...group,
          node: inside.node,
          control: null,
          get() {
            const value = inside.get();
            return original === undefined && Object.keys(value).length === 0 ? undefined : value;
          },
          set(value) {
            original = value;
            inside.set(value || {});
          },
        };
      }
      const control = element('input', { type: 'checkbox' });
      const show = () => {
        inside.node.hidden = !control.checked;
      };
      control.addEventListener('change', show);
      inside.set({});
      show();
      return {
        ...group,
        node: element('div', {},
          element('label', { class: 'checkbox-inline domoflux-checkbox' }, control, ' ', context.texts.use), inside.node),
        control,
        get() {
          if (control.checked) {
            return inside.get();
          }
          return original === null || (required && original !== undefined) ? null : undefined;
        },
        set(value) {
          original = copy(value);
          control.checked = isObject(value);
          inside.set(isObject(value) ? value : {});
          show();
        },
      };
    },
  };

  function button(name, text, onClick) {
    return element('button', {
      type: 'button', class: 'btn btn-xs btn-default', 'aria-label': text, on: { click: onClick },
    }, icon(name));
  }

  /** One row of a list: a title with the buttons to move and remove it, and the members under it. */
  function makeRow(plan, context, actions) {
    const id = newId('row');
    const slot = Domoflux.makeSlot(plan.item.title || '', plan.item, context, { layout: 'bare', required: true });
    const title = element('span', { id, class: 'domoflux-row-title' });
    const row = { slot, title, blank: false };
    const { texts } = context;
    row.up = button('arrow-up', texts.up, () => actions.move(row, -1));
    row.down = button('arrow-down', texts.down, () => actions.move(row, 1));
    row.remove = button('trash', texts.remove, () => actions.remove(row));
    row.node = element('div', { class: 'domoflux-row-panel', role: 'group', 'aria-labelledby': id },
      element('div', { class: 'domoflux-row-head' }, title,
        element('span', { class: 'domoflux-row-buttons' }, row.up, row.down, row.remove)), slot.node);
    return row;
  }

  Widgets.rows = {
    fits: (plan, value) => Array.isArray(value) || (value === null && plan.nullable),
    make(plan, context) {
      let rows = [];
      let original;
      const list = element('div', { class: 'domoflux-rows' });
      const { texts } = context;
      const itemTitle = plan.item.title || texts.item;
      const add = element('button', { type: 'button', class: 'btn btn-sm btn-default domoflux-add' },
        icon('plus-circle'), ' ' + texts.add.replace('%s', itemTitle));
      const number = () => {
        rows.forEach((row, index) => {
          row.title.textContent = itemTitle + ' ' + (index + 1);
          row.up.disabled = index === 0;
          row.down.disabled = index === rows.length - 1;
        });
        add.disabled = plan.maxItems !== undefined && rows.length >= plan.maxItems;
      };
      const changed = () => {
        number();
        list.dispatchEvent(new Event('change', { bubbles: true }));
      };
      const actions = {
        move(row, by) {
          const at = rows.indexOf(row);
          const other = rows[at + by];
          [rows[at], rows[at + by]] = [other, row];
          list.insertBefore(by < 0 ? row.node : other.node, by < 0 ? other.node : row.node);
          changed();
          const pressed = by < 0 ? row.up : row.down;
          (pressed.disabled ? row.remove : pressed).focus();
        },
        remove(row) {
          const at = rows.indexOf(row);
          rows.splice(at, 1);
          row.node.remove();
          changed();
          const next = rows[Math.min(at, rows.length - 1)];
          (next ? next.remove : add).focus();
        },
      };
      const append = (value) => {
        const row = makeRow(plan, context, actions);
        row.slot.set(value);
        rows.push(row);
        list.append(row.node);
        return row;
      };
      add.addEventListener('click', () => {
        const row = append({});
        changed();
        row.node.querySelector('input, select, textarea').focus();
      });
      // A row that nobody asked for is no row until something is in it.
      const isBlank = (row) => row.blank && Object.keys(row.slot.get() || {}).length === 0;
      return {
        node: element('div', {}, list, add),
        control: add,
        get() {
          const values = rows.filter((row) => !isBlank(row)).map((row) => row.slot.get())
            .map((value) => (value === undefined ? {} : value));
          if (values.length > 0) {
            return values;
          }
          return Array.isArray(original) && original.length > 0 ? undefined : copy(original);
        },
        set(value) {
          original = copy(value);
          rows = [];
          list.replaceChildren();
          (value || []).forEach((one) => append(one));
          while (value === undefined && rows.length < plan.minItems) {
            append({}).blank = true;
          }
          number();
        },
        child: (token) => (rows[Number(token)] ? rows[Number(token)].slot : null),
        children: () => rows.map((row) => row.slot),
        rest: (tokens) => tokens.join('/'),
      };
    },
  };
}(window.Domoflux = window.Domoflux || {}));

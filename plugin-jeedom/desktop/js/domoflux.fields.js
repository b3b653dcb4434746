/* The widgets of single values. A widget is made from a plan (domoflux.schema.js) and has
 *
 *   node            what is shown; `control` is what has the focus and the label
 *   get()           the value, undefined when it is absent: empty, or left at its default
 *   set(value)      what was set comes back from get() as it was, until somebody edits it
 *   problem()       what is wrong before the daemon is asked, or null
 *   rest(tokens)    how the rest of a JSON pointer reads here, in words
 *
 * `fits(plan, value)` says whether it can show a value; another one is shown as JSON. */
(function (Domoflux) {
  'use strict';

  const { element, copy } = Domoflux;
  const Widgets = Domoflux.Widgets = {};

  const INTEGER = /^-?\d{1,16}$/;
  const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;
  const SIZES = ['', ' KiB', ' MiB', ' GiB'];
  const TIMES = [[86400, 'd'], [3600, 'h'], [60, 'm']];

  /** What somebody typed: a number where the plan takes one and it reads as one, else the text. */
  function parse(plan, text) {
    const wants = (type) => plan.accepts.includes(type);
    if (wants('number') && NUMBER.test(text) && Number.isFinite(Number(text))) {
      return Number(text);
    }
    if (wants('integer') && INTEGER.test(text) && Number.isSafeInteger(Number(text))) {
      return Number(text);
    }
    if (wants('integer') && !wants('string') && NUMBER.test(text)) {
      return Number(text);
    }
    return text;
  }

  const WITH_UNIT = {
    B(value) {
      let step = 0;
      let left = value;
      while (step < SIZES.length - 1 && left % 1024 === 0) {
        left /= 1024;
        step += 1;
      }
      return left + SIZES[step];
    },
    s(value) {
      const [length, name] = TIMES.find(([seconds]) => value % seconds === 0) || [1, 's'];
      return value / length + name;
    },
  };

  /** A value as somebody would type it: 268435456 is "256 MiB", 604800 is "7d". */
  function readable(plan, value) {
    const withUnit = WITH_UNIT[plan.unit];
    if (withUnit && plan.accepts.includes('string') && typeof value === 'number' && value > 0) {
      return withUnit(value);
    }
    return typeof value === 'object' ? JSON.stringify(value) : String(value);
  }

  function placeholder(plan, texts) {
    if (plan.default !== undefined && plan.default !== null && plan.default !== '') {
      return texts.byDefault + ' ' + readable(plan, plan.default);
    }
    const example = plan.examples[0];
    if (example === undefined || plan.widget === 'json') {
      return plan.widget === 'json' ? 'JSON' : null;
    }
    return texts.example + ' ' + [].concat(example).map((one) => readable(plan, one)).join(' ');
  }
  Domoflux.placeholder = placeholder;

  const nothing = (value) => value === undefined || value === null;
  const nullIsAbsence = (plan) => plan.nullable && nothing(plan.default);

  function scalarFits(plan, value) {
    if (value === null) {
      return nullIsAbsence(plan);
    }
    if (typeof value === 'number') {
      return plan.accepts.includes('number') || plan.accepts.includes('integer');
    }
    return typeof value === 'string' && plan.accepts.includes('string') && !/[\r\n]/.test(value);
  }

  Widgets.scalar = {
    fits: scalarFits,
    make(plan, context) {
      const control = element('input', {
        type: plan.secret ? 'password' : 'text', class: 'form-control', autocomplete: plan.secret ? 'new-password' : 'off',
        autocapitalize: 'off', spellcheck: 'false', placeholder: placeholder(plan, context.texts),
        inputmode: plan.accepts.includes('string') ? null : 'decimal',
      });
      let original;
      let shown = '';
      // The unit stands beside a bare number; "5m" has its own.
      const unit = element('span', { class: 'domoflux-unit' }, context.texts.units[plan.unit] || plan.unit);
      const showUnit = () => {
        unit.hidden = !NUMBER.test(control.value.trim());
      };
      control.addEventListener('input', showUnit);
      const node = plan.unit ? element('div', { class: 'domoflux-with-unit' }, control, unit) : control;
      return {
        node,
        control,
        get() {
          if (control.value === shown) {
            return original;
          }
          const text = plan.secret ? control.value : control.value.trim();
          return text === '' ? undefined : parse(plan, text);
        },
        set(value) {
          original = value;
          control.value = nothing(value) ? '' : String(value);
          shown = control.value;
          showUnit();
        },
      };
    },
  };

  /** A list of options, of which one stands for "absent" unless the default is among them. */
  function select(options, plan, context) {
    const control = element('select', { class: 'form-control' });
    let all = [];
    let original;
    let shown = 0;
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
    const known = options.some((option) => same(option.value, plan.default));
    const fill = (value) => {
      all = known ? [...options] : [{ value: undefined, text: context.texts.unset }, ...options];
      if (!nothing(value) && !all.some((option) => same(option.value, value))) {
        all.push({ value, text: JSON.stringify(value) });
      }
      control.replaceChildren(...all.map((option, index) => element('option', { value: index },
        option.text + (known && same(option.value, plan.default) ? ' ' + context.texts.isDefault : ''))));
    };
    return {
      node: control,
      control,
      get() {
        const index = Number(control.value);
        return index === shown ? copy(original) : copy(all[index].value);
      },
      set(value) {
        original = value;
        fill(value);
        const wanted = nothing(value) ? plan.default : value;
        shown = Math.max(0, all.findIndex((option) => same(option.value, wanted)));
        control.value = String(shown);
      },
    };
  }

  Widgets.choice = {
    fits: (plan, value) => value !== null || nullIsAbsence(plan),
    make: (plan, context) => select(plan.options, plan, context),
  };

  Widgets.boolean = {
    fits: (plan, value) => typeof value === 'boolean' || (value === null && nullIsAbsence(plan)),
    make(plan, context) {
      if (typeof plan.default !== 'boolean') {
        const options = [{ value: true, text: context.texts.yes }, { value: false, text: context.texts.no }];
        return select(options, plan, context);
      }
      const control = element('input', { type: 'checkbox' });
      let original;
      return {
        node: element('label', { class: 'checkbox-inline domoflux-checkbox' }, control),
        control,
        get() {
          const untouched = control.checked === (nothing(original) ? plan.default : original);
          return untouched ? original : control.checked;
        },
        set(value) {
          original = value;
          control.checked = nothing(value) ? plan.default : value;
        },
      };
    },
  };

  const lineFits = (plan, value) => scalarFits(plan, value) && value !== null && String(value).trim() === String(value)
    && value !== '';

  Widgets.lines = {
    fits(plan, value) {
      if (Array.isArray(value)) {
        return value.every((one) => lineFits(plan.item, one));
      }
      return value === null ? nullIsAbsence(plan) : plan.single && lineFits(plan.item, value);
    },
    make(plan, context) {
      const control = element('textarea', {
        class: 'form-control domoflux-lines', spellcheck: 'false', autocapitalize: 'off',
        placeholder: placeholder({ ...plan.item, ...plan, widget: 'lines' }, context.texts),
      });
      const grow = () => {
        control.rows = Math.min(12, Math.max(plan.single ? 1 : 2, control.value.split('\n').length));
      };
      control.addEventListener('input', grow);
      let original;
      let shown = '';
      return {
        node: element('div', {}, control, element('span', { class: 'domoflux-hint' }, context.texts.onePerLine)),
        control,
        get() {
          if (control.value === shown) {
            return copy(original);
          }
          const lines = control.value.split('\n').map((line) => line.trim()).filter((line) => line !== '');
          const values = lines.map((line) => parse(plan.item, line));
          if (values.length === 0) {
            return undefined;
          }
          return plan.single && values.length === 1 ? values[0] : values;
        },
        set(value) {
          original = copy(value);
          control.value = nothing(value) ? '' : [].concat(value).join('\n');
          shown = control.value;
          grow();
        },
        rest: (tokens) => (/^\d+$/.test(tokens[0]) ? context.texts.line + ' ' + (Number(tokens[0]) + 1) : tokens.join('/')),
      };
    },
  };

  Widgets.json = {
    fits: () => true,
    make(plan, context) {
      const control = element('textarea', {
        class: 'form-control domoflux-json', rows: 4, spellcheck: 'false', placeholder: placeholder(plan, context.texts),
      });
      let original;
      let shown = '';
      const read = () => {
        try {
          return { value: JSON.parse(control.value) };
        } catch (error) {
          return { value: control.value, error: error.message };
        }
      };
      return {
        node: control,
        control,
        get() {
          if (control.value === shown) {
            return copy(original);
          }
          return control.value.trim() === '' ? undefined : read().value;
        },
        set(value) {
          original = copy(value);
          control.value = value === undefined ? '' : JSON.stringify(value, null, 2);
          shown = control.value;
          control.rows = Math.min(20, Math.max(4, shown.split('\n').length));
        },
        problem() {
          const untouched = control.value === shown || control.value.trim() === '';
          const error = untouched ? undefined : read().error;
          return error === undefined ? null : context.texts.notJson + ' ' + error;
        },
        rest: (tokens) => tokens.join('/'),
      };
    },
  };
}(window.Domoflux = window.Domoflux || {}));

/* The form of a kind, made from its JSON Schema: nothing in it knows any kind, nor Jeedom. */
(function (Domoflux) {
  'use strict';

  const { element, icon } = Domoflux;

  /** The slot at which something about a pointer is said, and the tokens that lead further than any slot. */
  function locate(root, pointer) {
    let slot = root;
    const tokens = Domoflux.pointerTokens(pointer);
    while (tokens.length > 0) {
      const next = slot.child(tokens[0]);
      if (!next) {
        break;
      }
      slot = next;
      // What the schema does not know is in one slot together, each under its own name.
      if (slot.together) {
        break;
      }
      tokens.shift();
    }
    return { slot, tokens };
  }

  function every(slot, visit) {
    visit(slot);
    slot.children().forEach((child) => every(child, visit));
  }

  /** Unfolds what a slot is in. */
  function reveal(node) {
    for (let fold = node.closest('details'); fold; fold = fold.parentElement.closest('details')) {
      fold.open = true;
    }
  }

  function goTo(node) {
    if (node.scrollIntoView) {
      node.scrollIntoView({ block: 'center' });
    }
    const control = node.querySelector('input, select, textarea, button');
    if (control) {
      control.focus({ preventScroll: true });
    }
  }

  /** The first of some nodes as the page shows them. */
  function first(nodes) {
    return nodes.reduce((best, node) => (
      !best || node.compareDocumentPosition(best) & Node.DOCUMENT_POSITION_FOLLOWING ? node : best), null);
  }

  function slotOf(context, node) {
    let at = node;
    while (at && !context.slots.has(at)) {
      at = at.parentElement;
    }
    return at ? context.slots.get(at) : null;
  }

  /** Puts the form of `schema` into `container`. `texts` are those of domoflux.texts.js. `onChange` is called for each edit
   * by a person, not for `set`. */
  Domoflux.makeForm = function ({ container, schema, texts, onChange }) {
    const context = { texts, slots: new WeakMap() };
    const top = element('div', { class: 'domoflux-top', role: 'alert' });
    const plan = Domoflux.plan(schema, schema);
    const root = Domoflux.makeSlot(plan.title || 'JSON', plan, context, { layout: 'bare', required: true });
    const node = element('div', { class: 'domoflux-form' }, top, root.node);

    const edited = (event) => {
      // A text is heard at `input`. Its `change` comes when the focus leaves, maybe with a problem just shown there.
      if (event.type === 'change' && event.target.matches('textarea, input:not([type=checkbox])')) {
        return;
      }
      const slot = slotOf(context, event.target);
      if (slot) {
        slot.clear();
      }
      if (onChange) {
        onChange();
      }
    };
    node.addEventListener('input', edited);
    node.addEventListener('change', edited);
    container.replaceChildren(node);
    root.set({});

    const clear = (kind) => {
      top.replaceChildren();
      every(root, (slot) => slot.clear(kind));
    };

    const sayAtTop = (message) => {
      top.append(element('div', { class: 'alert alert-danger' }, icon('exclamation-circle'), ' ' + message));
      return top;
    };

    const form = {
      node,
      /** The spec: only what is set. */
      value() {
        const value = root.get();
        return value === undefined ? {} : value;
      },
      set(spec) {
        top.replaceChildren();
        root.set(spec === undefined ? {} : spec);
      },
      /** What is wrong before the daemon is asked: JSON that is none. */
      ownProblems() {
        const found = [];
        every(root, (slot) => {
          const message = slot.ownProblem();
          if (message !== null && !slot.node.closest('[hidden]')) {
            found.push({ slot, message });
          }
        });
        return found;
      },
      /** Shows `[{pointer, message}]` where they belong, and goes to the first. Returns how many there are. */
      showProblems(problems) {
        clear('.domoflux-problem');
        const nodes = form.ownProblems().map(({ slot, message }) => {
          slot.problem(message, []);
          return slot.node;
        });
        for (const { pointer, message } of problems) {
          const { slot, tokens } = locate(root, pointer);
          const whole = tokens.length > 0 ? Domoflux.named(tokens.join('/'), message, texts) : message;
          nodes.push(slot === root ? sayAtTop(whole) : slot.node);
          if (slot !== root) {
            slot.problem(message, tokens);
          }
        }
        nodes.forEach(reveal);
        if (nodes.length > 0) {
          goTo(first(nodes));
        }
        return nodes.length;
      },
      clearProblems: () => clear('.domoflux-problem'),
      /** Shows `[{pointer, ok, text, ms}]` of a test: ok is true, false, or null where it can't be known. */
      showFindings(findings) {
        clear('.domoflux-finding');
        const bad = [];
        for (const finding of findings) {
          const { slot, tokens } = locate(root, finding.pointer);
          slot.finding(finding, tokens);
          if (finding.ok === false) {
            bad.push(slot.node);
          }
          reveal(slot.node);
        }
        if (bad.length > 0 && bad[0].scrollIntoView) {
          first(bad).scrollIntoView({ block: 'center' });
        }
      },
      clearFindings: () => clear('.domoflux-finding'),
      remove: () => node.remove(),
    };
    return form;
  };
}(window.Domoflux = window.Domoflux || {}));

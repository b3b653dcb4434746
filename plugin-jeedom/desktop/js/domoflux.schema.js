/* Reads a JSON Schema (the subset of 2020-12 that `domoflux schema kinds` uses) and says which widget shows a value:
 *
 *   scalar   text, a number, or either          {accepts: ['number', 'string'], unit: 's', secret: bool}
 *   boolean
 *   choice   one of some constants              {options: [{value, text}]}
 *   lines    a list of scalars                  {item: plan, single: whether one may stand without a list}
 *   rows     a list of objects                  {item: plan, minItems, maxItems}
 *   object                                      {properties: [{key, plan, required}]}
 *   json     everything else: the value as JSON
 *
 * Every plan also has title, description, default, examples, nullable, advanced. */
(function (Domoflux) {
  'use strict';

  const SCALARS = ['string', 'number', 'integer'];
  const DEEPEST = 12;

  const isNull = (schema) => schema.type === 'null' || schema.const === null;

  function deref(schema, root) {
    if (typeof schema.$ref !== 'string' || !schema.$ref.startsWith('#')) {
      return schema;
    }
    const found = Domoflux.pointerTokens(schema.$ref.slice(1))
      .reduce((at, token) => (at !== undefined && at !== null ? at[token] : undefined), root);
    if (!Domoflux.isObject(found)) {
      return schema;
    }
    const { $ref, ...beside } = schema;
    return { ...found, ...beside, $ref: found.$ref };
  }

  /** Without `$ref`, `allOf` of one, and the null among alternatives. */
  function simple(schema, root, depth) {
    if (!Domoflux.isObject(schema) || depth > DEEPEST) {
      return { nullable: false, schema: {} };
    }
    const known = deref(schema, root);
    if (known.$ref !== undefined && known.$ref !== schema.$ref) {
      return simple(known, root, depth + 1);
    }
    if (Array.isArray(known.allOf) && known.allOf.length === 1) {
      const { allOf, ...beside } = known;
      return simple({ ...allOf[0], ...beside }, root, depth + 1);
    }
    return withoutNull(known, root, depth);
  }

  function withoutNull(schema, root, depth) {
    const key = ['anyOf', 'oneOf'].find((name) => Array.isArray(schema[name]));
    if (key !== undefined && schema[key].some(isNull)) {
      const { [key]: all, ...beside } = schema;
      const left = all.filter((one) => !isNull(one));
      const merged = left.length === 1 ? { ...left[0], ...beside } : { ...beside, [key]: left };
      return { nullable: true, schema: simple(merged, root, depth + 1).schema };
    }
    if (Array.isArray(schema.type) && schema.type.includes('null')) {
      const type = schema.type.filter((one) => one !== 'null');
      return { nullable: true, schema: { ...schema, type: type.length === 1 ? type[0] : type } };
    }
    return { nullable: false, schema };
  }

  function optionText(one) {
    return one.title || (one.description || '').replace(/\.$/, '') || String(one.const);
  }

  function choice(schema) {
    if (Array.isArray(schema.enum)) {
      return { widget: 'choice', options: schema.enum.map((value) => ({ value, text: String(value) })) };
    }
    const all = schema.oneOf || schema.anyOf || (schema.const === undefined ? [] : [schema]);
    if (all.length > 0 && all.every((one) => one.const !== undefined)) {
      return { widget: 'choice', options: all.map((one) => ({ value: one.const, text: optionText(one) })) };
    }
    return null;
  }

  function scalar(schema) {
    const accepts = [].concat(schema.type || []);
    if (accepts.length === 0 || !accepts.every((type) => SCALARS.includes(type)) || schema.oneOf || schema.anyOf) {
      return null;
    }
    return { widget: 'scalar', accepts, unit: schema['x-unit'], secret: schema['x-secret'] === true };
  }

  function array(schema, root, depth) {
    if (schema.type !== 'array' || !Domoflux.isObject(schema.items)) {
      return null;
    }
    const item = Domoflux.plan(schema.items, root, depth + 1);
    if (item.widget === 'scalar' && !item.nullable && !item.secret) {
      return { widget: 'lines', item, single: false };
    }
    if (item.widget === 'object') {
      return { widget: 'rows', item, minItems: schema.minItems || 0, maxItems: schema.maxItems };
    }
    return null;
  }

  /** `anyOf` of something and a list of the same. */
  function oneOrMore(schema, root, depth) {
    const all = schema.anyOf || schema.oneOf || [];
    if (all.length !== 2) {
      return null;
    }
    const plans = all.map((one) => Domoflux.plan(one, root, depth + 1));
    const list = plans.find((plan) => plan.widget === 'lines');
    const one = plans.find((plan) => plan.widget === 'scalar');
    return list && one ? { widget: 'lines', item: one, single: true } : null;
  }

  function object(schema, root, depth) {
    if (schema.type !== 'object' || !Domoflux.isObject(schema.properties)) {
      return null;
    }
    const required = schema.required || [];
    const properties = Object.entries(schema.properties).map(([key, one]) => {
      const plan = Domoflux.plan(one, root, depth + 1);
      return { key, plan, required: required.includes(key) };
    });
    return { widget: 'object', properties };
  }

  const boolean = (schema) => (schema.type === 'boolean' ? { widget: 'boolean' } : null);

  const READERS = [choice, boolean, scalar, array, oneOrMore, object];

  /** The plan of a schema; `root` is the document in which its `$ref`s are. */
  Domoflux.plan = function (given, root, depth = 0) {
    const { nullable, schema } = simple(given, root || given, depth);
    let found = null;
    if (depth <= DEEPEST) {
      for (const reader of READERS) {
        found = found || reader(schema, root || given, depth);
      }
    }
    return {
      ...(found || { widget: 'json' }),
      nullable,
      title: schema.title,
      description: schema.description,
      default: schema.default,
      examples: Array.isArray(schema.examples) ? schema.examples : [],
      advanced: schema['x-advanced'] === true,
    };
  };
}(window.Domoflux = window.Domoflux || {}));

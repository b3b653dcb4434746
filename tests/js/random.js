'use strict';
/* Random specs that are valid under a schema, from a seed: a failure says its seed. */

/** Numbers in [0, 1): mulberry32. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const TEXTS = ['', '0.0.0.0:10001', '[::]:1', 'a b', '5', '5s', '007', ' edge ', 'é<b>&"\'', 'tcp', '1e3', 'null', '{"a":1}', '\u2028'];

function valid(schema, random, root = schema) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const whole = (most) => Math.floor(random() * (most + 1));
  if (schema.const !== undefined) {
    return schema.const;
  }
  if (schema.enum) {
    return pick(schema.enum);
  }
  if (schema.$ref) {
    return valid(root.$defs[schema.$ref.split('/').pop()], random, root);
  }
  const alternatives = schema.oneOf || schema.anyOf;
  if (alternatives) {
    return valid(pick(alternatives), random, root);
  }
  const makers = {
    string: () => (random() < 0.1 ? 'two\nlines' : pick(schema.examples || TEXTS)),
    integer: () => (schema.minimum || 0) + whole(schema.maximum || 100000),
    number: () => pick([0, 5, 0.25, 1.5e-7, 123456789]),
    boolean: () => random() < 0.5,
    null: () => null,
    array: () => Array.from({ length: (schema.minItems || 0) + whole(3) }, () => valid(schema.items, random, root)),
    object: () => Object.fromEntries(Object.entries(schema.properties || {})
      .filter(([key]) => (schema.required || []).includes(key) || random() < 0.5)
      .map(([key, one]) => [key, valid(one, random, root)])),
  };
  const type = pick([].concat(schema.type));
  if (type === 'string' && schema['x-unit']) {
    return pick(['5s', '500ms', '64 KiB', '12', '1.5m']);
  }
  return makers[type]();
}

/** Any JSON value, valid or not. */
function anything(random, depth = 3) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const some = (make) => Array.from({ length: Math.floor(random() * 3) }, make);
  const makers = [
    () => pick(TEXTS), () => pick([0, -1, 2.5, 1e21]), () => random() < 0.5, () => null,
    () => some(() => anything(random, depth - 1)),
    () => Object.fromEntries(some(() => [pick(['a', 'address', '__proto__', 'x/y']), anything(random, depth - 1)])),
  ];
  return pick(depth > 0 ? makers : makers.slice(0, 4))();
}

/** A spec with something in it replaced by anything, or something unknown added. */
function damaged(spec, random) {
  const copy = structuredClone(spec);
  const at = Object.keys(copy);
  const key = random() < 0.3 ? 'unknown' : at[Math.floor(random() * at.length)];
  const inner = copy[key];
  if (Array.isArray(inner) && inner.length > 0 && random() < 0.5) {
    inner[0] = inner[0] !== null && typeof inner[0] === 'object' && !Array.isArray(inner[0])
      ? damaged({ z: 1, ...inner[0] }, random) : anything(random);
  } else {
    copy[key === undefined ? 'unknown' : key] = anything(random);
  }
  return copy;
}

module.exports = { generator, valid, anything, damaged };

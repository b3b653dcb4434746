/* Numbers and times as a person reads them. */
(function (Domoflux) {
  'use strict';

  const number = (value, digits, language) => new Intl.NumberFormat(language, {
    maximumFractionDigits: digits,
  }).format(value);

  /** 1536 is "1,5 Kio"; `units` are the names, each 1024 times the one before. */
  Domoflux.bytes = function (value, { bytes: units, language }) {
    let step = 0;
    let left = value;
    while (left >= 1024 && step < units.length - 1) {
      left /= 1024;
      step += 1;
    }
    return number(left, left < 100 && step > 0 ? 1 : 0, language) + ' ' + units[step];
  };

  const TIMES = [[1e6, 's'], [1e3, 'ms'], [1, 'µs']];

  /** 1536 µs are "1,5 ms". */
  Domoflux.microseconds = function (value, { language }) {
    const [length, name] = TIMES.find(([one]) => value >= one) || [1, 'µs'];
    const left = value / length;
    return number(left, left < 100 && length > 1 ? 1 : 0, language) + ' ' + name;
  };

  /** A counter's value; `unit` is that of `flow.kinds`: none, packets, bytes or microseconds. */
  Domoflux.counter = function (value, unit, texts) {
    if (unit === 'bytes') {
      return Domoflux.bytes(value, texts);
    }
    return unit === 'microseconds' ? Domoflux.microseconds(value, texts) : number(value, 0, texts.language);
  };

  /** How fast a counter went from one poll to the next; null where that can't be said: the first poll, or a reset. */
  Domoflux.rate = function (before, now, milliseconds, unit, texts) {
    if (before === undefined || now < before || milliseconds <= 0) {
      return null;
    }
    const rate = (now - before) * 1000 / milliseconds;
    const text = unit === 'bytes' ? Domoflux.bytes(rate, texts) : number(rate, rate < 10 ? 1 : 0, texts.language);
    return text + texts.perSecond;
  };

  /** A time span in its largest unit: 200000 ms is "3 min". */
  Domoflux.span = function (milliseconds, { ago }) {
    const seconds = Math.max(0, Math.floor(milliseconds / 1000));
    const [text, length] = [[ago.d, 86400], [ago.h, 3600], [ago.m, 60], [ago.s, 1]].find(([, one]) => seconds >= one)
      || [ago.s, 1];
    return text.replace('%s', Math.floor(seconds / length));
  };

  /** A moment, given in milliseconds since 1970: the time alone when it is today. */
  Domoflux.moment = function (at, now, language) {
    const [then, today] = [new Date(at), new Date(now)];
    return then.toDateString() === today.toDateString()
      ? then.toLocaleTimeString(language) : then.toLocaleString(language);
  };
}(window.Domoflux = window.Domoflux || {}));

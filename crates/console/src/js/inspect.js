// How values are shown: as geth's console shows them.
(function (lib) {
  'use strict';
  const c = lib.conversion;

  const NESTING_MAX = 3;
  const SHOWN_CHARS_MAX = 64 * 1024 * 1024;
  const BORING = {
    valueOf: true, toString: true, toLocaleString: true, hasOwnProperty: true,
    isPrototypeOf: true, propertyIsEnumerable: true, constructor: true
  };
  const COLOURS = { function: '35', special: '1', number: '31', string: '32', error: '91' };
  const ESCAPES = { 7: '\\a', 8: '\\b', 9: '\\t', 10: '\\n', 11: '\\v', 12: '\\f', 13: '\\r', 34: '\\"', 92: '\\\\' };
  const PLAIN = /^[ !#-[\]-~]*$/;
  // What a terminal does not show, or takes for a command.
  const UNPRINTABLE = /[\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u180e\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\udfff\ue000-\uf8ff\ufeff\ufff0-\ufffb\ufffe\uffff]/;

  function hex(number, width) {
    return number.toString(16).padStart(width, '0');
  }

  // As Go's strconv.Quote.
  function quoted(text) {
    if (PLAIN.test(text)) return '"' + text + '"';
    const pieces = ['"'];
    for (const character of text) {
      const code = character.codePointAt(0);
      if (ESCAPES[code]) pieces.push(ESCAPES[code]);
      else if (code < 0x20 || code === 0x7f) pieces.push('\\x' + hex(code, 2));
      else if (code > 0x7e && code < 0x10000 && UNPRINTABLE.test(character)) {
        pieces.push(code >= 0xd800 && code < 0xe000 ? '\ufffd' : '\\u' + hex(code, 4));
      } else pieces.push(character);
    }
    pieces.push('"');
    return pieces.join('');
  }

  // For names and messages, which are shown without quotes: nothing that moves the cursor.
  function harmless(text) {
    return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, function (character) {
      const code = character.charCodeAt(0);
      return code < 0x80 ? '\\x' + hex(code, 2) : '\\u' + hex(code, 4);
    });
  }

  function coloured(kind, text) {
    return lib.host.isColoured() ? '\u001b[' + COLOURS[kind] + 'm' + text + '\u001b[0m' : text;
  }

  // A property whose getter fails (an RPC method that the node lacks) is undefined.
  function safely(object, key) {
    try {
      return object[key];
    } catch (error) {
      return undefined;
    }
  }

  function keysOf(object) {
    const seen = new Set(Object.getOwnPropertyNames(object));
    const constructor = safely(object, 'constructor');
    const prototype = typeof constructor === 'function' ? safely(constructor, 'prototype') : undefined;
    if (prototype !== null && (typeof prototype === 'object' || typeof prototype === 'function')) {
      Object.getOwnPropertyNames(prototype).forEach(function (key) { seen.add(key); });
    }
    return Array.from(seen);
  }

  function byBytes(a, b) {
    return a < b ? -1 : a > b ? 1 : 0;
  }

  function classOf(value) {
    return Object.prototype.toString.call(value).slice(8, -1);
  }

  function Printer() {
    this.pieces = [];
    this.length = 0;
  }

  Printer.prototype.put = function (text) {
    this.length += text.length;
    if (this.length > SHOWN_CHARS_MAX) throw new RangeError('the value is too large to be shown');
    this.pieces.push(text);
  };

  Printer.prototype.value = function (value, level, isInArray) {
    switch (typeof value) {
      case 'undefined':
      case 'boolean': return this.put(coloured('special', String(value)));
      case 'string': return this.put(coloured('string', quoted(value)));
      case 'number':
      case 'bigint': return this.put(coloured('number', String(value)));
      case 'symbol': return this.put(harmless(value.toString()));
      default:
        if (value === null) return this.put(coloured('special', 'null'));
        return this.object(value, level, isInArray);
    }
  };

  Printer.prototype.object = function (object, level, isInArray) {
    if (typeof object === 'function') return this.function(object);
    if (Array.isArray(object)) return this.array(object, level);
    if (c.isBigNumber(object)) return this.put(coloured('number', object.toString()));
    const kind = classOf(object);
    if (kind === 'RegExp') return this.put(coloured('string', harmless(object)));
    if (kind === 'Boolean' || kind === 'Number' || kind === 'String') {
      return this.value(object.valueOf(), level, isInArray);
    }
    if (kind === 'Object') return this.fields(object, level, isInArray);
    let text = '';
    try {
      text = level <= NESTING_MAX ? ' ' + harmless(object) : '';
    } catch (error) {
      text = '';
    }
    return this.put('<' + harmless(kind) + text + '>');
  };

  Printer.prototype.function = function (value) {
    const source = Function.prototype.toString.call(value);
    this.put(coloured('function', harmless(source.split('{')[0].trim().replace(' (', '('))));
  };

  Printer.prototype.array = function (array, level) {
    if (array.length === 0) return this.put('[]');
    if (level > NESTING_MAX) return this.put('[...]');
    this.put('[');
    for (let index = 0; index < array.length; index++) {
      if (index > 0) this.put(', ');
      // A hole is nothing.
      if (index in array) this.value(array[index], level + 1, true);
    }
    this.put(']');
  };

  Printer.prototype.fields = function (object, level, isInArray) {
    const values = [];
    const methods = [];
    const read = new Map();
    keysOf(object).forEach(function (key) {
      if (BORING[key] === true || key[0] === '_') return;
      const value = safely(object, key);
      read.set(key, value);
      (typeof value === 'function' ? methods : values).push(key);
    });
    const keys = values.sort(byBytes).concat(methods.sort(byBytes));
    if (keys.length === 0) return this.put('{}');
    if (level > NESTING_MAX) return this.put('{...}');
    this.put('{\n');
    for (let index = 0; index < keys.length; index++) {
      this.put('  '.repeat(level + 1) + harmless(keys[index]) + ': ');
      this.value(read.get(keys[index]), level + 1, false);
      this.put(index < keys.length - 1 ? ',\n' : '\n');
    }
    this.put('  '.repeat(isInArray ? level - 1 : level) + '}');
  };

  function shown(value) {
    const printer = new Printer();
    printer.value(value, 0, false);
    return printer.pieces.join('');
  }

  // What was thrown, with the places it came from.
  function failure(error, trace) {
    let text;
    try {
      text = String(error);
    } catch (nested) {
      text = 'an error that cannot be shown';
    }
    return coloured('error', harmless(text + trace));
  }

  // The names that could follow what was typed.
  function completions(line) {
    const parts = line.split('.');
    const prefix = parts.pop();
    let object = globalThis;
    for (const part of parts) {
      object = safely(object, part);
      if (object === null || object === undefined) return [];
      object = Object(object);
    }
    const path = parts.length > 0 ? parts.join('.') + '.' : '';
    const found = keysOf(object).filter(function (key) {
      return key.indexOf(prefix) === 0 && /^[A-Za-z$][\w$]*$/.test(key);
    });
    if (found.length === 1 && found[0] === prefix) {
      const value = safely(object, prefix);
      if (typeof value === 'function') return [line + '('];
      return value !== null && typeof value === 'object' ? [line + '.'] : [line];
    }
    return found.sort(byBytes).map(function (key) { return path + key; });
  }

  lib.inspect = {
    shown: shown,
    failure: failure,
    completed: function (line) { return completions(line).join('\n'); },
    harmless: harmless
  };
})

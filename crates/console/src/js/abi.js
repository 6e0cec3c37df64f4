// The contract ABI: arguments to bytes and bytes to values. Tuples and nested arrays included.
(function (lib) {
  'use strict';
  const c = lib.conversion;
  const h = lib.helpers;
  const BigNumber = lib.BigNumber;

  // A contract can claim any length; values beyond this are refused before memory is taken.
  const ELEMENTS_MAX = 1000000;
  const NESTING_MAX = 32;
  const WORD = 64;
  const MODULUS = 1n << 256n;

  // 'uint256[2][]' and the components of tuples, as a tree.
  function typeOf(name, components, depth) {
    if (depth > NESTING_MAX) throw new Error('solidity type is nested too deeply: ' + name);
    const array = /^(.*)\[(\d*)\]$/.exec(name);
    if (array) {
      const element = typeOf(array[1], components, depth + 1);
      const length = array[2] === '' ? null : Number(array[2]);
      if (length > ELEMENTS_MAX) throw new Error('solidity array is too long: ' + name);
      return { kind: 'array', name: name, element: element, length: length, isDynamic: length === null || element.isDynamic };
    }
    if (name === 'tuple') {
      const parts = (components || []).map(function (one) {
        return { name: one.name, type: typeOf(one.type, one.components, depth + 1) };
      });
      const isDynamic = parts.some(function (part) { return part.type.isDynamic; });
      return { kind: 'tuple', name: name, parts: parts, isDynamic: isDynamic };
    }
    if (name === 'string' || name === 'bytes') return { kind: name, name: name, isDynamic: true };
    if (name === 'address' || name === 'bool') return { kind: name, name: name, isDynamic: false };
    let match = /^(u?int)(\d*)$/.exec(name);
    if (match) {
      const bits = match[2] === '' ? 256 : Number(match[2]);
      if (bits >= 8 && bits <= 256 && bits % 8 === 0) return { kind: match[1], name: name, bits: bits, isDynamic: false };
    }
    match = /^bytes(\d+)$/.exec(name);
    if (match && match[1] >= 1 && match[1] <= 32) {
      return { kind: 'fixed bytes', name: name, size: Number(match[1]), isDynamic: false };
    }
    if (name === 'function') return { kind: 'fixed bytes', name: name, size: 24, isDynamic: false };
    throw new Error('invalid solidity type!: ' + name);
  }

  function parsedType(input) {
    return c.isString(input) ? typeOf(input, [], 0) : typeOf(input.type, input.components, 0);
  }

  // The length of the head of a value, in characters of hex.
  function headLength(type) {
    if (type.isDynamic) return WORD;
    if (type.kind === 'array') return type.length * headLength(type.element);
    if (type.kind === 'tuple') {
      return type.parts.reduce(function (sum, part) { return sum + headLength(part.type); }, 0);
    }
    return WORD;
  }

  function word(integer) {
    const value = integer < 0n ? MODULUS + integer : integer;
    return value.toString(16).padStart(WORD, '0');
  }

  function encodedInteger(value) {
    // web3 leaves this mode behind for the divisions of its user, too.
    BigNumber.config({ ROUNDING_MODE: BigNumber.ROUND_DOWN });
    const integer = lib.integer(h.toBigNumber(value));
    if (integer >= MODULUS || integer < -(MODULUS >> 1n)) throw new Error('number does not fit in 256 bits: ' + value);
    return word(integer);
  }

  function encodedBytes(value) {
    const hex = h.toHex(value).substr(2);
    const padded = hex.length % 2 === 0 ? hex : '0' + hex;
    if (!/^[0-9a-f]*$/i.test(padded)) throw new Error('bytes are not hexadecimal: ' + value);
    return padded;
  }

  function paddedRight(hex) {
    return hex.padEnd(Math.ceil(hex.length / WORD) * WORD, '0');
  }

  function encodedAddress(value) {
    const text = c.isString(value) ? String(value) : h.toHex(value);
    if (h.isAddress(text)) return text.replace(/^0x/i, '').toLowerCase().padStart(WORD, '0');
    return encodedInteger(value);
  }

  function encodedValue(type, value) {
    switch (type.kind) {
      case 'array': {
        const values = Array.isArray(value) ? value : [value];
        if (type.length !== null && values.length !== type.length) {
          throw new Error(type.name + ' needs ' + type.length + ' elements and not ' + values.length);
        }
        const types = values.map(function () { return type.element; });
        return (type.length === null ? word(BigInt(values.length)) : '') + encodedSequence(types, values);
      }
      case 'tuple': {
        const values = type.parts.map(function (part, index) {
          return Array.isArray(value) ? value[index] : value[part.name];
        });
        return encodedSequence(type.parts.map(function (part) { return part.type; }), values);
      }
      case 'string': {
        const hex = c.hexOf(c.bytesOfUtf8(String(value)));
        return word(BigInt(hex.length / 2)) + paddedRight(hex);
      }
      case 'bytes': {
        const hex = encodedBytes(value);
        return word(BigInt(hex.length / 2)) + paddedRight(hex);
      }
      case 'fixed bytes': {
        const hex = encodedBytes(value);
        if (hex.length > WORD) throw new Error('value is longer than ' + type.name + ': ' + value);
        return hex.padEnd(WORD, '0');
      }
      case 'bool': return word(value ? 1n : 0n);
      case 'address': return encodedAddress(value);
      default: return encodedInteger(value);
    }
  }

  function encodedSequence(types, values) {
    let offset = types.reduce(function (sum, type) { return sum + headLength(type); }, 0) / 2;
    const heads = [];
    const tails = [];
    types.forEach(function (type, index) {
      const encoded = encodedValue(type, values[index]);
      if (!type.isDynamic) return heads.push(encoded);
      heads.push(word(BigInt(offset)));
      tails.push(encoded);
      offset += encoded.length / 2;
    });
    return heads.join('') + tails.join('');
  }

  function wordAt(hex, at) {
    // Where no contract is, web3 finds zeros.
    if (hex === '') return '0'.repeat(WORD);
    if (at < 0 || at + WORD > hex.length) throw new Error('the contract\'s answer is shorter than its ABI says');
    return hex.substr(at, WORD);
  }

  // Offsets and lengths of a stranger: nothing beyond the answer itself.
  function sizeAt(hex, at) {
    const value = BigInt('0x' + wordAt(hex, at));
    if (value > BigInt(hex.length)) throw new Error('the contract\'s answer points beyond its end');
    return Number(value);
  }

  // The budget stops answers whose offsets all point at the same large array.
  function decodedValue(type, hex, at, base, budget) {
    budget.left -= 1;
    if (budget.left < 0) throw new Error('the contract\'s answer has more than ' + ELEMENTS_MAX + ' elements');
    if (type.isDynamic) {
      at = base + sizeAt(hex, at) * 2;
      base = at;
    }
    switch (type.kind) {
      case 'array': {
        let length = type.length;
        if (length === null) {
          length = sizeAt(hex, at);
          at += WORD;
        }
        const types = [];
        const step = headLength(type.element);
        const values = [];
        for (let index = 0; index < length; index++) {
          values.push(decodedValue(type.element, hex, at + index * step, type.isDynamic ? at : base, budget));
        }
        return values;
      }
      case 'tuple': {
        const values = [];
        let place = at;
        type.parts.forEach(function (part) {
          const value = decodedValue(part.type, hex, place, type.isDynamic ? at : base, budget);
          values.push(value);
          if (part.name) values[part.name] = value;
          place += headLength(part.type);
        });
        return values;
      }
      case 'string':
      case 'bytes': {
        const length = sizeAt(hex, at) * 2;
        const data = hex.substr(at + WORD, length);
        if (data.length !== length) throw new Error('the contract\'s answer is shorter than its ABI says');
        return type.kind === 'bytes' ? '0x' + data : textOf(data);
      }
      case 'fixed bytes': return '0x' + wordAt(hex, at).slice(0, type.size * 2);
      case 'bool': return BigInt('0x' + wordAt(hex, at)) === 1n;
      case 'address': return '0x' + wordAt(hex, at).slice(24);
      case 'int': {
        const value = BigInt('0x' + wordAt(hex, at));
        return new BigNumber(value >> 255n === 1n ? value - MODULUS : value);
      }
      default: return new BigNumber(BigInt('0x' + wordAt(hex, at)));
    }
  }

  function textOf(hex) {
    const binary = c.binaryOf(hex);
    try {
      return decodeURIComponent(escape(binary));
    } catch (error) {
      throw new Error('Invalid UTF-8 detected');
    }
  }

  function typeName(input) {
    if (!/^tuple/.test(input.type)) return input.type;
    return '(' + (input.components || []).map(typeName).join() + ')' + input.type.slice(5);
  }

  lib.abi = {
    encodeParams: function (inputs, values) {
      return encodedSequence(inputs.map(parsedType), values);
    },
    decodeParams: function (inputs, hex) {
      const budget = { left: ELEMENTS_MAX };
      let at = 0;
      return inputs.map(parsedType).map(function (type) {
        const value = decodedValue(type, hex, at, 0, budget);
        at += headLength(type);
        return value;
      });
    },
    isDynamic: function (input) {
      const type = parsedType(input);
      return type.isDynamic || type.kind === 'array' || type.kind === 'tuple';
    },
    fullName: function (json) {
      if (json.name && json.name.indexOf('(') !== -1) return json.name;
      return json.name + '(' + (json.inputs || []).map(typeName).join() + ')';
    },
    // What is between the parentheses.
    typeNames: function (json) {
      return (json.inputs || []).map(typeName).join();
    }
  };
})

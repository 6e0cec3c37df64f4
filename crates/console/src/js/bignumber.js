// Decimal numbers of any length, with the interface of bignumber.js 2: what web3 0.20 hands out for
// balances, prices and difficulties.
(function (lib) {
  'use strict';

  // A coefficient longer than this is refused: `pow` and exponents could make one of any length.
  const DIGITS_MAX = 100000;
  const EXPONENT_MAX = 1e9;
  const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ$_';
  const NUMERIC = /^-?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
  const PREFIXED = /^(-?)0([xbo])([0-9a-z]+(?:\.[0-9a-z]*)?)$/i;

  const settings = {
    DECIMAL_PLACES: 20,
    ROUNDING_MODE: 4,
    EXPONENTIAL_AT: [-7, 21],
    RANGE: [-EXPONENT_MAX, EXPONENT_MAX],
    ERRORS: true,
    CRYPTO: false,
    MODULO_MODE: 1,
    POW_PRECISION: 100,
    FORMAT: {
      decimalSeparator: '.',
      groupSeparator: ',',
      groupSize: 3,
      secondaryGroupSize: 0,
      fractionGroupSeparator: '\u00a0',
      fractionGroupSize: 0
    }
  };

  function raise(caller, message, value) {
    const error = new Error(caller + '() ' + message + (value === undefined ? '' : ': ' + value));
    error.name = 'BigNumber Error';
    throw error;
  }

  function BigNumber(value, base) {
    if (!(this instanceof BigNumber)) return new BigNumber(value, base);
    const parts = value instanceof BigNumber && base === undefined ? value._v : parsed(value, base);
    Object.defineProperty(this, '_v', { value: parts });
  }

  // The parts of a number: sign (or null for no number), coefficient (or null for infinity), and
  // the power of ten that it is multiplied with. The coefficient does not end in a zero.
  function parts(sign, coefficient, power) {
    if (coefficient === 0n) return { sign: sign, coefficient: 0n, power: 0 };
    let text = coefficient.toString();
    if (text.length > DIGITS_MAX) raise('new BigNumber', 'number has more digits than ' + DIGITS_MAX);
    if (text.charCodeAt(text.length - 1) === 48) {
      let end = text.length;
      while (text.charCodeAt(end - 1) === 48) end -= 1;
      power += text.length - end;
      text = text.slice(0, end);
      coefficient = BigInt(text);
    }
    const exponent = text.length - 1 + power;
    if (exponent > EXPONENT_MAX) return infinite(sign);
    if (exponent < -EXPONENT_MAX) return { sign: sign, coefficient: 0n, power: 0 };
    return { sign: sign, coefficient: coefficient, power: power };
  }

  function infinite(sign) {
    return { sign: sign, coefficient: null, power: 0 };
  }

  const NOT_A_NUMBER = { sign: null, coefficient: null, power: 0 };

  function made(value) {
    const number = Object.create(BigNumber.prototype);
    Object.defineProperty(number, '_v', { value: value });
    return number;
  }

  function parsed(value, base) {
    if (base !== undefined && base !== null) {
      if (typeof base !== 'number' || base !== Math.floor(base) || base < 2 || base > 64) {
        raise('new BigNumber', 'base not an integer', base);
      }
      if (base !== 10) return inBase(String(value).trim(), base, value);
      const number = made(parsed(value instanceof BigNumber ? value : String(value)));
      return rounded(number._v, settings.DECIMAL_PLACES, settings.ROUNDING_MODE);
    }
    if (value instanceof BigNumber) return value._v;
    if (typeof value === 'bigint') return parts(value < 0n ? -1 : 1, value < 0n ? -value : value, 0);
    if (typeof value === 'number') {
      if (value === 0) return { sign: 1 / value < 0 ? -1 : 1, coefficient: 0n, power: 0 };
      const digits = String(value).replace(/^-|\.|e.*$/g, '').replace(/^0+/, '');
      if (settings.ERRORS && isFinite(value) && digits.length > 15) {
        raise('new BigNumber', 'number type has more than 15 significant digits', value);
      }
    }
    const text = String(value).trim();
    if (NUMERIC.test(text)) return decimal(text);
    if (text === 'Infinity' || text === '-Infinity') return infinite(text[0] === '-' ? -1 : 1);
    if (text === 'NaN') return NOT_A_NUMBER;
    const prefixed = PREFIXED.exec(text);
    if (prefixed) {
      const radix = { x: 16, b: 2, o: 8 }[prefixed[2].toLowerCase()];
      return inBase(prefixed[1] + prefixed[3], radix, value);
    }
    if (settings.ERRORS) raise('new BigNumber', 'not a number', value);
    return NOT_A_NUMBER;
  }

  function decimal(text) {
    const negative = text[0] === '-';
    if (negative) text = text.slice(1);
    const at = text.search(/e/i);
    let power = 0;
    if (at >= 0) {
      power = Number(text.slice(at + 1));
      text = text.slice(0, at);
    }
    const dot = text.indexOf('.');
    if (dot >= 0) {
      power -= text.length - dot - 1;
      text = text.slice(0, dot) + text.slice(dot + 1);
    }
    if (text.length > DIGITS_MAX) raise('new BigNumber', 'number has more digits than ' + DIGITS_MAX);
    return parts(negative ? -1 : 1, BigInt(text || '0'), power);
  }

  function inBase(text, base, value) {
    const negative = text[0] === '-';
    if (negative) text = text.slice(1);
    if (text === 'Infinity') return infinite(negative ? -1 : 1);
    if (base <= 36) text = text.toLowerCase();
    const dot = text.indexOf('.');
    const digits = dot < 0 ? text : text.slice(0, dot) + text.slice(dot + 1);
    if (digits.length > DIGITS_MAX) raise('new BigNumber', 'number has more digits than ' + DIGITS_MAX);
    if (base === 16 && dot < 0 && /^[0-9a-f]+$/.test(digits)) {
      return parts(negative ? -1 : 1, BigInt('0x' + digits), 0);
    }
    const radix = BigInt(base);
    let whole = 0n;
    for (const digit of digits) {
      const index = ALPHABET.indexOf(digit);
      if (index < 0 || index >= base) {
        if (settings.ERRORS) raise('new BigNumber', 'not a base ' + base + ' number', value);
        return NOT_A_NUMBER;
      }
      whole = whole * radix + BigInt(index);
    }
    if (digits === '') {
      if (settings.ERRORS) raise('new BigNumber', 'not a base ' + base + ' number', value);
      return NOT_A_NUMBER;
    }
    const sign = negative ? -1 : 1;
    const fraction = dot < 0 ? 0 : text.length - dot - 1;
    if (fraction === 0) return parts(sign, whole, 0);
    return quotient(sign, whole, radix ** BigInt(fraction), 0);
  }

  function ten(power) {
    return 10n ** BigInt(power);
  }

  // The division of two positive numbers, rounded as `mode` says for a number of that sign.
  function divided(above, below, sign, mode) {
    const whole = above / below;
    const rest = above % below;
    if (rest === 0n) return whole;
    const twice = rest * 2n;
    const half = twice === below;
    let up;
    switch (mode) {
      case 0: up = true; break;
      case 1: up = false; break;
      case 2: up = sign > 0; break;
      case 3: up = sign < 0; break;
      case 4: up = twice >= below; break;
      case 5: up = twice > below; break;
      case 6: up = half ? whole % 2n === 1n : twice > below; break;
      case 7: up = half ? sign > 0 : twice > below; break;
      default: up = half ? sign < 0 : twice > below;
    }
    return up ? whole + 1n : whole;
  }

  function quotient(sign, above, below, power, places, mode) {
    if (places === undefined) places = settings.DECIMAL_PLACES;
    if (mode === undefined) mode = settings.ROUNDING_MODE;
    // above / below * 10^power, with `places` decimals
    const shift = power + places;
    if (Math.abs(shift) > DIGITS_MAX) return shift > 0 ? infinite(sign) : parts(sign, 0n, 0);
    if (shift >= 0) above *= ten(shift);
    else below *= ten(-shift);
    return parts(sign, divided(above, below, sign, mode), -places);
  }

  function exponent(value) {
    return value.coefficient === 0n ? 0 : value.coefficient.toString().length - 1 + value.power;
  }

  function rounded(value, places, mode) {
    if (value.coefficient === null || -value.power <= places) return value;
    const drop = -value.power - places;
    if (drop > value.coefficient.toString().length + 1) {
      const away = mode === 0 || (mode === 2 && value.sign > 0) || (mode === 3 && value.sign < 0);
      return parts(value.sign, away && value.coefficient !== 0n ? 1n : 0n, -places);
    }
    return parts(value.sign, divided(value.coefficient, ten(drop), value.sign, mode), -places);
  }

  function mode(value) {
    return value === undefined || value === null ? settings.ROUNDING_MODE : Number(value);
  }

  // Both coefficients, signed, at the smaller of the two powers.
  function aligned(a, b) {
    const power = Math.min(a.power, b.power);
    if (a.power - power > DIGITS_MAX || b.power - power > DIGITS_MAX) {
      raise('new BigNumber', 'number has more digits than ' + DIGITS_MAX);
    }
    const left = a.coefficient * ten(a.power - power) * BigInt(a.sign);
    const right = b.coefficient * ten(b.power - power) * BigInt(b.sign);
    return { left: left, right: right, power: power };
  }

  function sum(a, b) {
    if (a.sign === null || b.sign === null) return NOT_A_NUMBER;
    if (a.coefficient === null || b.coefficient === null) {
      if (a.coefficient === b.coefficient && a.sign !== b.sign) return NOT_A_NUMBER;
      return a.coefficient === null ? a : b;
    }
    const both = aligned(a, b);
    const total = both.left + both.right;
    const sign = total === 0n ? (a.sign < 0 && b.sign < 0 ? -1 : 1) : total < 0n ? -1 : 1;
    return parts(sign, total < 0n ? -total : total, both.power);
  }

  function compared(a, b) {
    if (a.sign === null || b.sign === null) return null;
    if (a.coefficient === 0n && b.coefficient === 0n) return 0;
    if (a.coefficient === null || b.coefficient === null) {
      if (a.coefficient === b.coefficient) return a.sign === b.sign ? 0 : a.sign;
      return a.coefficient === null ? a.sign : -b.sign;
    }
    const leftSign = a.coefficient === 0n ? 0 : a.sign;
    const rightSign = b.coefficient === 0n ? 0 : b.sign;
    if (leftSign !== rightSign) return leftSign < rightSign ? -1 : 1;
    const size = exponent(a) - exponent(b);
    if (size !== 0) return (size < 0 ? -1 : 1) * a.sign;
    const both = aligned(a, b);
    return both.left < both.right ? -1 : both.left > both.right ? 1 : 0;
  }

  function product(a, b) {
    if (a.sign === null || b.sign === null) return NOT_A_NUMBER;
    const sign = a.sign * b.sign;
    if (a.coefficient === null || b.coefficient === null) {
      return a.coefficient === 0n || b.coefficient === 0n ? NOT_A_NUMBER : infinite(sign);
    }
    return parts(sign, a.coefficient * b.coefficient, a.power + b.power);
  }

  function ratio(a, b, places, rounding) {
    if (a.sign === null || b.sign === null) return NOT_A_NUMBER;
    const sign = a.sign * b.sign;
    if (a.coefficient === null) return b.coefficient === null ? NOT_A_NUMBER : infinite(sign);
    if (b.coefficient === null) return parts(sign, 0n, 0);
    if (b.coefficient === 0n) return a.coefficient === 0n ? NOT_A_NUMBER : infinite(sign);
    return quotient(sign, a.coefficient, b.coefficient, a.power - b.power, places, rounding);
  }

  function fixed(value, places) {
    let digits = value.coefficient.toString();
    let power = value.power;
    if (power > DIGITS_MAX || -power > DIGITS_MAX) {
      raise('toString', 'number has more digits than ' + DIGITS_MAX);
    }
    if (power > 0) {
      if (digits !== '0') digits += '0'.repeat(power);
      power = 0;
    }
    const fraction = Math.max(-power, places || 0);
    digits += '0'.repeat(fraction + power);
    if (fraction > 0) {
      if (digits.length <= fraction) digits = '0'.repeat(fraction - digits.length + 1) + digits;
      digits = digits.slice(0, -fraction) + '.' + digits.slice(-fraction);
    }
    return digits;
  }

  function exponential(value, digitsWanted) {
    let digits = value.coefficient.toString();
    const at = exponent(value);
    if (digitsWanted > digits.length) digits += '0'.repeat(digitsWanted - digits.length);
    const mantissa = digits.length > 1 ? digits[0] + '.' + digits.slice(1) : digits;
    return mantissa + (at < 0 ? 'e' : 'e+') + at;
  }

  function special(value) {
    return value.sign === null ? 'NaN' : value.sign < 0 ? '-Infinity' : 'Infinity';
  }

  function signed(value, text) {
    return value.sign < 0 && value.coefficient !== 0n ? '-' + text : text;
  }

  function shown(value) {
    if (value.coefficient === null) return special(value);
    const at = exponent(value);
    const range = settings.EXPONENTIAL_AT;
    return signed(value, at <= range[0] || at >= range[1] ? exponential(value) : fixed(value));
  }

  function shownInBase(value, base) {
    if (typeof base !== 'number' || base !== Math.floor(base) || base < 2 || base > 64) {
      raise('toString', 'base not an integer', base);
    }
    if (value.coefficient === null) return special(value);
    if (base === 10) {
      const short = rounded(value, settings.DECIMAL_PLACES, settings.ROUNDING_MODE);
      return signed(short, fixed(short));
    }
    const radix = BigInt(base);
    const places = value.power < 0 ? settings.DECIMAL_PLACES : 0;
    const scale = radix ** BigInt(places);
    let whole;
    if (value.power >= 0) whole = value.coefficient * ten(Math.min(value.power, DIGITS_MAX));
    else whole = divided(value.coefficient * scale, ten(-value.power), value.sign, settings.ROUNDING_MODE);
    let digits;
    if (base <= 36) digits = whole.toString(base);
    else {
      digits = '';
      do {
        digits = ALPHABET[Number(whole % radix)] + digits;
        whole /= radix;
      } while (whole > 0n);
    }
    if (places > 0) {
      digits = digits.padStart(places + 1, '0');
      digits = (digits.slice(0, -places) + '.' + digits.slice(-places)).replace(/\.?0+$/, '');
    }
    return signed(value, digits);
  }

  function grouped(text, size, secondary, separator) {
    if (!(size > 0)) return text;
    let groups = text.slice(-size);
    let rest = text.slice(0, -size);
    const step = secondary > 0 ? secondary : size;
    while (rest.length > 0) {
      groups = rest.slice(-step) + separator + groups;
      rest = rest.slice(0, -step);
    }
    return groups;
  }

  function places(value, caller) {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number' || value < 0 || value > DIGITS_MAX || value !== Math.floor(value)) {
      raise(caller, 'argument not an integer', value);
    }
    return value;
  }

  function toPrecision(value, digits, rounding) {
    const short = rounded(value, digits - 1 - exponent(value), rounding);
    return short;
  }

  function power(value, n) {
    if (typeof n !== 'number' || n !== Math.floor(n) || Math.abs(n) > Number.MAX_SAFE_INTEGER) {
      raise('pow', 'exponent not an integer', n);
    }
    const precision = settings.POW_PRECISION;
    const keep = precision ? precision + 20 : DIGITS_MAX;
    let result = parts(1, 1n, 0);
    let base = value;
    for (let left = Math.abs(n); left > 0; left = Math.floor(left / 2)) {
      if (left % 2 === 1) result = toDigits(product(result, base), keep, 1);
      if (left > 1) base = toDigits(product(base, base), keep, 1);
    }
    if (n < 0) result = ratio(parts(1, 1n, 0), result);
    return precision ? toDigits(result, precision, settings.ROUNDING_MODE) : result;
  }

  function toDigits(value, digits, rounding) {
    return value.coefficient === null ? value : toPrecision(value, digits, rounding);
  }

  function root(value) {
    if (value.sign === null || (value.sign < 0 && value.coefficient !== 0n)) return NOT_A_NUMBER;
    if (value.coefficient === null || value.coefficient === 0n) return value;
    const extra = settings.DECIMAL_PLACES + 4;
    const shift = 2 * extra + value.power;
    const radicand = shift >= 0 ? value.coefficient * ten(shift) : value.coefficient / ten(-shift);
    let guess = 1n << BigInt(Math.ceil(radicand.toString(16).length * 2) + 1);
    for (;;) {
      const next = (guess + radicand / guess) >> 1n;
      if (next >= guess) break;
      guess = next;
    }
    return rounded(parts(1, guess, -extra), settings.DECIMAL_PLACES, settings.ROUNDING_MODE);
  }

  function operand(value, base) {
    return value instanceof BigNumber && base === undefined ? value._v : parsed(value, base);
  }

  const methods = {
    absoluteValue: function () {
      return made(Object.assign({}, this._v, { sign: this._v.sign === null ? null : 1 }));
    },
    ceil: function () { return made(rounded(this._v, 0, 2)); },
    floor: function () { return made(rounded(this._v, 0, 3)); },
    truncated: function () { return made(rounded(this._v, 0, 1)); },
    comparedTo: function (value, base) { return compared(this._v, operand(value, base)); },
    decimalPlaces: function () {
      return this._v.coefficient === null ? null : Math.max(0, -this._v.power);
    },
    dividedBy: function (value, base) { return made(ratio(this._v, operand(value, base))); },
    dividedToIntegerBy: function (value, base) {
      return made(ratio(this._v, operand(value, base), 0, 1));
    },
    equals: function (value, base) { return compared(this._v, operand(value, base)) === 0; },
    greaterThan: function (value, base) { return compared(this._v, operand(value, base)) > 0; },
    greaterThanOrEqualTo: function (value, base) {
      const order = compared(this._v, operand(value, base));
      return order === 1 || order === 0;
    },
    lessThan: function (value, base) { return compared(this._v, operand(value, base)) < 0; },
    lessThanOrEqualTo: function (value, base) {
      const order = compared(this._v, operand(value, base));
      return order === -1 || order === 0;
    },
    isFinite: function () { return this._v.coefficient !== null; },
    isInteger: function () { return this._v.coefficient !== null && this._v.power >= 0; },
    isNaN: function () { return this._v.sign === null; },
    isNegative: function () { return this._v.sign < 0; },
    isZero: function () { return this._v.coefficient === 0n; },
    minus: function (value, base) {
      const other = operand(value, base);
      return made(sum(this._v, Object.assign({}, other, { sign: other.sign === null ? null : -other.sign })));
    },
    modulo: function (value, base) {
      const other = operand(value, base);
      if (other.coefficient === null && other.sign !== null && this._v.coefficient !== null) return this;
      if (this._v.coefficient === null || other.coefficient === null || other.coefficient === 0n) {
        return made(NOT_A_NUMBER);
      }
      const both = aligned(this._v, other);
      let rest = both.left % both.right;
      if (rest !== 0n) {
        const isNegative = rest < 0n;
        const floors = settings.MODULO_MODE === 3 && isNegative !== both.right < 0n;
        if (floors) rest += both.right;
        if (settings.MODULO_MODE === 9 && isNegative) rest += both.right < 0n ? -both.right : both.right;
      }
      const sign = rest === 0n ? this._v.sign : rest < 0n ? -1 : 1;
      return made(parts(sign, rest < 0n ? -rest : rest, both.power));
    },
    negated: function () {
      return made(Object.assign({}, this._v, { sign: this._v.sign === null ? null : -this._v.sign }));
    },
    plus: function (value, base) { return made(sum(this._v, operand(value, base))); },
    precision: function (countsZeros) {
      if (this._v.coefficient === null) return null;
      const digits = this._v.coefficient.toString().length;
      return countsZeros && this._v.power > 0 ? digits + this._v.power : digits;
    },
    round: function (decimals, rounding) {
      return made(rounded(this._v, places(decimals, 'round') || 0, mode(rounding)));
    },
    shift: function (count) {
      if (this._v.coefficient === null) return this;
      return made(parts(this._v.sign, this._v.coefficient, this._v.power + Number(count)));
    },
    squareRoot: function () { return made(root(this._v)); },
    times: function (value, base) { return made(product(this._v, operand(value, base))); },
    toDigits: function (digits, rounding) {
      const wanted = places(digits, 'precision');
      return wanted ? made(toDigits(this._v, wanted, mode(rounding))) : made(this._v);
    },
    toExponential: function (decimals, rounding) {
      if (this._v.coefficient === null) return special(this._v);
      const wanted = places(decimals, 'toExponential');
      const short = wanted === undefined ? this._v : toPrecision(this._v, wanted + 1, mode(rounding));
      return signed(short, exponential(short, wanted === undefined ? 0 : wanted + 1));
    },
    toFixed: function (decimals, rounding) {
      if (this._v.coefficient === null) return special(this._v);
      const wanted = places(decimals, 'toFixed');
      const short = wanted === undefined ? this._v : rounded(this._v, wanted, mode(rounding));
      return signed(short, fixed(short, wanted));
    },
    toFormat: function (decimals, rounding) {
      const text = this.toFixed(decimals, rounding);
      if (this._v.coefficient === null) return text;
      const format = settings.FORMAT;
      const negative = text[0] === '-';
      const halves = (negative ? text.slice(1) : text).split('.');
      let out = grouped(halves[0], format.groupSize, format.secondaryGroupSize, format.groupSeparator);
      if (halves.length > 1) {
        let fraction = halves[1];
        const size = format.fractionGroupSize;
        if (size > 0) fraction = fraction.replace(new RegExp('\\d{' + size + '}\\B', 'g'), '$&' + format.fractionGroupSeparator);
        out += format.decimalSeparator + fraction;
      }
      return negative ? '-' + out : out;
    },
    toNumber: function () { return this._v.sign < 0 && this._v.coefficient === 0n ? -0 : +shown(this._v); },
    toPower: function (n) {
      if (this._v.coefficient === null) return made(parsed(Math.pow(+shown(this._v), n)));
      return made(power(this._v, n));
    },
    toPrecision: function (digits, rounding) {
      const wanted = places(digits, 'toPrecision');
      if (!wanted || this._v.coefficient === null) return shown(this._v);
      const short = toPrecision(this._v, wanted, mode(rounding));
      const at = exponent(short);
      if (wanted <= at || at <= settings.EXPONENTIAL_AT[0]) return signed(short, exponential(short, wanted));
      return signed(short, fixed(short, Math.max(0, wanted - 1 - at)));
    },
    toString: function (base) {
      return base === undefined || base === null ? shown(this._v) : shownInBase(this._v, base);
    },
    toJSON: function () { return shown(this._v); },
    valueOf: function () { return shown(this._v); }
  };

  const aliases = {
    absoluteValue: 'abs', comparedTo: 'cmp', decimalPlaces: 'dp', dividedBy: 'div',
    dividedToIntegerBy: 'divToInt', equals: 'eq', greaterThan: 'gt', greaterThanOrEqualTo: 'gte',
    isInteger: 'isInt', isNegative: 'isNeg', lessThan: 'lt', lessThanOrEqualTo: 'lte', minus: 'sub',
    modulo: 'mod', negated: 'neg', plus: 'add', precision: 'sd', squareRoot: 'sqrt', times: 'mul',
    toPower: 'pow', truncated: 'trunc'
  };

  Object.keys(methods).forEach(function (name) {
    BigNumber.prototype[name] = methods[name];
    if (aliases[name]) BigNumber.prototype[aliases[name]] = methods[name];
  });

  // The fields of bignumber.js: sign, exponent, and the coefficient in pieces of 14 digits.
  Object.defineProperty(BigNumber.prototype, 's', { get: function () { return this._v.sign; } });
  Object.defineProperty(BigNumber.prototype, 'e', {
    get: function () { return this._v.coefficient === null ? null : exponent(this._v); }
  });
  Object.defineProperty(BigNumber.prototype, 'c', {
    get: function () {
      if (this._v.coefficient === null) return null;
      let digits = this._v.coefficient.toString();
      const first = (((exponent(this._v) % 14) + 14) % 14) + 1;
      const pieces = [Number(digits.slice(0, first).padEnd(first, '0'))];
      for (digits = digits.slice(first); digits.length > 0; digits = digits.slice(14)) {
        pieces.push(Number(digits.slice(0, 14).padEnd(14, '0')));
      }
      return pieces;
    }
  });

  const modes = ['UP', 'DOWN', 'CEIL', 'FLOOR', 'HALF_UP', 'HALF_DOWN', 'HALF_EVEN', 'HALF_CEIL', 'HALF_FLOOR'];
  modes.forEach(function (name, index) { BigNumber['ROUND_' + name] = index; });
  BigNumber.EUCLID = 9;

  BigNumber.config = function (changes) {
    const names = Object.keys(settings);
    const given = changes && typeof changes === 'object' ? changes : {};
    names.forEach(function (name, index) {
      let value = given === changes ? given[name] : undefined;
      if (value === undefined && index < 3 && changes !== given) value = [changes][index];
      if (value === undefined || value === null) return;
      const isPair = name === 'EXPONENTIAL_AT' || name === 'RANGE';
      if (name === 'ROUNDING_MODE' && !(value >= 0 && value <= 8)) raise('config', name + ' out of range', value);
      if (name === 'DECIMAL_PLACES' && !(value >= 0 && value <= DIGITS_MAX)) raise('config', name + ' out of range', value);
      settings[name] = isPair && typeof value === 'number' ? [-Math.abs(value), Math.abs(value)] : value;
    });
    return Object.assign({}, settings);
  };
  BigNumber.max = function () { return extreme([].slice.call(arguments), 1); };
  BigNumber.min = function () { return extreme([].slice.call(arguments), -1); };

  function extreme(values, order) {
    if (Array.isArray(values[0])) values = values[0];
    return values.map(function (value) { return new BigNumber(value); }).reduce(function (best, value) {
      if (best.isNaN()) return best;
      return value.isNaN() || compared(value._v, best._v) === order ? value : best;
    });
  }

  lib.BigNumber = BigNumber;
  // What the coder of arguments needs: the integer itself, as BigInt.
  lib.integer = function (number) {
    const value = rounded(number._v, 0, settings.ROUNDING_MODE);
    if (value.coefficient === null) raise('integer', 'not a finite number', shown(value));
    if (value.power > 1000) raise('integer', 'number too large', shown(value));
    return value.coefficient * ten(value.power) * BigInt(value.sign);
  };
})

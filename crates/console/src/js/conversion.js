// Texts, numbers, units and addresses: the helpers of web3 0.20.
(function (lib) {
  'use strict';
  const host = lib.host;
  const BigNumber = lib.BigNumber;

  const UNITS = {
    'noether': '0',
    'wei': '1',
    'kwei': '1000',
    'Kwei': '1000',
    'babbage': '1000',
    'femtoether': '1000',
    'mwei': '1000000',
    'Mwei': '1000000',
    'lovelace': '1000000',
    'picoether': '1000000',
    'gwei': '1000000000',
    'Gwei': '1000000000',
    'shannon': '1000000000',
    'nanoether': '1000000000',
    'nano': '1000000000',
    'szabo': '1000000000000',
    'microether': '1000000000000',
    'micro': '1000000000000',
    'finney': '1000000000000000',
    'milliether': '1000000000000000',
    'milli': '1000000000000000',
    'ether': '1000000000000000000',
    'kether': '1000000000000000000000',
    'grand': '1000000000000000000000',
    'mether': '1000000000000000000000000',
    'gether': '1000000000000000000000000000',
    'tether': '1000000000000000000000000000000'
  };

  function isBigNumber(value) {
    return value instanceof BigNumber;
  }

  function isString(value) {
    return typeof value === 'string' || value instanceof String;
  }

  function isObject(value) {
    return value !== null && !Array.isArray(value) && typeof value === 'object';
  }

  function toBigNumber(number) {
    number = number || 0;
    if (isBigNumber(number)) return number;
    if (typeof number === 'bigint') return new BigNumber(number);
    if (isString(number) && (number.indexOf('0x') === 0 || number.indexOf('-0x') === 0)) {
      return new BigNumber(number.replace('0x', ''), 16);
    }
    return new BigNumber(number.toString(10), 10);
  }

  function fromDecimal(value) {
    const number = toBigNumber(value);
    const result = number.toString(16);
    return number.lessThan(0) ? '-0x' + result.substr(1) : '0x' + result;
  }

  function toDecimal(value) {
    return toBigNumber(value).toNumber();
  }

  function padLeft(string, chars, sign) {
    return new Array(chars - string.length + 1).join(sign ? sign : '0') + string;
  }

  function padRight(string, chars, sign) {
    return string + new Array(chars - string.length + 1).join(sign ? sign : '0');
  }

  function bytesOfUtf8(text) {
    return unescape(encodeURIComponent(text));
  }

  function hexOf(binary, stopsAtZero) {
    const pieces = [];
    for (let i = 0; i < binary.length; i++) {
      const code = binary.charCodeAt(i);
      if (stopsAtZero && code === 0) break;
      const digits = code.toString(16);
      pieces.push(digits.length < 2 ? '0' + digits : digits);
    }
    return pieces.join('');
  }

  function binaryOf(hex, stopsAtZero) {
    const pieces = [];
    for (let i = hex.substring(0, 2) === '0x' ? 2 : 0; i < hex.length; i += 2) {
      const code = parseInt(hex.substr(i, 2), 16);
      if (stopsAtZero && code === 0) break;
      pieces.push(String.fromCharCode(code));
    }
    return pieces.join('');
  }

  function fromUtf8(text, allowsZero) {
    return '0x' + hexOf(bytesOfUtf8(text), !allowsZero);
  }

  function toUtf8(hex) {
    const binary = binaryOf(hex, true);
    try {
      return decodeURIComponent(escape(binary));
    } catch (error) {
      throw new Error('Invalid UTF-8 detected');
    }
  }

  function toHex(value) {
    if (typeof value === 'boolean') return fromDecimal(+value);
    if (isBigNumber(value) || typeof value === 'bigint') return fromDecimal(value);
    if (typeof value === 'object' && !isString(value)) return fromUtf8(JSON.stringify(value));
    if (isString(value)) {
      if (value.indexOf('-0x') === 0) return fromDecimal(value);
      if (value.indexOf('0x') === 0) return value;
      if (!isFinite(value)) return '0x' + hexOf(String(value));
    }
    return fromDecimal(value);
  }

  function valueOfUnit(unit) {
    unit = unit ? unit.toLowerCase() : 'ether';
    const value = UNITS[unit];
    if (value === undefined) {
      throw new Error('This unit doesn\'t exists, please use the one of the following units' + JSON.stringify(UNITS, null, 2));
    }
    return new BigNumber(value, 10);
  }

  function fromWei(number, unit) {
    const value = toBigNumber(number).dividedBy(valueOfUnit(unit));
    return isBigNumber(number) ? value : value.toString(10);
  }

  function toWei(number, unit) {
    const value = toBigNumber(number).times(valueOfUnit(unit));
    return isBigNumber(number) ? value : value.toString(10);
  }

  function sha3(string, options) {
    if (options && options.encoding === 'hex') {
      return host.keccak(String(string).replace(/^0x/, ''));
    }
    return host.keccak(hexOf(bytesOfUtf8(String(string))));
  }

  function isStrictAddress(address) {
    return /^0x[0-9a-f]{40}$/i.test(address);
  }

  function isChecksumAddress(address) {
    address = address.replace('0x', '');
    const hash = sha3(address.toLowerCase()).slice(2);
    for (let i = 0; i < 40; i++) {
      const isUpper = parseInt(hash[i], 16) > 7;
      const wanted = isUpper ? address[i].toUpperCase() : address[i].toLowerCase();
      if (wanted !== address[i]) return false;
    }
    return true;
  }

  function isAddress(address) {
    if (!/^(0x)?[0-9a-f]{40}$/i.test(address)) return false;
    if (/^(0x)?[0-9a-f]{40}$/.test(address) || /^(0x)?[0-9A-F]{40}$/.test(address)) return true;
    return isChecksumAddress(address);
  }

  function toChecksumAddress(address) {
    if (typeof address === 'undefined') return '';
    if (!/^(0x)?[0-9a-f]{40}$/i.test(address)) {
      throw new Error('Given address "' + address + '" is not a valid Ethereum address.');
    }
    address = address.toLowerCase().replace('0x', '');
    const hash = sha3(address).slice(2);
    let out = '0x';
    for (let i = 0; i < address.length; i++) {
      out += parseInt(hash[i], 16) > 7 ? address[i].toUpperCase() : address[i];
    }
    return out;
  }

  lib.conversion = {
    isBigNumber: isBigNumber,
    isString: isString,
    isObject: isObject,
    isStrictAddress: isStrictAddress,
    isFunction: function (value) { return typeof value === 'function'; },
    bytesOfUtf8: bytesOfUtf8,
    hexOf: hexOf,
    binaryOf: binaryOf
  };

  // What `web3` offers. The sources of these functions are seen when they are printed.
  lib.helpers = {
    fromAscii: function(str) { return '0x' + hexOf(str); },
    fromDecimal: function(value) { return fromDecimal(value); },
    fromUtf8: function(str) { return fromUtf8(str); },
    fromWei: function(number, unit) { return fromWei(number, unit); },
    isAddress: function(address) { return isAddress(address); },
    isChecksumAddress: function(address) { return isChecksumAddress(address); },
    padLeft: function(string, chars, sign) { return padLeft(string, chars, sign); },
    padRight: function(string, chars, sign) { return padRight(string, chars, sign); },
    sha3: function(string, options) { return sha3(string, options); },
    toAscii: function(hex) { return binaryOf(hex); },
    toBigNumber: function(number) { return toBigNumber(number); },
    toChecksumAddress: function(address) { return toChecksumAddress(address); },
    toDecimal: function(value) { return toDecimal(value); },
    toHex: function(val) { return toHex(val); },
    toUtf8: function(hex) { return toUtf8(hex); },
    toWei: function(number, unit) { return toWei(number, unit); }
  };
})

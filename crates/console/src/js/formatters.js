// What goes into requests and what is made of answers, as web3 0.20 does it.
(function (lib) {
  'use strict';
  const c = lib.conversion;
  const h = lib.helpers;

  // Shared by `web3.eth.defaultBlock` and `web3.settings`.
  const defaults = { defaultBlock: 'latest', defaultAccount: undefined };

  const TAGS = ['latest', 'pending', 'earliest', 'finalized', 'safe'];
  const QUANTITIES_OF_CALL = ['maxFeePerBlobGas', 'maxFeePerGas', 'maxPriorityFeePerGas', 'gasPrice', 'gas', 'value', 'nonce'];

  function inputBlockNumber(number) {
    if (number === undefined) return undefined;
    if (TAGS.indexOf(number) >= 0) return number;
    return h.toHex(number);
  }

  function inputDefaultBlockNumber(number) {
    return number === undefined ? defaults.defaultBlock : inputBlockNumber(number);
  }

  function inputAddress(address) {
    if (c.isStrictAddress(address)) return address;
    if (h.isAddress(address)) return '0x' + address;
    throw new Error('invalid address');
  }

  function withQuantities(options) {
    QUANTITIES_OF_CALL.forEach(function (key) {
      if (options[key] !== undefined) options[key] = h.fromDecimal(options[key]);
    });
    return options;
  }

  function inputCall(options) {
    options.from = options.from || defaults.defaultAccount;
    if (options.from) options.from = inputAddress(options.from);
    if (options.to) options.to = inputAddress(options.to);
    return withQuantities(options);
  }

  function inputTransaction(options) {
    options.from = options.from || defaults.defaultAccount;
    options.from = inputAddress(options.from);
    if (options.to) options.to = inputAddress(options.to);
    return withQuantities(options);
  }

  function replace(object, keys, formatter) {
    keys.forEach(function (key) {
      if (object[key] !== null && object[key] !== undefined) object[key] = formatter(object[key]);
    });
  }

  function outputTransaction(tx) {
    replace(tx, ['blockNumber', 'transactionIndex', 'nonce', 'gas'], h.toDecimal);
    replace(tx, ['gasPrice', 'maxFeePerGas', 'maxPriorityFeePerGas', 'value'], h.toBigNumber);
    return tx;
  }

  function outputLog(log) {
    if (!c.isObject(log)) return log;
    replace(log, ['blockNumber', 'transactionIndex', 'logIndex'], h.toDecimal);
    return log;
  }

  function outputReceipt(receipt) {
    replace(receipt, ['blockNumber', 'transactionIndex', 'cumulativeGasUsed', 'gasUsed'], h.toDecimal);
    replace(receipt, ['effectiveGasPrice'], h.toBigNumber);
    if (Array.isArray(receipt.logs)) receipt.logs = receipt.logs.map(outputLog);
    return receipt;
  }

  function outputBlock(block) {
    if (block.baseFeePerGas !== undefined) block.baseFeePerGas = h.toBigNumber(block.baseFeePerGas);
    replace(block, ['gasLimit', 'gasUsed', 'size', 'timestamp', 'number'], h.toDecimal);
    replace(block, ['difficulty', 'totalDifficulty'], h.toBigNumber);
    if (Array.isArray(block.transactions)) {
      block.transactions.forEach(function (item) {
        if (!c.isString(item)) outputTransaction(item);
      });
    }
    return block;
  }

  function outputSyncing(result) {
    if (!result) return result;
    Object.keys(result).forEach(function (key) {
      if (c.isString(result[key])) result[key] = h.toDecimal(result[key]);
    });
    return result;
  }

  lib.defaults = defaults;
  lib.formatters = {
    inputDefaultBlockNumberFormatter: inputDefaultBlockNumber,
    inputBlockNumberFormatter: inputBlockNumber,
    inputCallFormatter: inputCall,
    inputTransactionFormatter: inputTransaction,
    inputAddressFormatter: inputAddress,
    outputBigNumberFormatter: function (number) { return h.toBigNumber(number); },
    outputTransactionFormatter: outputTransaction,
    outputTransactionReceiptFormatter: outputReceipt,
    outputBlockFormatter: outputBlock,
    outputLogFormatter: outputLog,
    outputSyncingFormatter: outputSyncing
  };
})

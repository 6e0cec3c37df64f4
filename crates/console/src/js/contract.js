// Contracts: `eth.contract(abi).at(address)` and `.new(…)`, their functions and events.
(function (lib) {
  'use strict';
  const c = lib.conversion;
  const h = lib.helpers;
  const abi = lib.abi;

  // How many blocks a creation is waited for.
  const BLOCKS_MAX = 50;
  const LOOK_MILLISECONDS = 500;

  function signatureOf(fullName) {
    return h.sha3(fullName).slice(2);
  }

  function displayName(json) {
    return json.name && json.name.indexOf('(') !== -1 ? json.name.split('(')[0] : json.name;
  }

  function isOptions(value) {
    return c.isObject(value) && !c.isBigNumber(value);
  }

  // The arguments of a call: values, then an object with `from`, `value` and so on, then a block.
  function split(json, args, takesBlock) {
    const inputs = json.inputs || [];
    args = args.slice();
    const callback = c.isFunction(args[args.length - 1]) ? args.pop() : undefined;
    let block;
    if (takesBlock && args.length > inputs.length && !c.isObject(args[args.length - 1])) {
      block = lib.formatters.inputDefaultBlockNumberFormatter(args.pop());
    }
    let options = {};
    if (args.length > inputs.length && isOptions(args[args.length - 1])) {
      options = Object.assign({}, args.pop());
    }
    if (args.length !== inputs.length) {
      throw new Error('Invalid number of arguments to Solidity function');
    }
    return { values: args, options: options, block: block, callback: callback };
  }

  function unpacked(json, output) {
    if (!output) return undefined;
    const outputs = json.outputs || [];
    const values = abi.decodeParams(outputs, output.length >= 2 ? output.slice(2) : output);
    return values.length === 1 ? values[0] : values;
  }

  function addFunction(contract, eth, json) {
    const inputs = json.inputs || [];
    const signature = signatureOf(abi.fullName(json)).slice(0, 8);
    const isConstant = json.stateMutability === 'view' || json.stateMutability === 'pure' || json.constant;
    const isPayable = json.stateMutability === 'payable' || json.payable;

    const payloadOf = function (parts) {
      parts.options.to = contract.address;
      parts.options.data = '0x' + signature + abi.encodeParams(inputs, parts.values);
      return parts.options;
    };
    const refuseValue = function (options) {
      if (options.value > 0 && !isPayable) throw new Error('Cannot send value to non-payable function');
    };
    const call = function() {
      const parts = split(json, [].slice.call(arguments), true);
      const payload = payloadOf(parts);
      if (!parts.callback) return unpacked(json, eth.call(payload, parts.block));
      eth.call(payload, parts.block, function (error, output) {
        if (error) return parts.callback(error, null);
        let value = null;
        try {
          value = unpacked(json, output);
        } catch (failure) {
          error = failure;
        }
        parts.callback(error, value);
      });
    };
    const sendTransaction = function() {
      const parts = split(json, [].slice.call(arguments), false);
      const payload = payloadOf(parts);
      refuseValue(payload);
      return parts.callback ? eth.sendTransaction(payload, parts.callback) : eth.sendTransaction(payload);
    };
    const estimateGas = function() {
      const parts = split(json, [].slice.call(arguments), false);
      const payload = payloadOf(parts);
      refuseValue(payload);
      return parts.callback ? eth.estimateGas(payload, parts.callback) : eth.estimateGas(payload);
    };
    const getData = function() {
      return payloadOf(split(json, [].slice.call(arguments), false)).data;
    };
    const execute = function() {
      return (isConstant ? call : sendTransaction).apply(null, arguments);
    };
    execute.request = function() {
      const parts = split(json, [].slice.call(arguments), isConstant);
      return {
        method: isConstant ? 'eth_call' : 'eth_sendTransaction',
        callback: parts.callback,
        params: isConstant
          ? [lib.formatters.inputCallFormatter(payloadOf(parts)), parts.block || lib.defaults.defaultBlock]
          : [lib.formatters.inputTransactionFormatter(payloadOf(parts))],
        format: isConstant ? function (output) { return unpacked(json, output); } : undefined
      };
    };
    execute.call = call;
    execute.sendTransaction = sendTransaction;
    execute.estimateGas = estimateGas;
    execute.getData = getData;
    const name = displayName(json);
    if (!contract[name]) contract[name] = execute;
    contract[name][abi.typeNames(json)] = execute;
  }

  function decodedLog(json, log) {
    const inputs = json.inputs || [];
    const data = (log.data || '').slice(2);
    const topics = json.anonymous ? log.topics || [] : (log.topics || []).slice(1);
    const plain = abi.decodeParams(inputs.filter(function (input) { return !input.indexed; }), data);
    const args = {};
    inputs.forEach(function (input) {
      let value;
      if (!input.indexed) value = plain.shift();
      else {
        const topic = topics.shift();
        // Of what has no fixed size, only the hash is in a topic.
        if (topic !== undefined) value = abi.isDynamic(input) ? topic : abi.decodeParams([input], topic.slice(2))[0];
      }
      args[input.name] = value;
    });
    const result = lib.formatters.outputLogFormatter(Object.assign({}, log));
    result.event = displayName(json);
    result.args = args;
    delete result.data;
    delete result.topics;
    return result;
  }

  function withRange(options, result) {
    ['fromBlock', 'toBlock'].forEach(function (key) {
      if (options[key] !== undefined) result[key] = lib.formatters.inputBlockNumberFormatter(options[key]);
    });
    return result;
  }

  function addEvent(contract, json) {
    const inputs = json.inputs || [];
    const signature = '0x' + signatureOf(abi.fullName(json));
    const execute = function() {
      const args = [].slice.call(arguments);
      const callback = c.isFunction(args[args.length - 1]) ? args.pop() : undefined;
      const options = c.isObject(args[1]) ? args[1] : {};
      const indexed = c.isObject(args[0]) ? args[0] : {};
      const topics = json.anonymous ? [] : [signature];
      inputs.filter(function (input) { return input.indexed; }).forEach(function (input) {
        const value = indexed[input.name];
        if (value === undefined || value === null) return topics.push(null);
        const topic = function (one) {
          if (abi.isDynamic(input)) {
            const isText = input.type === 'string';
            return isText ? h.sha3(one) : h.sha3(h.toHex(one), { encoding: 'hex' });
          }
          return '0x' + abi.encodeParams([input], [one]);
        };
        topics.push(Array.isArray(value) ? value.map(topic) : topic(value));
      });
      const filter = withRange(options, { topics: topics });
      filter.address = contract.address;
      return new lib.Filter(filter, function (log) { return decodedLog(json, log); }, callback);
    };
    const name = displayName(json);
    if (!contract[name]) contract[name] = execute;
    contract[name][abi.typeNames(json)] = execute;
  }

  function addAllEvents(contract, list) {
    const events = list.filter(function (json) { return json.type === 'event'; });
    const known = {};
    events.forEach(function (json) { known['0x' + signatureOf(abi.fullName(json))] = json; });
    contract.allEvents = function() {
      const args = [].slice.call(arguments);
      const callback = c.isFunction(args[args.length - 1]) ? args.pop() : undefined;
      const options = c.isObject(args[0]) ? args[0] : {};
      const filter = withRange(options, { topics: options.topics || [], address: contract.address });
      const formatter = function (log) {
        const json = known[(log.topics || [])[0]];
        return json ? decodedLog(json, log) : lib.formatters.outputLogFormatter(log);
      };
      return new lib.Filter(filter, formatter, callback);
    };
  }

  function Contract(eth, list, address) {
    Object.defineProperty(this, '_eth', { value: eth });
    this.transactionHash = null;
    this.address = address;
    this.abi = list;
  }

  function addAll(contract, eth) {
    const list = contract.abi;
    list.forEach(function (json) {
      if (json.type === 'function' || json.type === undefined) addFunction(contract, eth, json);
    });
    addAllEvents(contract, list);
    list.forEach(function (json) { if (json.type === 'event') addEvent(contract, json); });
  }

  function constructorOf(list, count) {
    return list.find(function (json) {
      return json.type === 'constructor' && (json.inputs || []).length === count;
    });
  }

  // Looks for the receipt until it is there, and tells when the code is. web3 looks at new blocks
  // only, and misses one that came before it looked.
  function watchCreation(contract, eth, callback) {
    let first = null;
    let isDone = false;
    const end = function (error) {
      isDone = true;
      lib.timers.stop(timer);
      if (!error) return callback && callback(null, contract);
      if (callback) return callback(error);
      throw error;
    };
    const wait = function () {
      eth.getBlockNumber(function (error, number) {
        if (error || isDone) return;
        if (first === null) first = number;
        if (number - first > BLOCKS_MAX) {
          end(new Error('Contract transaction couldn\'t be found after ' + BLOCKS_MAX + ' blocks'));
        }
      });
    };
    const look = function () {
      eth.getTransactionReceipt(contract.transactionHash, function (error, receipt) {
        if (error || isDone) return;
        if (!receipt || !receipt.blockHash) return wait();
        eth.getCode(receipt.contractAddress, function (failure, code) {
          if (failure || isDone || !code) return;
          if (code.length <= 3) {
            return end(new Error('The contract code couldn\'t be stored, please check your gas amount.'));
          }
          contract.address = receipt.contractAddress;
          addAll(contract, eth);
          end(null);
        });
      });
    };
    const timer = lib.timers.start(look, LOOK_MILLISECONDS, true, []);
  }

  function creation(eth, list, args) {
    let options = {};
    if (isOptions(args[args.length - 1])) options = Object.assign({}, args.pop());
    const json = constructorOf(list, args.length);
    if (options.value > 0) {
      const isPayable = json && (json.stateMutability === 'payable' || json.payable);
      if (!isPayable) throw new Error('Cannot send value to non-payable constructor');
    }
    const data = options.data === undefined ? '' : String(options.data);
    options.data = data + (json ? abi.encodeParams(json.inputs || [], args) : '');
    return options;
  }

  function ContractFactory(eth, list) {
    Object.defineProperty(this, 'eth', { value: eth, enumerable: true });
    this.abi = list;
    this.new = function() {
      const args = [].slice.call(arguments);
      const callback = c.isFunction(args[args.length - 1]) ? args.pop() : undefined;
      const contract = new Contract(eth, list);
      const options = creation(eth, list, args);
      if (!callback) {
        contract.transactionHash = eth.sendTransaction(options);
        watchCreation(contract, eth);
        return contract;
      }
      eth.sendTransaction(options, function (error, hash) {
        if (error) return callback(error);
        contract.transactionHash = hash;
        callback(null, contract);
        watchCreation(contract, eth, callback);
      });
      return contract;
    };
    this.new.getData = function() {
      return creation(eth, list, [].slice.call(arguments)).data;
    };
  }
  ContractFactory.prototype.at = function(address, callback) {
    const contract = new Contract(this.eth, this.abi, address);
    addAll(contract, this.eth);
    if (callback) callback(null, contract);
    return contract;
  };
  ContractFactory.prototype.getData = function() {
    return creation(this.eth, this.abi, [].slice.call(arguments)).data;
  };

  lib.ContractFactory = ContractFactory;
})

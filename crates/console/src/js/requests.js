// Requests to the node: methods, properties, batches. The node is reached by `host.request` only.
(function (lib) {
  'use strict';
  const host = lib.host;
  const c = lib.conversion;

  let lastId = 0;

  function messageOf(method, params) {
    if (!method) throw new Error('jsonrpc method should be specified!');
    lastId += 1;
    return { jsonrpc: '2.0', id: lastId, method: method, params: params || [] };
  }

  function isValidMessage(message) {
    return !!message && !message.error && message.jsonrpc === '2.0' &&
      typeof message.id === 'number' && message.result !== undefined;
  }

  function isValidResponse(response) {
    return Array.isArray(response) ? response.every(isValidMessage) : isValidMessage(response);
  }

  function invalidResponse(response) {
    const message = !!response && !!response.error && !!response.error.message
      ? response.error.message : 'Invalid JSON RPC response: ' + JSON.stringify(response);
    return new Error(message);
  }

  function failed(payload, error) {
    const fault = { code: -32603, message: String(error && error.message || error) };
    const one = function (message) { return { jsonrpc: '2.0', id: message.id, error: fault }; };
    return Array.isArray(payload) ? payload.map(one) : one(payload);
  }

  // An answer always comes: a node that cannot be reached answers with an error.
  function exchange(payload) {
    let text;
    try {
      text = JSON.stringify(payload);
    } catch (error) {
      return failed(payload, error);
    }
    try {
      return host.request(text);
    } catch (error) {
      return failed(payload, error);
    }
  }

  const provider = {
    send: function(payload, callback) {
      const response = exchange(payload);
      if (typeof callback !== 'function') return response;
      callback(null, response);
    },
    sendAsync: function(payload, callback) {
      const response = exchange(payload);
      if (typeof callback !== 'function') return response;
      callback(null, response);
    }
  };

  const manager = {
    provider: provider,
    send: function (data) {
      if (!this.provider) throw new Error('Provider not set or invalid');
      const response = this.provider.send(messageOf(data.method, data.params));
      if (!isValidResponse(response)) throw invalidResponse(response);
      return response.result;
    },
    sendAsync: function (data, callback) {
      if (!this.provider) return callback(new Error('Provider not set or invalid'));
      this.provider.sendAsync(messageOf(data.method, data.params), function (error, response) {
        if (error) return callback(error);
        if (!isValidResponse(response)) return callback(invalidResponse(response));
        callback(null, response.result);
      });
    },
    sendBatch: function (data, callback) {
      if (!this.provider) return callback(new Error('Provider not set or invalid'));
      const payload = data.map(function (one) { return messageOf(one.method, one.params); });
      this.provider.sendAsync(payload, function (error, responses) {
        if (error) return callback(error);
        if (!Array.isArray(responses)) return callback(invalidResponse(responses));
        callback(error, responses);
      });
    }
  };

  function taken(args) {
    return c.isFunction(args[args.length - 1]) ? args.pop() : undefined;
  }

  function named(object, name, define) {
    const path = name.split('.');
    const last = path.pop();
    path.forEach(function (part) {
      object[part] = object[part] || {};
      object = object[part];
    });
    define(object, last);
  }

  // { name, call, params, inputFormatter, outputFormatter }
  function addMethod(object, spec) {
    const toPayload = function (args) {
      const call = c.isFunction(spec.call) ? spec.call(args) : spec.call;
      const callback = taken(args);
      const params = spec.inputFormatter
        ? spec.inputFormatter.map(function (formatter, index) {
          return formatter ? formatter(args[index]) : args[index];
        })
        : args;
      // A node may not know a parameter that came later: one that was not given is not sent.
      if (spec.isShort && params[params.length - 1] === undefined) params.pop();
      else if (params.length !== (spec.params || 0)) {
        throw new Error('Invalid number of input parameters to RPC method');
      }
      return { method: call, params: params, callback: callback };
    };
    const format = function() {
      const result = arguments[0];
      return spec.outputFormatter && result ? spec.outputFormatter(result) : result;
    };
    const send = function() {
      const payload = toPayload([].slice.call(arguments));
      if (!payload.callback) return format(manager.send(payload));
      return manager.sendAsync(payload, function (error, result) {
        payload.callback(error, format(result));
      });
    };
    // As in web3, `call` is the name of the method in RPC, and hides that of functions.
    send.call = spec.call;
    send.request = function() {
      const payload = toPayload([].slice.call(arguments));
      payload.format = format;
      return payload;
    };
    named(object, spec.name, function (owner, name) { owner[name] = send; });
    return send;
  }

  // { name, getter, outputFormatter }
  function addProperty(object, spec) {
    const format = function() {
      const result = arguments[0];
      const isThere = result !== null && result !== undefined;
      return spec.outputFormatter && isThere ? spec.outputFormatter(result) : result;
    };
    const get = function(callback) {
      manager.sendAsync({ method: spec.getter }, function (error, result) {
        if (error) return callback(error);
        callback(error, format(result));
      });
    };
    get.request = function() {
      const callback = taken([].slice.call(arguments));
      return { method: spec.getter, params: [], callback: callback, format: format };
    };
    named(object, spec.name, function (owner, name) {
      Object.defineProperty(owner, name, {
        get: function() { return format(manager.send({ method: spec.getter })); },
        set: function () { throw new TypeError('Cannot assign to read only property \'' + name + '\''); },
        enumerable: true,
        configurable: true
      });
      owner['get' + name.charAt(0).toUpperCase() + name.slice(1)] = get;
    });
  }

  function Batch() {
    Object.defineProperty(this, 'requests', { value: [], enumerable: true, writable: true });
  }
  Batch.prototype.add = function(request) {
    this.requests.push(request);
  };
  Batch.prototype.execute = function() {
    const requests = this.requests;
    manager.sendBatch(requests, function (error, results) {
      results = results || [];
      requests.forEach(function (request, index) {
        if (!request.callback) return;
        const result = results[index] || {};
        if (error) return request.callback(error);
        if (!isValidResponse(result)) return request.callback(invalidResponse(result));
        request.callback(null, request.format ? request.format(result.result) : result.result);
      });
    });
  };

  lib.requests = {
    provider: provider,
    manager: manager,
    addMethod: addMethod,
    addProperty: addProperty,
    isValidResponse: isValidResponse,
    messageOf: messageOf,
    Batch: Batch
  };
})

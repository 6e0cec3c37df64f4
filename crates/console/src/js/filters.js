// Filters that are polled, as web3 0.20 does it over every transport.
(function (lib) {
  'use strict';
  const c = lib.conversion;
  const h = lib.helpers;
  const manager = lib.requests.manager;

  const POLL_MILLISECONDS = 500;
  // A node forgets filters that nobody asks for; so many of one console are a mistake.
  const FILTERS_MAX = 1000;

  const polls = new Map();
  let timer = null;

  function request(method, params, callback) {
    if (!callback) return manager.send({ method: method, params: params });
    return manager.sendAsync({ method: method, params: params }, callback);
  }

  function poll() {
    timer = null;
    if (polls.size === 0) return;
    const watched = Array.from(polls.values());
    // The next round comes whatever a callback throws.
    arm();
    const questions = watched.map(function (filter) {
      return { method: 'eth_getFilterChanges', params: [filter.filterId] };
    });
    manager.sendBatch(questions, function (error, results) {
      watched.forEach(function (filter, index) {
        if (!polls.has(filter.filterId)) return;
        if (error) return tell(filter, error);
        const answer = results[index];
        if (!lib.requests.isValidResponse(answer)) {
          const message = answer && answer.error && answer.error.message;
          return tell(filter, new Error(message || 'Invalid JSON RPC response: ' + JSON.stringify(answer)));
        }
        if (!Array.isArray(answer.result)) return;
        answer.result.forEach(function (message) {
          tell(filter, null, filter.formatter ? filter.formatter(message) : message);
        });
      });
    });
  }

  function arm() {
    if (timer === null && polls.size > 0) timer = lib.timers.start(poll, POLL_MILLISECONDS, false, []);
  }

  function tell(filter, error, message) {
    filter.callbacks.slice().forEach(function (callback) {
      if (error) callback(error);
      else callback(null, message);
    });
  }

  function startPolling(filter) {
    if (polls.size >= FILTERS_MAX) throw new Error('more than ' + FILTERS_MAX + ' filters are watched; stopWatching some');
    polls.set(filter.filterId, filter);
    arm();
  }

  function topicOf(value) {
    if (value === null || value === undefined) return null;
    value = String(value);
    return value.indexOf('0x') === 0 ? value : h.fromUtf8(value);
  }

  function optionsOf(options) {
    if (c.isString(options)) return options;
    options = options || {};
    const topics = (options.topics || []).map(function (topic) {
      return Array.isArray(topic) ? topic.map(topicOf) : topicOf(topic);
    });
    const block = lib.formatters.inputBlockNumberFormatter;
    const result = {
      topics: topics,
      from: options.from,
      to: options.to,
      address: options.address,
      fromBlock: block(options.fromBlock),
      toBlock: block(options.toBlock)
    };
    if (options.blockHash !== undefined) result.blockHash = options.blockHash;
    return result;
  }

  function creation(options) {
    switch (options) {
      case 'latest': return { method: 'eth_newBlockFilter', params: [] };
      case 'pending': return { method: 'eth_newPendingTransactionFilter', params: [] };
      default: return { method: 'eth_newFilter', params: [options] };
    }
  }

  function logsAtStart(filter, callback) {
    // A filter of blocks or transactions has no past.
    if (c.isString(filter.options)) return;
    filter.get(function (error, messages) {
      if (error) callback(error);
      if (Array.isArray(messages)) messages.forEach(function (message) { callback(null, message); });
    });
  }

  function Filter(options, formatter, callback, onFailure) {
    const self = this;
    this.callbacks = [];
    this.filterId = null;
    this.options = optionsOf(options);
    Object.defineProperty(this, 'formatter', { value: formatter });
    const made = creation(this.options);
    manager.sendAsync(made, function (error, id) {
      if (error) {
        self.callbacks.forEach(function (one) { one(error); });
        if (typeof onFailure === 'function') onFailure(error);
        else if (typeof callback === 'function') callback(error);
        else throw error;
        return;
      }
      self.filterId = id;
      if (typeof callback === 'function') self.watch(callback);
    });
  }

  Filter.prototype.watch = function(callback) {
    this.callbacks.push(callback);
    if (this.filterId !== null) {
      logsAtStart(this, callback);
      startPolling(this);
    }
    return this;
  };

  Filter.prototype.stopWatching = function(callback) {
    polls.delete(this.filterId);
    this.callbacks = [];
    return request('eth_uninstallFilter', [this.filterId], callback);
  };

  Filter.prototype.get = function(callback) {
    const formatter = this.formatter;
    const shaped = function (logs) {
      return formatter && Array.isArray(logs) ? logs.map(function (log) { return formatter(log); }) : logs;
    };
    const isOfLogs = !c.isString(this.options);
    const method = isOfLogs ? 'eth_getFilterLogs' : 'eth_getFilterChanges';
    if (!c.isFunction(callback)) {
      if (this.filterId === null) {
        throw new Error('Filter ID Error: filter().get() can\'t be chained synchronous, please provide a callback for the get() method.');
      }
      return shaped(request(method, [this.filterId]));
    }
    request(method, [this.filterId], function (error, logs) {
      if (error) callback(error);
      else callback(null, shaped(logs));
    });
    return this;
  };

  lib.Filter = Filter;
  lib.stopPolling = function () { polls.clear(); };
})

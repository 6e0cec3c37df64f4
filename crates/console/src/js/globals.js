// The objects of the console: `web3` and its parts, timers, and what talks to the person.
(function (lib) {
  'use strict';
  const host = lib.host;
  const c = lib.conversion;
  const requests = lib.requests;

  const TIMERS_MAX = 10000;

  const timers = new Map();
  let lastTimer = 0;

  lib.timers = {
    start: function (callback, milliseconds, isRepeated, args) {
      if (timers.size >= TIMERS_MAX) throw new Error('more than ' + TIMERS_MAX + ' timers are running');
      const delay = Math.min(Math.max(Number(milliseconds) || 0, isRepeated ? 1 : 0), 2147483647);
      lastTimer += 1;
      timers.set(lastTimer, { callback: callback, delay: delay, isRepeated: isRepeated, args: args });
      host.schedule(lastTimer, delay);
      return lastTimer;
    },
    stop: function (id) {
      if (timers.delete(id)) host.cancel(id);
    },
    // Called when the time of one has come.
    fire: function (id) {
      const timer = timers.get(id);
      if (!timer) return;
      if (timer.isRepeated) host.schedule(id, timer.delay);
      else timers.delete(id);
      if (typeof timer.callback === 'function') timer.callback.apply(globalThis, timer.args);
      else (0, eval)(String(timer.callback));
    }
  };

  function define(name, value) {
    Object.defineProperty(globalThis, name, { value: value, writable: true, enumerable: true, configurable: true });
  }

  define('setTimeout', function setTimeout(callback, milliseconds) {
    return lib.timers.start(callback, milliseconds, false, [].slice.call(arguments, 2));
  });
  define('setInterval', function setInterval(callback, milliseconds) {
    return lib.timers.start(callback, milliseconds, true, [].slice.call(arguments, 2));
  });
  define('clearTimeout', function clearTimeout(id) { lib.timers.stop(id); });
  define('clearInterval', function clearInterval(id) { lib.timers.stop(id); });
  define('loadScript', function loadScript(path) {
    if (arguments.length !== 1) throw new Error('loadScript needs the name of a file');
    (0, eval)(host.source(String(path)));
    return true;
  });
  define('inspect', function inspect() {
    [].slice.call(arguments).forEach(function (value) { host.print(lib.inspect.shown(value) + '\n'); });
  });

  function logged() {
    const text = [].slice.call(arguments).map(function (value) {
      return typeof value === 'symbol' ? value.toString() : String(value);
    }).join(' ');
    // A file gets what was said; a terminal nothing that moves its cursor.
    host.print((host.isTerminal() ? lib.inspect.harmless(text) : text) + '\n');
    return null;
  }
  const console = {};
  console.log = function() { return logged.apply(null, arguments); };
  console.error = function() { return logged.apply(null, arguments); };
  console.warn = console.log;
  console.info = console.log;
  define('console', console);

  const web3 = {};
  Object.defineProperty(web3, 'currentProvider', {
    get: function () { return requests.manager.provider; }, enumerable: true, configurable: true
  });
  web3.eth = {};
  web3.settings = lib.defaults;
  web3.BigNumber = lib.BigNumber;
  Object.keys(lib.helpers).forEach(function (name) { web3[name] = lib.helpers[name]; });
  web3.createBatch = function() { return new requests.Batch(); };
  web3.isConnected = function() {
    try {
      return requests.isValidResponse(requests.provider.send(requests.messageOf('net_listening', [])));
    } catch (error) {
      return false;
    }
  };
  web3.reset = function(keepIsSyncing) { lib.stopPolling(); web3.settings.defaultBlock = 'latest'; web3.settings.defaultAccount = undefined; };
  web3.setProvider = function(provider) { requests.manager.provider = provider; };
  web3.version = { api: '0.20.1' };
  Object.keys(lib.core).forEach(function (name) {
    lib.extend(web3, Object.assign({ property: name }, lib.core[name]));
  });

  const extend = function(extension) { lib.extend(web3, extension); };
  extend.formatters = lib.formatters;
  extend.utils = Object.assign({}, lib.helpers, c);
  extend.Method = function(spec) { this.spec = spec; };
  extend.Property = function(spec) { this.spec = spec; };
  Object.defineProperty(web3, '_extend', { value: extend });

  const eth = web3.eth;
  ['defaultBlock', 'defaultAccount'].forEach(function (name) {
    Object.defineProperty(eth, name, {
      get: function () { return lib.defaults[name]; },
      set: function (value) { lib.defaults[name] = value; return value; },
      enumerable: true
    });
  });
  eth.contract = function(abi) { return new lib.ContractFactory(eth, abi); };
  eth.filter = function(options, callback, filterCreationErrorCallback) {
    return new lib.Filter(options, lib.formatters.outputLogFormatter, callback, filterCreationErrorCallback);
  };
  eth.isSyncing = function(callback) {
    let last;
    const look = function () {
      requests.manager.sendAsync({ method: 'eth_syncing' }, function (error, result) {
        if (error) return callback(error);
        const isSyncing = !!result;
        if (last !== isSyncing && (last !== undefined || isSyncing)) callback(null, isSyncing);
        if (isSyncing) callback(null, lib.formatters.outputSyncingFormatter(result));
        last = isSyncing;
      });
    };
    const timer = lib.timers.start(look, 500, true, []);
    return { stopWatching: function() { lib.timers.stop(timer); } };
  };

  // Passwords are asked for when they are left out, and never kept in the history.
  const jeth = {};
  ['send', 'sendAsync'].forEach(function (name) { jeth[name] = requests.provider[name]; });
  const personal = web3.personal;
  ['newAccount', 'openWallet', 'sign', 'unlockAccount'].forEach(function (name) { jeth[name] = personal[name]; });

  function isMissing(value) {
    return value === undefined || value === null;
  }

  personal.newAccount = function() {
    const args = [].slice.call(arguments);
    const callback = c.isFunction(args[args.length - 1]) ? args.pop() : undefined;
    let password = args[0];
    if (args.length === 0) {
      password = host.password('Passphrase: ');
      if (host.password('Repeat passphrase: ') !== password) throw new Error('passwords don\'t match!');
    } else if (args.length !== 1 || !c.isString(password)) {
      throw new Error('expected 0 or 1 string argument');
    }
    return callback ? jeth.newAccount(password, callback) : jeth.newAccount(password);
  };
  personal.unlockAccount = function() {
    const args = [].slice.call(arguments);
    const callback = c.isFunction(args[args.length - 1]) ? [args.pop()] : [];
    const account = args[0];
    if (args.length < 1) throw new Error('usage: unlockAccount(account, [ password, duration ])');
    if (!c.isString(account)) throw new Error('first argument must be the account to unlock');
    let password = args[1];
    if (isMissing(password)) {
      host.print('Unlock account ' + lib.inspect.harmless(account) + '\n');
      password = host.password('Passphrase: ');
    } else if (!c.isString(password)) {
      throw new Error('password must be a string');
    }
    const duration = isMissing(args[2]) ? null : args[2];
    if (duration !== null && typeof duration !== 'number') throw new Error('unlock duration must be a number');
    return jeth.unlockAccount.apply(null, [account, password, duration].concat(callback));
  };
  personal.sign = function() {
    const args = [].slice.call(arguments);
    const callback = c.isFunction(args[args.length - 1]) ? [args.pop()] : [];
    if (args.length < 2) throw new Error('usage: sign(message, account, [ password ])');
    if (!c.isString(args[0])) throw new Error('first argument must be the message to sign');
    if (!c.isString(args[1])) throw new Error('second argument must be the account to sign with');
    let password = args[2];
    if (isMissing(password)) {
      host.print('Give password for account ' + lib.inspect.harmless(args[1]) + '\n');
      password = host.password('Password: ');
    } else if (!c.isString(password)) {
      throw new Error('third argument must be the password to unlock the account');
    }
    return jeth.sign.apply(null, [args[0], args[1], password].concat(callback));
  };
  personal.openWallet = function() {
    const args = [].slice.call(arguments);
    const callback = c.isFunction(args[args.length - 1]) ? [args.pop()] : [];
    if (!c.isString(args[0])) throw new Error('first argument must be the wallet URL to open');
    const password = isMissing(args[1]) ? '' : args[1];
    return jeth.openWallet.apply(null, [args[0], password].concat(callback));
  };

  function sleep(seconds) {
    if (arguments.length < 1 || typeof seconds !== 'number') throw new Error('usage: sleep(<number of seconds>)');
    host.sleep(seconds * 1000);
    return true;
  }
  function sleepBlocks(blocks, seconds) {
    if (arguments.length < 1) throw new Error('usage: sleepBlocks(<n blocks>[, max sleep in seconds])');
    if (typeof blocks !== 'number') throw new Error('expected number as first argument');
    if (seconds !== undefined && typeof seconds !== 'number') throw new Error('expected number as second argument');
    const end = seconds === undefined ? Infinity : Date.now() + seconds * 1000;
    const wanted = eth.blockNumber + blocks;
    while (eth.blockNumber < wanted) {
      if (Date.now() >= end) return false;
      host.sleep(200);
    }
    return true;
  }

  // What the node says that it has. Nothing here is executed: names only pick from our own table.
  lib.publish = function (modules) {
    const names = Object.keys(modules).sort();
    names.forEach(function (name) {
      if (Object.prototype.hasOwnProperty.call(lib.reported, name)) {
        lib.extend(web3, Object.assign({ property: name }, lib.reported[name]));
      }
    });
    if (web3.admin) {
      web3.admin.sleep = function() { return sleep.apply(null, arguments); };
      web3.admin.sleepBlocks = function() { return sleepBlocks.apply(null, arguments); };
      web3.admin.clearHistory = function() {
        host.clearHistory();
        host.print('history file deleted\n');
      };
    }
    ['eth', 'personal'].concat(names).forEach(function (name) {
      const isOurs = lib.core[name] !== undefined || Object.prototype.hasOwnProperty.call(lib.reported, name);
      if (isOurs && name !== '' && web3[name]) define(name, web3[name]);
    });
    lib.modules = names.map(function (name) { return lib.inspect.harmless(name + ':' + modules[name]); });
  };

  // Called with what `rpc_modules` answered, as JSON.
  lib.attach = function (modules) { lib.publish(JSON.parse(modules)); };

  const facts = function () {
    const lines = ['instance: ' + web3.version.node];
    try {
      lines.push('coinbase: ' + eth.coinbase);
    } catch (error) {
      // A node without an etherbase.
    }
    const number = eth.blockNumber;
    lines.push('at block: ' + number + ' (' + new Date(1000 * eth.getBlock(number).timestamp) + ')');
    try {
      if (web3.admin) lines.push(' datadir: ' + web3.admin.datadir);
    } catch (error) {
      // A transport without `admin`.
    }
    return lines;
  };

  lib.welcome = function (greeting, hint) {
    let told = [];
    try {
      told = facts();
    } catch (error) {
      // As in geth: a transport without `web3` or `eth` is no reason not to say what there is.
    }
    const lines = [greeting, ''].concat(told, ' modules: ' + lib.modules.join(' '), '', hint);
    return lib.inspect.harmless(lines.join('\n'));
  };

  // The engine calls our functions through here: see `Engine::call`.
  Object.defineProperty(globalThis, Symbol.for('console.turn'), {
    value: function () {
      const path = lib.called.split('.');
      const given = lib.given;
      const name = path.pop();
      const owner = path.reduce(function (object, part) { return object[part]; }, lib);
      lib.given = undefined;
      return owner[name].apply(owner, given);
    }
  });
  define('BigNumber', lib.BigNumber);
  define('web3', web3);
  define('jeth', jeth);
})

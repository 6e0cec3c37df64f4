// What the console knows of the node's namespaces: methods, properties, and how values are shown.
(function (lib) {
  'use strict';
  const c = lib.conversion;
  const h = lib.helpers;
  const f = lib.formatters;
  const inputBlock = f.inputBlockNumberFormatter;
  const inputDefaultBlock = f.inputDefaultBlockNumberFormatter;
  const inputAddress = f.inputAddressFormatter;
  const inputCall = f.inputCallFormatter;
  const inputTransaction = f.inputTransactionFormatter;
  const outputTransaction = f.outputTransactionFormatter;

  function truth(value) { return !!value; }
  function printed(value) {
    lib.host.print(String(value) + '\n');
    return null;
  }
  // 'name' takes `params` values as they are.
  function plain(space, names, params) {
    return names.split(' ').map(function (name) {
      return { name: name, call: space + '_' + name, params: params };
    });
  }
  function by(hashMethod, numberMethod) {
    return function (args) {
      return c.isString(args[0]) && args[0].indexOf('0x') === 0 ? hashMethod : numberMethod;
    };
  }
  const anything = [null, null, null, null, null, null];
  // Values that may be left out: `null` takes their place.
  function optional(space, name, params) {
    return { name: name, call: space + '_' + name, params: params, inputFormatter: anything.slice(0, params) };
  }

  const eth = {
    methods: [
      { name: 'getBalance', call: 'eth_getBalance', params: 2, inputFormatter: [inputAddress, inputDefaultBlock], outputFormatter: f.outputBigNumberFormatter },
      { name: 'getStorageAt', call: 'eth_getStorageAt', params: 3, inputFormatter: [null, h.toHex, inputDefaultBlock] },
      { name: 'getCode', call: 'eth_getCode', params: 2, inputFormatter: [inputAddress, inputDefaultBlock] },
      { name: 'getBlock', call: by('eth_getBlockByHash', 'eth_getBlockByNumber'), params: 2, inputFormatter: [inputBlock, truth], outputFormatter: f.outputBlockFormatter },
      { name: 'getUncle', call: by('eth_getUncleByBlockHashAndIndex', 'eth_getUncleByBlockNumberAndIndex'), params: 2, inputFormatter: [inputBlock, h.toHex], outputFormatter: f.outputBlockFormatter },
      { name: 'getCompilers', call: 'eth_getCompilers', params: 0 },
      { name: 'getBlockTransactionCount', call: by('eth_getBlockTransactionCountByHash', 'eth_getBlockTransactionCountByNumber'), params: 1, inputFormatter: [inputBlock], outputFormatter: h.toDecimal },
      { name: 'getBlockUncleCount', call: by('eth_getUncleCountByBlockHash', 'eth_getUncleCountByBlockNumber'), params: 1, inputFormatter: [inputBlock], outputFormatter: h.toDecimal },
      { name: 'getTransaction', call: 'eth_getTransactionByHash', params: 1, outputFormatter: outputTransaction },
      { name: 'getTransactionFromBlock', call: by('eth_getTransactionByBlockHashAndIndex', 'eth_getTransactionByBlockNumberAndIndex'), params: 2, inputFormatter: [inputBlock, h.toHex], outputFormatter: outputTransaction },
      { name: 'getTransactionReceipt', call: 'eth_getTransactionReceipt', params: 1, outputFormatter: f.outputTransactionReceiptFormatter },
      { name: 'getTransactionCount', call: 'eth_getTransactionCount', params: 2, inputFormatter: [null, inputDefaultBlock], outputFormatter: h.toDecimal },
      { name: 'call', call: 'eth_call', params: 2, inputFormatter: [inputCall, inputDefaultBlock] },
      { name: 'estimateGas', call: 'eth_estimateGas', params: 2, isShort: true, inputFormatter: [inputCall, inputBlock], outputFormatter: h.toDecimal },
      { name: 'sendRawTransaction', call: 'eth_sendRawTransaction', params: 1, inputFormatter: [null] },
      { name: 'sendTransaction', call: 'eth_sendTransaction', params: 1, inputFormatter: [inputTransaction] },
      { name: 'sign', call: 'eth_sign', params: 2, inputFormatter: [inputAddress, null] },
      { name: 'signTransaction', call: 'eth_signTransaction', params: 1, inputFormatter: [inputTransaction] },
      { name: 'submitTransaction', call: 'eth_submitTransaction', params: 1, inputFormatter: [inputTransaction] },
      { name: 'fillTransaction', call: 'eth_fillTransaction', params: 1, inputFormatter: [inputTransaction] },
      { name: 'resend', call: 'eth_resend', params: 3, inputFormatter: [inputTransaction, h.fromDecimal, h.fromDecimal] },
      { name: 'getHeaderByNumber', call: 'eth_getHeaderByNumber', params: 1, inputFormatter: [inputBlock] },
      { name: 'getBlockByNumber', call: 'eth_getBlockByNumber', params: 2, inputFormatter: [inputBlock, truth] },
      { name: 'getBlockByHash', call: 'eth_getBlockByHash', params: 2, inputFormatter: [null, truth] },
      { name: 'getRawTransaction', call: 'eth_getRawTransactionByHash', params: 1 },
      { name: 'getRawTransactionFromBlock', call: by('eth_getRawTransactionByBlockHashAndIndex', 'eth_getRawTransactionByBlockNumberAndIndex'), params: 2, inputFormatter: [inputBlock, h.toHex] },
      { name: 'getProof', call: 'eth_getProof', params: 3, inputFormatter: [inputAddress, null, inputBlock] },
      { name: 'createAccessList', call: 'eth_createAccessList', params: 2, inputFormatter: [null, inputBlock] },
      { name: 'feeHistory', call: 'eth_feeHistory', params: 3, inputFormatter: [null, inputBlock, null] },
      { name: 'getBlockReceipts', call: 'eth_getBlockReceipts', params: 1, inputFormatter: [inputBlock] },
      { name: 'getLogs', call: 'eth_getLogs', params: 1 },
      { name: 'submitWork', call: 'eth_submitWork', params: 3 },
      { name: 'getWork', call: 'eth_getWork', params: 0 },
      { name: 'chainId', call: 'eth_chainId', params: 0 },
      { name: 'compile.solidity', call: 'eth_compileSolidity', params: 1 },
      { name: 'compile.lll', call: 'eth_compileLLL', params: 1 },
      { name: 'compile.serpent', call: 'eth_compileSerpent', params: 1 }
    ],
    properties: [
      { name: 'coinbase', getter: 'eth_coinbase' },
      { name: 'mining', getter: 'eth_mining' },
      { name: 'hashrate', getter: 'eth_hashrate', outputFormatter: h.toDecimal },
      { name: 'syncing', getter: 'eth_syncing', outputFormatter: f.outputSyncingFormatter },
      { name: 'gasPrice', getter: 'eth_gasPrice', outputFormatter: f.outputBigNumberFormatter },
      { name: 'accounts', getter: 'eth_accounts' },
      { name: 'blockNumber', getter: 'eth_blockNumber', outputFormatter: h.toDecimal },
      { name: 'protocolVersion', getter: 'eth_protocolVersion' },
      { name: 'maxPriorityFeePerGas', getter: 'eth_maxPriorityFeePerGas', outputFormatter: f.outputBigNumberFormatter },
      { name: 'pendingTransactions', getter: 'eth_pendingTransactions', outputFormatter: function (txs) { return txs.map(outputTransaction); } }
    ]
  };

  const personal = {
    methods: [
      { name: 'newAccount', call: 'personal_newAccount', params: 1, inputFormatter: [null] },
      { name: 'importRawKey', call: 'personal_importRawKey', params: 2 },
      { name: 'sign', call: 'personal_sign', params: 3, inputFormatter: [null, inputAddress, null] },
      { name: 'ecRecover', call: 'personal_ecRecover', params: 2 },
      { name: 'unlockAccount', call: 'personal_unlockAccount', params: 3, inputFormatter: [inputAddress, null, null] },
      { name: 'lockAccount', call: 'personal_lockAccount', params: 1, inputFormatter: [inputAddress] },
      { name: 'sendTransaction', call: 'personal_sendTransaction', params: 2, inputFormatter: [inputTransaction, null] },
      { name: 'signTransaction', call: 'personal_signTransaction', params: 2, inputFormatter: [inputTransaction, null] },
      { name: 'openWallet', call: 'personal_openWallet', params: 2 },
      { name: 'deriveAccount', call: 'personal_deriveAccount', params: 3 },
      { name: 'unpair', call: 'personal_unpair', params: 2 },
      { name: 'initializeWallet', call: 'personal_initializeWallet', params: 1 }
    ],
    properties: [
      { name: 'listAccounts', getter: 'personal_listAccounts' },
      { name: 'listWallets', getter: 'personal_listWallets' }
    ]
  };

  const net = {
    methods: [],
    properties: [
      { name: 'listening', getter: 'net_listening' },
      { name: 'peerCount', getter: 'net_peerCount', outputFormatter: h.toDecimal },
      { name: 'version', getter: 'net_version' }
    ]
  };

  const version = {
    methods: [],
    properties: [
      { name: 'version.node', getter: 'web3_clientVersion' },
      { name: 'version.network', getter: 'net_version' },
      { name: 'version.ethereum', getter: 'eth_protocolVersion' },
      { name: 'version.whisper', getter: 'shh_version' }
    ]
  };

  const admin = {
    methods: plain('admin', 'addPeer removePeer addTrustedPeer removeTrustedPeer importChain', 1).concat([
      optional('admin', 'exportChain', 3),
      optional('admin', 'startHTTP', 5),
      optional('admin', 'startRPC', 5),
      optional('admin', 'startWS', 4)
    ], plain('admin', 'stopHTTP stopRPC stopWS', 0)),
    properties: [
      { name: 'nodeInfo', getter: 'admin_nodeInfo' },
      { name: 'peers', getter: 'admin_peers' },
      { name: 'datadir', getter: 'admin_datadir' }
    ]
  };

  const miner = {
    methods: [
      { name: 'start', call: 'miner_start', params: 1, inputFormatter: [null] },
      { name: 'stop', call: 'miner_stop', params: 0 },
      { name: 'setEtherbase', call: 'miner_setEtherbase', params: 1, inputFormatter: [inputAddress] },
      { name: 'setExtra', call: 'miner_setExtra', params: 1 },
      { name: 'setGasPrice', call: 'miner_setGasPrice', params: 1, inputFormatter: [h.fromDecimal] },
      { name: 'setGasLimit', call: 'miner_setGasLimit', params: 1, inputFormatter: [h.fromDecimal] },
      { name: 'setRecommitInterval', call: 'miner_setRecommitInterval', params: 1 },
      { name: 'getHashrate', call: 'miner_getHashrate', params: 0 }
    ],
    properties: []
  };

  const txpool = {
    methods: plain('txpool', 'contentFrom', 1),
    properties: [
      { name: 'content', getter: 'txpool_content' },
      { name: 'inspect', getter: 'txpool_inspect' },
      {
        name: 'status',
        getter: 'txpool_status',
        outputFormatter: function (status) {
          status.pending = h.toDecimal(status.pending);
          status.queued = h.toDecimal(status.queued);
          return status;
        }
      }
    ]
  };

  const debug = {
    methods: plain('debug', 'printBlock getHeaderRlp getBlockRlp getRawHeader getRawBlock getRawReceipts getRawTransaction setHead seedHash vmodule verbosity backtraceAt setGCPercent startCPUProfile startGoTrace setBlockProfileRate writeBlockProfile setMutexProfileFraction writeMutexProfile writeMemProfile freezeClient dbGet setTrieFlushInterval', 1).concat(
      plain('debug', 'cpuProfile goTrace blockProfile mutexProfile dbAncient', 2),
      plain('debug', 'freeOSMemory memStats gcStats stopCPUProfile stopGoTrace getBadBlocks dbAncients chaindbCompact', 0),
      plain('debug', 'storageRangeAt', 5),
      [
        { name: 'accountRange', call: 'debug_accountRange', params: 6, inputFormatter: [inputDefaultBlock, null, null, null, null, null] },
        { name: 'dumpBlock', call: 'debug_dumpBlock', params: 1, inputFormatter: [inputBlock] },
        { name: 'chaindbProperty', call: 'debug_chaindbProperty', params: 1, inputFormatter: [null], outputFormatter: printed },
        { name: 'stacks', call: 'debug_stacks', params: 1, isShort: true, inputFormatter: [null], outputFormatter: printed },
        { name: 'traceBlockByNumber', call: 'debug_traceBlockByNumber', params: 2, inputFormatter: [inputBlock, null] },
        { name: 'getAccessibleState', call: 'debug_getAccessibleState', params: 2, inputFormatter: [inputBlock, inputBlock] },
        optional('debug', 'traceBlock', 2),
        optional('debug', 'traceBlockFromFile', 2),
        optional('debug', 'traceBadBlock', 1),
        optional('debug', 'standardTraceBadBlockToFile', 2),
        optional('debug', 'standardTraceBlockToFile', 2),
        optional('debug', 'intermediateRoots', 2),
        optional('debug', 'traceBlockByHash', 2),
        optional('debug', 'traceTransaction', 2),
        optional('debug', 'traceCall', 3),
        optional('debug', 'preimage', 1),
        optional('debug', 'getModifiedAccountsByNumber', 2),
        optional('debug', 'getModifiedAccountsByHash', 2)
      ]
    ),
    properties: []
  };

  const clique = {
    methods: [
      { name: 'getSnapshot', call: 'clique_getSnapshot', params: 1, inputFormatter: [inputBlock] },
      { name: 'getSnapshotAtHash', call: 'clique_getSnapshotAtHash', params: 1 },
      { name: 'getSigners', call: 'clique_getSigners', params: 1, inputFormatter: [inputBlock] },
      { name: 'getSignersAtHash', call: 'clique_getSignersAtHash', params: 1 },
      { name: 'propose', call: 'clique_propose', params: 2 },
      { name: 'discard', call: 'clique_discard', params: 1 },
      { name: 'status', call: 'clique_status', params: 0 },
      { name: 'getSigner', call: 'clique_getSigner', params: 1, inputFormatter: [null] }
    ],
    properties: [{ name: 'proposals', getter: 'clique_proposals' }]
  };

  const ethash = {
    methods: plain('ethash', 'getWork getHashrate', 0).concat(
      plain('ethash', 'submitWork', 3), plain('ethash', 'submitHashrate', 2)
    ),
    properties: []
  };

  const rpc = { methods: [], properties: [{ name: 'modules', getter: 'rpc_modules' }] };

  function extend(web3, extension) {
    if (extension.property) web3[extension.property] = web3[extension.property] || {};
    const object = extension.property ? web3[extension.property] : web3;
    const spec = function (one) {
      // Scripts that extend the console themselves hand over objects of `_extend`.
      return one.spec || one;
    };
    (extension.methods || []).forEach(function (one) { lib.requests.addMethod(object, spec(one)); });
    (extension.properties || []).forEach(function (one) { lib.requests.addProperty(object, spec(one)); });
  }

  lib.extend = extend;
  lib.core = { eth: eth, personal: personal, net: net, '': version };
  // Only what the node reports is there.
  lib.reported = {
    admin: admin, clique: clique, debug: debug, ethash: ethash, miner: miner, rpc: rpc, txpool: txpool
  };
})

// One function for each page: asks the node, and gives what is to be shown.

import { Refused, ask, batch, count, quantity } from "./node.js";
import { ago, ether, facts, grouped, gwei, link, make, moment, readable, section, short, step, steps, table } from "./format.js";

/** Blocks of the first page. */
const NEWEST = 20;
/** Blocks asked for at once in a search through the chain, and in one such search. */
const SEARCH_BATCH = 25;
const SEARCH_BLOCKS = 1000;
/** Transactions and logs in a table: beyond that a page gets slow. */
const ROWS_MAX = 250;
const TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

export async function home() {
  const newest = count(await ask("eth_blockNumber"));
  const numbers = Array.from({ length: Math.min(NEWEST, newest + 1) }, (_, at) => newest - at);
  const blocks = (await batch(numbers.map((number) => ["eth_getBlockByNumber", hex(number), true]))).filter(Boolean);
  // A genesis without a time has been waited for since 1970.
  const dated = blocks.filter((block) => count(block.timestamp));
  const times = dated.slice(1).map((block, at) => count(dated[at].timestamp) - count(block.timestamp));
  const mean = times.length ? times.reduce((sum, time) => sum + time, 0) / times.length : null;
  const transactions = blocks.flatMap((block) => block.transactions.map((transaction) => [block, transaction])).slice(0, NEWEST);
  return {
    title: `#${newest}`,
    shown: [
      section("Chain", facts([
        ["Newest block", link.block(newest)],
        ["Mined", blocks[0] && count(blocks[0].timestamp) ? moment(count(blocks[0].timestamp)) : null],
        ["Difficulty", blocks[0] ? grouped(quantity(blocks[0].difficulty)) : null],
        ["Mean block time", mean == null ? null : `${mean.toFixed(1)} s over ${times.length + 1} blocks`],
      ])),
      make("div", { class: "two" },
        section("Newest blocks", blockTable(blocks)),
        section("Newest transactions", transactions.length
          ? transactionTable("Newest transactions", transactions)
          : make("p", { class: "hint" }, `None in the last ${blocks.length} blocks.`))),
    ],
  };
}

export async function block(name) {
  const byHash = name.startsWith("0x");
  const found = byHash ? await ask("eth_getBlockByHash", name, true) : await ask("eth_getBlockByNumber", hex(name), true);
  if (!found) return missing("block", name, byHash ? "It may have lost against another; nodes forget those." : "It is not mined yet.");
  const number = count(found.number);
  const [newest, inChain, ...uncles] = await batch([
    ["eth_blockNumber"], ["eth_getBlockByNumber", found.number, false],
    ...found.uncles.map((_, at) => ["eth_getUncleByBlockHashAndIndex", found.hash, hex(at)]),
  ]);
  const best = inChain?.hash === found.hash;
  const used = count(found.gasUsed);
  const limit = count(found.gasLimit);
  const extra = readable(found.extraData);
  const rows = found.transactions.slice(0, ROWS_MAX).map((transaction) => [found, transaction]);
  const address = (at) => (best ? `#/block/${at}` : null);
  return {
    title: `Block ${number}`,
    shown: [
      section(`Block ${grouped(number)}`,
        best ? null : make("p", { class: "banner" }, "This block is not in the chain: another one has its number. ", make("a", { href: `#/block/${number}` }, "See that one.")),
        facts([
          ["Hash", make("code", {}, found.hash)],
          ["Parent", number ? make("a", { href: `#/block/${found.parentHash}` }, found.parentHash) : make("code", {}, found.parentHash)],
          ["Mined", count(found.timestamp) ? moment(count(found.timestamp)) : "genesis"],
          ["Confirmations", best ? grouped(count(newest) - number) : "none"],
          ["Miner", link.address(found.miner, true)],
          ["Difficulty", grouped(quantity(found.difficulty))],
          ["Total difficulty", found.totalDifficulty ? grouped(quantity(found.totalDifficulty)) : null],
          ["Gas used", `${grouped(used)} of ${grouped(limit)}${limit ? ` (${((100 * used) / limit).toFixed(1)} %)` : ""}`],
          ["Base fee", found.baseFeePerGas ? gwei(quantity(found.baseFeePerGas)) : null],
          ["Size", `${grouped(count(found.size))} bytes`],
          ["Extra data", found.extraData === "0x" ? null : extra ?? make("code", {}, found.extraData)],
          ["Nonce", make("code", {}, found.nonce)],
          ["Mix hash", make("code", {}, found.mixHash)],
          ["State root", make("code", {}, found.stateRoot)],
        ]),
        steps(step("← previous", number > 0 ? address(number - 1) : null), step("next →", number < count(newest) ? address(number + 1) : null))),
      section(`Transactions (${grouped(found.transactions.length)})`,
        rows.length ? transactionTable("Transactions of the block", rows) : make("p", { class: "hint" }, "None."),
        found.transactions.length > ROWS_MAX ? make("p", { class: "hint" }, `The first ${ROWS_MAX} are shown.`) : null),
      uncles.length ? section(`Uncles (${uncles.length})`, table("Uncles of the block", ["<Number", "<Hash", "<Miner", "Difficulty"],
        uncles.filter(Boolean).map((uncle) => [grouped(count(uncle.number)), make("code", { title: uncle.hash }, short(uncle.hash)), link.address(uncle.miner), grouped(quantity(uncle.difficulty))]))) : null,
    ],
  };
}

export async function transaction(hash) {
  const [found, receipt, newest] = await batch([["eth_getTransactionByHash", hash], ["eth_getTransactionReceipt", hash], ["eth_blockNumber"]]);
  if (!found) return missing("transaction", hash, "It may wait at another node, or have been replaced or dropped.");
  const mined = found.blockNumber ? await ask("eth_getBlockByHash", found.blockHash, false) : null;
  const price = quantity(receipt?.effectiveGasPrice ?? found.gasPrice);
  const text = readable(found.input);
  const failed = receipt?.status === "0x0";
  return {
    title: `Transaction ${short(hash)}`,
    shown: [
      section("Transaction", facts([
        ["Hash", make("code", {}, found.hash)],
        ["State", receipt
          ? make("span", { class: failed ? "bad" : "good" }, failed ? "failed: its changes were taken back, its gas was paid" : "done")
          : make("span", { class: "fair" }, "waits to be mined")],
        ["Block", mined ? make("span", {}, link.block(count(found.blockNumber)), `, place ${count(found.transactionIndex)}, ${grouped(count(newest) - count(found.blockNumber))} confirmations`) : null],
        ["Mined", mined ? moment(count(mined.timestamp)) : null],
        ["From", link.address(found.from, true)],
        ["To", found.to ? link.address(found.to, true) : "makes a contract"],
        ["Contract made", receipt?.contractAddress ? link.address(receipt.contractAddress, true) : null],
        ["Value", ether(quantity(found.value))],
        ["Fee paid", receipt ? ether(quantity(receipt.gasUsed) * price) : null],
        ["Gas", `${receipt ? `${grouped(count(receipt.gasUsed))} used of ` : ""}${grouped(count(found.gas))}`],
        ["Gas price", gwei(price)],
        ["Fee cap, tip", found.maxFeePerGas ? `${gwei(quantity(found.maxFeePerGas))}, ${gwei(quantity(found.maxPriorityFeePerGas))}` : null],
        ["Nonce", grouped(count(found.nonce))],
        ["Type", { "0x0": "legacy", "0x1": "access list", "0x2": "dynamic fee" }[found.type] ?? null],
        ["Calls", found.to && found.input.length >= 10 ? make("code", {}, found.input.slice(0, 10)) : null],
        ["Data", found.input === "0x" ? null : make("div", {}, `${grouped((found.input.length - 2) / 2)} bytes`, text ? make("pre", {}, text) : null, make("pre", {}, found.input))],
      ])),
      receipt ? section(`Logs (${grouped(receipt.logs.length)})`, receipt.logs.length ? logTable(receipt.logs, false) : make("p", { class: "hint" }, "None.")) : null,
    ],
  };
}

export async function address(name) {
  const tags = (method) => [method, name, "latest"];
  const [balance, nonce, code, pending] = await batch([
    tags("eth_getBalance"), tags("eth_getTransactionCount"), tags("eth_getCode"), ["eth_getTransactionCount", name, "pending"],
  ]);
  const contract = code !== "0x";
  const waiting = count(pending) - count(nonce);
  return {
    title: `${contract ? "Contract" : "Address"} ${short(name)}`,
    shown: [
      section(contract ? "Contract" : "Address", facts([
        ["Address", make("code", {}, name)],
        ["Balance", ether(quantity(balance))],
        [contract ? "Contracts made" : "Transactions sent", `${grouped(count(nonce))}${waiting > 0 ? `, and ${waiting} that wait` : ""}`],
        ["Code", contract ? make("div", {}, `${grouped((code.length - 2) / 2)} bytes`, make("details", {}, make("summary", {}, "show"), make("pre", {}, code))) : null],
        ["Storage", contract ? storage(name) : null],
      ])),
      history(name.toLowerCase()),
      contract ? logs(name) : null,
    ],
  };
}

export function missing(what, name, why) {
  return { title: `No such ${what}`, shown: [section(`No such ${what}`, make("p", {}, make("code", {}, name)), make("p", { class: "hint" }, `This node does not have it. ${why}`))] };
}

function blockTable(blocks) {
  return table("Newest blocks", ["<Block", "<Age", "<Miner", "Transactions", "Uncles", "Gas used"], blocks.map((block) => [
    link.block(count(block.number)), count(block.timestamp) ? ago(count(block.timestamp)) : "genesis", link.address(block.miner),
    block.transactions.length, block.uncles.length, grouped(count(block.gasUsed)),
  ]));
}

function transactionTable(caption, rows) {
  return table(caption, ["<Transaction", "<Block", "<From", "<To", "Value"], rows.map(([block, transaction]) => [
    link.transaction(transaction.hash), link.block(count(block.number)), link.address(transaction.from),
    transaction.to ? link.address(transaction.to) : "makes a contract", ether(quantity(transaction.value)),
  ]));
}

function logTable(logs, withTransaction) {
  const words = (log) => (log.topics[0] === TRANSFER && log.topics.length === 3
    ? make("span", {}, "Transfer ", link.address(`0x${log.topics[1].slice(-40)}`), " → ", link.address(`0x${log.topics[2].slice(-40)}`))
    : make("details", {}, make("summary", {}, log.topics.length ? short(log.topics[0]) : "no topic"), make("pre", {}, log.topics.join("\n"))));
  return table("Logs", ["<Contract", withTransaction ? "<Transaction" : "Number", "<Event", "<Data"], logs.slice(-ROWS_MAX).map((log) => [
    link.address(log.address), withTransaction ? link.transaction(log.transactionHash) : grouped(count(log.logIndex)), words(log),
    log.data === "0x" ? "" : log.data.length === 66 ? grouped(quantity(log.data)) : make("details", {}, make("summary", {}, `${grouped((log.data.length - 2) / 2)} bytes`), make("pre", {}, log.data)),
  ]));
}

/** Reads a place of a contract's storage. */
function storage(name) {
  const place = make("input", { type: "text", value: "0", "aria-label": "Place in the storage, a number or 0x…", spellcheck: "false" });
  const read = make("button", { type: "submit" }, "Read");
  const answer = make("output");
  const form = make("form", { class: "inline" }, place, read, answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.textContent = "";
    try {
      const value = await ask("eth_getStorageAt", name, hex(place.value.trim()), "latest");
      answer.replaceChildren(make("code", {}, value), ` = ${grouped(quantity(value))}`);
    } catch (error) {
      answer.textContent = error instanceof SyntaxError ? "not a number" : error.message;
    }
  });
  return form;
}

/** What an address did in the newest blocks, further back at each press of a button. */
function history(name) {
  const host = section("Activity", make("p", { class: "hint" }, "Nodes keep no list of this: the blocks are looked through, newest first."));
  const place = make("div");
  const button = make("button", { type: "button" }, `Look through ${grouped(SEARCH_BLOCKS)} blocks`);
  const state = make("span", { role: "status" });
  host.append(place, make("div", { class: "inline" }, button, state));
  const rows = [];
  let next = null;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      next ??= count(await ask("eth_blockNumber"));
      const last = Math.max(0, next - SEARCH_BLOCKS + 1);
      while (next >= last && host.isConnected && rows.length < ROWS_MAX) {
        const numbers = Array.from({ length: Math.min(SEARCH_BATCH, next - last + 1) }, (_, at) => next - at);
        for (const block of await batch(numbers.map((number) => ["eth_getBlockByNumber", hex(number), true]))) {
          if (block) rows.push(...deeds(block, name));
        }
        next -= numbers.length;
        state.textContent = next < 0 ? "All blocks were looked at." : `Looked at blocks down to ${grouped(next + 1)}.`;
      }
      place.replaceChildren(rows.length ? table("Activity", ["<What", "<Block", "<With", "Value"], rows) : make("p", { class: "hint" }, "Nothing found."));
      button.textContent = `Look through ${grouped(SEARCH_BLOCKS)} more`;
      button.disabled = next < 0 || rows.length >= ROWS_MAX;
    } catch (error) {
      state.textContent = error.message;
      button.disabled = false;
    }
  });
  queueMicrotask(() => button.click());
  return host;
}

function deeds(block, name) {
  const number = () => link.block(count(block.number));
  const found = block.miner === name && count(block.number) ? [["mined", number(), "", ""]] : [];
  for (const transaction of block.transactions) {
    if (transaction.from !== name && transaction.to !== name) continue;
    const sent = transaction.from === name;
    const other = sent ? transaction.to : transaction.from;
    found.push([
      make("a", { href: `#/tx/${transaction.hash}` }, sent ? (transaction.to ? "sent" : "made a contract") : "received"),
      number(), other ? link.address(other) : "", ether(quantity(transaction.value)),
    ]);
  }
  return found;
}

/** The newest logs of a contract. */
function logs(name) {
  const place = make("div", {}, make("p", { class: "hint" }, "asking"));
  const show = async () => {
    try {
      const newest = count(await ask("eth_blockNumber"));
      const from = Math.max(0, newest - SEARCH_BLOCKS + 1);
      const found = await ask("eth_getLogs", { address: name, fromBlock: hex(from), toBlock: "latest" });
      place.replaceChildren(found.length ? logTable(found, true) : make("p", { class: "hint" }, "None."));
    } catch (error) {
      place.replaceChildren(make("p", { class: "bad" }, error instanceof Refused ? error.message : "The node does not answer."));
    }
  };
  queueMicrotask(show);
  return section(`Logs of the newest ${grouped(SEARCH_BLOCKS)} blocks`, place);
}

function hex(number) {
  return `0x${BigInt(number).toString(16)}`;
}

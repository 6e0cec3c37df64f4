//! Logs: which ones are meant, and looking for them.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use chain::{BlockSet, ChainView};
use primitives::{Address, B256, BlockNumHash, Bloom, BloomInput, Log, Receipt, SealedHeader};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    convert::{LogPlace, RpcLog},
    dispatch::Patience,
    error::RpcError,
    methods::Table,
    node::Api,
    params::Params,
    parse::{self, BlockTag},
};

/// Logs of one answer, counted while they are collected.
pub(crate) const LOGS_MAX: usize = 20_000;
/// Addresses of one query.
const ADDRESSES_MAX: usize = 1_000;
/// Alternatives for one topic.
const TOPICS_MAX: usize = 1_000;
/// Topics of a log (Yellow Paper, `LOG4`).
const TOPIC_POSITIONS_MAX: usize = 4;
/// How long one query may look. The range itself has no limit: the index says at once which blocks
/// hold nothing of interest.
const SEARCH_SECONDS_MAX: u64 = 10;

pub(crate) fn register(table: &mut Table) {
    table.brief("eth_getLogs", logs);
}

/// Which blocks a query looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// One block.
    Block(B256),
    /// Canonical blocks, both ends included.
    Between(BlockTag, BlockTag),
}

/// Which logs a query wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) range: Range,
    /// Empty: any.
    addresses: Vec<Address>,
    /// By position; an empty list matches anything that is there.
    topics: Vec<Vec<B256>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    from_block: Option<&'a RawValue>,
    #[serde(borrow)]
    to_block: Option<&'a RawValue>,
    // Go reads member names in any case, and clients have come to rely on this one.
    #[serde(borrow, alias = "blockhash")]
    block_hash: Option<&'a RawValue>,
    #[serde(borrow)]
    address: Option<&'a RawValue>,
    #[serde(borrow)]
    topics: Option<Vec<&'a RawValue>>,
}

/// Reads a filter object.
pub(crate) fn query(raw: &RawValue) -> Result<Query, String> {
    let fields: Fields<'_> = parse::json_ref(raw)?;
    let range = match fields.block_hash {
        Some(_) if fields.from_block.is_some() || fields.to_block.is_some() => {
            return Err(
                "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other"
                    .into(),
            );
        }
        Some(hash) => Range::Block(parse::hash(hash)?),
        None => {
            let end = |raw: Option<&RawValue>| raw.map_or(Ok(BlockTag::Latest), parse::block_tag);
            Range::Between(end(fields.from_block)?, end(fields.to_block)?)
        }
    };
    let addresses = fields.address.map_or(Ok(Vec::new()), |raw| {
        one_or_more(raw, parse::address, ADDRESSES_MAX, "addresses")
    })?;
    let positions = fields.topics.unwrap_or_default();
    if positions.len() > TOPIC_POSITIONS_MAX {
        return Err("exceed max topics".into());
    }
    let alternatives = |raw: &RawValue| match raw.get() {
        "null" => Ok(Vec::new()),
        _ => one_or_more(raw, parse::hash, TOPICS_MAX, "topics"),
    };
    let topics = positions.into_iter().map(alternatives).collect::<Result<_, _>>()?;
    Ok(Query { range, addresses, topics })
}

/// One value or a list of alternatives; a `null` among them makes the list match anything.
fn one_or_more<T>(
    raw: &RawValue,
    parse: fn(&RawValue) -> Result<T, String>,
    max: usize,
    what: &str,
) -> Result<Vec<T>, String> {
    if !raw.get().starts_with('[') {
        return parse(raw).map(|value| vec![value]);
    }
    let values: Vec<&RawValue> = parse::json_ref(raw)?;
    if values.len() > max {
        return Err(format!("too many {what}, want at most {max}"));
    }
    if values.iter().any(|value| value.get() == "null") {
        return Ok(Vec::new());
    }
    values.into_iter().map(parse).collect()
}

impl Query {
    /// What the query wants: of each list there must be one value. What may be anything is left out.
    fn clauses(&self) -> Vec<Vec<&[u8]>> {
        let addresses = self.addresses.iter().map(|address| address.as_slice()).collect();
        let topics = self.topics.iter();
        let topics = topics.map(|position| position.iter().map(|topic| topic.as_slice()).collect());
        std::iter::once(addresses)
            .chain(topics)
            .filter(|values: &Vec<_>| !values.is_empty())
            .collect()
    }

    /// Memory that it takes for as long as somebody waits for what it looks for.
    pub(crate) fn bytes(&self) -> usize {
        let topics: usize = self.topics.iter().map(Vec::len).sum();
        self.addresses.len() * size_of::<Address>() + topics * size_of::<B256>()
    }

    /// Every log of every block.
    pub(crate) const fn everything() -> Self {
        let range = Range::Between(BlockTag::Earliest, BlockTag::Latest);
        Self { range, addresses: Vec::new(), topics: Vec::new() }
    }

    fn matches(&self, log: &Log) -> bool {
        self.wants(log.address, log.data.topics())
    }

    /// Whether a log that was found already is wanted.
    pub(crate) fn takes(&self, log: &RpcLog) -> bool {
        self.wants(log.address(), log.topics())
    }

    fn wants(&self, address: Address, topics: &[B256]) -> bool {
        (self.addresses.is_empty() || self.addresses.contains(&address))
            && self.topics.len() <= topics.len()
            && self
                .topics
                .iter()
                .zip(topics)
                .all(|(wanted, topic)| wanted.is_empty() || wanted.contains(topic))
    }
}

/// The blooms of what a query wants, so that no block's has to be compared with more than bits.
#[derive(Debug)]
struct Blooms(Vec<Vec<Bloom>>);

impl Blooms {
    fn of(query: &Query) -> Self {
        let bloom = |value: &[u8]| BloomInput::Raw(value).into();
        Self(
            query
                .clauses()
                .into_iter()
                .map(|values| values.into_iter().map(bloom).collect())
                .collect(),
        )
    }

    /// Whether a block with this bloom may hold a match.
    fn may_match(&self, bloom: &Bloom) -> bool {
        self.0.iter().all(|values| values.iter().any(|value| bloom.contains(value)))
    }
}

/// Logs found so far, and how much longer to look.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    view: &'a ChainView,
    query: &'a Query,
    blooms: Blooms,
    found: Vec<RpcLog>,
    found_max: usize,
    deadline: Instant,
    patience: Patience,
}

impl<'a> Search<'a> {
    /// A search that has found nothing yet.
    pub(crate) fn new(view: &'a ChainView, query: &'a Query, patience: Patience) -> Self {
        let deadline = Instant::now() + Duration::from_secs(SEARCH_SECONDS_MAX);
        let (blooms, found) = (Blooms::of(query), Vec::new());
        Self { view, query, blooms, found, found_max: LOGS_MAX, deadline, patience }
    }

    /// A search of single blocks, whose gas is limit enough.
    pub(crate) fn unbounded(view: &'a ChainView, query: &'a Query) -> Self {
        Self { found_max: usize::MAX, ..Self::new(view, query, Patience::Endless) }
    }

    /// What was found, in the order of the chain.
    pub(crate) fn into_logs(self) -> Vec<RpcLog> {
        self.found
    }

    /// Looks through canonical blocks: those that the index names, then those that it does not know
    /// yet.
    pub(crate) fn numbers(&mut self, numbers: RangeInclusive<u64>) -> Result<(), RpcError> {
        let (start, end) = (*numbers.start(), *numbers.end());
        let indexed = self.view.db.logs_indexed().map_err(RpcError::storage)?;
        let mut next = start;
        if start < indexed
            && let Some(found) = self.indexed(start..=end.min(indexed - 1))?
        {
            for number in found.numbers().filter(|number| numbers.contains(number)) {
                self.number(number)?;
            }
            next = indexed;
        }
        if next <= end {
            for header in self.view.db.headers(next..=end) {
                self.block(&header.map_err(RpcError::storage)?, false)?;
            }
        }
        Ok(())
    }

    /// The blocks that may hold a match, by the index; `None` if the query wants any log.
    fn indexed(&self, numbers: RangeInclusive<u64>) -> Result<Option<BlockSet>, RpcError> {
        let mut found: Option<BlockSet> = None;
        for values in self.query.clauses() {
            let mut any = BlockSet::default();
            for value in values {
                self.check_time()?;
                let blocks = self.view.db.blocks_with(value, numbers.clone());
                any.unite(blocks.map_err(RpcError::storage)?);
            }
            match &mut found {
                Some(found) => found.intersect(&any),
                None => found = Some(any),
            }
        }
        Ok(found)
    }

    /// Looks through the canonical block of a number, which the index named: it knows as much as the
    /// header's bloom.
    fn number(&mut self, number: u64) -> Result<(), RpcError> {
        self.check_time()?;
        let hash = self.view.db.canonical_hash(number).map_err(RpcError::storage)?;
        hash.map_or(Ok(()), |hash| self.receipts(BlockNumHash { number, hash }, false))
    }

    fn check_time(&self) -> Result<(), RpcError> {
        if self.patience.is_over() {
            return Err(RpcError::Unfinished);
        }
        if Instant::now() < self.deadline {
            return Ok(());
        }
        let max = usize::try_from(SEARCH_SECONDS_MAX).unwrap_or(usize::MAX);
        Err(RpcError::TooMuch { what: "seconds", max })
    }

    /// Looks through one block.
    pub(crate) fn block(&mut self, header: &SealedHeader, removed: bool) -> Result<(), RpcError> {
        self.check_time()?;
        if !self.blooms.may_match(&header.logs_bloom) {
            return Ok(());
        }
        self.receipts(header.num_hash(), removed)
    }

    /// Looks through the receipts of a block.
    fn receipts(&mut self, block: BlockNumHash, removed: bool) -> Result<(), RpcError> {
        let receipts = self.view.db.receipts_of(block).map_err(RpcError::storage)?;
        let receipts = receipts.unwrap_or_default();
        let query = self.query;
        let has_match = |receipt: &Receipt| receipt.logs.iter().any(|log| query.matches(log));
        let places: Vec<usize> = (0..)
            .zip(&receipts)
            .filter(|(_, receipt)| has_match(receipt))
            .map(|(index, _)| index)
            .collect();
        if places.is_empty() {
            return Ok(());
        }
        let hashes = self.view.db.transaction_hashes(block, &places).map_err(RpcError::storage)?;
        let mut logs_before = 0;
        let mut next = 0;
        for (index, hash) in places.into_iter().zip(hashes) {
            logs_before +=
                receipts[next..index].iter().map(|receipt| receipt.logs.len()).sum::<usize>();
            next = index;
            self.logs(
                &receipts[index].logs,
                &LogPlace {
                    block,
                    transaction_hash: hash,
                    transaction_index: index,
                    log_index: logs_before,
                    removed,
                },
            )?;
        }
        Ok(())
    }

    /// Takes what is wanted of the logs of a transaction, the first of which is at this place.
    fn logs(&mut self, logs: &[Log], first: &LogPlace) -> Result<(), RpcError> {
        for (log_index, log) in (first.log_index..).zip(logs) {
            if self.query.matches(log) {
                if self.found.len() == self.found_max {
                    return Err(RpcError::TooMuch { what: "logs", max: LOGS_MAX });
                }
                self.found.push(RpcLog::new(log, &LogPlace { log_index, ..*first }));
            }
        }
        Ok(())
    }
}

/// What a query finds in a view.
pub(crate) fn search(
    api: &Api,
    view: &ChainView,
    query: &Query,
    patience: Patience,
) -> Result<Vec<RpcLog>, RpcError> {
    let mut search = Search::new(view, query, patience);
    match query.range {
        Range::Block(hash) => {
            let header = view.db.header(hash).map_err(RpcError::storage)?;
            search.block(&header.ok_or_else(|| RpcError::refused("unknown block"))?, false)?;
        }
        Range::Between(from, to) => {
            let head = view.head.number;
            let number = |tag| match tag {
                BlockTag::Number(number) => Ok(number),
                // A pending block's logs have no block hash to be told by.
                BlockTag::Pending => Ok(head),
                tag => api
                    .by_tag(view, tag)
                    .map(|place| place.map_or(head, |place| place.header().number)),
            };
            let (from, to) = (number(from)?, number(to)?);
            search.numbers(from..=to.min(head))?;
        }
    }
    Ok(search.into_logs())
}

fn logs(api: &Api, params: &mut Params<'_>, patience: Patience) -> Result<Vec<RpcLog>, RpcError> {
    let view = api.node.chain.view();
    let query = params.required(query)?;
    params.end()?;
    search(api, &view, &query, patience)
}

#[cfg(test)]
mod tests {
    use primitives::{Bytes, logs_bloom};

    use super::*;

    fn parsed(json: &str) -> Result<Query, String> {
        query(&RawValue::from_string(json.to_owned()).unwrap())
    }

    fn topic(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    fn log(address: u8, topics: &[u8]) -> Log {
        let topics = topics.iter().copied().map(topic).collect();
        Log::new(Address::repeat_byte(address), topics, Bytes::new()).unwrap()
    }

    #[test]
    fn topics_match_by_position_and_alternative() {
        let (one, two) = (topic(1), topic(2));
        for (filter, want) in [
            ("{}".to_owned(), true),
            (r#"{"topics":[]}"#.to_owned(), true),
            (format!(r#"{{"topics":["{one}"]}}"#), true),
            (format!(r#"{{"topics":["{two}"]}}"#), false),
            (format!(r#"{{"topics":[null,"{two}"]}}"#), true),
            (format!(r#"{{"topics":[["{two}","{one}"]]}}"#), true),
            (format!(r#"{{"topics":[[null,"{two}"]]}}"#), true),
            (r#"{"topics":[null,null]}"#.to_owned(), true),
            (r#"{"topics":[null,null,null]}"#.to_owned(), false),
            (format!(r#"{{"address":"{}"}}"#, Address::repeat_byte(9)), true),
            (format!(r#"{{"address":["{}"]}}"#, Address::repeat_byte(8)), false),
        ] {
            let query = parsed(&filter).unwrap();
            let log = log(9, &[1, 2]);
            assert_eq!(query.matches(&log), want, "{filter}");
            assert!(!want || Blooms::of(&query).may_match(&logs_bloom([&log])), "{filter}");
        }
    }

    #[test]
    fn refuses_too_much_of_anything() {
        let many = |count: usize, what: &str| vec![format!("\"{what}\""); count].join(",");
        let address = Address::ZERO.to_string();
        assert!(parsed(&format!(r#"{{"address":[{}]}}"#, many(ADDRESSES_MAX, &address))).is_ok());
        assert!(
            parsed(&format!(r#"{{"address":[{}]}}"#, many(ADDRESSES_MAX + 1, &address))).is_err()
        );
        let topic = topic(1).to_string();
        assert!(parsed(&format!(r#"{{"topics":[[{}]]}}"#, many(TOPICS_MAX, &topic))).is_ok());
        assert!(parsed(&format!(r#"{{"topics":[[{}]]}}"#, many(TOPICS_MAX + 1, &topic))).is_err());
        assert!(parsed(&format!(r#"{{"topics":[{}]}}"#, many(4, &topic))).is_ok());
        assert_eq!(
            parsed(&format!(r#"{{"topics":[{}]}}"#, many(5, &topic))).unwrap_err(),
            "exceed max topics"
        );
    }

    #[test]
    fn a_block_hash_excludes_a_range() {
        let hash = topic(1);
        assert_eq!(
            parsed(&format!(r#"{{"blockHash":"{hash}"}}"#)).unwrap().range,
            Range::Block(hash)
        );
        assert_eq!(
            parsed(&format!(r#"{{"blockHash":"{hash}","fromBlock":"0x0"}}"#)).unwrap_err(),
            "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other"
        );
    }
}

//! Headers in hex, one a line: their seals.

use alloy_rlp::Decodable;
use consensus::{Engine, EthashSeal};
use primitives::{Header, SealedHeader, hex};

use crate::{chains::with_causes, report::Sink};

/// Checks the seal of each.
pub(super) fn run(content: &[u8], sink: &mut Sink<'_>) {
    let engine = Engine::Ethash(EthashSeal::new());
    let text = String::from_utf8_lossy(content);
    for line in text.lines().map(str::trim).filter(|line| line.starts_with("0x")) {
        let header = hex::decode(line)
            .map_err(|error| error.to_string())
            .and_then(|rlp| Header::decode(&mut rlp.as_slice()).map_err(|error| error.to_string()));
        match header {
            Err(error) => sink.fail("a header", &error),
            Ok(header) => sink.case(&format!("header {}", header.number), || {
                let verdicts = engine.verify_headers(&[SealedHeader::seal_slow(header)], 1);
                verdicts.into_iter().collect::<Result<(), _>>().map_err(|error| with_causes(&error))
            }),
        }
    }
}

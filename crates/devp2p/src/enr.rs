//! Signed node records ([EIP-778](https://eips.ethereum.org/EIPS/eip-778)).

use std::{fmt, net::IpAddr, str::FromStr};

use alloy_rlp::{Decodable, Encodable, Header};
use primitives::ForkId;
use secp256k1::SecretKey;

use crate::{NodeRecord, PeerId};

/// Longest record, in bytes (EIP-778).
pub const ENR_BYTES_MAX: usize = 300;
/// Longest text of a record: its bytes in base64, and the prefix.
const ENR_TEXT_MAX: usize = TEXT_PREFIX.len() + ENR_BYTES_MAX.div_ceil(3) * 4;
const TEXT_PREFIX: &str = "enr:";
/// The entry with the fork id ([EIP-2124](https://eips.ethereum.org/EIPS/eip-2124)).
const ETH_KEY: &str = "eth";
/// The entry that says that states are told, an empty list.
const SNAP_KEY: &str = "snap";
/// Bytes of a compressed public key.
const KEY_BYTES: usize = 33;

/// A record whose signature is right. Only reading one, or signing our own, makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct Enr {
    record: ::enr::Enr<SecretKey>,
    id: PeerId,
}

/// Our own record, which is signed anew whenever it changes.
#[derive(Debug, Clone)]
pub struct LocalRecord {
    key: SecretKey,
    node: NodeRecord,
    fork_id: Option<ForkId>,
    signed: Enr,
}

impl Enr {
    /// How the text form begins.
    pub const SCHEME: &str = TEXT_PREFIX;

    /// Reads a record from RLP.
    ///
    /// # Errors
    ///
    /// If it is too long, malformed, of another identity scheme, or not signed by its key.
    pub fn from_rlp(bytes: &[u8]) -> Result<Self, EnrError> {
        if bytes.len() > ENR_BYTES_MAX {
            return Err(EnrError::TooLong);
        }
        let mut rest = bytes;
        let record = ::enr::Enr::<SecretKey>::decode(&mut rest).map_err(EnrError::Malformed)?;
        if !rest.is_empty() {
            return Err(EnrError::Malformed(alloy_rlp::Error::UnexpectedLength));
        }
        // The library would take an uncompressed key.
        if record.get_raw_rlp("secp256k1").is_none_or(|key| key.len() != 1 + KEY_BYTES) {
            return Err(EnrError::KeyLength);
        }
        let id = PeerId::from(record.public_key());
        Ok(Self { record, id })
    }

    /// The record in RLP, as it is sent.
    #[must_use]
    pub fn to_rlp(&self) -> Vec<u8> {
        alloy_rlp::encode(&self.record)
    }

    /// Counts the changes of a record: a higher number is newer.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.record.seq()
    }

    /// Whose record it is.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// Where the node says it is; `None` if it gives no address.
    #[must_use]
    pub fn node(&self) -> Option<NodeRecord> {
        let record = &self.record;
        let (ip, tcp, udp) = if let Some(ip) = record.ip4() {
            (IpAddr::V4(ip), record.tcp4(), record.udp4())
        } else {
            let tcp = record.tcp6().or_else(|| record.tcp4());
            (IpAddr::V6(record.ip6()?), tcp, record.udp6().or_else(|| record.udp4()))
        };
        Some(NodeRecord { id: self.id, ip, tcp: tcp.unwrap_or(0), udp: udp.unwrap_or(0) })
    }

    /// Port of RLPx; `None` if it takes no connections.
    #[must_use]
    pub fn tcp(&self) -> Option<u16> {
        self.node()
            .map_or_else(|| self.record.tcp4(), |node| Some(node.tcp))
            .filter(|tcp| *tcp != 0)
    }

    /// The fork id of its chain, if it says one.
    #[must_use]
    pub fn fork_id(&self) -> Option<ForkId> {
        read_fork_id(self.record.get_raw_rlp(ETH_KEY)?).ok()
    }
}

impl fmt::Debug for Enr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The text form: `enr:` and base64.
impl fmt::Display for Enr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.record.to_base64())
    }
}

impl FromStr for Enr {
    type Err = EnrError;

    fn from_str(text: &str) -> Result<Self, EnrError> {
        if !text.starts_with(TEXT_PREFIX) {
            return Err(EnrError::NotEnr);
        }
        if text.len() > ENR_TEXT_MAX {
            return Err(EnrError::TooLong);
        }
        let record: ::enr::Enr<SecretKey> = text.parse().map_err(|_| EnrError::BadText)?;
        Self::from_rlp(&alloy_rlp::encode(&record))
    }
}

impl LocalRecord {
    /// Signs a first record. A `sequence` above that of every record signed before with this key
    /// makes peers take the new one; the time in milliseconds is one.
    ///
    /// # Panics
    ///
    /// Never: the record's few entries fit.
    #[must_use]
    pub fn new(key: SecretKey, node: NodeRecord, fork_id: Option<ForkId>, sequence: u64) -> Self {
        let node = NodeRecord { id: PeerId::of(&key), ..node };
        let signed = sign(&key, &node, fork_id, sequence);
        Self { key, node, fork_id, signed }
    }

    /// The record.
    #[must_use]
    pub const fn enr(&self) -> &Enr {
        &self.signed
    }

    /// Our id and address.
    #[must_use]
    pub const fn node(&self) -> &NodeRecord {
        &self.node
    }

    /// Says another address; the id stays.
    pub fn set_address(&mut self, ip: IpAddr, udp: u16) {
        if (self.node.ip, self.node.udp) != (ip, udp) {
            self.node = NodeRecord { ip, udp, ..self.node };
            self.sign();
        }
    }

    /// Says the same with a higher sequence.
    pub(crate) fn renew(&mut self) {
        self.sign();
    }

    /// Says another fork id.
    pub fn set_fork_id(&mut self, fork_id: ForkId) {
        if self.fork_id != Some(fork_id) {
            self.fork_id = Some(fork_id);
            self.sign();
        }
    }

    fn sign(&mut self) {
        let sequence = self.signed.sequence().saturating_add(1);
        self.signed = sign(&self.key, &self.node, self.fork_id, sequence);
    }
}

fn sign(key: &SecretKey, node: &NodeRecord, fork_id: Option<ForkId>, sequence: u64) -> Enr {
    let mut builder = ::enr::Enr::builder();
    builder.seq(sequence).ip(node.ip);
    // As in geth, a port that is not there is not said.
    if node.udp != 0 {
        builder.udp4(node.udp);
    }
    if node.tcp != 0 {
        builder.tcp4(node.tcp);
    }
    if node.ip.is_ipv6() {
        // Some look for the ports of IPv6 under their own names only.
        if node.udp != 0 {
            builder.udp6(node.udp);
        }
        if node.tcp != 0 {
            builder.tcp6(node.tcp);
        }
    }
    if let Some(fork_id) = fork_id {
        builder.add_value_rlp(ETH_KEY, write_fork_id(fork_id).into());
        builder.add_value_rlp(SNAP_KEY, vec![alloy_rlp::EMPTY_LIST_CODE].into());
    }
    let record = builder.build(key).expect("ten short entries are below the limit");
    Enr { record, id: node.id }
}

/// `[[hash, next]]`: a list, so that later fields can follow.
fn write_fork_id(fork_id: ForkId) -> Vec<u8> {
    let mut inner = Vec::new();
    fork_id.hash.encode(&mut inner);
    fork_id.next.encode(&mut inner);
    let mut entry = Vec::new();
    Header { list: true, payload_length: inner.len() }.encode(&mut entry);
    entry.append(&mut inner);
    let mut outer = Vec::new();
    Header { list: true, payload_length: entry.len() }.encode(&mut outer);
    outer.append(&mut entry);
    outer
}

fn read_fork_id(mut rlp: &[u8]) -> alloy_rlp::Result<ForkId> {
    let mut entry = Header::decode_bytes(&mut rlp, true)?;
    let mut inner = Header::decode_bytes(&mut entry, true)?;
    let hash = <[u8; 4]>::decode(&mut inner)?;
    let next = u64::decode(&mut inner)?;
    Ok(ForkId { hash, next })
}

/// Why something is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrError {
    /// Text of something else.
    #[error("not a node record: it should begin with enr:")]
    NotEnr,
    /// Begins well, but is no base64 or no record.
    #[error("invalid text of a node record")]
    BadText,
    /// More than [`ENR_BYTES_MAX`].
    #[error("node record of more than {ENR_BYTES_MAX} bytes")]
    TooLong,
    /// Bad RLP, unsorted keys, an unknown scheme or a bad signature.
    #[error("invalid node record: {0}")]
    Malformed(alloy_rlp::Error),
    /// Not a compressed key.
    #[error("public key of a node record is not {KEY_BYTES} bytes long")]
    KeyLength,
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// The example of EIP-778.
    const EXAMPLE: &str = "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjz\
        CBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0gmlwhH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw\
        0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8";

    /// What nodes without discovery said at 127.0.0.1:42090: geth 1.9.13, then 1.10.26 with an
    /// entry for `snap`.
    const OF_GETH: [(&str, &str); 2] = [
        (
            "enr:-JC4QOfgH2AeKSbM9GNCWVu2cmmtneuA3-4khZCw5h9pw8MGS1VCGc-2rxTZuVd9nlnG1T1hV35EXGKf5\
             Wgf_U1i7ZkCg2V0aMfGhBHUfCyAgmlkgnY0gmlwhH8AAAGJc2VjcDI1NmsxoQO6NWmW60N6RL6Qv2UAeOUpEG\
             VhGVjFMcl8hPitu6H24IN0Y3CCpGo",
            "ba356996eb437a44",
        ),
        (
            "enr:-Jy4QOQMO03VkeJyhCCS5Jt4MrNQ-ofARkaCoclcv1g7qlHHI6rr2SAypVC4V0TVDWRvIvxw1MZDPj8nH\
             hrs8l3WQPOGAaH_R8PSg2V0aMfGhBHUfCyAgmlkgnY0gmlwhH8AAAGJc2VjcDI1NmsxoQJJVjQe5dQcFWfRAY\
             eYF9cCBHsE1qRQy99VxV8YSAmKoIRzbmFwwIN0Y3CCpGo",
            "4956341ee5d41c15",
        ),
    ];

    fn key() -> SecretKey {
        SecretKey::from_slice(&[7; 32]).unwrap()
    }

    fn local() -> LocalRecord {
        let ip = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
        let node = NodeRecord { id: PeerId::of(&key()), ip, tcp: 30303, udp: 30301 };
        LocalRecord::new(key(), node, None, 5)
    }

    #[test]
    fn the_example_of_the_eip_is_read_and_written() {
        let enr: Enr = EXAMPLE.parse().unwrap();
        let node = enr.node().unwrap();
        assert_eq!(enr.sequence(), 1);
        assert_eq!(node.udp_address().to_string(), "127.0.0.1:30303");
        assert_eq!((node.tcp, enr.tcp(), enr.fork_id()), (0, None, None));
        assert_eq!(
            node.id.node_id().to_string(),
            "0xa448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7"
        );
        assert_eq!(enr.to_string(), EXAMPLE);
    }

    #[test]
    fn records_of_geth_are_read() {
        for (text, id) in OF_GETH {
            let enr: Enr = text.parse().unwrap();
            let node = enr.node().unwrap();
            assert_eq!(format!("{:?}", node.id), id);
            assert_eq!(node.tcp_address().to_string(), "127.0.0.1:42090");
            assert_eq!(enr.fork_id(), Some(ForkId { hash: [0x11, 0xd4, 0x7c, 0x2c], next: 0 }));
            assert_eq!(enr.to_string(), text);
        }
    }

    #[test]
    fn our_record_says_what_it_was_told() {
        let mut local = local();
        let fork_id = ForkId { hash: [0xfc, 0x64, 0xec, 0x04], next: 1_150_000 };
        local.set_fork_id(fork_id);
        let read = Enr::from_rlp(&local.enr().to_rlp()).unwrap();
        assert_eq!(read.node().as_ref(), Some(local.node()));
        assert_eq!(read.fork_id(), Some(fork_id));
        assert_eq!(read.to_string().parse::<Enr>().unwrap(), read);
        assert_eq!(
            primitives::hex::encode(read.record.get_raw_rlp("eth").unwrap()),
            "cac984fc64ec0483118c30"
        );
        assert_eq!(read.record.get_raw_rlp("snap").unwrap()[..], [alloy_rlp::EMPTY_LIST_CODE]);
    }

    #[test]
    fn the_sequence_counts_changes_only() {
        let mut local = local();
        let fork_id = ForkId { hash: [1; 4], next: 0 };
        local.set_fork_id(fork_id);
        local.set_fork_id(fork_id);
        assert_eq!(local.enr().sequence(), 6);
        let ip: IpAddr = "fd00::7".parse().unwrap();
        local.set_address(ip, 7);
        local.set_address(ip, 7);
        assert_eq!(local.enr().sequence(), 7);
        let node = local.enr().node().unwrap();
        assert_eq!((node.ip, node.udp, node.tcp), (ip, 7, 30303));
        assert_eq!(local.enr().fork_id(), Some(fork_id));
    }

    #[test]
    fn no_changed_byte_of_a_record_is_accepted() {
        let bytes = local().enr().to_rlp();
        for place in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[place] ^= 1;
            assert!(Enr::from_rlp(&forged).is_err(), "byte {place}");
        }
        for length in 0..bytes.len() {
            assert!(Enr::from_rlp(&bytes[..length]).is_err());
        }
    }

    /// Signs a list of raw key–value pairs as they come.
    fn signed(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        use ::enr::EnrKey;
        let mut content = Vec::new();
        1_u64.encode(&mut content);
        for (key, value) in pairs {
            key.encode(&mut content);
            content.extend_from_slice(value);
        }
        let list = |payload: &[u8]| {
            let mut out = Vec::new();
            Header { list: true, payload_length: payload.len() }.encode(&mut out);
            out.extend_from_slice(payload);
            out
        };
        let mut payload = Vec::new();
        key().sign_v4(&list(&content)).unwrap().as_slice().encode(&mut payload);
        payload.extend_from_slice(&content);
        list(&payload)
    }

    #[test]
    fn records_that_break_a_rule_are_refused_though_signed() {
        let id = || ("id", alloy_rlp::encode("v4"));
        let public = key().public_key(secp256k1::SECP256K1);
        let short = || ("secp256k1", alloy_rlp::encode(public.serialize()));
        assert!(Enr::from_rlp(&signed(&[id(), short()])).is_ok());
        let long = ("secp256k1", alloy_rlp::encode(public.serialize_uncompressed()));
        assert_eq!(Enr::from_rlp(&signed(&[id(), long])), Err(EnrError::KeyLength));
        let other = ("id", alloy_rlp::encode("v5"));
        let unsorted = vec![short(), id()];
        for pairs in [vec![other, short()], vec![short()], unsorted, vec![id(), id(), short()]] {
            assert!(matches!(Enr::from_rlp(&signed(&pairs)), Err(EnrError::Malformed(_))));
        }
        let ballast = |bytes: usize| ("z", alloy_rlp::encode(vec![1_u8; bytes].as_slice()));
        let base = signed(&[id(), short(), ballast(150)]).len();
        let at_limit = signed(&[id(), short(), ballast(150 + ENR_BYTES_MAX - base)]);
        assert_eq!(at_limit.len(), ENR_BYTES_MAX);
        assert!(Enr::from_rlp(&at_limit).is_ok());
        let beyond = signed(&[id(), short(), ballast(151 + ENR_BYTES_MAX - base)]);
        assert_eq!(Enr::from_rlp(&beyond), Err(EnrError::TooLong));
    }

    /// What is no compressed point on the curve, by length, prefix and number.
    fn bad_keys() -> Vec<Vec<u8>> {
        let good = key().public_key(secp256k1::SECP256K1);
        let (short, long) = (good.serialize().to_vec(), good.serialize_uncompressed().to_vec());
        let with_x = |prefix: u8, x: [u8; 32]| [&[prefix][..], &x[..]].concat();
        let five = |last: u8| std::array::from_fn(|place| if place == 31 { last } else { 0 });
        let mut keys = vec![
            vec![],
            vec![2],
            short[..32].to_vec(),
            [&short[..], &[0]].concat(),
            long[1..].to_vec(),
            long.clone(),
            [&[6], &long[1..]].concat(),
            // Beyond the field's prime, none at all, and one whose square has no root.
            with_x(2, [0xff; 32]),
            with_x(3, [0; 32]),
            with_x(2, five(5)),
        ];
        keys.extend([0, 1, 4, 5, 0xff].map(|prefix| [&[prefix], &short[1..]].concat()));
        keys
    }

    /// P2P-02 and DSC-05.
    #[test]
    fn records_with_keys_that_are_no_points_are_refused_by_both_libraries() {
        use secp256k1::PublicKey;
        for bytes in bad_keys() {
            let is_point = PublicKey::from_slice(&bytes).is_ok();
            assert!(!is_point || bytes.len() == 65, "{bytes:x?}");
            let pairs =
                [("id", alloy_rlp::encode("v4")), ("secp256k1", alloy_rlp::encode(&bytes[..]))];
            let record = signed(&pairs);
            assert!(Enr::from_rlp(&record).is_err(), "{bytes:x?}");
            // The other library takes two more forms of a point; none becomes a node of ours.
            let of_v5 = ::discv5::Enr::decode(&mut record.as_slice());
            let is_form = is_point || bytes.first() == Some(&5);
            assert!(of_v5.is_err() || is_form, "{bytes:x?}");
        }
        // An item of another kind, and a list, where the key should be.
        for value in [vec![0xc0], vec![0xc2, 1, 2], vec![0xb9, 0xff, 0xff], vec![0xf8]] {
            let record = signed(&[("id", alloy_rlp::encode("v4")), ("secp256k1", value)]);
            assert!(Enr::from_rlp(&record).is_err());
            assert!(::discv5::Enr::decode(&mut record.as_slice()).is_err());
        }
    }

    /// DSC-05.
    #[test]
    fn records_with_a_wrong_signature_are_refused_by_both_libraries() {
        let good = local().enr().to_rlp();
        let place = good.windows(2).position(|pair| pair == [0xb8, 0x40]).unwrap() + 2;
        let zero = [0; 64];
        let order = [&[0xff; 15][..], &[0xfe], &[0xff; 48]].concat();
        let mut swapped = good[place + 32..place + 64].to_vec();
        swapped.extend_from_slice(&good[place..place + 32]);
        for signature in [&zero[..], &[0xff; 64], &order, &swapped] {
            let mut record = good.clone();
            record[place..place + 64].copy_from_slice(signature);
            assert!(matches!(Enr::from_rlp(&record), Err(EnrError::Malformed(_))));
            assert!(::discv5::Enr::decode(&mut record.as_slice()).is_err());
        }
        // Signed by nobody, or by too few bytes.
        for length in [0, 1, 63] {
            let mut payload = alloy_rlp::encode(&good[place..place + length]);
            payload.extend_from_slice(&good[place + 64..]);
            let mut record = vec![0xf8, u8::try_from(payload.len()).unwrap()];
            record.append(&mut payload);
            assert!(Enr::from_rlp(&record).is_err());
            assert!(::discv5::Enr::decode(&mut record.as_slice()).is_err());
        }
    }

    #[test]
    fn what_is_no_text_of_a_record_is_refused() {
        for (text, error) in [
            ("enode://12", EnrError::NotEnr),
            ("enr:", EnrError::BadText),
            ("enr:*", EnrError::BadText),
        ] {
            assert_eq!(text.parse::<Enr>(), Err(error));
        }
        let long = format!("enr:{}", "A".repeat(401));
        assert_eq!(long.parse::<Enr>(), Err(EnrError::TooLong));
    }

    #[test]
    fn a_bad_fork_id_is_none() {
        for entry in [vec![0xc0], vec![0x80], vec![0xc1, 0xc0], vec![0xc3, 0xc2, 0x81, 0x80]] {
            assert!(read_fork_id(&entry).is_err());
        }
    }
}

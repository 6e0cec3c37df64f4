use super::*;
use crate::{Address, B256, U256, address, b256, bytes};

/// A file with every required member and this `config`.
fn file(config: &str) -> String {
    format!(
        r#"{{"config": {config}, "gasLimit": "0x8000000", "difficulty": "0x400", "alloc": {{}}}}"#
    )
}

fn refusal(text: &str) -> String {
    ChainSpec::from_json(text).unwrap_err().to_string()
}

/// The refusal of a file whose one account is this.
fn account_refusal(key: &str, account: &str) -> String {
    refusal(&format!(
        r#"{{"config": {{}}, "gasLimit": "1", "difficulty": "1", "alloc": {{"{key}": {account}}}}}"#
    ))
}

#[test]
fn every_preset_has_its_hash_and_fork_id() {
    let expected = [
        (
            "mainnet",
            1,
            b256!("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"),
            [0xfc, 0x64, 0xec, 0x04],
        ),
        (
            "ropsten",
            3,
            b256!("41941023680923e0fe4d74a34bdac8141f2540e3ae90623718e47d66d1ca4a2d"),
            [0x30, 0xc7, 0xdd, 0xbc],
        ),
        (
            "sepolia",
            11_155_111,
            b256!("25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9"),
            [0xfe, 0x33, 0x66, 0xe7],
        ),
        (
            "book",
            27_587,
            b256!("3b1c102af76ff7d90392697d329d9def1bec2d220ecd5f9f87ab25a2116f0e6a"),
            [0x3e, 0xb4, 0xcb, 0xd7],
        ),
        (
            "dev",
            1337,
            b256!("18557bd86ebda3b0937f0fb148e69069342368bbd2522678c1ddc226ab9ff174"),
            [0x9e, 0x99, 0x99, 0xeb],
        ),
    ];
    assert_eq!(expected.map(|(name, ..)| name), ChainSpec::PRESETS);
    for (name, chain_id, hash, fork_hash) in expected {
        let spec = ChainSpec::preset(name).unwrap();
        assert_eq!(spec.chain_id, chain_id, "{name}");
        assert_eq!(spec.genesis_block().hash(), hash, "{name}");
        assert_eq!(spec.fork_id(0).hash, fork_hash, "{name}");
    }
    assert!(ChainSpec::preset("goerli").is_none());
}

#[test]
fn the_book_chain_has_no_fork_after_its_genesis() {
    let spec = ChainSpec::preset("book").unwrap();
    let root = b256!("ae8d498df0eba683600c8d46a1a35d25c8e8b6054031bbc8014c447f73e5c735");
    assert_eq!(spec.genesis_block().header().state_root, root);
    assert_eq!(spec.fork_id(0), ForkId { hash: [0x3e, 0xb4, 0xcb, 0xd7], next: 0 });
    assert_eq!(spec.hardfork_at(1_000_000_000), Hardfork::Eip158);
}

#[test]
fn london_at_genesis_adds_the_base_fee_to_the_header() {
    let text = include_str!("../../../../genesis/book.json").replace(
        r#""chainId": 27587,"#,
        r#""chainId": 27587, "londonBlock": 0, "byzantiumBlock": 0,
        "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0, "berlinBlock": 0,"#,
    );
    let spec = ChainSpec::from_json(&text).unwrap();
    let hash = b256!("8cdf48b61cb1d118511250089967f91d3b7e3e71b701a32de321097050b37cc2");
    assert_eq!(spec.genesis_block().hash(), hash);
    assert_eq!(spec.genesis_block().header().base_fee_per_gas, Some(1_000_000_000));
}

#[test]
fn a_base_fee_before_london_is_not_in_the_header() {
    let text =
        r#"{"config": {}, "gasLimit": "1", "difficulty": "1", "alloc": {}, "baseFeePerGas": "7"}"#;
    let spec = ChainSpec::from_json(text).unwrap();
    assert_eq!(spec.genesis.base_fee, Some(7));
    assert_eq!(spec.genesis_block().header().base_fee_per_gas, None);
}

#[test]
fn storage_counts_in_the_state_root_and_gas_limit_0_means_the_default() {
    // geth's own test block: one account with one slot.
    let text = r#"{"config": {}, "gasLimit": "", "difficulty": 131072, "alloc":
        {"0100000000000000000000000000000000000000": {"balance": "1", "storage":
            {"0100000000000000000000000000000000000000000000000000000000000000":
                "0x0100000000000000000000000000000000000000000000000000000000000000", "0x02": "0x0"}}}}"#;
    let spec = ChainSpec::from_json(text).unwrap();
    let hash = b256!("89c99d90b79719238d2645c7642f2c9295246e80775b38cfd162b696817fbd50");
    assert_eq!(spec.genesis_block().header().gas_limit, 4_712_388);
    assert_eq!(spec.genesis_block().hash(), hash);
}

#[test]
fn reads_every_form_that_geth_reads() {
    let text = r#"{
        "CONFIG": {"ChainID": 5, "homesteadblock": 0, "eip150Block": "0x1", "eip155Block": "2",
            "eip158Block": 2, "byzantiumBlock": 3, "constantinopleBlock": 4, "eip150Hash":
            "0x0000000000000000000000000000000000000000000000000000000000000000",
            "daoForkSupport": true, "terminalTotalDifficulty": 58750000000000000000000, "unknown": []},
        "nonce": "0x000000000000042", "timestamp": "", "gasLimit": "0x0400", "difficulty": "0000131072",
        "extraData": "0x", "mixhash": "0x0100000000000000000000000000000000000000000000000000000000000000",
        "baseFeePerGas": null, "comment": "ignored",
        "alloc": {
            "0xFA4087D3688a289c9C92e773a7b46cb9CCf80353": {"balance": "0x0", "secretKey": "ignored"},
            "0000000000000000000000000000000000000002": {"balance": 0, "nonce": "0x01", "code": "0x6000",
                "storage": {"0x1": "0x2"}}
        }}"#;
    let spec = ChainSpec::from_json(text).unwrap();
    assert_eq!(spec.chain_id, 5);
    assert_eq!(spec.forks.eip150, Some(1));
    assert_eq!(spec.forks.eip150_hash, None);
    assert_eq!(spec.forks.petersburg, Some(4), "a missing Petersburg is Constantinople's block");
    assert_eq!(spec.forks.istanbul, None, "a missing fork is never");
    let genesis = &spec.genesis;
    assert_eq!(u64::from_be_bytes(genesis.nonce.0), 0x42);
    assert_eq!((genesis.timestamp, genesis.gas_limit, genesis.base_fee), (0, 1024, None));
    assert_eq!(genesis.difficulty, U256::from(131_072));
    assert_eq!(genesis.mix_hash[0], 1);
    assert_eq!(genesis.alloc.len(), 2, "accounts without a balance exist");
    let account = &genesis.alloc[&Address::with_last_byte(2)];
    assert_eq!((account.nonce, &account.code), (1, &bytes!("6000")));
    assert_eq!(account.storage[&B256::with_last_byte(1)], B256::with_last_byte(2));
    assert!(genesis.alloc.contains_key(&address!("fa4087d3688a289c9c92e773a7b46cb9ccf80353")));
}

#[test]
fn what_it_writes_it_reads_again() {
    for name in ["ropsten", "book", "dev"] {
        let spec = ChainSpec::preset(name).unwrap();
        let again = ChainSpec::from_json(&spec.to_geth_json()).unwrap();
        assert_eq!(again.genesis, spec.genesis);
        assert_eq!((again.forks, again.config), (spec.forks, spec.config));
    }
}

#[test]
fn writes_what_geth_writes() {
    let text = r#"{"config": {"chainId": 5}, "gasLimit": "0x1388", "difficulty": "1024", "alloc":
        {"0x00000000000000000000000000000000000000Aa": {"balance": "16", "nonce": "1", "storage": {"1": "2"}}}}"#;
    let zeros = "0".repeat(63);
    assert_eq!(
        ChainSpec::from_json(text).unwrap().to_geth_json(),
        format!(
            r#"{{"config":{{"chainId":5}},"nonce":"0x0","timestamp":"0x0","extraData":"0x","gasLimit":"0x1388","difficulty":"0x400","mixHash":"0x{zeros}0","coinbase":"0x{:040}","alloc":{{"00000000000000000000000000000000000000aa":{{"storage":{{"0x{zeros}1":"0x{zeros}2"}},"balance":"0x10","nonce":"0x1"}}}},"number":"0x0","gasUsed":"0x0","parentHash":"0x{zeros}0","baseFeePerGas":null}}"#,
            0
        )
    );
}

#[test]
fn refuses_what_is_missing_with_the_text_of_geth() {
    assert_eq!(refusal("{"), "not valid JSON");
    assert_eq!(refusal("[]"), "the genesis file: not an object; write { … }");
    assert_eq!(refusal("{}"), "missing required field 'gasLimit' for Genesis");
    assert_eq!(refusal(r#"{"gasLimit": "1"}"#), "missing required field 'difficulty' for Genesis");
    assert_eq!(
        refusal(r#"{"gasLimit": "1", "difficulty": "1", "alloc": null}"#),
        "missing required field 'alloc' for Genesis"
    );
    assert_eq!(
        refusal(r#"{"gasLimit": "1", "difficulty": "1", "alloc": {}}"#),
        "genesis has no chain configuration"
    );
    let zero = "0000000000000000000000000000000000000000";
    let missing = format!("missing required field 'balance' for GenesisAccount {zero}");
    assert_eq!(account_refusal(zero, "{}"), missing);
    assert_eq!(account_refusal(zero, "null"), missing);
    assert_eq!(
        refusal(r#"{"config": {}, "number": 1, "gasLimit": "1", "difficulty": "1", "alloc": {}}"#),
        "can't commit genesis block with number > 0"
    );
}

#[test]
fn refuses_a_value_that_cannot_be_meant_and_names_it() {
    let zero = "0000000000000000000000000000000000000000";
    let too_large = format!(r#"{{"balance": "0x1{}"}}"#, "0".repeat(64));
    assert_eq!(
        account_refusal(zero, &too_large),
        format!("alloc.{zero}.balance: the number exceeds 256 bits; write a smaller one")
    );
    assert_eq!(
        account_refusal("0x12", r#"{"balance": "1"}"#),
        "alloc.0x12: 2 hexadecimal digits; write 40"
    );
    assert_eq!(
        account_refusal(zero, r#"{"balance": "1", "code": "0x123"}"#),
        format!(
            "alloc.{zero}.code: \"0x123\" is not hexadecimal; write an even number of digits after 0x, in quotes"
        )
    );
    assert_eq!(
        account_refusal(&"zz".repeat(20), r#"{"balance": "1"}"#),
        format!(
            "alloc.{0}: '{0}' is not hexadecimal; write an even number of digits after 0x, in quotes",
            "zz".repeat(20)
        )
    );
    let slots = format!(r#"{{"balance": "1", "storage": {{"0x{}": "0x1"}}}}"#, "1".repeat(65));
    assert!(account_refusal(zero, &slots).ends_with("65 hexadecimal digits; write 64"));
    for number in ["-1", "1.5", "1e3", "true", r#""-1""#, r#""0x""#, r#""ten""#] {
        let text = file(&format!(r#"{{"homesteadBlock": {number}}}"#));
        let refusal = refusal(&text);
        assert!(refusal.starts_with("config.homesteadBlock: "), "{refusal}");
        assert!(refusal.contains(" is not a whole number"), "{refusal}");
    }
    assert_eq!(
        refusal(&file(r#"{"chainId": 18446744073709551616}"#)),
        "config.chainId: the number exceeds 64 bits; write a smaller one"
    );
    assert_eq!(
        refusal(&file(r#"{"daoForkSupport": "yes"}"#)),
        r#"config.daoForkSupport: "yes" is not a truth value; write true or false"#
    );
}

#[test]
fn refuses_the_same_account_or_slot_twice() {
    let text = r#"{"config": {}, "gasLimit": "1", "difficulty": "1", "alloc": {
        "00000000000000000000000000000000000000aa": {"balance": "1"},
        "0x00000000000000000000000000000000000000AA": {"balance": "1"}}}"#;
    assert!(refusal(text).ends_with("given twice in different spellings; remove one"));
    let zero = "0000000000000000000000000000000000000000";
    let text = account_refusal(zero, r#"{"balance": "1", "storage": {"1": "1", "0x01": "2"}}"#);
    assert!(text.ends_with("given twice in different spellings; remove one"));
}

#[test]
fn refuses_a_chain_of_authorities() {
    let text = refusal(&file(r#"{"clique": {"period": 15, "epoch": 30000}}"#));
    assert!(text.starts_with("config.clique: proof of authority is not supported"));
    assert!(ChainSpec::from_json(&file(r#"{"clique": null}"#)).is_ok());
}

#[test]
fn refuses_forks_out_of_order_with_the_text_of_geth() {
    assert_eq!(
        refusal(&file(r#"{"homesteadBlock": 0, "eip155Block": 3}"#)),
        "unsupported fork ordering: eip150Block not enabled, but eip155Block enabled at 3"
    );
    assert_eq!(
        refusal(&file(r#"{"homesteadBlock": 5, "eip150Block": 3}"#)),
        "unsupported fork ordering: homesteadBlock enabled at 5, but eip150Block enabled at 3"
    );
    let until_constantinople = r#""homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0,
        "eip158Block": 0, "byzantiumBlock": 0, "constantinopleBlock": 0"#;
    assert_eq!(
        refusal(&file(&format!(r#"{{{until_constantinople}, "istanbulBlock": 9}}"#))),
        "unsupported fork ordering: petersburgBlock not enabled, but istanbulBlock enabled at 9"
    );
    let skips = format!(
        r#"{{{until_constantinople}, "petersburgBlock": 0, "istanbulBlock": 0, "berlinBlock": 1,
            "londonBlock": 2, "mergeNetsplitBlock": 9}}"#
    );
    let spec = ChainSpec::from_json(&file(&skips)).unwrap();
    assert_eq!(spec.forks.fork_blocks(), [1, 2, 9]);
}

#[test]
fn passes_through_every_fork_id_of_mainnet() {
    let spec = ChainSpec::preset("mainnet").unwrap();
    let table = [
        (0, 0xfc64_ec04_u32, 1_150_000),
        (1_149_999, 0xfc64_ec04, 1_150_000),
        (1_150_000, 0x97c2_c34c, 1_920_000),
        (1_920_000, 0x91d1_f948, 2_463_000),
        (2_463_000, 0x7a64_da13, 2_675_000),
        (2_675_000, 0x3edd_5b10, 4_370_000),
        (4_370_000, 0xa00b_c324, 7_280_000),
        (7_280_000, 0x668d_b0af, 9_069_000),
        (9_069_000, 0x879d_6e30, 9_200_000),
        (9_200_000, 0xe029_e991, 12_244_000),
        (12_244_000, 0x0eb4_40f6, 12_965_000),
        (12_965_000, 0xb715_077d, 13_773_000),
        (13_773_000, 0x20c3_27fc, 15_050_000),
        (15_050_000, 0xf0af_d0e3, 0),
        (20_000_000, 0xf0af_d0e3, 0),
    ];
    for (head, hash, next) in table {
        assert_eq!(spec.fork_id(head), ForkId { hash: hash.to_be_bytes(), next }, "head {head}");
    }
}

#[test]
fn accepts_and_refuses_fork_ids_as_eip_2124_says() {
    let mut spec = ChainSpec::preset("mainnet").unwrap();
    // The specification's table knows mainnet until Petersburg.
    let forks = &mut spec.forks;
    (forks.istanbul, forks.muir_glacier, forks.berlin) = (None, None, None);
    (forks.london, forks.arrow_glacier, forks.gray_glacier) = (None, None, None);
    let (stale, incompatible) =
        (Err(ForkIdMismatch::RemoteStale), Err(ForkIdMismatch::LocalIncompatibleOrStale));
    let table = [
        (7_987_396, 0x668d_b0af_u32, 0, Ok(())),
        (7_987_396, 0x668d_b0af, u64::MAX, Ok(())),
        (7_279_999, 0xa00b_c324, 0, Ok(())),
        (7_279_999, 0xa00b_c324, 7_280_000, Ok(())),
        (7_279_999, 0xa00b_c324, u64::MAX, Ok(())),
        (7_987_396, 0xa00b_c324, 7_280_000, Ok(())),
        (7_987_396, 0x3edd_5b10, 4_370_000, Ok(())),
        (7_279_999, 0x668d_b0af, 0, Ok(())),
        (4_369_999, 0xa00b_c324, 0, Ok(())),
        (7_987_396, 0xa00b_c324, 0, stale),
        (7_987_396, 0x5cdd_c0e1, 0, incompatible),
        (7_279_999, 0x5cdd_c0e1, 0, incompatible),
        (7_987_396, 0xafec_6b27, 0, incompatible),
        (88_888_888, 0x668d_b0af, 88_888_888, incompatible),
        (7_279_999, 0xa00b_c324, 7_279_999, incompatible),
    ];
    for (head, hash, next, verdict) in table {
        let remote = ForkId { hash: hash.to_be_bytes(), next };
        assert_eq!(spec.check_fork_id(head, remote), verdict, "{hash:x} {next} at {head}");
    }
}

#[test]
fn a_configuration_may_change_only_ahead_of_the_head() {
    let with = |config: &str| ChainSpec::from_json(&file(config)).unwrap();
    let stored = with(r#"{"chainId": 1, "homesteadBlock": 10, "eip150Block": 20}"#);
    let later = with(r#"{"chainId": 1, "homesteadBlock": 10, "eip150Block": 30}"#);
    assert_eq!(stored.check_compatible(&later, 19), Ok(()));
    assert_eq!(stored.forks.compatible(&later.forks, 19), Ok(()));
    let text = |new: &ChainSpec, head| stored.check_compatible(new, head).unwrap_err().to_string();
    assert_eq!(
        text(&later, 20),
        "mismatching EIP150 fork block in database (have 20, want 30, rewindto 19)"
    );
    let never = with(r#"{"chainId": 1}"#);
    assert_eq!(
        text(&never, 25),
        "mismatching Homestead fork block in database (have 10, want <nil>, rewindto 9)"
    );
    let both = with(r#"{"chainId": 1, "homesteadBlock": 15, "eip150Block": 15}"#);
    assert_eq!(
        text(&both, 100),
        "mismatching Homestead fork block in database (have 10, want 15, rewindto 9)"
    );
    let dao = with(r#"{"homesteadBlock": 0, "daoForkBlock": 5, "daoForkSupport": true}"#);
    let no_dao = with(r#"{"homesteadBlock": 0, "daoForkBlock": 5}"#);
    assert_eq!(dao.check_compatible(&no_dao, 4), Ok(()));
    assert_eq!(dao.check_compatible(&no_dao, 5).unwrap_err().what, "DAO fork support flag");
}

#[test]
fn the_chain_id_is_fixed_once_signatures_commit_to_it() {
    let book = ChainSpec::preset("book").unwrap();
    let mut other = book.clone();
    other.chain_id = 1;
    assert_eq!(
        book.check_compatible(&other, 1).unwrap_err().to_string(),
        "mismatching EIP158 chain ID in database (have 0, want 0, rewindto 0)"
    );
    assert_eq!(book.check_compatible(&other, 0), Ok(()), "nothing is signed yet");
    let mut earlier = other.clone();
    earlier.forks.homestead = Some(1);
    assert_eq!(book.check_compatible(&earlier, 7).unwrap_err().what, "Homestead fork block");
    let mut netsplit = book.clone();
    netsplit.forks.other = vec![9];
    assert_eq!(book.check_compatible(&netsplit, 8), Ok(()));
    assert_eq!(book.check_compatible(&netsplit, 9).unwrap_err().what, "Merge netsplit fork block");
}

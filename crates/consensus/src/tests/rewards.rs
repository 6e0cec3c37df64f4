use primitives::{Address, Header, U256};

use super::rules;
use crate::rewards;

/// In milliether, so that the table can be read.
fn paid(fork: &str, ommers: &[(u8, u64)]) -> Vec<(u8, u64)> {
    let header =
        Header { number: 20, beneficiary: Address::with_last_byte(1), ..Header::default() };
    let ommers: Vec<Header> = ommers
        .iter()
        .map(|(to, number)| Header {
            number: *number,
            beneficiary: Address::with_last_byte(*to),
            ..Header::default()
        })
        .collect();
    let milliether = U256::from(1_000_000_000_000_000_u64);
    rewards(&rules(fork), &header, &ommers)
        .into_iter()
        .map(|(to, wei)| (to[19], u64::try_from(wei * U256::from(100) / milliether).unwrap()))
        .collect()
}

#[test]
fn a_block_pays_five_three_or_two_ether() {
    for (fork, hundredths) in [
        ("frontier", 500_000),
        ("eip158", 500_000),
        ("byzantium", 300_000),
        ("constantinople", 200_000),
        ("grayGlacier", 200_000),
    ] {
        assert_eq!(paid(fork, &[]), [(1, hundredths)], "{fork}");
    }
}

#[test]
fn ommers_are_paid_by_age_and_the_includer_a_thirty_second() {
    assert_eq!(paid("eip158", &[(2, 19)]), [(2, 437_500), (1, 515_625)]);
    assert_eq!(paid("byzantium", &[(2, 14), (3, 18)]), [(2, 75_000), (3, 225_000), (1, 318_750)]);
    assert_eq!(paid("london", &[(2, 15), (2, 17)]), [(2, 75_000), (2, 125_000), (1, 212_500)]);
}

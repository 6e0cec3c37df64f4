use primitives::{EMPTY_OMMER_ROOT_HASH, Header, U256, keccak256};

use super::{rules, rules_with};
use crate::next_difficulty;

/// Fork; parent's time, difficulty and whether it has ommers; the child's time, number, difficulty.
type Sample = (&'static str, u64, u64, bool, u64, u64, u64);

/// From the difficulty tests of the ethereum/tests repository; London's by hand.
const SAMPLES: [Sample; 21] = [
    (
        "frontier",
        15_884_202_289,
        306_536_825_001_314_428,
        false,
        15_884_202_315,
        4_100_000,
        306_387_698_573_045_643,
    ),
    (
        "frontier",
        566_180_470,
        1_662_959_633_172_474_713,
        true,
        566_180_480,
        3_000_000,
        1_663_771_625_449_295_166,
    ),
    (
        "homestead",
        20_484_747_137,
        7_284_430_515_771_046_306,
        true,
        20_484_747_161,
        100_000,
        7_280_873_664_933_267_475,
    ),
    (
        "homestead",
        32_690_214_015,
        2_475_607_652_599_223_228,
        false,
        32_690_214_023,
        3_900_000,
        2_476_816_582_837_297_414,
    ),
    (
        "eip158",
        10_337_244_077,
        6_896_684_213_985_416_325,
        false,
        10_337_244_101,
        500_000,
        6_893_316_692_396_556_267,
    ),
    (
        "byzantium",
        10_191_227_642,
        5_622_553_150_104_309_974,
        true,
        10_191_227_658,
        700_000,
        5_625_298_537_384_634_344,
    ),
    (
        "byzantium",
        26_553_976_695,
        5_796_179_423_228_422_204,
        false,
        26_553_976_731,
        2_600_000,
        5_787_688_926_026_427_445,
    ),
    (
        "constantinople",
        15_542_455_813,
        7_742_264_271_018_134_098,
        false,
        15_542_455_849,
        4_900_000,
        7_730_923_063_589_884_879,
    ),
    (
        "istanbul",
        11_321_688_128,
        7_930_890_798_520_853_852,
        true,
        11_321_688_130,
        200_000,
        7_938_635_809_066_284_372,
    ),
    (
        "muirGlacier",
        1_223_167_314,
        2_474_882_817_961_574_132,
        false,
        1_223_167_357,
        15_026_954,
        2_759_487_877_485_412_479,
    ),
    (
        "berlin",
        19_088_375_723,
        7_408_968_027_643_779_007,
        true,
        19_088_375_741,
        3_200_000,
        7_408_968_027_643_779_007,
    ),
    ("london", 0, 9_634_114_544_281_170, false, 10, 9_899_999, 9_634_114_544_281_170),
    ("london", 0, 9_634_114_544_281_170, false, 10, 9_900_000, 9_634_114_544_281_171),
    ("london", 0, 9_634_114_544_281_170, true, 10, 10_700_000, 9_638_818_701_773_750),
    ("arrowGlacier", 0, 9_634_114_544_281_170, false, 10, 11_500_000, 9_634_114_544_281_234),
    ("arrowGlacier", 0, 9_634_114_544_281_170, true, 37, 10_899_999, 9_624_706_229_296_522),
    ("arrowGlacier", 0, 9_634_114_544_281_170, true, 216, 15_000_000, 9_532_822_102_705_594),
    ("grayGlacier", 0, 9_634_114_544_281_170, true, 64, 15_600_000, 9_611_693_268_447_326),
    ("grayGlacier", 0, 9_634_114_544_281_170, false, 782, 15_700_000, 9_236_460_180_689_182),
    ("grayGlacier", 0, 9_634_114_544_281_170, true, 64, 13_499_999, 9_610_593_757_081_694),
    ("grayGlacier", 0, 9_634_114_544_281_170, false, 602, 15_700_000, 9_330_543_330_535_662),
];

fn parent(number: u64, timestamp: u64, difficulty: U256, with_ommers: bool) -> Header {
    let ommers_hash = if with_ommers { keccak256("ommers") } else { EMPTY_OMMER_ROOT_HASH };
    Header { number, timestamp, difficulty, ommers_hash, ..Header::default() }
}

#[test]
fn agrees_with_the_public_tests_of_every_fork() {
    for (fork, parent_time, difficulty, with_ommers, time, number, expected) in SAMPLES {
        let parent = parent(number - 1, parent_time, U256::from(difficulty), with_ommers);
        assert_eq!(
            next_difficulty(&rules(fork), time, &parent),
            U256::from(expected),
            "{fork} {number}"
        );
    }
}

#[test]
fn the_book_chain_starts_at_the_minimum_and_freezes_later() {
    let spec = primitives::ChainSpec::preset("book").unwrap();
    let genesis = spec.genesis_block().header();
    let minimum = U256::from(131_072);
    assert_eq!(next_difficulty(&spec, 1_606_409_000, genesis), minimum);
    let at = |number: u64| next_difficulty(&spec, 11, &parent(number - 1, 0, minimum, false));
    assert_eq!(at(199_999), minimum);
    assert_eq!(at(200_000), minimum + U256::from(1));
    assert_eq!(at(4_200_000), minimum + (U256::from(1) << 40));
}

#[test]
fn a_chain_that_skips_muir_glacier_keeps_the_earlier_delay_until_london() {
    let spec = rules_with("istanbul", r#""berlinBlock": 5200000, "londonBlock": 5400000,"#);
    let minimum = U256::from(131_072);
    let bomb =
        |number: u64| next_difficulty(&spec, 9, &parent(number - 1, 0, minimum, false)) - minimum;
    assert_eq!(bomb(5_300_000), U256::from(2), "five million blocks late");
    assert_eq!(bomb(5_400_000), U256::ZERO, "9.7 million blocks late");
}

#[test]
fn no_number_makes_it_overflow() {
    for fork in super::FORKS {
        let spec = rules(fork);
        for difficulty in [U256::ZERO, U256::MAX] {
            for (number, time) in [(u64::MAX, u64::MAX), (u64::MAX - 1, 0), (0, u64::MAX)] {
                let parent = parent(number, 5, difficulty, true);
                assert!(next_difficulty(&spec, time, &parent) >= crate::DIFFICULTY_MIN);
            }
        }
    }
}

#![allow(clippy::print_stderr)]

use std::sync::atomic::{AtomicBool, AtomicU64};

use alloy_primitives::U256;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::{Epoch, LightCache, Target};

/// Whether there is time for a million inputs and for the caches of late epochs.
fn is_long() -> bool {
    std::env::var("HEMATITE_TIER").is_ok_and(|tier| tier == "long")
}

/// All kernels of this processor but the portable one, which the others are compared with.
fn vectors() -> &'static [Instructions] {
    let vectors = &Instructions::available()[1..];
    eprintln!("compared with the portable kernel: {vectors:?}");
    vectors
}

fn seals(count: usize) -> Vec<(B256, u64)> {
    (0..count).map(|at| (B256::with_last_byte(at as u8), u64::MAX - at as u64)).collect()
}

#[test]
fn all_instructions_make_the_same_cache() {
    let seed = Epoch::new(1).seed();
    let cache = |instructions: Instructions| {
        let mut rows = vec![[0; 16]; 1_009];
        instructions.fill_cache(&seed, &Modulo::new(1_009), &mut rows);
        rows
    };
    let expected = cache(Instructions::Portable);
    assert!(vectors().iter().all(|&instructions| cache(instructions) == expected));
}

#[test]
fn all_instructions_make_the_same_items_in_any_number() {
    let cache = LightCache::tiny();
    for &instructions in Instructions::available() {
        for (first, count) in [(0, 1), (8, 7), (3, 8), (500, 9), (1 << 31, 300)] {
            let mut items = vec![[0; 16]; count];
            instructions.fill_items(&cache.light(), first, 32, &mut items);
            for (number, item) in (first..).zip(items) {
                let [expected, _] = items::pair::<1>(&cache.light(), [number, 0]);
                assert_eq!(item, expected, "{instructions:?}: {number} of {count}");
            }
        }
    }
}

#[test]
fn all_instructions_make_the_same_proofs_in_any_number() {
    let cache = LightCache::tiny();
    let full = cache.dataset();
    for &instructions in Instructions::available() {
        for count in [0, 1, 2, 3, 4, 5, 15, 16, 17, 33, 70] {
            let seals = seals(count);
            let mut pows = vec![Pow::default(); count];
            instructions.light_many(&cache.light(), &seals, 16, &mut pows);
            for ((seal_hash, nonce), pow) in seals.iter().zip(pows) {
                let expected = Instructions::Portable.full_one(&full.full(), seal_hash, *nonce);
                assert_eq!(pow, expected, "{instructions:?}: many");
                let one = instructions.light_one(&cache.light(), seal_hash, *nonce);
                assert_eq!(one, expected, "{instructions:?}: one");
                let one = instructions.full_one(&full.full(), seal_hash, *nonce);
                assert_eq!(one, expected, "{instructions:?}: full");
                assert_eq!(result(seal_hash, *nonce, &expected.mix_hash), expected.result);
            }
        }
    }
}

/// The lowest nonce of a range, as one after the other finds it.
fn lowest(full: &Full<'_>, search: &Search<'_>) -> Option<(u64, Pow)> {
    search.nonces.clone().find_map(|nonce| {
        let pow = Instructions::Portable.full_one(full, search.seal_hash, nonce);
        search.target.is_met_by(&pow.result).then_some((nonce, pow))
    })
}

#[test]
fn all_instructions_find_the_same_nonce() {
    let full = LightCache::tiny().dataset();
    let target = Target::from_difficulty(U256::from(700)).unwrap();
    for seal_hash in (0..20).map(B256::with_last_byte) {
        for nonces in [0..1 << 20, 3..300, u64::MAX - 400..u64::MAX] {
            let (stop, hashes) = (AtomicBool::new(false), AtomicU64::new(0));
            let seal_hash = &seal_hash;
            let search =
                Search { seal_hash, target: &target, nonces, stop: &stop, hashes: &hashes };
            let expected = lowest(&full.full(), &search);
            for &instructions in Instructions::available() {
                assert_eq!(instructions.search(&full.full(), &search), expected);
            }
        }
    }
}

/// Inputs in the millions, and seals and items of each kernel against those of the portable one.
#[test]
fn all_instructions_are_the_same_for_random_inputs() {
    const SEALS: usize = 40;

    // Every case has 40 seals and 80 items.
    let cases = if is_long() { 10_000 } else { 40 };
    eprintln!("{} random inputs of each kernel", cases as usize * 3 * SEALS);
    let cache = LightCache::tiny();
    let dataset = cache.dataset();
    let seal = (any::<[u8; 32]>().prop_map(B256::from), any::<u64>());
    let input = (prop::collection::vec(seal, SEALS), 0..u32::MAX - 100, 1_usize..140);
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let outcome = runner.run(&input, |(seals, first, in_flight)| {
        let light = cache.light();
        let make = |instructions: Instructions| {
            let (mut pows, mut items) = (vec![Pow::default(); SEALS], vec![[0; 16]; 2 * SEALS]);
            instructions.light_many(&light, &seals, in_flight, &mut pows);
            instructions.fill_items(&light, first, in_flight, &mut items);
            (pows, items)
        };
        let (pows, items) = make(Instructions::Portable);
        for ((seal_hash, nonce), pow) in seals.iter().zip(&pows) {
            prop_assert_eq!(dataset.hashimoto(seal_hash, *nonce), *pow);
        }
        for &instructions in &Instructions::available()[1..] {
            prop_assert_eq!(make(instructions), (pows.clone(), items.clone()));
        }
        Ok(())
    });
    outcome.expect("kernels agree");
}

/// The proof of work from a dataset of which only the pages read exist.
fn full_by_items(light: &Light<'_>, seal_hash: &B256, nonce: u64) -> Pow {
    let [seed] = keccak::seeds::<1, 1>(&[(*seal_hash, nonce)]);
    let mut mix: Page = std::array::from_fn(|at| seed[at % 16]);
    for round in 0..64 {
        let word = words::fnv(round ^ seed[0], mix[round as usize % 32]);
        let first = word % light.page_of.divisor() * 2;
        let mut items = [[0; 16]; 2];
        Instructions::best().fill_items(light, first, 2, &mut items);
        for (word, item) in mix.iter_mut().zip(items.as_flattened()) {
            *word = words::fnv(*word, *item);
        }
    }
    let mix = words::compress(&mix);
    let [result] = keccak::results::<1, 1>(&[seed], &[mix]);
    Pow { mix_hash: words::word_bytes(&mix), result }
}

/// The dataset's items and the light proofs share little code but Keccak: they check each other.
#[test]
fn proofs_by_items_are_those_of_a_cache_in_all_epochs() {
    let long = [171, 384, 385, 386, 511, 2047];
    let epochs = [0, 1].into_iter().chain(long.into_iter().filter(|_| is_long()));
    if !is_long() {
        eprintln!("skipped without HEMATITE_TIER=long: epochs {long:?}");
    }
    for epoch in epochs {
        let cache = LightCache::generate(Epoch::new(epoch));
        let seals: Vec<_> = (0..20)
            .map(|at| {
                alloy_primitives::keccak256([epoch.to_le_bytes(), u64::to_le_bytes(at)].concat())
            })
            .map(|hash| (hash, u64::from_le_bytes(*hash.first_chunk().expect("it has 32 bytes"))))
            .collect();
        let many = cache.hashimoto_many(&seals);
        for ((seal_hash, nonce), pow) in seals.iter().zip(many) {
            assert_eq!(cache.hashimoto(seal_hash, *nonce), pow, "epoch {epoch}");
            assert_eq!(full_by_items(&cache.light(), seal_hash, *nonce), pow, "epoch {epoch}");
        }
    }
}

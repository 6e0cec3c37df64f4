use primitives::U256;
use proptest::prelude::*;

use super::*;
use crate::{
    limits::{PENDING_MAX, QUEUED_MAX},
    testing::{
        Bench, Draft, GAS, address, base, base_with, draft, fee_market, forks, london_forks,
        with_access_list,
    },
};

fn limits() -> Limits {
    Limits::default()
}

/// Wei that pay for this many plain transfers at a price of 1.
fn transfers(count: u64) -> U256 {
    U256::from(count * GAS)
}

fn check(bench: &mut Bench, draft: Draft, expected: &str) {
    let error = bench.add(draft).expect_err("it is refused");
    assert_eq!(error.to_string(), expected);
    bench.inner.audit();
}

#[test]
fn takes_consecutive_nonces_as_pending_and_gaps_as_queued() {
    let mut bench = Bench::new(limits());
    assert_eq!(bench.add(draft(1, 0, 1)).unwrap().len(), 1);
    assert!(bench.add(draft(1, 2, 1)).unwrap().is_empty());
    assert_eq!(bench.held(1), (1, 1));
    assert_eq!(bench.add(draft(1, 1, 1)).unwrap().len(), 2, "the gap closes");
    assert_eq!(bench.held(1), (3, 0));
    assert_eq!(bench.inner.account(address(1)).unwrap().pending_end(), 3);
    bench.inner.audit();
}

#[test]
fn refuses_with_the_texts_of_geth() {
    let mut bench = Bench::new(Limits { gas_price: 2, ..limits() });
    bench.nonce = 5;
    bench.balance = transfers(10);
    let tx = draft(1, 5, 2).pooled();
    bench.put(&tx).unwrap();
    assert!(matches!(bench.put(&tx), Err(PoolError::AlreadyKnown)));
    check(&mut bench, draft(2, 5, 1), "transaction underpriced");
    check(&mut bench, draft(2, 4, 2), "nonce too low");
    check(&mut bench, draft(2, u64::MAX, 2), "nonce has max value");
    check(&mut bench, draft(2, 5, 11), "insufficient funds for gas * price + value");
    check(&mut bench, draft(2, 5, 10).value(1), "insufficient funds for gas * price + value");
    check(&mut bench, draft(2, 5, 2).gas(GAS - 1), "intrinsic gas too low");
    check(&mut bench, draft(1, 5, 2).value(1), "replacement transaction underpriced");
}

#[test]
fn checks_in_the_order_of_geth() {
    let mut bench = Bench::new(Limits { gas_price: 5, ..limits() });
    bench.nonce = 1;
    bench.balance = U256::ZERO;
    check(&mut bench, draft(1, 0, 1).gas(1), "transaction underpriced");
    check(&mut bench, draft(1, 0, 5).gas(1), "nonce too low");
    check(&mut bench, draft(1, 1, 5).gas(1), "insufficient funds for gas * price + value");
    bench.balance = transfers(10);
    check(&mut bench, draft(2, 1, 5).gas(1), "intrinsic gas too low");
}

#[test]
fn a_cost_beyond_256_bits_is_insufficient_funds() {
    let mut bench = Bench::new(limits());
    bench.balance = U256::MAX;
    let mut rich = draft(1, 0, u128::MAX);
    rich.tx.value = U256::MAX;
    check(&mut bench, rich, "insufficient funds for gas * price + value");
}

#[test]
fn replaces_for_ten_per_cent_more_rounded_down() {
    for (old, refused, accepted) in
        [(100, 109, 110), (1, 1, 2), (9, 9, 10), (15, 15, 16), (0, 0, 1)]
    {
        let mut bench = Bench::new(Limits { gas_price: 0, ..limits() });
        bench.add(draft(1, 0, old)).unwrap();
        check(&mut bench, draft(1, 0, refused).value(1), "replacement transaction underpriced");
        let new = draft(1, 0, accepted).pooled();
        assert_eq!(bench.put(&new).unwrap(), [new.hash()]);
        assert_eq!(bench.held(1), (1, 0));
        bench.inner.audit();
    }
}

#[test]
fn replaces_only_if_cap_and_tip_are_both_bumped() {
    let mut bench = Bench::on(limits(), base_with(london_forks()));
    bench.put(&fee_market(1, 0, 100, 10)).unwrap();
    for (cap, tip) in [(110, 10), (100, 11), (109, 11), (110, 10)] {
        let answer = bench.put(&fee_market(1, 0, cap, tip));
        assert!(matches!(answer, Err(PoolError::ReplacementUnderpriced)), "{cap} {tip}");
    }
    bench.put(&fee_market(1, 0, 110, 11)).unwrap();
    bench.inner.audit();
}

#[test]
fn the_floor_looks_at_the_tip_and_spares_locals() {
    let mut bench = Bench::on(Limits { gas_price: 20, ..limits() }, base_with(london_forks()));
    assert!(matches!(bench.put(&fee_market(1, 0, 100, 19)), Err(PoolError::Underpriced)));
    bench.put(&fee_market(1, 0, 100, 20)).unwrap();
    bench.add(draft(2, 0, 1).local()).unwrap();
    bench.add(draft(2, 1, 1)).unwrap();
    assert_eq!(
        bench.held(2),
        (2, 0),
        "a local sender stays local when others bring its transactions"
    );
    bench.inner.audit();
}

#[test]
fn a_raised_floor_drops_cheap_remotes_only() {
    let mut bench = Bench::new(limits());
    bench.add(draft(1, 0, 5)).unwrap();
    bench.add(draft(1, 1, 50)).unwrap();
    bench.add(draft(2, 0, 5).local()).unwrap();
    bench.inner.set_gas_price(10);
    assert_eq!(bench.held(1), (0, 1), "what followed a dropped one waits");
    assert_eq!(bench.held(2), (1, 0));
    bench.inner.audit();
}

#[test]
fn without_sparing_a_local_submission_is_like_any_other() {
    let mut bench = Bench::new(Limits { gas_price: 10, spare_locals: false, ..limits() });
    check(&mut bench, draft(1, 0, 9).local(), "transaction underpriced");
    let mut bench =
        Bench::new(Limits { gas_price: 10, local_senders: vec![address(1)], ..limits() });
    bench.add(draft(1, 0, 9)).unwrap();
    assert!(bench.inner.account(address(1)).unwrap().local);
}

#[test]
fn a_local_submission_makes_what_its_sender_already_has_local() {
    let mut bench = Bench::new(limits());
    bench.add(draft(1, 0, 5)).unwrap();
    bench.add(draft(1, 5, 5)).unwrap();
    bench.add(draft(1, 1, 5).local()).unwrap();
    bench.inner.audit();
    let totals = bench.inner.index.totals();
    assert_eq!((totals.local, totals.remote_pending, totals.remote_queued), (3, 0, 0));
}

/// Latent overdraft, DETER-Z (CVE-2022-23328): only what is paid for together is pending.
#[test]
fn what_the_balance_does_not_pay_for_together_is_queued() {
    let mut bench = Bench::new(limits());
    bench.balance = transfers(3);
    for nonce in 0..5 {
        bench.add(draft(1, nonce, 1)).unwrap();
    }
    assert_eq!(bench.held(1), (3, 2));
    bench.inner.audit();
}

/// TXP-02: one account whose every transaction spends everything, against a pool with victims.
#[test]
fn a_flood_of_overdrafts_evicts_nobody() {
    let mut bench = Bench::new(limits());
    for sender in 0..300 {
        for nonce in 0..17 {
            bench.add(draft(sender, nonce, 1)).unwrap();
        }
    }
    bench.balance = transfers(1_000);
    for nonce in 0..5_120 {
        let _ = bench.add(draft(1_000, nonce, 1_000));
    }
    assert_eq!(bench.held(1_000), (1, QUEUED_MAX / 2));
    for sender in 0..300 {
        assert_eq!(bench.held(sender), (17, 0));
    }
    bench.inner.audit();
}

/// TXP-01, DETER-X (CVE-2022-23327): transactions that cannot be mined push out none that can.
#[test]
fn a_flood_of_future_transactions_evicts_nothing_pending() {
    let mut bench = Bench::new(limits());
    for sender in 0..320 {
        for nonce in 0..16 {
            bench.add(draft(sender, nonce, 1)).unwrap();
        }
    }
    assert_eq!(bench.inner.status(), (PENDING_MAX, 0));
    for sender in 1_000..1_080 {
        for nonce in 1..65 {
            let _ = bench.add(draft(sender, nonce, 100));
        }
    }
    assert_eq!(bench.inner.status(), (PENDING_MAX, QUEUED_MAX));
    bench.inner.audit();
}

/// TXP-03 (a): what an expensive replacement turns into a future leaves pending at once.
#[test]
fn a_replacement_that_spends_everything_demotes_what_follows() {
    let mut bench = Bench::new(Limits { account_queued: 4, queued: 8, ..limits() });
    bench.balance = transfers(100);
    for nonce in 0..10 {
        bench.add(draft(1, nonce, 1)).unwrap();
    }
    assert_eq!(bench.held(1), (10, 0));
    bench.add(draft(1, 0, 2).value(98 * GAS)).unwrap();
    assert_eq!(bench.held(1), (1, 4));
    bench.inner.audit();
}

#[test]
fn a_full_pool_wants_more_than_its_cheapest_pays() {
    let mut bench = Bench::new(Limits { pending: 3, ..limits() });
    for (sender, price) in [(1, 10), (2, 20), (3, 30)] {
        bench.add(draft(sender, 0, price)).unwrap();
    }
    check(&mut bench, draft(4, 0, 9), "transaction underpriced");
    check(&mut bench, draft(4, 0, 10), "transaction underpriced");
    bench.add(draft(4, 0, 11)).unwrap();
    assert_eq!(bench.held(1), (0, 0));
    bench.add(draft(5, 0, 1).local()).unwrap();
    assert_eq!(bench.inner.status(), (4, 0), "a local one does not take a remote's place");
    bench.inner.audit();
}

#[test]
fn whoever_has_more_than_his_share_gives_first() {
    let mut bench = Bench::new(Limits { pending: 6, account_pending: 2, ..limits() });
    for nonce in 0..5 {
        bench.add(draft(1, nonce, 100)).unwrap();
    }
    bench.add(draft(2, 0, 1)).unwrap();
    bench.add(draft(3, 0, 1)).unwrap();
    assert_eq!((bench.held(1), bench.held(2), bench.held(3)), ((4, 0), (1, 0), (1, 0)));
    check(&mut bench, draft(1, 4, 100), "txpool is full");
}

#[test]
fn eviction_looks_at_what_the_next_block_would_pay() {
    let mut base = base_with(london_forks());
    base.next_base_fee = Some(100);
    let mut bench = Bench::on(Limits { pending: 2, ..limits() }, base.clone());
    bench.put(&fee_market(1, 0, 101, 50)).unwrap();
    bench.put(&fee_market(2, 0, 200, 10)).unwrap();
    bench.put(&fee_market(3, 0, 300, 20)).unwrap();
    assert_eq!(bench.held(1), (0, 0), "it would pay a tip of 1");
    base.next_base_fee = Some(195);
    base.number += 1;
    let step = Step { base: Arc::new(base), facts: HashMap::default(), reinject: Vec::new() };
    bench.inner.rebase(step, bench.now);
    bench.inner.audit();
    bench.put(&fee_market(4, 0, 300, 6)).unwrap();
    assert_eq!(bench.held(2), (0, 0), "it would pay a tip of 5 now");
    bench.inner.audit();
}

#[test]
fn an_account_queues_so_many_and_no_more() {
    let mut bench = Bench::new(Limits { account_queued: 3, queued: 6, ..limits() });
    for nonce in [5, 6, 8] {
        bench.add(draft(1, nonce, 1)).unwrap();
    }
    check(&mut bench, draft(1, 9, 1), "account limit exceeded");
    bench.add(draft(1, 7, 1)).unwrap();
    assert!(bench.inner.account(address(1)).unwrap().with_nonce(8).is_none());
    for nonce in 1..20 {
        bench.add(draft(2, nonce, 1).local()).unwrap();
    }
    bench.inner.audit();
}

#[test]
fn an_account_queues_more_while_half_of_the_queue_is_free() {
    let mut bench = Bench::new(Limits { account_queued: 2, queued: 10, ..limits() });
    for nonce in 1..=5 {
        bench.add(draft(1, nonce, 1)).unwrap();
    }
    check(&mut bench, draft(1, 6, 1), "account limit exceeded");
    bench.add(draft(2, 5, 1)).unwrap();
    bench.add(draft(2, 6, 1)).unwrap();
    assert_eq!((bench.held(1), bench.held(2)), ((0, 5), (0, 2)), "nobody pays for another's");
    // Whoever has more than his share loses it when he moves again.
    check(&mut bench, draft(1, 7, 1), "account limit exceeded");
    assert_eq!(bench.held(1), (0, 3));
    bench.inner.audit();
}

#[test]
fn a_full_queue_refuses_whoever_came_last() {
    let mut bench = Bench::new(Limits { queued: 2, ..limits() });
    bench.add(draft(1, 5, 1)).unwrap();
    bench.add(draft(2, 5, 1)).unwrap();
    check(&mut bench, draft(3, 5, 1_000), "txpool is full");
    bench.add(draft(3, 0, 1)).unwrap();
    bench.inner.audit();
}

#[test]
fn locals_fill_their_own_limit() {
    let mut bench = Bench::new(Limits { locals: 3, ..limits() });
    for nonce in 0..3 {
        bench.add(draft(1, nonce, 1).local()).unwrap();
    }
    check(&mut bench, draft(1, 3, 1).local(), "txpool is full");
    check(&mut bench, draft(2, 0, 1).local(), "txpool is full");
    bench.add(draft(1, 0, 2).local()).unwrap();
    bench.add(draft(2, 0, 1)).unwrap();
    check(&mut bench, draft(2, 1, 1).local(), "txpool is full");
}

#[test]
fn memory_is_bounded_for_locals_too() {
    let large = |sender, nonce, price| draft(sender, nonce, price).input(20_000).gas(200_000);
    let one = large(1, 0, 1).pooled().memory_bytes() + 16;
    let mut bench = Bench::new(Limits { bytes: 3 * one, ..limits() });
    bench.add(large(1, 0, 10)).unwrap();
    bench.add(large(2, 5, 10)).unwrap();
    bench.add(large(3, 0, 20)).unwrap();
    check(&mut bench, large(4, 7, 1_000), "txpool is full");
    assert_eq!(bench.held(2), (0, 1), "the newest future one goes first");
    bench.add(large(4, 0, 1)).unwrap();
    assert_eq!(bench.held(2), (0, 0), "what may be mined pushes out what may not");
    check(&mut bench, large(6, 0, 1), "transaction underpriced");
    bench.add(large(5, 0, 1).local()).unwrap();
    bench.add(large(5, 1, 1).local()).unwrap();
    bench.add(large(5, 2, 1).local()).unwrap();
    check(&mut bench, large(5, 3, 1).local(), "txpool is full");
    assert_eq!(bench.inner.status(), (3, 0));
}

#[test]
fn idle_remote_accounts_lose_what_is_queued_after_three_hours() {
    let mut bench = Bench::new(limits());
    bench.add(draft(1, 0, 1)).unwrap();
    bench.add(draft(1, 2, 1)).unwrap();
    bench.add(draft(2, 2, 1).local()).unwrap();
    bench.later(3 * 60 * 60);
    assert_eq!(bench.inner.expire(bench.now), 0);
    bench.later(1);
    assert_eq!(bench.inner.expire(bench.now), 1);
    assert_eq!((bench.held(1), bench.held(2)), ((1, 0), (0, 1)));
    bench.inner.audit();
}

/// Moves the bench to the next block, where these senders have these nonces and balances.
fn advance(bench: &mut Bench, facts: &[(u64, u64, U256)], reinject: &[Draft]) -> Vec<B256> {
    let mut base = (*bench.inner.base()).clone();
    base.number += 1;
    let reinject =
        reinject.iter().map(|draft| Candidate::new(&base, draft.clone().pooled())).collect();
    let facts = facts
        .iter()
        .map(|(sender, nonce, balance)| {
            (address(*sender), Facts { nonce: *nonce, balance: *balance })
        })
        .collect();
    let promoted = bench.inner.rebase(Step { base: Arc::new(base), facts, reinject }, bench.now);
    bench.inner.audit();
    promoted
}

#[test]
fn drops_what_was_mined_and_keeps_what_follows() {
    let mut bench = Bench::new(limits());
    for nonce in 0..4 {
        bench.add(draft(1, nonce, 1)).unwrap();
    }
    advance(&mut bench, &[(1, 3, transfers(5))], &[]);
    assert_eq!(bench.held(1), (1, 0));
    advance(&mut bench, &[(1, 4, transfers(5))], &[]);
    assert_eq!(bench.inner.accounts().count(), 0);
    assert_eq!(bench.inner.known_facts(address(1)).map(|facts| facts.nonce), Some(4));
}

#[test]
fn a_poorer_sender_keeps_pending_what_it_can_pay() {
    let mut bench = Bench::new(limits());
    for nonce in 0..4 {
        bench.add(draft(1, nonce, 1)).unwrap();
    }
    bench.add(draft(1, 4, 5)).unwrap();
    advance(&mut bench, &[(1, 0, transfers(2))], &[]);
    assert_eq!(bench.held(1), (2, 2), "the last one can never be paid and is gone");
    let promoted = advance(&mut bench, &[(1, 0, transfers(10))], &[]);
    assert_eq!(promoted.len(), 2);
    assert_eq!(bench.held(1), (4, 0));
}

#[test]
fn brings_back_what_a_reorg_retired() {
    let mut bench = Bench::new(limits());
    bench.nonce = 2;
    bench.add(draft(1, 2, 1)).unwrap();
    let back = [draft(1, 0, 1), draft(1, 1, 1), draft(2, 0, 1), draft(3, 0, 100)];
    let facts = [(1, 0, transfers(10)), (2, 1, transfers(10)), (3, 0, transfers(10))];
    let promoted = advance(&mut bench, &facts, &back);
    assert_eq!(promoted.len(), 3);
    assert_eq!((bench.held(1), bench.held(2), bench.held(3)), ((3, 0), (0, 0), (0, 0)));
}

#[test]
fn a_lower_gas_limit_drops_what_no_longer_fits() {
    let mut bench = Bench::new(limits());
    bench.add(draft(1, 0, 1)).unwrap();
    bench.add(draft(1, 1, 1).gas(50_000).local()).unwrap();
    bench.add(draft(1, 2, 1)).unwrap();
    let lower = Base { gas_limit: 49_999, number: 11, ..base() };
    let step = Step { base: Arc::new(lower), facts: HashMap::default(), reinject: Vec::new() };
    bench.inner.rebase(step, bench.now);
    assert_eq!(bench.held(1), (1, 1));
    bench.inner.audit();
}

#[test]
fn a_reorg_to_before_a_fork_drops_types_that_are_not_known_yet() {
    let spec = primitives::Forks { berlin: Some(10), london: Some(11), ..forks() };
    let mut bench = Bench::on(limits(), base_with(spec.clone()));
    bench.put(&fee_market(1, 0, 10, 10)).unwrap();
    bench.put(&with_access_list(2, 0)).unwrap_err();
    bench.add(draft(3, 0, 1)).unwrap();
    let older = Base { number: 9, ..base_with(spec) };
    let step = Step { base: Arc::new(older), facts: HashMap::default(), reinject: Vec::new() };
    bench.inner.rebase(step, bench.now);
    assert_eq!((bench.held(1), bench.held(3)), ((0, 0), (1, 0)));
    bench.inner.audit();
}

#[test]
fn accounts_that_were_not_read_are_asked_for_again_before_they_grow() {
    let mut bench = Bench::new(limits());
    bench.balance = transfers(2);
    bench.add(draft(1, 0, 1)).unwrap();
    bench.add(draft(1, 1, 1)).unwrap();
    advance(&mut bench, &[], &[]);
    assert_eq!(bench.inner.known_facts(address(1)), None);
    bench.balance = transfers(3);
    bench.add(draft(1, 2, 1)).unwrap();
    assert_eq!(bench.held(1), (3, 0));
    bench.inner.audit();
}

#[test]
fn only_touched_and_waiting_accounts_are_concerned() {
    let mut bench = Bench::new(limits());
    bench.balance = transfers(1);
    bench.add(draft(1, 0, 1)).unwrap();
    bench.add(draft(2, 0, 1)).unwrap();
    bench.add(draft(3, 0, 1)).unwrap();
    bench.add(draft(3, 1, 1)).unwrap();
    let touched = Touched::Senders([address(1)].into_iter().collect());
    let concerned = |touched: Option<&Touched>| {
        let mut found = bench.inner.concerned(touched, |at| *at == address(7))?;
        found.sort();
        Some(found)
    };
    assert_eq!(concerned(Some(&touched)), Some(vec![address(1), address(3)]));
    assert_eq!(concerned(Some(&Touched::Everybody)).map(|all| all.len()), Some(3));
    assert_eq!(concerned(None), None);
}

#[test]
fn local_senders_without_transactions_are_forgotten_when_they_are_too_many() {
    let mut bench = Bench::new(Limits { local_senders: vec![address(0)], ..limits() });
    for sender in 1..=u64::try_from(LOCAL_SENDERS_MAX).unwrap() {
        bench.inner.local_senders.insert(address(sender));
    }
    bench.add(draft(1_000_000, 0, 1).local()).unwrap();
    assert_eq!(bench.inner.local_senders.len(), 2);
}

/// What a random test does.
#[derive(Debug, Clone)]
enum Operation {
    Add { sender: u64, nonce: u64, price: u128, value: u64, size: usize, local: bool },
    Advance { facts: Vec<(u64, u64, u64)>, gas_limit: u64, base_fee: Option<u64> },
    Floor(u128),
    Expire,
}

fn operations() -> impl Strategy<Value = Operation> {
    let add =
        (0..8u64, 0..12u64, 1..60u128, 0..200_000u64, 0..3_000usize, prop::bool::weighted(0.1))
            .prop_map(|(sender, nonce, price, value, size, local)| Operation::Add {
                sender,
                nonce,
                price,
                value,
                size,
                local,
            });
    let facts = prop::collection::vec((0..8u64, 0..6u64, 0..8_000_000u64), 0..5);
    let fee = prop::option::of(0..40u64);
    let advance = (facts, 100_000..200_000u64, fee)
        .prop_map(|(facts, gas_limit, base_fee)| Operation::Advance { facts, gas_limit, base_fee });
    prop_oneof![
        20 => add,
        2 => advance,
        1 => (0..30u128).prop_map(Operation::Floor),
        1 => Just(Operation::Expire),
    ]
}

fn perform(bench: &mut Bench, operation: Operation) {
    match operation {
        Operation::Add { sender, nonce, price, value, size, local } => {
            let draft = draft(sender, nonce, price).value(value).input(size).gas(100_000);
            let draft = if local { draft.local() } else { draft };
            let tx = draft.pooled();
            let accepted = bench.put(&tx).is_ok();
            let here = bench.inner.with_hash(tx.hash()).is_some_and(|held| Arc::ptr_eq(held, &tx));
            assert_eq!(here, accepted, "the answer is true");
        }
        Operation::Advance { facts, gas_limit, base_fee } => {
            let older = bench.inner.base();
            let base = Base { gas_limit, next_base_fee: base_fee, ..(*older).clone() };
            let facts = facts
                .into_iter()
                .map(|(sender, nonce, balance)| {
                    (address(sender), Facts { nonce, balance: U256::from(balance) })
                })
                .collect();
            let step = Step { base: Arc::new(base), facts, reinject: Vec::new() };
            bench.inner.rebase(step, bench.now);
        }
        Operation::Floor(price) => bench.inner.set_gas_price(price),
        Operation::Expire => {
            bench.later(2 * 60 * 60);
            bench.inner.expire(bench.now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_books_balance_whatever_happens(operations in prop::collection::vec(operations(), 1..160)) {
        let limits = Limits {
            pending: 12,
            queued: 9,
            account_pending: 3,
            account_queued: 4,
            locals: 8,
            bytes: 40_000,
            ..Limits::default()
        };
        let mut bench = Bench::new(limits);
        bench.balance = U256::from(9_000_000);
        for operation in operations {
            perform(&mut bench, operation);
            bench.inner.audit();
        }
    }
}

/// Operations of a random test that goes on: `HEMATITE_TIER=long` makes them ten million.
fn operations_of_the_long_test() -> usize {
    let is_long = std::env::var("HEMATITE_TIER").is_ok_and(|tier| tier == "long");
    if is_long { 10_000_000 } else { 20_000 }
}

/// TXP-06: one pool that nobody restarts, whose books are compared with what is in it now and then.
#[test]
fn the_books_still_balance_after_a_long_life() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let limits = Limits {
        pending: 120,
        queued: 90,
        account_pending: 3,
        account_queued: 4,
        locals: 80,
        bytes: 200_000,
        ..Limits::default()
    };
    let mut bench = Bench::new(limits);
    bench.balance = U256::from(9_000_000);
    let (mut runner, strategy) = (TestRunner::deterministic(), operations());
    for number in 0..operations_of_the_long_test() {
        let operation = strategy.new_tree(&mut runner).expect("nothing is filtered").current();
        perform(&mut bench, operation);
        if number.is_multiple_of(1_000) {
            bench.inner.audit();
        }
    }
    bench.inner.audit();
}

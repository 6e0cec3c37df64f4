//! Work that is shared out to threads.

use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// The most items that one thread takes at once. More seals in flight do not help.
const SHARE_MAX: usize = 32;

/// Fewer than this are not worth a thread's while if there is more: seals gain from interleaving.
const SHARE_WANTED: usize = 8;

/// A thread should come back for more about this often, so that all end together.
const SHARES_PER_THREAD: usize = 4;

/// Runs `work` over shares of `items` on so many threads, this one included; the answers are in
/// the order of the items. Eight items or fewer stay on this thread.
///
/// # Panics
///
/// If `work` does.
pub fn in_shares<T: Sync, V: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&[T]) -> Vec<V> + Sync,
) -> Vec<V> {
    let threads = threads.max(1);
    let even = items.len().div_ceil(threads);
    let share = (even / SHARES_PER_THREAD).max(even.min(SHARE_WANTED)).clamp(1, SHARE_MAX);
    if items.len() <= share {
        return if items.is_empty() { Vec::new() } else { work(items) };
    }
    let shares: Vec<&[T]> = items.chunks(share).collect();
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(share) = shares.get(place) else { return done };
            done.push((place, work(share)));
        }
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(shares.len())).map(|_| scope.spawn(run)).collect();
        let mut done = run();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().flat_map(|(_, answers)| answers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_items_on_any_number_of_threads() {
        for count in [0, 1, 2, 7, 8, 9, 100, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            for threads in 0..5 {
                let doubled = in_shares(&items, threads, |share| {
                    assert!(!share.is_empty() && share.len() <= SHARE_MAX);
                    share.iter().map(|item| item * 2).collect()
                });
                assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn a_panic_of_another_thread_is_not_lost() {
        let items: Vec<u32> = (0..200).collect();
        in_shares(
            &items,
            4,
            |share| if share.contains(&199) { panic!("on purpose") } else { vec![()] },
        );
    }
}

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use state::StateReader;

use super::fixture::*;

#[test]
fn four_readers_never_see_half_a_commit() {
    let (mut writer, genesis) = memory();
    let blocks = line(&genesis, 200, 5);
    let newest = Arc::new(Mutex::new(writer.view().clone()));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Acquire) {
                    let view = newest.lock().unwrap().clone();
                    let head = view.head().unwrap();
                    assert!(head.number >= last, "the head goes only up here");
                    last = head.number;
                    assert_eq!(view.canonical_hash(head.number).unwrap(), Some(head.hash));
                    assert_eq!(view.canonical_hash(head.number + 1).unwrap(), None);
                    let header = view.header(head.hash).unwrap().unwrap();
                    let state = view.state_at(head.hash).unwrap();
                    let root = state.node(None, &state::Nibbles::new()).unwrap().unwrap();
                    assert_eq!(primitives::keccak256(root), header.state_root);
                    let grown = match head.number {
                        0 => &genesis,
                        number => &blocks[usize::try_from(number - 1).unwrap()],
                    };
                    assert_flat(&state, &grown.state, &[]);
                    let past = view.header_by_number(head.number / 2).unwrap().unwrap();
                    view.state_at(past.hash()).unwrap().account(past.parent_hash).unwrap();
                }
            });
        }
        for block in &blocks {
            let view = writer.commit(extension(std::slice::from_ref(block), &[])).unwrap();
            *newest.lock().unwrap() = view;
        }
        done.store(true, Ordering::Release);
    });
}

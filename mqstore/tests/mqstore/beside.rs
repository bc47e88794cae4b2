//! Looking at a store while another thread appends, indexes, seals, retires and recycles segments.

use crate::written::{NOW, append, format, now, open, settle, shard_dir};
use fastrand::Rng;
use mqstore::{DataDir, Filter, Findings, Progress, dump, stat, verify};
use std::{
    fs,
    future::ready,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};
use store::format;

#[test]
fn a_store_that_is_being_written_is_clean() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let root = root.path();
    format::read_or_create(root, format::Format { shards: 1, ..format() }).expect("room");
    let ready_to_look = AtomicBool::new(false);
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _lock = format::lock(root).expect("nobody else");
            let (store, _) = open(root, 0).expect("a new log");
            let mut rng = Rng::with_seed(1);
            let mut number = 0;
            while !enough.load(Relaxed) {
                for _ in 0..rng.u32(1..20) {
                    append(&store, "orders", rng.u32(0..4), number, &mut rng);
                    number += 1;
                }
                store
                    .state_mut()
                    .derived
                    .group_offsets
                    .set("readers", "orders", 0, number as i64)
                    .expect("room");
                store.state_mut().append_group_offsets(NOW).expect("room");
                settle(&store);
                let names = fs::read_dir(shard_dir(root, 0)).expect("a directory").count();
                if names > 14 {
                    ready_to_look.store(true, Relaxed);
                    let retired = now(store.retire_oldest(true, &|| ready(())));
                    retired.expect("a healthy disk");
                }
            }
        });
        while !ready_to_look.load(Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        let started = Instant::now();
        let mut looks = 0;
        let mut failed = None;
        while (started.elapsed() < Duration::from_secs(5) || looks <= 2) && failed.is_none() {
            let verified = verify(root, None, None, &Progress::silent());
            let mut findings = Findings::default();
            let dir = DataDir::open(root, None, None, &mut findings).expect("looked at");
            stat(&dir, &mut findings).expect("looked at");
            let mut lines = Vec::new();
            let filter = Filter { max: Some(100), ..Filter::default() };
            dump(&dir, &filter, &mut lines, &mut findings).expect("looked at");
            looks += 1;
            failed = match verified {
                Ok(verified) if verified.is_clean() && verified.held => None,
                Ok(verified) => Some(verified.to_string()),
                Err(error) => Some(error.to_string()),
            };
        }
        enough.store(true, Relaxed);
        assert!(failed.is_none(), "look {looks}: {failed:?}");
    });
}

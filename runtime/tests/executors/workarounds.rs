//! Defects of the executor library that this crate works around. Each test passes while the defect is there; when a
//! newer version makes one fail, its workaround may go. Not covered: the lost wakes themselves, which are a matter of
//! luck; `cargo run --release --example stalls -- tcp 40 unwatched` counts them.

use std::{
    future::Future,
    net::TcpStream,
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use glommio::{
    io::{DmaFile, OpenOptions},
    net::TcpListener,
    timer::Timer,
};
use runtime::{Executor, Mesh, Settings, Stop, run};

use crate::harness;

/// Runs `story` on a watched executor of ours.
fn on_executor<F, Fut>(story: F)
where
    F: Fn(Executor) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let _alone = harness::alone();
    harness::ends(move || {
        run(Settings::default(), Stop::new(), move |here: Executor, _: Mesh<()>| {
            let story = story.clone();
            async move {
                story(here).await;
                Ok(())
            }
        })
        .unwrap();
    });
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Superfluous then: the ban on timers in a select (`TaskBudget::sleep`).
#[test]
fn every_poll_of_a_pending_timer_registers_another_one() {
    struct Silent;
    impl Wake for Silent {
        fn wake(self: Arc<Self>) {}
    }
    on_executor(|_| async {
        let counted = Arc::new(Silent);
        let waker = Waker::from(Arc::clone(&counted));
        let before = Arc::strong_count(&counted);
        let mut timer = pin!(Timer::new(Duration::from_secs(3600)));
        for _ in 0..100 {
            assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        // Each registration holds a waker of its own.
        let registered = Arc::strong_count(&counted) - before;
        assert!(registered >= 100, "fixed? 100 polls registered {registered}");
    });
}

/// Superfluous then: the eventfd of `TaskBudget::yield_now`.
#[test]
fn sleeping_for_no_time_does_not_yield() {
    on_executor(|_| async {
        let mut timer = pin!(Timer::new(Duration::ZERO));
        assert!(poll_once(timer.as_mut()), "it yields now");
    });
}

/// Superfluous then: "aligned reads only" in `DirectFile`.
#[test]
fn an_unaligned_read_past_the_end_returns_foreign_bytes() {
    on_executor(|_| async {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = dir.path().join("short");
        std::fs::write(&path, vec![1; 5_000]).unwrap();
        let file = DmaFile::open(&path).await.unwrap();
        assert_eq!(file.read_at(4_999, 100).await.unwrap().len(), 100, "it stops at the end now");
        let aligned = file.read_at_aligned(4_096, 4_096).await.unwrap();
        assert_eq!(aligned.len(), 904, "the aligned read is right");
        file.close().await.unwrap();
    });
}

/// Superfluous then: the rule that an accepted socket is bound at once.
#[test]
fn an_accepted_socket_that_is_dropped_stays_open() {
    on_executor(|_| async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let open = || std::fs::read_dir(Path::new("/proc/self/fd")).unwrap().count();
        let before = open();
        {
            let _accepted = listener.shared_accept().await.unwrap();
            assert_eq!(open(), before + 1);
        }
        assert_eq!(open(), before + 1, "it is closed now");
    });
}

/// `DirectDisk::open` recognises files of polled devices by this word, for want of a better way.
#[test]
fn a_file_tells_whether_it_is_polled() {
    on_executor(|_| async {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 4_096]).unwrap();
        let file = OpenOptions::new().read(true).dma_open(&path).await.unwrap();
        let text = format!("{file:?}");
        assert!(text.contains("pollable: NonPollable"), "{text}");
        file.close().await.unwrap();
    });
}

/// All of this was measured with one version. With another: run these tests, the example, and measure again.
#[test]
fn the_library_is_the_version_that_was_measured() {
    let manifest = include_str!("../../../Cargo.toml");
    assert!(manifest.contains(r#"package = "glommio-ng", version = "=0.12.0""#));
}

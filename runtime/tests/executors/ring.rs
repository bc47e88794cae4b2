//! The ring under its executor: old kernels, more operations than its queues hold, waits that are given up, the end.

use std::{
    cell::Cell,
    fs,
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_lite::future::{or, poll_once};
use runtime::{
    BLOCK_BYTES, Disk, DiskFile, DurableWrite, Executor, KernelFeatures, Lane, Mesh, Open,
    Settings, Stop, run,
};

use crate::harness;

/// Runs `story` on one executor with these settings.
fn on_executor<F, Fut>(settings: Settings, story: F)
where
    F: Fn(Executor) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let _alone = harness::alone();
    harness::ends(move || {
        run(settings, Stop::new(), move |here: Executor, _: Mesh<()>| {
            let story = story.clone();
            async move {
                story(here).await;
                Ok(())
            }
        })
        .unwrap();
    });
}

/// The same with the name of a file that does not exist yet, on a disk (not in memory).
fn with_file<F, Fut>(settings: Settings, story: F)
where
    F: Fn(Executor, PathBuf) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("file");
    on_executor(settings, move |here| story(here, path.clone()));
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What a broker does, on kernels that have less and less: sockets, timers, files, blocking work, a neighbour.
#[test]
fn older_kernels_do_everything_too() {
    let without = [
        KernelFeatures { deferred: false, ..KernelFeatures::ALL },
        KernelFeatures { deferred: false, cooperative: false, ..KernelFeatures::ALL },
        KernelFeatures { chained: false, ..KernelFeatures::ALL },
        KernelFeatures { timed_wait: false, ..KernelFeatures::ALL },
        KernelFeatures::OLDEST,
    ];
    for kernel in without {
        let _alone = harness::alone();
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = dir.path().join("file");
        harness::ends(move || {
            let settings = Settings { kernel, ..Settings::unpinned("old", 2) };
            run(settings, Stop::new(), move |here: Executor, mesh: Mesh<u64>| {
                let path = path.clone();
                async move {
                    mesh.receive({
                        let (here, mesh) = (here.clone(), mesh.clone());
                        move |from, number| match number {
                            1_000 => here.stop().request(),
                            _ => mesh.send(from, Lane::Request, number + 1),
                        }
                    });
                    if here.index() == 0 {
                        echo_once(&here).await;
                        write_and_read(&here, &path).await;
                        mesh.send(1, Lane::Request, 1);
                    }
                    here.stop_requested().await;
                    Ok(())
                }
            })
            .unwrap();
        });
    }
}

async fn echo_once(here: &Executor) {
    let listener = here.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr();
    let peer = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).unwrap();
        back
    });
    let (mut reader, mut writer, _) = listener.accept().await.unwrap().split();
    let mut buf = [0; 5];
    let mut filled = 0;
    while filled < buf.len() {
        filled += reader.read(&mut buf[filled..]).await.unwrap();
    }
    here.sleep(Duration::from_millis(20)).await;
    writer.write_all(&buf).await.unwrap();
    assert_eq!(here.blocking(move || peer.join().unwrap()).await, *b"hello");
}

async fn write_and_read(here: &Executor, path: &std::path::Path) {
    let disk = here.disk();
    let file = disk.open(path, Open::Create { bytes: 4 * BLOCK_BYTES as u64 }).await.unwrap();
    let mut block = disk.alloc(BLOCK_BYTES);
    block.as_mut().fill(7);
    file.write_durably(block, BLOCK_BYTES as u64).await.unwrap();
    let read = file.read_at(0, 2 * BLOCK_BYTES).await.unwrap();
    assert_eq!(read.as_ref().iter().map(|byte| usize::from(*byte)).sum::<usize>(), 7 * BLOCK_BYTES);
    file.close().await.unwrap();
}

#[test]
fn both_ways_of_durable_writes_write_and_refuse_alike() {
    for durable_write in [DurableWrite::ThenSync, DurableWrite::Through] {
        let settings = Settings { durable_write, ..Settings::default() };
        with_file(settings, move |here, path| async move {
            write_and_read(&here, &path).await;
            let disk = here.disk();
            let file = disk.open(&path, Open::Read).await.unwrap();
            let refused = file.write_durably(disk.alloc(BLOCK_BYTES), 0).await.unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(9), "{durable_write}: {refused}");
        });
    }
}

/// Four times what the queue to the kernel holds, and more than the one from it, at once.
#[test]
fn more_operations_than_the_queues_hold_all_end() {
    const READS: usize = 5_000;
    with_file(Settings::default(), |here, path| async move {
        let disk = here.disk();
        let bytes = 16 * BLOCK_BYTES as u64;
        let file = Rc::new(disk.open(&path, Open::Create { bytes }).await.unwrap());
        let reads = (0..READS).map(|number| {
            let file = Rc::clone(&file);
            let position = (number % 16 * BLOCK_BYTES) as u64;
            here.spawn(async move { file.read_at(position, BLOCK_BYTES).await.unwrap() })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.as_ref().len(), BLOCK_BYTES);
        }
    });
}

/// Whoever gives a wait up leaves nothing behind in the kernel, and gets what comes later.
#[test]
fn waits_that_are_given_up_lose_nothing_and_leak_nothing() {
    on_executor(Settings::default(), |here| async move {
        let listener = here.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let before = open_descriptors();
        let mut peer = TcpStream::connect(listener.local_addr()).unwrap();
        let (mut reader, writer, _) = listener.accept().await.unwrap().split();
        let mut buf = [0; 64];
        for _ in 0..10_000 {
            assert!(poll_once(reader.read(&mut buf)).await.is_none());
        }
        let late = async {
            here.sleep(Duration::from_millis(5)).await;
            usize::MAX
        };
        let read = async { reader.read(&mut buf).await.unwrap() };
        assert_eq!(or(read, late).await, usize::MAX);
        peer.write_all(b"now").unwrap();
        assert_eq!(reader.read(&mut buf).await.unwrap(), 3);
        drop((reader, writer, peer));
        while open_descriptors() > before {
            here.yield_now().await;
        }
    });
}

/// Reads that nobody waits for any more keep their file and memory until the kernel is done.
#[test]
fn reads_that_are_given_up_end_by_themselves() {
    with_file(Settings::default(), |here, path| async move {
        let disk = here.disk();
        let before = open_descriptors();
        for round in 0..50 {
            let name = path.with_extension(round.to_string());
            let file = disk.open(&name, Open::Create { bytes: 1 << 20 }).await.unwrap();
            for _ in 0..8 {
                let read = file.read_at(0, 1 << 20);
                assert!(poll_once(read).await.is_none_or(|read| read.is_ok()));
            }
            file.close().await.unwrap();
        }
        while open_descriptors() > before {
            here.yield_now().await;
        }
    });
}

/// Everything that can be in the kernel's hands when an executor ends: it is given back before `run` returns.
#[test]
fn an_end_takes_everything_back_from_the_kernel() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let listening = Arc::new(AtomicU64::new(0));
    let port = Arc::clone(&listening);
    with_file(Settings::default(), move |here, path| {
        let port = Arc::clone(&port);
        async move {
            let listener = here.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            port.store(u64::from(listener.local_addr().port()), Ordering::Relaxed);
            here.spawn(async move { listener.accept().await.map(drop) });
            let (mut reader, _writer, _) = here.connect(address).await.unwrap().split();
            here.spawn(async move { reader.read(&mut [0; 64]).await });
            let sleeper = here.clone();
            here.spawn(async move { sleeper.sleep(Duration::from_secs(3_600)).await });
            let disk = here.disk();
            let file = disk.open(&path, Open::Create { bytes: 8 << 20 }).await.unwrap();
            let blocks = disk.alloc(8 << 20);
            here.spawn(async move { file.write_durably(blocks, 0).await });
            here.yield_now().await;
        }
    });
    let port = u16::try_from(listening.load(Ordering::Relaxed)).unwrap();
    let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{refused}");
}

/// Timers beyond any number of loops that tick, in the order of their deadlines, and one that was forgotten.
#[test]
fn thousands_of_timers_end_in_order() {
    on_executor(Settings::default(), |here| async move {
        let last = Rc::new(Cell::new(Duration::ZERO));
        let began = Instant::now();
        let sleeps = (0..5_000_u64).map(|number| {
            let (here, last) = (here.clone(), Rc::clone(&last));
            let duration = Duration::from_micros(number * 7_919 % 5_000 * 10);
            let task = here.clone();
            task.spawn(async move {
                here.sleep(duration).await;
                assert!(began.elapsed() >= duration);
                last.set(last.get().max(duration));
            })
        });
        let sleeps: Vec<_> = sleeps.collect();
        assert!(poll_once(here.sleep(Duration::from_secs(3_600))).await.is_none());
        for sleep in sleeps {
            sleep.await;
        }
        assert_eq!(last.get(), Duration::from_micros(49_990));
    });
}

//! The real disk behind the seam: what is written comes back, what is refused is refused with the name of the file.

use std::{
    future::Future,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Barrier},
    time::Duration,
};

use runtime::{BLOCK_BYTES, DirectDisk, Disk, DiskFile, Executor, Mesh, Open, Settings, Stop, run};

use crate::harness;

/// Runs `story` on an executor with the real disk and an empty directory on a disk (not in memory).
fn on_disk<F, Fut>(story: F)
where
    F: Fn(DirectDisk, PathBuf) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let _alone = harness::alone();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().to_owned();
    harness::ends(move || {
        run(Settings::default(), Stop::new(), move |here: Executor, _: Mesh<()>| {
            let (story, path) = (story.clone(), path.clone());
            async move {
                story(here.disk(), path).await;
                Ok(())
            }
        })
        .unwrap();
    });
}

#[test]
fn blocks_come_back_as_they_were_written() {
    on_disk(|disk, dir| async move {
        let path = dir.join("log");
        let file = disk.open(&path, Open::Create { bytes: 64 * 4096 }).await.unwrap();
        assert_eq!(file.len(), 64 * 4096);
        let untouched = file.read_at(0, 64 * 4096).await.unwrap();
        assert!(untouched.as_ref().iter().all(|byte| *byte == 0));
        for block in [0_usize, 3, 63] {
            let mut buf = disk.alloc(BLOCK_BYTES);
            assert!(buf.as_ref().iter().all(|byte| *byte == 0));
            buf.as_mut().fill(block as u8 + 1);
            file.write_at(buf, (block * BLOCK_BYTES) as u64).await.unwrap();
        }
        file.sync().await.unwrap();
        file.close().await.unwrap();

        let file = disk.open(&path, Open::Read).await.unwrap();
        assert_eq!(file.len(), 64 * 4096);
        for block in [0_usize, 1, 3, 63] {
            let buf = file.read_at((block * BLOCK_BYTES) as u64, BLOCK_BYTES).await.unwrap();
            let expected = if block == 1 { 0 } else { block as u8 + 1 };
            assert!(buf.as_ref().iter().all(|byte| *byte == expected));
        }
        let beyond = file.read_at(63 * 4096, 2 * 4096).await.err().unwrap();
        assert_eq!(beyond.kind(), ErrorKind::UnexpectedEof);
        let refused = file.write_at(disk.alloc(4096), 0).await.unwrap_err();
        assert_eq!(refused.raw_os_error().or(Some(9)), Some(9), "{refused}");
        file.close().await.unwrap();
    });
}

#[test]
fn a_buffer_that_was_read_can_be_changed_and_written() {
    on_disk(|disk, dir| async move {
        let file = disk.open(&dir.join("x"), Open::Create { bytes: 8192 }).await.unwrap();
        let mut buf = file.read_at(0, 4096).await.unwrap();
        buf.as_mut()[17] = 42;
        file.write_at(buf, 4096).await.unwrap();
        let unchanged = file.read_at(4096, 4096).await.unwrap();
        file.write_at(unchanged, 0).await.unwrap();
        for position in [0, 4096] {
            let buf = file.read_at(position, 4096).await.unwrap();
            assert_eq!(buf.as_ref()[17], 42);
            assert_eq!(buf.as_ref().iter().map(|byte| u32::from(*byte)).sum::<u32>(), 42);
        }
        file.close().await.unwrap();
    });
}

#[test]
fn many_writes_may_be_under_way_at_once_and_large_buffers_work() {
    on_disk(|disk, dir| async move {
        let bytes = 1 << 20;
        let file = disk.open(&dir.join("big"), Open::Create { bytes: 8 << 20 }).await.unwrap();
        let writes = (0..8_u8).map(|part| {
            let mut buf = disk.alloc(bytes);
            buf.as_mut().fill(part + 1);
            file.write_at(buf, u64::from(part) << 20)
        });
        let mut under_way: Vec<_> = writes.map(Box::pin).collect();
        // All are polled, so all are submitted, before any is waited for.
        for write in &mut under_way {
            let _ = futures_lite::future::poll_once(write.as_mut()).await;
        }
        for write in under_way {
            write.await.unwrap();
        }
        file.sync().await.unwrap();
        for part in 0..8_u8 {
            let buf = file.read_at(u64::from(part) << 20, bytes).await.unwrap();
            assert!(buf.as_ref().iter().all(|byte| *byte == part + 1));
        }
        file.close().await.unwrap();
    });
}

#[test]
fn names_are_created_renamed_listed_and_removed() {
    on_disk(|disk, dir| async move {
        let deep = dir.join("a/b/c");
        disk.create_dir_all(&deep).await.unwrap();
        disk.create_dir_all(&deep).await.unwrap();
        disk.write_file(&dir.join("meta.new"), b"one").await.unwrap();
        disk.write_file(&dir.join("meta.new"), b"three").await.unwrap();
        disk.rename(&dir.join("meta.new"), &dir.join("meta")).await.unwrap();
        disk.sync_dir(&dir).await.unwrap();
        assert_eq!(disk.read_file(&dir.join("meta")).await.unwrap(), b"three");
        let entries = disk.list(&dir).await.unwrap();
        let names: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.bytes, e.is_dir)).collect();
        assert_eq!(names, [("a", 0, true), ("meta", 5, false)]);
        disk.remove(&dir.join("meta")).await.unwrap();
        assert_eq!(disk.list(&dir).await.unwrap().len(), 1);
    });
}

#[test]
fn failures_name_the_file_and_keep_their_kind() {
    on_disk(|disk, dir| async move {
        let missing = dir.join("missing");
        let check = |error: std::io::Error| {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(error.to_string().contains("missing"), "{error}");
        };
        check(disk.open(&missing, Open::Read).await.err().unwrap());
        check(disk.open(&missing, Open::ReadWrite).await.err().unwrap());
        check(disk.list(&missing).await.unwrap_err());
        check(disk.remove(&missing).await.unwrap_err());
        check(disk.read_file(&missing).await.unwrap_err());
        check(disk.rename(&missing, &dir.join("other")).await.unwrap_err());
        let file = disk.open(&dir.join("taken"), Open::Create { bytes: 4096 }).await.unwrap();
        file.close().await.unwrap();
        let again = disk.open(&dir.join("taken"), Open::Create { bytes: 4096 }).await;
        assert_eq!(again.err().unwrap().kind(), ErrorKind::AlreadyExists);
        // More than any disk holds: refused, and nothing is left.
        let huge = disk.open(&dir.join("huge"), Open::Create { bytes: 1 << 60 }).await;
        assert!(huge.is_err());
        assert_eq!(disk.list(&dir).await.unwrap().len(), 1);
    });
}

/// The disk frees the blocks of a file without a name when its last handle goes, and takes its time for that (16 ms for
/// 90 MB where they are discarded): the executor must not wait for it, whoever lets go of the handle. With a name it can
/// be seen: then it waits for the threads that all blocking jobs have.
#[test]
fn the_last_handle_of_a_file_goes_on_another_thread() {
    let _alone = harness::alone();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("log");
    harness::ends(move || {
        run(Settings::default(), Stop::new(), move |here: Executor, _: Mesh<()>| {
            let path = path.clone();
            async move {
                let disk = here.disk();
                let file = disk.open(&path, Open::Create { bytes: 4096 }).await.unwrap();

                // Both threads are occupied until the test meets them.
                let (begin, end) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
                let jobs = [(); 2].map(|()| {
                    let (begin, end, here) = (Arc::clone(&begin), Arc::clone(&end), here.clone());
                    here.clone().spawn(async move {
                        let work = move || {
                            begin.wait();
                            end.wait();
                        };
                        here.blocking(work).await;
                    })
                });
                here.sleep(Duration::from_millis(1)).await;
                begin.wait();
                drop(file);
                assert!(is_open(&path), "closed by the executor");
                end.wait();
                while is_open(&path) {
                    here.sleep(Duration::from_millis(1)).await;
                }
                drop(jobs);
                Ok(())
            }
        })
        .unwrap();
    });
}

/// Whether this process has a handle of a file that had this name.
fn is_open(path: &Path) -> bool {
    let handles = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let mut names = handles.filter_map(|handle| std::fs::read_link(handle.path()).ok());
    names.any(|name| name == path)
}

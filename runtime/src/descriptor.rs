//! Descriptors of files on a disk, and how the blocks of removed files become free.
//!
//! The last handle of a file without a name frees its blocks. A disk that is told to discard them answers nothing else
//! meanwhile: a log that writes beside the removal of a gigabyte waited for up to 60 ms at a time. So no executor closes a
//! file itself, and what is large is freed piece by piece, by a thread of its own, with pauses for others in between.
//!
//! So room comes a second or two after the removal. What is on its way counts as free already, and who finds none waits
//! for it: a log that makes room must not remove a segment more than it needs to.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    rc::Rc,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{OFlags, fstat, ftruncate};

use crate::{disk::is_lack_of_room, pool::Pool};

/// Freed at once. A gigabyte takes a second or two with the pauses.
const PIECE_BYTES: u64 = 4 * 1024 * 1024;
/// Between two pieces.
const PAUSE: Duration = Duration::from_millis(4);
/// Somebody who lacks room waits for as long as this while other files are being freed.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
/// Of a block as stat(2) counts them.
const STAT_BLOCK_BYTES: u64 = 512;

/// Bytes on their way to be free, of all executors of this process.
static FREEING_BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes of removed files that are not free yet and will be soon. Whoever removes files until there is enough room counts
/// them as free.
pub(crate) fn freeing_bytes() -> u64 {
    FREEING_BYTES.load(Ordering::Relaxed)
}

/// The descriptor of a file on a disk, closed by another thread than the executor's.
pub(crate) struct Descriptor {
    /// `None` when it was taken to be closed.
    file: Option<OwnedFd>,
    pool: Rc<Pool>,
}

impl Descriptor {
    pub(crate) fn new(file: OwnedFd, pool: &Rc<Pool>) -> Descriptor {
        Descriptor { file: Some(file), pool: Rc::clone(pool) }
    }

    /// Closes it and waits for that, but not for blocks to become free.
    pub(crate) async fn close(mut self) {
        let pool = Rc::clone(&self.pool);
        if let Some(file) = self.take_named() {
            pool.run(move || drop(file)).await;
        }
    }

    /// Takes the file to be closed. One without a name is handed over to be freed.
    fn take_named(&mut self) -> Option<OwnedFd> {
        match Nameless::of(self.file.take()?) {
            Ok(nameless) => {
                self.pool.run_freeing(|ended| nameless.free(ended));
                None
            }
            Err(named) => Some(named),
        }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if let Some(file) = self.take_named() {
            self.pool.run_unwatched(move || drop(file));
        }
    }
}

/// Takes the name of a file away, on a thread for what blocks. Given back: the file, when nobody else has it open, so that
/// its last handle goes as that of any other file.
pub(crate) fn remove(path: &Path) -> io::Result<Option<OwnedFd>> {
    // What cannot be opened (a link, a file of somebody else) is freed as the kernel does it.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path);
    std::fs::remove_file(path)?;
    Ok(file.ok().map(OwnedFd::from).filter(is_only_handle))
}

/// A file that has no name any more.
struct Nameless {
    file: OwnedFd,
    /// Of its blocks; counted in [`FREEING_BYTES`].
    bytes: u64,
}

impl Nameless {
    /// Given back when it has a name.
    fn of(file: OwnedFd) -> Result<Nameless, OwnedFd> {
        match fstat(&file) {
            Ok(stat) if stat.st_nlink == 0 => {
                let bytes = u64::try_from(stat.st_blocks).unwrap_or(0) * STAT_BLOCK_BYTES;
                FREEING_BYTES.fetch_add(bytes, Ordering::Relaxed);
                Ok(Nameless { file, bytes })
            }
            _ => Err(file),
        }
    }

    /// Frees its blocks from the last one on, if no other handle needs them, and closes it. At the end of the executor
    /// all at once.
    fn free(mut self, ended: &AtomicBool) {
        if self.bytes > PIECE_BYTES && is_only_handle(&self.file) {
            // What goes wrong here is no worse than what closing does by itself.
            let _ = self.free_in_pieces(ended);
        }
        let Nameless { file, bytes } = self;
        drop(file);
        FREEING_BYTES.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn free_in_pieces(&mut self, ended: &AtomicBool) -> io::Result<()> {
        // The handle may be one for reading.
        let same = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let file = File::options().write(true).open(same)?;
        let mut left = file.metadata()?.len();
        while left > PIECE_BYTES && !ended.load(Ordering::Relaxed) {
            left -= PIECE_BYTES;
            ftruncate(&file, left)?;
            let free = PIECE_BYTES.min(self.bytes);
            self.bytes -= free;
            FREEING_BYTES.fetch_sub(free, Ordering::Relaxed);
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Does what needs room on the disk, on a thread for what blocks. Room that is on its way is waited for.
pub(crate) fn with_room<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let began = Instant::now();
    loop {
        match work() {
            Err(error) if is_lack_of_room(&error) => {
                if freeing_bytes() == 0 || began.elapsed() > ROOM_PATIENCE {
                    return Err(error);
                }
                thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

/// Whether nobody else has the file open, another process included: then the kernel grants a lease for writing.
fn is_only_handle(file: &OwnedFd) -> bool {
    let lease = |kind: libc::c_int| {
        // SAFETY: the descriptor is open while it is borrowed, and F_SETLEASE takes a number.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) == 0 }
    };
    lease(libc::F_WRLCK) && lease(libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 5 * PIECE_BYTES + 4096;

    /// A file without a name on a disk, and a second descriptor of the same handle that looks on.
    fn nameless() -> (Nameless, File) {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.set_len(BYTES).unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BYTES).unwrap();
        let watch = file.try_clone().unwrap();
        (Nameless::of(file.into()).unwrap_or_else(|_| panic!("it has a name")), watch)
    }

    fn bytes_of(file: &File) -> u64 {
        file.metadata().unwrap().len()
    }

    #[test]
    fn the_last_handle_is_freed_in_pieces_and_counts_as_free_until_it_is() {
        let (nameless, watch) = nameless();
        assert!(freeing_bytes() >= BYTES);
        let began = Instant::now();
        nameless.free(&AtomicBool::new(false));
        assert_eq!(bytes_of(&watch), 4096);
        assert!(began.elapsed() >= 5 * PAUSE);
    }

    #[test]
    fn a_file_that_is_open_elsewhere_keeps_its_bytes() {
        let (nameless, watch) = nameless();
        let elsewhere = File::open(format!("/proc/self/fd/{}", watch.as_raw_fd())).unwrap();
        nameless.free(&AtomicBool::new(false));
        assert_eq!(bytes_of(&elsewhere), BYTES);
    }

    #[test]
    fn the_end_does_not_wait_for_pauses() {
        let (nameless, watch) = nameless();
        nameless.free(&AtomicBool::new(true));
        assert_eq!(bytes_of(&watch), BYTES);
    }

    #[test]
    fn a_file_with_another_name_is_left_alone() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (name, other) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&name, b"kept").unwrap();
        std::fs::hard_link(&name, &other).unwrap();
        let file = remove(&name).unwrap().unwrap();
        assert!(Nameless::of(file).is_err());
        assert_eq!(std::fs::read(&other).unwrap(), b"kept");
        assert!(remove(&name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn who_lacks_room_waits_for_what_is_on_its_way() {
        FREEING_BYTES.fetch_add(1, Ordering::Relaxed);
        let mut tries = 0;
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        with_room(|| {
            tries += 1;
            if tries < 3 { Err(full()) } else { Ok(()) }
        })
        .unwrap();
        assert_eq!(tries, 3);
        FREEING_BYTES.fetch_sub(1, Ordering::Relaxed);
        let other = with_room(|| Err::<(), _>(io::ErrorKind::NotFound.into()));
        assert_eq!(other.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

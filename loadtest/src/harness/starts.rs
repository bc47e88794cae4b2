//! Virtual machines of Java start one after the other on each core, in all tests of this machine that share a target
//! directory. A dozen that start together take so long for their first steps that clients give up on brokers that answered
//! in a millisecond.

use std::{
    fs::{File, create_dir_all},
    num::NonZero,
    thread,
    time::Duration,
};

use super::program::cache_dir;

/// How often a free place is looked for.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// A place among those that start. It is free again when this value is dropped, and when the process ends.
pub(crate) struct Starting(#[expect(dead_code, reason = "the lock ends with its file")] File);

/// Waits for a place. Who has one gives it back before it waits for anything that others may need one for.
pub(crate) fn begin() -> Starting {
    let places = thread::available_parallelism().map_or(1, NonZero::get);
    let cache = cache_dir();
    create_dir_all(&cache).expect("the target directory is writable");
    let name = |place| cache.join(format!("start-{place}.lock"));
    let files: Vec<File> = (0..places)
        .map(|place| File::create(name(place)).expect("the target directory is writable"))
        .collect();
    loop {
        let free = files.iter().position(|file| file.try_lock().is_ok());
        if let Some(place) = free {
            return Starting(files.into_iter().nth(place).expect("one of them"));
        }
        thread::sleep(LOOK_PERIOD);
    }
}

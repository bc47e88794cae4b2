//! The recorder and the medium together: what a power cut may leave of calls whose promises are known.

use super::{
    medium::{Image, Medium},
    recorder::Recorder,
    tape::{Mark, Tape},
};
use fastrand::Rng;
use runtime::{
    BLOCK_BYTES, Disk, DiskFile, Open,
    sim::{SimDisk, Stepper, block_on},
};
use std::{collections::BTreeSet, future::Future, path::Path, rc::Rc};

const BLOCK: usize = BLOCK_BYTES;

type Recorded = Recorder<SimDisk>;

/// Records what `work` does on an empty disk, calls returning as they come.
fn recorded<F: Future<Output = ()> + 'static>(work: impl FnOnce(Recorded) -> F) -> Tape {
    let mut rng = Rng::with_seed(1);
    let below = SimDisk::new(1);
    block_on(below.create_dir_all(Path::new("/d"))).expect("no hang").expect("healthy");
    let disk = Recorder::new(below, Tape::new([].iter()), Mark::default(), None);
    let mut stepper = Stepper::new();
    let done = stepper.spawn("work", work(disk.clone()));
    while !done.is_ready() {
        let stepped = stepper.step(&mut rng);
        let returned = block_on(disk.finish_one(&mut rng)).expect("no hang");
        assert!(stepped || returned, "stuck");
    }
    disk.take_tape()
}

/// Images that power cuts leave at a moment.
fn images(tape: &Tape, moment: usize) -> Vec<Image> {
    let mut medium = Medium::new(&Image::new());
    medium.advance(&tape.moments, moment);
    (0..300).map(|seed| medium.after_cut(&mut Rng::with_seed(seed))).collect()
}

fn filled(disk: &Recorded, byte: u8, blocks: usize) -> <SimDisk as Disk>::Buf {
    let mut buf = disk.alloc(blocks * BLOCK);
    buf.as_mut().fill(byte);
    buf
}

/// Bytes of the only file, or `None` without a file.
fn content(image: &Image) -> Option<Rc<Vec<u8>>> {
    assert!(image.len() <= 1);
    image.values().next().cloned()
}

#[test]
fn what_was_synced_stays_and_the_rest_may_be_lost_kept_or_torn() {
    let tape = recorded(|disk| async move {
        let path = Path::new("/d/log");
        let bytes = 4 * BLOCK as u64;
        let file = disk.open(path, Open::Create { bytes }).await.expect("healthy");
        file.sync().await.expect("healthy");
        disk.sync_dir(Path::new("/d")).await.expect("healthy");
        file.write_at(filled(&disk, 1, 2), 0).await.expect("healthy");
        file.sync().await.expect("healthy");
        file.write_at(filled(&disk, 2, 2), BLOCK as u64).await.expect("healthy");
    });
    for image in images(&tape, tape.moments.len()) {
        let bytes = content(&image).expect("its name was synced");
        assert!(bytes.len() == 4 * BLOCK, "its length was synced");
        assert!(bytes[..BLOCK].iter().all(|byte| *byte == 1));
        assert!(bytes[BLOCK..2 * BLOCK].iter().all(|byte| *byte == 1 || *byte == 2));
        assert!(bytes[2 * BLOCK..3 * BLOCK].iter().all(|byte| *byte == 0 || *byte == 2));
        assert!(bytes[3 * BLOCK..].iter().all(|byte| *byte == 0));
    }
    let seen: BTreeSet<usize> = images(&tape, tape.moments.len())
        .iter()
        .map(|image| content(image).expect("there").iter().filter(|byte| **byte == 2).count())
        .collect();
    assert!(seen.contains(&0) && seen.contains(&(2 * BLOCK)) && seen.len() > 8, "{seen:?}");
}

#[test]
fn a_sync_counts_from_its_end_and_covers_what_had_ended_at_its_beginning() {
    let tape = recorded(|disk| async move {
        let path = Path::new("/d/log");
        let bytes = 2 * BLOCK as u64;
        let file = disk.open(path, Open::Create { bytes }).await.expect("healthy");
        file.sync().await.expect("healthy");
        disk.sync_dir(Path::new("/d")).await.expect("healthy");
        file.write_at(filled(&disk, 1, 1), 0).await.expect("healthy");
        file.sync().await.expect("healthy");
    });
    let end = tape.moments.len();
    let durable = |image: &Image| content(image).expect("there")[..BLOCK].iter().all(|b| *b == 1);
    assert!(images(&tape, end).iter().all(durable));
    assert!(!images(&tape, end - 1).iter().all(durable), "the sync had not returned");
    let mut late = tape;
    // The same sync, begun before the write had ended.
    let (sync, ended) = (end - 2, end - 3);
    late.moments.swap(sync, ended);
    for moment in [sync, ended] {
        if let super::tape::Moment::Ended { begun, .. } = &mut late.moments[moment] {
            assert_eq!(*begun, end - 4, "the write");
        }
    }
    if let super::tape::Moment::Ended { begun, .. } = &mut late.moments[end - 1] {
        *begun = ended;
    }
    assert!(!images(&late, end).iter().all(durable), "the write had not ended");
}

#[test]
fn a_name_is_there_for_sure_once_its_directory_is_synced() {
    let tape = recorded(|disk| async move {
        let file = disk.open(Path::new("/d/log"), Open::Create { bytes: BLOCK as u64 }).await;
        file.expect("healthy").sync().await.expect("healthy");
        disk.sync_dir(Path::new("/d")).await.expect("healthy");
    });
    let end = tape.moments.len();
    assert!(images(&tape, end).iter().all(|image| image.len() == 1));
    let before: BTreeSet<usize> = images(&tape, end - 1).iter().map(Image::len).collect();
    assert_eq!(before.into_iter().collect::<Vec<_>>(), [0, 1]);
    let born = images(&tape, 2);
    let lengths: BTreeSet<usize> = born.iter().flat_map(content).map(|bytes| bytes.len()).collect();
    assert!(lengths.contains(&0) && lengths.contains(&BLOCK), "{lengths:?}");
}

#[test]
fn a_file_that_is_replaced_has_the_old_content_or_the_new() {
    let (path, new, dir) = (Path::new("/d/fact"), Path::new("/d/fact.tmp"), Path::new("/d"));
    let tape = recorded(move |disk| async move {
        for content in [b"old".as_slice(), b"new!"] {
            disk.write_file(new, content).await.expect("healthy");
            disk.sync_dir(dir).await.expect("healthy");
            disk.rename(new, path).await.expect("healthy");
            disk.sync_dir(dir).await.expect("healthy");
        }
        disk.remove(path).await.expect("healthy");
    });
    // Each round has four calls of two moments.
    let (round, end) = (8, tape.moments.len());
    assert_eq!(end, 2 * round + 2);
    let contents = |moment| -> BTreeSet<Option<Vec<u8>>> {
        let found = images(&tape, moment);
        found.iter().map(|image| image.get(path).map(|bytes| bytes.to_vec())).collect()
    };
    let set = |all: &[Option<&[u8]>]| all.iter().map(|one| one.map(<[u8]>::to_vec)).collect();
    for moment in 0..round {
        let may_be: BTreeSet<_> = set(&[None, Some(b"old")]);
        assert!(contents(moment).is_subset(&may_be), "{moment}");
    }
    for moment in round..2 * round {
        let must_be: BTreeSet<_> = set(&[Some(b"old"), Some(b"new!")]);
        assert!(contents(moment).is_subset(&must_be), "{moment}: {:?}", contents(moment));
    }
    assert_eq!(contents(round), set(&[Some(b"old")]));
    assert_eq!(contents(2 * round), set(&[Some(b"new!")]));
    assert_eq!(contents(end), set(&[None, Some(b"new!")]));
}

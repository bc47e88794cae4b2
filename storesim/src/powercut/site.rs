//! The real directory that images are laid into: only the blocks that differ from what is there are written.
//!
//! All I/O is direct, through the same disk that the store boots on, so that no page cache stands between the two.

use super::medium::Image;
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open};
use std::{io, ops::Range, path::Path, rc::Rc};

/// The directory.
pub(super) struct Site<D: Disk> {
    disk: D,
    /// What it holds. Whoever lets a store run in it says what is there afterwards.
    pub(super) holds: Image,
}

impl<D: Disk> Site<D> {
    /// A site without files.
    pub(super) fn new(disk: D) -> Site<D> {
        Site { disk, holds: Image::new() }
    }

    /// The disk below.
    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    /// Makes the directory hold exactly `image`.
    pub(super) async fn place(&mut self, image: &Image) -> io::Result<()> {
        let held = std::mem::take(&mut self.holds);
        for path in held.keys().filter(|path| !image.contains_key(*path)) {
            self.disk.remove(path).await?;
        }
        for (path, bytes) in image {
            match held.get(path) {
                Some(old) if Rc::ptr_eq(old, bytes) => {}
                Some(old) if old.len() == bytes.len() && is_blocks(bytes) => {
                    let file = self.disk.open(path, Open::ReadWrite).await?;
                    self.write(file, Some(old), bytes).await?;
                }
                Some(_) => {
                    self.disk.remove(path).await?;
                    self.make(path, bytes).await?;
                }
                None => self.make(path, bytes).await?,
            }
        }
        self.holds = image.clone();
        Ok(())
    }

    async fn make(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(dir) = path.parent() {
            self.disk.create_dir_all(dir).await?;
        }
        if !is_blocks(bytes) {
            return self.disk.write_file(path, bytes).await;
        }
        let file = self.disk.open(path, Open::Create { bytes: bytes.len() as u64 }).await?;
        self.write(file, None, bytes).await
    }

    async fn write(&self, file: D::File, old: Option<&[u8]>, new: &[u8]) -> io::Result<()> {
        for run in runs(old, new) {
            let mut blocks = self.disk.alloc(run.len());
            blocks.as_mut().copy_from_slice(&new[run.clone()]);
            file.write_at(blocks, run.start as u64).await?;
        }
        file.close().await
    }
}

fn is_blocks(bytes: &[u8]) -> bool {
    bytes.len().is_multiple_of(BLOCK_BYTES)
}

/// Neighbouring blocks that differ from `old`, which is all zeros when it is not given.
fn runs(old: Option<&[u8]>, new: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, block) in new.chunks(BLOCK_BYTES).enumerate() {
        let at = index * BLOCK_BYTES;
        let same = match old {
            Some(old) => old[at..at + block.len()] == *block,
            None => block.iter().all(|byte| *byte == 0),
        };
        match runs.last_mut() {
            _ if same => {}
            Some(last) if last.end == at => last.end += block.len(),
            _ => runs.push(at..at + block.len()),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::{SimDisk, block_on};

    #[test]
    fn a_site_holds_what_was_placed_last() {
        let disk = SimDisk::new(1);
        let mut site = Site::new(disk.clone());
        let file = |fill: &[(usize, u8)], bytes: usize| {
            let mut content = vec![0; bytes];
            fill.iter().for_each(|(at, byte)| content[*at] = *byte);
            Rc::new(content)
        };
        let images = [
            vec![("/d/a", file(&[(0, 1), (9_000, 2)], 16_384)), ("/d/b", file(&[], 0))],
            vec![("/d/a", file(&[(9_000, 3)], 16_384)), ("/d/c", file(&[(7, 7)], 100))],
            vec![("/d/a", file(&[(4, 4)], 8_192))],
        ];
        for image in images {
            let image: Image =
                image.into_iter().map(|(path, bytes)| (path.into(), bytes)).collect();
            block_on(site.place(&image)).expect("no hang").expect("a healthy disk");
            let found: Image = disk
                .files()
                .into_iter()
                .map(|(path, _)| (path.clone(), Rc::new(disk.live_bytes(&path).expect("listed"))))
                .collect();
            assert!(found == image, "{:?}", found.keys());
        }
    }
}

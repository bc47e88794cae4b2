//! Checking all of an index file: every block, and that its sections agree with each other.
//!
//! Whether it agrees with the log is not looked at here: that takes the log.

use super::{block::SectionKind, error::IndexError, item::Row, open::Index};
use runtime::Disk;

impl<D: Disk> Index<D> {
    /// Reads everything. Errors: the disk's, or the first damage found: a block that fails its checksum; rows, entries
    /// or keys that are out of order or outside of what the file covers.
    pub async fn verify(&self) -> Result<(), IndexError> {
        self.check_head().await?;
        let rows = self.outline().await?.rows;
        self.verify_fences(&rows).await?;
        self.verify_entries(&rows).await?;
        self.verify_keys().await
    }

    async fn verify_fences(&self, rows: &[Row]) -> Result<(), IndexError> {
        let firsts = rows.chunks(SectionKind::Rows.per_block()).map(|rows| rows[0].number);
        let stored = self.read_fences().await?;
        if stored != self.fences() || !firsts.eq(stored) {
            return Err(self.damaged("its fences are not those of its rows".into()));
        }
        Ok(())
    }

    /// Messages of a queue lie in the log in the order of their queue offsets.
    async fn verify_entries(&self, rows: &[Row]) -> Result<(), IndexError> {
        let mut entries = self.all_entries();
        for row in rows {
            let mut last = 0;
            let mut left = row.count as usize;
            while left > 0 && entries.fill().await? {
                let rest = entries.rest();
                let part = &rest[..left.min(rest.len())];
                for entry in part {
                    if entry.position() < last {
                        let what = format!("entries of row {} are out of order", row.number);
                        return Err(self.damaged(what));
                    }
                    last = entry.position();
                }
                let seen = part.len();
                entries.consume(seen);
                left -= seen;
            }
            assert!(left == 0, "the outline counted the entries");
        }
        Ok(())
    }

    async fn verify_keys(&self) -> Result<(), IndexError> {
        let mut keys = self.all_keys();
        let mut last = None;
        while let Some(chunk) = keys.next_chunk().await? {
            if !chunk.is_sorted() || last > chunk.first().copied() {
                return Err(self.damaged("its keys are out of order".into()));
            }
            last = chunk.last().copied();
        }
        Ok(())
    }
}

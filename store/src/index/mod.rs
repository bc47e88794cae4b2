//! Index files: where the messages of one part of the log lie, by queue and by key.
//!
//! The log is the only truth; an index file spares a start and a reader the scan of it. It covers the positions
//! `[from, to)` of one segment: a *run* a part of it, written while the segment is still being filled so that memory
//! stays bounded, a *sealed index* all of it, merged from its runs ([`merge()`]). Both have one format. A file is
//! complete or not there: [`IndexWriter`] writes it under another name, syncs, and renames. [`Index`] reads it block
//! by block, each checked whenever it is read. What is damaged is reported, never guessed: the segment can be scanned.
//!
//! Absent on purpose: deciding when to write, to merge and to delete; the meaning of states.

mod block;
mod cache;
mod cursor;
mod error;
mod head;
mod item;
mod key;
mod merge;
mod name;
mod open;
mod outline;
mod search;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use self::{
    block::SectionKind,
    cache::BlockCache,
    cursor::{Cursor, Entries, Keys, Rows},
    error::IndexError,
    head::{Head, VERSION},
    item::{Item, Row},
    key::{Key, key_hash},
    merge::merge,
    name::{Named, named, run_path, sealed_path},
    open::Index,
    outline::{Outline, StateSection},
    write::IndexWriter,
};

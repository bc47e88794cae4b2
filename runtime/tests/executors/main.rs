//! Tests of real executors on real sockets and files. One program, because each links the whole executor library.

mod disk;
mod harness;
mod mesh;
mod probe;
mod process;
mod ring;
mod stalls;
mod tcp;

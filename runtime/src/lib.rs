//! The world that the rest of RingMQ runs in, in two versions: the real one on io_uring and a simulated one.
//!
//! This is the only room that names the executor library. See `ARCHITECTURE.md`, "runtime".

pub mod clock;
mod direct_disk;
pub mod disk;
pub mod durable_file;
mod executor;
mod guard;
mod mesh;
mod net;
mod probe;
mod settings;
mod signal;
pub mod sim;
mod stop;
mod turn;

pub use clock::Millis;
pub use direct_disk::{DirectBuf, DirectDisk, DirectFile};
pub use disk::{BLOCK_BYTES, Disk, DiskFile, Entry, Open, Usage};
pub use executor::{EXIT_SOFTWARE, Executor, RunError, Task, run};
pub use guard::guard_pokes;
pub use mesh::Lane;
pub use net::{CONNECT_TIMEOUT, Closer, Connection, Listener, Reader, Writer};
pub use probe::{ProbeError, ProbeReport, probe};
pub use settings::{LANE_MESSAGES_DEFAULT, MEMLOCK_BYTES_MIN, Preempt, Settings};
pub use signal::Signal;
pub use stop::{EXIT_INTERRUPTED, Stop};
pub use turn::{HOT_AFTER, SLEEPS_MAX};

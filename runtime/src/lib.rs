//! Operating system and executors as the rest of RingMQ sees them, in two versions: real on io_uring, and simulated.
//!
//! This is the only crate that names the executor library. See `ARCHITECTURE.md`, "runtime".

pub mod clock;
mod descriptor;
mod direct_buf;
mod direct_disk;
pub mod disk;
pub mod durable_file;
mod executor;
pub mod limits;
mod mesh;
mod net;
mod pool;
mod probe;
mod rate_limit;
mod reactor;
mod ring;
mod settings;
mod signal;
pub mod sim;
mod stop;

pub use clock::{Millis, Moment, Uptime};
pub use direct_disk::{DirectBuf, DirectDisk, DirectFile, DurableWrite, usage};
pub use disk::{BLOCK_BYTES, Disk, DiskFile, Entry, Open, Usage, is_lack_of_room, is_unreadable};
pub use executor::{EXIT_SOFTWARE, Executor, RunError, Task, run};
pub use limits::file_system_that_forgets;
pub use mesh::{Lane, Mesh, lanes_bytes};
pub use net::{CONNECT_TIMEOUT, Closer, Connection, Listener, Reader, Writer};
pub use probe::{ProbeError, ProbeReport, probe, probe_unwritten, probe_uring};
pub use rate_limit::RateLimit;
pub use reactor::TASK_BUDGET;
pub use ring::KernelFeatures;
pub use settings::{LANE_MESSAGES_DEFAULT, MEMLOCK_BYTES_MIN, Settings, SettingsError};
pub use signal::Signal;
pub use stop::{EXIT_INTERRUPTED, Stop, UserSignal, end_on_broken_pipe};

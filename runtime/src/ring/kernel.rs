//! Which of the kernel's newer ways an io_uring uses. Each is tried and does without where the kernel refuses it.

use std::{fmt, io};

use io_uring::IoUring;

/// Entries of the queue to the kernel. What does not fit goes with a system call of its own.
const SUBMISSIONS: u32 = 256;

/// Entries of the queue from the kernel. More than fit are kept by the kernel itself and come later.
const COMPLETIONS: u32 = 4_096;

/// Ways of an io_uring that Linux 5.8 does not have: those allowed in [`crate::Settings`], those in use in
/// [`crate::ProbeReport`]. Forbidding one is for tests of what happens without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelFeatures {
    /// Completions are handed over only when they are asked for, in one batch (DEFER_TASKRUN and SINGLE_ISSUER, 6.1).
    pub deferred: bool,
    /// Completions do not interrupt a running thread (COOP_TASKRUN, 5.19).
    pub cooperative: bool,
    /// A wait takes its time limit along (EXT_ARG, 5.11); without, the limit is an operation of its own.
    pub timed_wait: bool,
    /// A write and the sync that is linked to it complete once (CQE_SKIP, 5.17); without, they are handed over one after
    /// the other.
    pub chained: bool,
}

impl KernelFeatures {
    /// All that the kernel has.
    pub const ALL: KernelFeatures =
        KernelFeatures { deferred: true, cooperative: true, timed_wait: true, chained: true };
    /// What Linux 5.8 has.
    pub const OLDEST: KernelFeatures =
        KernelFeatures { deferred: false, cooperative: false, timed_wait: false, chained: false };
}

/// In the order of the fields, as one word each.
impl fmt::Display for KernelFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            (self.deferred, "DEFER_TASKRUN"),
            (self.cooperative, "COOP_TASKRUN"),
            (self.timed_wait, "EXT_ARG"),
            (self.chained, "CQE_SKIP"),
        ];
        let mut names = named.iter().filter(|(used, _)| *used).map(|(_, name)| *name);
        let Some(first) = names.next() else { return f.write_str("no newer features") };
        f.write_str(first)?;
        names.try_for_each(|name| write!(f, " {name}"))
    }
}

/// Makes an io_uring on the thread that will use it, with the most that is allowed and that this kernel takes.
pub(crate) fn build(allowed: KernelFeatures) -> io::Result<(IoUring, KernelFeatures)> {
    let tries = [
        KernelFeatures { deferred: true, cooperative: true, ..allowed },
        KernelFeatures { deferred: false, cooperative: true, ..allowed },
        KernelFeatures { deferred: false, cooperative: false, ..allowed },
    ];
    let is_allowed = |features: &KernelFeatures| {
        features.deferred <= allowed.deferred && features.cooperative <= allowed.cooperative
    };
    let mut refused = None;
    for features in tries.into_iter().filter(is_allowed) {
        match try_build(features) {
            Ok(uring) => {
                let timed_wait = allowed.timed_wait && uring.params().is_feature_ext_arg();
                let chained = allowed.chained && uring.params().is_feature_skip_cqe_on_success();
                return Ok((uring, KernelFeatures { timed_wait, chained, ..features }));
            }
            // EINVAL is how a kernel says that it does not know a flag.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

fn try_build(features: KernelFeatures) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.dontfork().setup_cqsize(COMPLETIONS);
    if features.cooperative {
        builder.setup_coop_taskrun().setup_taskrun_flag();
    }
    if features.deferred {
        builder.setup_single_issuer().setup_defer_taskrun();
    }
    builder.build(SUBMISSIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_told_by_the_kernels_names() {
        assert_eq!(KernelFeatures::ALL.to_string(), "DEFER_TASKRUN COOP_TASKRUN EXT_ARG CQE_SKIP");
        assert_eq!(KernelFeatures::OLDEST.to_string(), "no newer features");
    }

    #[test]
    fn a_ring_uses_no_more_than_is_allowed() {
        let (_, oldest) = build(KernelFeatures::OLDEST).unwrap();
        assert_eq!(oldest, KernelFeatures::OLDEST);
        let allowed = KernelFeatures { deferred: false, ..KernelFeatures::ALL };
        assert!(!build(allowed).unwrap().1.deferred);
    }
}

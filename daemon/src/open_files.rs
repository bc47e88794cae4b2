//! How many connections the limit of open files leaves room for.
//!
//! Both programs bound their connections below the limit at the start; who wants more than fit is told once, with the
//! figures and the remedy.

use crate::exit::{Cause, Fatal};

/// Connections without which a program serves nobody: clients, tools, brokers or name servers.
const CONNECTIONS_MIN: u64 = 16;

/// The connections to accept out of `wanted` under a limit of open files (`None`: no limit), beside `besides` others. Fewer than wanted is told in
/// the log, as a warning if that many were asked for; so few that nobody would be served is an error.
pub fn connections(
    wanted: u64,
    asked: bool,
    besides: u64,
    limit: Option<u64>,
) -> Result<u64, Fatal> {
    let Some(limit) = limit.filter(|limit| *limit < besides.saturating_add(wanted)) else {
        return Ok(wanted);
    };
    let remedy =
        "raise it with LimitNOFILE= of systemd, `ulimit -Hn` or --ulimit nofile of the container";
    let left = limit.saturating_sub(besides);
    if left < CONNECTIONS_MIN.min(wanted) {
        let least = besides + CONNECTIONS_MIN;
        return Err(Fatal::new(
            Cause::Machine,
            format!(
                "only {limit} files may be open, this program needs at least {least}: {remedy}"
            ),
        ));
    }
    if asked {
        tracing::warn!(
            connections_max = wanted,
            open_files_max = limit,
            other_files = besides,
            accepted_max = left,
            "fewer connections than connectionsMax are accepted, because too few files may be open: {remedy}, or lower \
             connectionsMax"
        );
    } else {
        tracing::info!(
            open_files_max = limit,
            other_files = besides,
            accepted_max = left,
            "the limit of open files limits connections; to accept more, {remedy}"
        );
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_other_files() {
        let besides = 168;
        assert_eq!(connections(50_000, true, besides, None), Ok(50_000));
        assert_eq!(connections(50_000, true, besides, Some(besides + 50_000)), Ok(50_000));
        assert_eq!(connections(50_000, true, besides, Some(1_024)), Ok(1_024 - 168));
        assert_eq!(connections(3, true, besides, Some(172)), Ok(3));
        let refused = connections(50_000, true, besides, Some(100)).unwrap_err();
        assert_eq!(refused.cause, Cause::Machine);
        assert!(
            refused
                .sentence
                .starts_with("only 100 files may be open, this program needs at least 184"),
            "{refused}"
        );
    }
}

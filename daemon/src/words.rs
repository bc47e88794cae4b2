//! Numbers in sentences for people.

/// A number of things: `1 shard`, `2 shards`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_one() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "shard")),
            ["0 shards", "1 shard", "2 shards"]
        );
    }
}

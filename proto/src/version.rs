//! Names of RocketMQ's versions, which travel as ordinals of Java's `MQVersion`.

/// Ordinal of `V3_0_0_BETA6_SNAPSHOT` and others that have no number of their own, then releases with a snapshot before each.
const NAMED: [&str; 16] = [
    "V3_0_0_SNAPSHOT",
    "V3_0_0_ALPHA1",
    "V3_0_0_BETA1",
    "V3_0_0_BETA2",
    "V3_0_0_BETA3",
    "V3_0_0_BETA4",
    "V3_0_0_BETA5",
    "V3_0_0_BETA6_SNAPSHOT",
    "V3_0_0_BETA6",
    "V3_0_0_BETA7_SNAPSHOT",
    "V3_0_0_BETA7",
    "V3_0_0_BETA8_SNAPSHOT",
    "V3_0_0_BETA8",
    "V3_0_0_BETA9_SNAPSHOT",
    "V3_0_0_BETA9",
    "V3_0_0_FINAL",
];

/// Minor lines of releases behind those, in order: major, minor, first and last patch.
const LINES_3: [(usize, usize, usize, usize); 10] = [
    (3, 0, 1, 15),
    (3, 1, 0, 9),
    (3, 2, 0, 9),
    (3, 3, 1, 9),
    (3, 4, 1, 9),
    (3, 5, 1, 9),
    (3, 6, 1, 9),
    (3, 7, 1, 9),
    (3, 8, 1, 9),
    (3, 9, 1, 9),
];

/// The name of a version, such as `V4_9_8` of 409. Those that are not known yet are `HIGHER_VERSION`, as in Java.
pub fn name(ordinal: i32) -> String {
    let Ok(ordinal) = usize::try_from(ordinal) else { return "HIGHER_VERSION".to_owned() };
    if let Some(named) = NAMED.get(ordinal) {
        return (*named).to_owned();
    }
    let mut left = ordinal - NAMED.len();
    let newer = (4..=5).flat_map(|major| (0..=9).map(move |minor| (major, minor, 0, 9)));
    for (major, minor, first, last) in LINES_3.into_iter().chain(newer) {
        let releases = last - first + 1;
        if left < 2 * releases {
            let snapshot = if left.is_multiple_of(2) { "_SNAPSHOT" } else { "" };
            return format!("V{major}_{minor}_{}{snapshot}", first + left / 2);
        }
        left -= 2 * releases;
    }
    "HIGHER_VERSION".to_owned()
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn ordinals_have_java_s_names() {
        let known = [
            (0, "V3_0_0_SNAPSHOT"),
            (15, "V3_0_0_FINAL"),
            (17, "V3_0_1"),
            (45, "V3_0_15"),
            (47, "V3_1_0"),
            (87, "V3_3_1"),
            (211, "V3_9_9"),
            (212, "V4_0_0_SNAPSHOT"),
            (407, "V4_9_7"),
            (409, "V4_9_8"),
            (479, "V5_3_3"),
            (611, "V5_9_9"),
            (612, "HIGHER_VERSION"),
            (-1, "HIGHER_VERSION"),
        ];
        for (ordinal, expected) in known {
            assert_eq!(name(ordinal), expected, "{ordinal}");
        }
    }
}

//! `mqbench compare`: several rounds of several runs, as JSON lines, become one table of medians.
//!
//! A run's label is `system/work`; lines of the table are systems, and within a work all systems stand together, so
//! that what was measured in the same minutes is read side by side.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::LoadError;

/// One measured run, as `mqbench send --json` printed it.
struct Run {
    system: String,
    work: String,
    figures: Value,
}

/// Reads JSON lines (blank lines and lines that start with `#` do not count) and formats the medians.
pub fn table(path: &str, text: &str) -> Result<String, LoadError> {
    let mut works: Vec<String> = Vec::new();
    let mut groups: BTreeMap<(usize, String), Vec<Value>> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason| LoadError::Results { path: path.to_string(), line: index + 1, reason };
        let run = read_run(line).map_err(wrong)?;
        let place = works.iter().position(|known| *known == run.work).unwrap_or_else(|| {
            works.push(run.work.clone());
            works.len() - 1
        });
        groups.entry((place, run.system)).or_default().push(run.figures);
    }
    let mut out = format!(
        "{:<16} {:<22} {:>6} {:>11} {:>13} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}\n",
        "work",
        "system",
        "rounds",
        "acked/s",
        "acked/cpu-s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "max us",
        "RSS MiB",
        "refused"
    );
    for ((work, system), runs) in &groups {
        let figure = |name| median(runs, name);
        let refused: f64 = runs.iter().map(refused_count).sum();
        let rss = figure("broker_resident_bytes") / f64::from(1 << 20);
        let _ = writeln!(
            out,
            "{:<16} {:<22} {:>6} {:>11.0} {:>13.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>8.0}",
            works[*work],
            system,
            runs.len(),
            figure("acked_per_second"),
            figure("acked_per_broker_cpu_second"),
            figure("p50_us"),
            figure("p99_us"),
            figure("p999_us"),
            figure("max_us"),
            rss,
            refused
        );
    }
    Ok(out)
}

fn read_run(line: &str) -> Result<Run, String> {
    let figures: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let label = figures.get("label").and_then(Value::as_str).ok_or("no label")?;
    let (system, work) = label.split_once('/').ok_or("the label is not system/work")?;
    Ok(Run { system: system.to_string(), work: work.to_string(), figures })
}

/// The middle value of one figure; of an even number the lower one. 0 when no run has it.
fn median(runs: &[Value], name: &str) -> f64 {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run.get(name)?.as_f64()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(0.0)
}

fn refused_count(run: &Value) -> f64 {
    let by_code = run.get("refused").and_then(Value::as_object);
    by_code.map_or(0.0, |codes| codes.values().filter_map(Value::as_f64).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_medians_grouped_by_work() {
        let text = "# a comment\n\
            {\"label\":\"java/1x1\",\"acked_per_second\":100.0,\"p50_us\":9}\n\
            {\"label\":\"ours/1x1\",\"acked_per_second\":300.0,\"refused\":{\"2\":5}}\n\
            {\"label\":\"java/4x64\",\"acked_per_second\":7.0}\n\
            {\"label\":\"java/1x1\",\"acked_per_second\":900.0,\"p50_us\":5}\n\
            {\"label\":\"java/1x1\",\"acked_per_second\":200.0,\"p50_us\":7}\n";
        let table = table("f", text).unwrap();
        let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(&lines[1][..6], ["1x1", "java", "3", "200", "0", "7"]);
        assert_eq!(&lines[2][..4], ["1x1", "ours", "1", "300"]);
        assert_eq!(lines[2].last(), Some(&"5"));
        assert_eq!(&lines[3][..4], ["4x64", "java", "1", "7"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = table("f.jsonl", "\n{\"label\":\"x\"}").unwrap_err().to_string();
        assert_eq!(error, "f.jsonl, line 2: the label is not system/work");
    }
}

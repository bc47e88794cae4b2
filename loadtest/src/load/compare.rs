//! `mqbench compare`: several rounds of several runs, as JSON lines, become one table of medians.
//!
//! A run's label is `system/work`; lines of the table are systems, and within a work all systems stand together, so
//! that what was measured in the same minutes is read side by side.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::LoadError;

/// What a run of each kind calls its messages per second, and per second of the broker's CPU time.
const RATES: [&str; 2] = ["acked_per_second", "messages_per_second"];
const CPU_RATES: [&str; 2] = ["acked_per_broker_cpu_second", "messages_per_broker_cpu_second"];

/// How many system calls the broker made for a message, where somebody counted them (`loadtest/compare/wakes.sh`).
const CALLS: &str = "calls_per_message";

/// One measured run, as `mqbench send`, `pull` or `pop` printed it with `--json`.
struct Run {
    system: String,
    work: String,
    figures: Value,
}

/// All rounds of each work and system.
struct Rounds {
    /// In the order in which they were measured first.
    works: Vec<String>,
    /// By place in `works` and system.
    runs: BTreeMap<(usize, String), Vec<Value>>,
}

impl Rounds {
    /// Reads JSON lines; blank lines and lines that start with `#` do not count.
    fn read(path: &str, text: &str) -> Result<Rounds, LoadError> {
        let mut rounds = Rounds { works: Vec::new(), runs: BTreeMap::new() };
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong =
                |reason| LoadError::Results { path: path.to_string(), line: index + 1, reason };
            let run = read_run(line).map_err(wrong)?;
            let known = rounds.works.iter().position(|known| *known == run.work);
            let place = known.unwrap_or_else(|| {
                rounds.works.push(run.work);
                rounds.works.len() - 1
            });
            rounds.runs.entry((place, run.system)).or_default().push(run.figures);
        }
        Ok(rounds)
    }
}

/// Formats the medians of the runs in `text`, which is the content of `path`.
pub fn table(path: &str, text: &str) -> Result<String, LoadError> {
    let rounds = Rounds::read(path, text)?;
    let mut out = format!(
        "{:<16} {:<22} {:>6} {:>11} {:>13} {:>9} {:>9} {:>9} {:>9} {:>7} {:>9} {:>9} {:>8}\n",
        "work",
        "system",
        "rounds",
        "messages/s",
        "per cpu-s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "max us",
        "core %",
        "calls/msg",
        "RSS MiB",
        "refused"
    );
    for ((work, system), runs) in &rounds.runs {
        let figure = |name| median_of(runs, &[name]);
        // The sum of nothing is minus zero and would be printed as such.
        let refused = runs.iter().map(refused_count).fold(0.0, |sum, count| sum + count);
        let rss = figure("broker_resident_bytes") / f64::from(1 << 20);
        let _ = writeln!(
            out,
            "{:<16} {:<22} {:>6} {:>11.0} {:>13.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>7} {:>9} {:>9.0} \
             {:>8.0}",
            rounds.works[*work],
            system,
            runs.len(),
            median_of(runs, &RATES),
            median_of(runs, &CPU_RATES),
            figure("p50_us"),
            figure("p99_us"),
            figure("p999_us"),
            figure("max_us"),
            median_text(runs.iter().filter_map(core_percent), 1),
            median_text(runs.iter().filter_map(|run| self::figure(run, &[CALLS])), 3),
            rss,
            refused
        );
    }
    Ok(out)
}

/// Formats what each system reached in comparison with `base`, round by round: the median of the rounds' ratios, and
/// the lowest and highest of them. Runs of the same round were measured one after the other, so a slow minute of the
/// machine is in both.
pub fn ratios(path: &str, text: &str, base: &str) -> Result<String, LoadError> {
    let rounds = Rounds::read(path, text)?;
    let mut out = format!(
        "{:<16} {:<22} {:>6}   {:<24} {:<24} {:<24}\n",
        "work", "system", "rounds", "messages/s", "per cpu-s", "p99"
    );
    for ((work, system), runs) in &rounds.runs {
        let Some(base_runs) = rounds.runs.get(&(*work, base.to_string())) else { continue };
        if system == base {
            continue;
        }
        let ratio = |names: &[&str]| {
            let pairs = runs.iter().zip(base_runs);
            let ratios =
                pairs.filter_map(|(run, base)| Some(figure(run, names)? / figure(base, names)?));
            let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
            let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let high = ratios.iter().copied().fold(0.0, f64::max);
            match ratios.is_empty() {
                true => "-".to_string(),
                false => format!("{:.3} ({low:.3} to {high:.3})", median(ratios)),
            }
        };
        let _ = writeln!(
            out,
            "{:<16} {:<22} {:>6}   {:<24} {:<24} {:<24}",
            rounds.works[*work],
            format!("{system} / {base}"),
            runs.len().min(base_runs.len()),
            ratio(&RATES),
            ratio(&CPU_RATES),
            ratio(&["p99_us"])
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

/// The first of `names` that the run has.
fn figure(run: &Value, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| run.get(name)?.as_f64())
}

/// The median of one figure. 0 when no run has it.
fn median_of(runs: &[Value], names: &[&str]) -> f64 {
    median(runs.iter().filter_map(|run| figure(run, names)).collect())
}

/// How much of one core the broker used: above 100 if it has more of them.
fn core_percent(run: &Value) -> Option<f64> {
    let seconds = figure(run, &["seconds"]).filter(|seconds| *seconds > 0.0)?;
    Some(figure(run, &["broker_cpu_seconds"])? / seconds * 100.0)
}

/// The median of values that not every run has, `-` when none has it.
fn median_text(values: impl Iterator<Item = f64>, decimals: usize) -> String {
    let values: Vec<f64> = values.collect();
    match values.is_empty() {
        true => "-".to_string(),
        false => format!("{:.decimals$}", median(values)),
    }
}

/// The middle value; of an even number the lower one, of none 0.
fn median(mut values: Vec<f64>) -> f64 {
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
        assert_eq!(lines[3].last(), Some(&"0"));
        assert_eq!(&lines[3][..4], ["4x64", "java", "1", "7"]);
    }

    #[test]
    fn the_share_of_a_core_and_calls_stand_there_when_somebody_measured_them() {
        let text = "{\"label\":\"a/1k\",\"seconds\":2.0,\"broker_cpu_seconds\":0.5,\"calls_per_message\":3.25}\n\
            {\"label\":\"a/1k\",\"seconds\":2.0,\"broker_cpu_seconds\":null,\"calls_per_message\":3.5}\n\
            {\"label\":\"a/1k\",\"seconds\":4.0,\"broker_cpu_seconds\":0.1}\n\
            {\"label\":\"a/1k\",\"seconds\":2.0,\"broker_cpu_seconds\":1.0,\"calls_per_message\":9}\n\
            {\"label\":\"b/1k\",\"seconds\":2.0,\"broker_cpu_seconds\":null}\n\
            {\"label\":\"c/1k\",\"broker_cpu_seconds\":1.0}\n";
        let table = table("f", text).unwrap();
        let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines[1][9..11], ["25.0", "3.500"], "{table}");
        assert_eq!(lines[2][9..11], ["-", "-"], "{table}");
        assert_eq!(lines[3][9..11], ["-", "-"], "{table}");
        let header = table.lines().next().unwrap();
        let end = |line: &str, word| line.find(word).map(|at| at + str::len(word));
        let line = table.lines().nth(1).unwrap();
        assert_eq!(end(header, "core %"), end(line, "25.0"), "{table}");
        assert_eq!(end(header, "calls/msg"), end(line, "3.500"), "{table}");
    }

    #[test]
    fn ratios_compare_the_runs_of_one_round() {
        let text = "{\"label\":\"old/pull\",\"messages_per_second\":100.0,\"p99_us\":10}\n\
            {\"label\":\"new/pull\",\"messages_per_second\":110.0,\"p99_us\":5}\n\
            {\"label\":\"old/pull\",\"messages_per_second\":50.0,\"p99_us\":10}\n\
            {\"label\":\"new/pull\",\"messages_per_second\":50.0,\"p99_us\":10}\n\
            {\"label\":\"old/pull\",\"messages_per_second\":10.0,\"p99_us\":10}\n\
            {\"label\":\"new/pull\",\"messages_per_second\":10.5,\"p99_us\":20}\n";
        let ratios = ratios("f", text, "old").unwrap();
        let line = ratios.lines().nth(1).unwrap();
        assert_eq!(ratios.lines().count(), 2, "{ratios}");
        assert!(line.contains("new / old"), "{line}");
        assert!(line.contains("1.050 (1.000 to 1.100)"), "{line}");
        assert!(line.contains("1.000 (0.500 to 2.000)"), "{line}");
        assert!(line.contains(" - "), "nobody measured CPU seconds: {line}");
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = table("f.jsonl", "\n{\"label\":\"x\"}").unwrap_err().to_string();
        assert_eq!(error, "f.jsonl, line 2: the label is not system/work");
    }
}

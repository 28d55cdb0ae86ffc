//! A measured line for `cargo xtask bench`, which reads it from what a test prints.

/// What was measured, ours, what it is compared with, and whether it is as good as promised.
pub(crate) fn figure(what: &str, ours: &str, against: &str, kept: Option<bool>) {
    let kept = kept.map_or("", |kept| if kept { "kept" } else { "broken" });
    // The first line of a test stands behind the test's own name.
    println!("\nFIGURE\t{what}\t{ours}\t{against}\t{kept}");
}

/// The mean of some times, in seconds.
pub(crate) fn mean(times: &[f64]) -> f64 {
    times.iter().sum::<f64>() / times.len() as f64
}

/// The most memory that this process ever had, as the kernel says it.
pub(crate) fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap().replace('\t', " ")
}

//! What it was measured on, as far as the system says.

use std::fs;
use std::thread;

/// Processor, operating system, build.
pub(crate) fn facts() -> String {
    let cpus = thread::available_parallelism().map_or(0, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| value(&text, "model name"));
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| value(&text, "MemTotal"));
    let build = if cfg!(debug_assertions) { "DEBUG BUILD: the figures mean nothing" } else { "release build" };
    format!(
        "{cpus} CPUs ({}), memory {}, {} {}, {build}. Load at the beginning: {}",
        model.as_deref().unwrap_or("unknown"),
        memory.as_deref().unwrap_or("unknown"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        load(),
    )
}

/// Processes that wanted a CPU, on average over one, five and fifteen minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    match text.split_whitespace().take(3).collect::<Vec<_>>() {
        three if three.is_empty() => "unknown".to_owned(),
        three => three.join(" "),
    }
}

fn value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

//! What the operating system says of this process: memory, time, descriptors (Linux).
//!
//! The names are those that Prometheus' own clients use, without our prefix, so that dashboards
//! made for any program show this one too. What can't be read is left out.
//!
//! Callers: `telemetry::metrics`, at a scrape.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::Kind;

/// One figure: its name (a counter's without `_total`), what it says, its kind and its value.
pub(super) struct Figure {
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) value: f64,
}

/// All that can be read.
pub(super) fn figures() -> Vec<Figure> {
    let gauge =
        |name, help, value: Option<f64>| value.map(|value| Figure { help, kind: Kind::Gauge, name, value });
    let stat = Stat::read();
    let memory = |key| kibibytes(&fs::read_to_string("/proc/self/status").ok()?, key);
    let cpu = stat.as_ref().map(|stat| Figure {
        help: "Total user and system CPU time spent in seconds",
        kind: Kind::Counter,
        name: "process_cpu_seconds",
        value: stat.cpu_seconds,
    });
    let started = stat.as_ref().and_then(|stat| Some(boot_time()? + stat.started_after_boot));
    // One of them is the one that it is read with.
    let descriptors = fs::read_dir("/proc/self/fd").ok().map(|all| all.count().saturating_sub(1) as f64);
    let allowed = getrlimit(Resource::Nofile).current.map(|allowed| allowed as f64);
    [
        cpu,
        gauge("process_max_fds", "Maximum number of open file descriptors", allowed),
        gauge("process_open_fds", "Number of open file descriptors", descriptors),
        gauge("process_resident_memory_bytes", "Resident memory size in bytes", memory("VmRSS:")),
        gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds", started),
        gauge("process_threads", "Number of threads", stat.as_ref().map(|stat| stat.threads)),
        gauge("process_virtual_memory_bytes", "Virtual memory size in bytes", memory("VmSize:")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Of `/proc/self/stat`.
struct Stat {
    cpu_seconds: f64,
    started_after_boot: f64,
    threads: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program is in brackets and may hold anything; the third field comes behind it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Some(Self {
            cpu_seconds: (number(14)? + number(15)?) / ticks,
            started_after_boot: number(22)? / ticks,
            threads: number(20)?,
        })
    }
}

fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn kibibytes(status: &str, key: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: f64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn this_process_is_described() {
        let figures = figures();
        let value = |name| figures.iter().find(|figure| figure.name == name).expect(name).value;
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_cpu_seconds") < 3600.0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age), "it started {age} s ago");
    }
}

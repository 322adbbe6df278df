//! What the machine grants this process.

use std::path::Path;

/// Where nothing can be found out.
const UNKNOWN: u64 = 4 << 30;

/// The memory that this process can have, in bytes: the machine's, or that of the control groups that hold it
/// if it is less.
pub(super) fn memory() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let total = read("/proc/meminfo").and_then(|text| total(&text)).unwrap_or(UNKNOWN);
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let granted = files(&groups).iter().filter_map(|path| read(path)?.trim().parse().ok()).min();
    total.min(granted.unwrap_or(u64::MAX))
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// The files that hold the limits of the groups in `/proc/self/cgroup` and of all that hold those; of the
/// first version, and of the second.
fn files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        for group in Path::new(path).ancestors() {
            let group = group.to_string_lossy();
            files.push(format!("{root}/{}/{file}", group.trim_matches('/')).replace("//", "/"));
        }
    }
    // Inside of a container the path may be one of outside, whose root is here.
    files.extend(
        ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].map(String::from),
    );
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_every_group_above_counts() {
        let two = files("0::/user.slice/app\n");
        assert_eq!(
            two[..3],
            [
                "/sys/fs/cgroup/user.slice/app/memory.max",
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        let one = files("9:cpu,cpuacct:/x\n5:memory:/jobs\nnonsense\n");
        assert_eq!(
            one[..2],
            [
                "/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(total("MemFree: 1 kB\nMemTotal:  2048 kB\n"), Some(2 << 20));
        assert_eq!(total("nothing"), None);
    }

    #[test]
    fn there_is_some() {
        assert!(memory() > 16 << 20);
    }
}

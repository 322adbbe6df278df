//! How much memory a child may use: a cgroup where one can be made, else a look every 50 ms.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often a child without a cgroup is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// The limit of one child. Dropped, its cgroup goes.
#[derive(Debug)]
pub(super) struct Fence {
    pid: u32,
    allowed: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The kernel ends it.
    Cgroup(Cgroup),
    /// We do; what it used when it was found beyond the limit.
    Watch(Option<u64>),
}

impl Fence {
    /// Puts a fence around a child that has just been started.
    pub(super) fn around(pid: u32, allowed: u64) -> Self {
        match Cgroup::with(pid, allowed) {
            Some(group) => Self { pid, allowed, kind: Kind::Cgroup(group) },
            None => Self::watching(pid, allowed),
        }
    }

    pub(super) fn watching(pid: u32, allowed: u64) -> Self {
        Self { pid, allowed, kind: Kind::Watch(None) }
    }

    /// Whether somebody has to look.
    pub(super) fn is_watched(&self) -> bool {
        matches!(self.kind, Kind::Watch(_))
    }

    /// Looks; `true` if the child has to be ended now.
    pub(super) fn is_crossed(&mut self) -> bool {
        let Kind::Watch(found @ None) = &mut self.kind else { return false };
        *found = resident(self.pid).filter(|used| *used > self.allowed);
        found.is_some()
    }

    /// Bytes used and allowed, if the child was ended for that.
    pub(super) fn verdict(&self) -> Option<(u64, u64)> {
        let used = match &self.kind {
            Kind::Cgroup(group) if group.has_killed() => Some(group.used().unwrap_or(self.allowed)),
            Kind::Cgroup(_) => None,
            Kind::Watch(found) => *found,
        };
        used.map(|used| (used, self.allowed))
    }
}

/// Bytes that a process has for itself. What it shares is not counted: objects lie there that others use.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(1024 * line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
}

/// A control group of one child, inside of ours.
#[derive(Debug)]
struct Cgroup {
    dir: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    fn with(pid: u32, allowed: u64) -> Option<Self> {
        let (own, is_v2) = own_group()?;
        let group = Self { dir: own.join(name(pid)), is_v2 };
        // One of that name was left behind by a driver that was killed, and is empty.
        fs::create_dir(&group.dir)
            .or_else(|_| fs::remove_dir(&group.dir).and_then(|()| fs::create_dir(&group.dir)))
            .ok()?;
        // Dropped on the way out, it goes.
        group.limit(pid, allowed).ok().map(|()| group)
    }

    fn limit(&self, pid: u32, allowed: u64) -> io::Result<()> {
        let (limit, swap, with_swap) = if self.is_v2 {
            ("memory.max", "memory.swap.max", 0)
        } else {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", allowed)
        };
        fs::write(self.dir.join(limit), allowed.to_string())?;
        // Not there where swap is not counted.
        let _ = fs::write(self.dir.join(swap), with_swap.to_string());
        fs::write(self.dir.join("cgroup.procs"), pid.to_string())
    }

    fn has_killed(&self) -> bool {
        let events = self.read(if self.is_v2 { "memory.events" } else { "memory.oom_control" });
        let killed =
            events.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("oom_kill "));
        killed.and_then(|count| count.trim().parse().ok()).is_some_and(|count: u64| count > 0)
    }

    fn used(&self) -> Option<u64> {
        self.read(if self.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" })?.trim().parse().ok()
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(file)).ok()
    }
}

impl Drop for Cgroup {
    /// What the child has started and left behind moves out first; it is not ours to end.
    fn drop(&mut self) {
        for _ in 0..20 {
            for pid in self.read("cgroup.procs").iter().flat_map(|pids| pids.lines()) {
                let _ = self.dir.parent().map(|own| fs::write(own.join("cgroup.procs"), pid));
            }
            match fs::remove_dir(&self.dir) {
                // A process that has just been reaped counts a moment longer.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    thread::sleep(Duration::from_millis(1));
                }
                _ => return,
            }
        }
        tracing::warn!(target: "mobula", "the cgroup {} is left behind", self.dir.display());
    }
}

fn name(pid: u32) -> String {
    format!("mobula-{pid}")
}

/// Where the group of a child is or was, if there are groups here.
#[cfg(test)]
pub(super) fn group_of_child(pid: u32) -> Option<PathBuf> {
    own_group().map(|(own, _)| own.join(name(pid)))
}

/// The memory group of this process, and whether it is one of version 2.
fn own_group() -> Option<(PathBuf, bool)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    group_of(&mounts, &groups).filter(|(dir, is_v2)| {
        let controllers = || fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        !is_v2 || controllers().split_whitespace().any(|controller| controller == "memory")
    })
}

fn group_of(mounts: &str, groups: &str) -> Option<(PathBuf, bool)> {
    let group = |is_ours: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            is_ours(controllers).then_some(path)
        })
    };
    let v1 = group(&|controllers| controllers.split(',').any(|controller| controller == "memory"));
    let (path, is_v2) = match v1 {
        Some(path) => (path, false),
        None => (group(&str::is_empty)?, true),
    };
    mounts.lines().find_map(|line| {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, mounted) = (place.next()?, place.next()?);
        let mut system = system.split(' ');
        let is_ours = match system.next()? {
            "cgroup2" => is_v2,
            "cgroup" => !is_v2 && system.nth(1)?.split(',').any(|option| option == "memory"),
            _ => false,
        };
        let below = Path::new(path).strip_prefix(root).ok()?;
        is_ours.then(|| (Path::new(mounted).join(below), is_v2))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_group_is_found_in_both_versions() {
        let v1 = "36 33 0:30 / /sys/fs/cgroup/memory rw,nosuid shared:15 - cgroup cgroup rw,memory\n\
                  37 33 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let v2 = "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let inside = "29 22 0:26 /pod/box /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let found =
            |mounts, groups| group_of(mounts, groups).map(|(dir, is_v2)| (dir.display().to_string(), is_v2));
        let in_v1 = Some(("/sys/fs/cgroup/memory/box".to_owned(), false));
        assert_eq!(found(v1, "5:devices:/\n4:memory:/box\n0::/\n"), in_v1);
        let in_v2 = Some(("/sys/fs/cgroup/user.slice".to_owned(), true));
        assert_eq!(found(v2, "0::/user.slice\n"), in_v2);
        assert_eq!(found(inside, "0::/pod/box\n"), Some(("/sys/fs/cgroup/".to_owned(), true)));
        assert_eq!(found(inside, "0::/elsewhere\n"), None);
        assert_eq!(found("nothing mounted", "0::/\n"), None);
        assert_eq!(found(v2, ""), None);
    }

    #[test]
    fn what_a_process_has_for_itself_is_known() {
        let own = resident(std::process::id()).expect("it lives");
        assert!((64 * 1024..64 << 30).contains(&own), "{own}");
        assert_eq!(resident(u32::MAX), None);
    }
}

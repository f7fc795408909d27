//! What the operating system says about this process: its memory and open files.

/// Resident bytes and open files; zeros where the system does not tell.
pub(crate) fn memory_and_files() -> (u64, u64) {
    (resident_bytes().unwrap_or(0), open_files().unwrap_or(0))
}

fn resident_bytes() -> Option<u64> {
    // Anywhere but on Linux there is no such file.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

fn open_files() -> Option<u64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_process_has_memory_and_files() {
        let (memory, files) = super::memory_and_files();
        assert!(memory > 1 << 20, "{memory}");
        assert!(files >= 3, "{files}");
    }
}

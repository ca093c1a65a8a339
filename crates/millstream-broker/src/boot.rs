//! Which boot of the machine this is.
//!
//! What was only in the page cache is there as long as the machine runs: files that note the boot in which they were written show
//! whether power may have been lost since.

/// The identity of the boot; empty where the system does not say.
pub(crate) fn boot() -> &'static str {
    static BOOT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    BOOT.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default()
    })
}

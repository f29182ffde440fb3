//! How glibc's allocator is set for this process; nothing on other systems, which have their own.
//!
//! A cycle allocates and frees hundreds of megabytes on several threads, and the store keeps small
//! pieces in between. With glibc's own settings each thread fills an arena of its own, and freed
//! buffers stay with the process: at 200 nodes a fifth more memory after twelve cycles, growing twice
//! as fast as what is kept.

/// Sets it. Call it before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt takes two numbers and touches nothing of ours")]
pub fn tune() {
    const ARENAS: libc::c_int = 2;
    /// Larger pieces are the system's again as soon as they are freed. A fixed bound: by itself glibc
    /// raises it to the largest piece that was ever freed, 32 MiB at most.
    const OWN_MAPPING: libc::c_int = 1 << 20;
    // An operator who says otherwise in the environment is right.
    let is_set = |name: &str| std::env::var_os(name).is_some() || std::env::var_os("GLIBC_TUNABLES").is_some();
    for (variable, parameter, value) in [
        ("MALLOC_ARENA_MAX", libc::M_ARENA_MAX, ARENAS),
        ("MALLOC_MMAP_THRESHOLD_", libc::M_MMAP_THRESHOLD, OWN_MAPPING),
        ("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, OWN_MAPPING),
    ] {
        if !is_set(variable) {
            // SAFETY: no pointers; any values are allowed, and wrong ones are refused. No other thread
            // allocates yet.
            unsafe { libc::mallopt(parameter, value) };
        }
    }
}

/// Sets nothing: this is not glibc.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn tune() {}

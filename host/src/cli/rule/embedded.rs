//! The SDK and the templates, as `build.rs` listed them.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

//! Real servers and the real program, started for one test and gone with it.
//!
//! A fixture that can't start fails its test and says which command helps; nothing is skipped, but
//! tests of tools that a machine may lack say so loudly.
//! The simulated cluster is not here: it is a program of its own.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fixture that can't start is a failed test"
)]

pub mod browser;
pub mod guests;
pub mod influxd;
pub mod kafka;
pub mod kubectl;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod router;
pub mod tools;
pub mod victoria;

//! From a file's bytes to a rule that can be instantiated in microseconds.
//!
//! Everything that can be refused by reading is refused before compiling. Precompiled artefacts
//! are never loaded: they are native code, and nobody can check them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::INTERFACE_VERSION;
use super::bindings::MillraceRulePre;
use super::clock::Clock;
use super::engine::RuleEngine;
use super::failures::Failures;
use super::host::HostState;
use super::inspect::{Form, form, inspect};
use super::tame;
use crate::taps::Taps;

/// Largest file, bytes.
pub const MAX_FILE_BYTES: usize = 32 << 20;

/// Why a file is no rule that this host can run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoadError {
    /// Over [`MAX_FILE_BYTES`].
    #[error("is larger than {} MiB; build it with `opt-level = \"s\"` and `strip = true`", MAX_FILE_BYTES >> 20)]
    TooLarge,
    /// Neither a component nor a core module.
    #[error("is no WebAssembly: {0}")]
    NotWasm(&'static str),
    /// Cut short, or damaged.
    #[error("is damaged at byte {offset}: {reason}; copy or build it again")]
    Broken {
        /// Where reading stopped, bytes.
        offset: u64,
        /// What the reader met there.
        reason: String,
    },
    /// It imports what no rule can have.
    #[error(
        "imports `{0}`; a rule can import millrace:rule/host@{INTERFACE_VERSION} only: no clock, files, \
         network or randomness (build for wasm32-unknown-unknown, not for WASI)"
    )]
    ForeignImport(String),
    /// Built for another version of the interface.
    #[error(
        "is built for version `{0}` of millrace:rule, this host runs {INTERFACE_VERSION}; \
         build it with the SDK of that version"
    )]
    OtherVersion(String),
    /// It exports no rule.
    #[error(
        "exports no `millrace:rule/rule@{INTERFACE_VERSION}`; end it with `register_rule!` and build it \
         as a `cdylib`"
    )]
    NoRule,
    /// More functions than may be compiled.
    #[error("has {0} functions, more than {1}")]
    TooManyFunctions(u64, u64),
    /// A function larger than may be compiled.
    #[error("has a function of {0} bytes, more than {1}; split it")]
    FunctionTooLarge(u64, u64),
    /// A core module whose description of its world is missing or wrong.
    #[error("can't be made a component: {0}; build it with the SDK, and keep its custom sections")]
    NotWrapped(String),
    /// It does not validate, or uses WebAssembly features that the host does not run.
    #[error("does not compile: {0}")]
    NotCompiled(String),
    /// It lacks a function of the interface, or imports one that the host does not have.
    #[error("does not fit millrace:rule@{INTERFACE_VERSION}: {0}")]
    NotLinked(String),
}

/// SHA-256 of a rule's module or component. A packed file's is that of what it unpacks to: packing it
/// otherwise makes it no other rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let mut digest = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A rule, compiled and linked: what instances are made from.
#[derive(Clone)]
pub struct CompiledRule {
    pub(super) pre: MillraceRulePre<HostState>,
    pub(super) clock: Arc<Clock>,
    taps: Arc<Taps>,
    /// Whether its engine counts instructions.
    pub(super) counts: bool,
    /// Where the failures of its rules are kept.
    pub(super) failures: Arc<Failures>,
    digest: Digest,
    size: usize,
    compile_time: Duration,
}

impl CompiledRule {
    /// Where its batches may be looked at.
    pub(super) fn taps(&self) -> &Taps {
        &self.taps
    }

    /// The digest of the file.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Length of the file, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// How long wrapping and compiling took.
    #[must_use]
    pub fn compile_time(&self) -> Duration {
        self.compile_time
    }
}

impl fmt::Debug for CompiledRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CompiledRule").field(&self.digest).finish()
    }
}

impl RuleEngine {
    /// Makes a rule of a file's bytes: a component, or the core module that
    /// `cargo build --target wasm32-unknown-unknown` writes. Takes tens of milliseconds of all
    /// cores for a small rule, seconds for a large one.
    ///
    /// # Errors
    /// [`LoadError`]; the text says what to do.
    pub fn load(&self, bytes: &[u8]) -> Result<CompiledRule, LoadError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(LoadError::TooLarge);
        }
        let form = form(bytes)?;
        inspect(bytes)?;
        let started = Instant::now();
        let pre = match form {
            Form::Component => self.compile(bytes)?,
            Form::Module => {
                let component = wrap(bytes)?;
                // The module's custom section can ask for more than the module itself does.
                inspect(&component)?;
                self.compile(&component)?
            }
        };
        let counts = self.counts();
        Ok(CompiledRule {
            pre,
            clock: self.clock(),
            taps: Arc::clone(self.taps()),
            counts,
            failures: self.failures(),
            digest: Digest::of(bytes),
            size: bytes.len(),
            compile_time: started.elapsed(),
        })
    }

    fn compile(&self, component: &[u8]) -> Result<MillraceRulePre<HostState>, LoadError> {
        let text = |error: &wasmtime::Error| tame(&format!("{error:#}"), 1000);
        let component = guarded(|| Component::from_binary(self.wasmtime(), component))
            .map_err(LoadError::NotCompiled)?
            .map_err(|error| LoadError::NotCompiled(text(&error)))?;
        self.linker()
            .instantiate_pre(&component)
            .and_then(MillraceRulePre::new)
            .map_err(|error| LoadError::NotLinked(text(&error)))
    }
}

/// Makes a component of a core module that carries its world.
///
/// # Errors
/// [`LoadError::NotWrapped`].
pub(crate) fn wrap(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    guarded(|| wit_component::ComponentEncoder::default().module(module)?.validate(true).encode())
        .map_err(LoadError::NotWrapped)?
        .map_err(|error| LoadError::NotWrapped(tame(&format!("{error:#}"), 1000)))
}

/// Runs a tool of others on a file of others. They answer errors, but a file that makes one panic
/// must not end the process.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        tame(message.unwrap_or("the tool gave up on it"), 1000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_what_it_writes() {
        let digest = Digest::of(b"abc");
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::parse(text), Some(digest));
        for wrong in ["", "sha256:", "sha256:00", "md5:00", &text.replace('b', "g")] {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_tool_that_panics_is_an_error() {
        assert_eq!(guarded(|| 1), Ok(1));
        assert_eq!(guarded(|| panic!("no {}", 1)), Err::<(), _>("no 1".to_owned()));
    }
}

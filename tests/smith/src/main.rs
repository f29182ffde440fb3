//! Writes `tests/fixtures/smith`: modules that wasm-smith makes up, with the functions, memory and imports of a rule and
//! anything at all in them. The same at every run with one version of wasm-smith; the test `hostile` runs them.
//!
//! `cargo run --release`, in this folder.

use std::fs;
use std::path::Path;

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

const MODULES: u64 = 160;

/// What each module has; what is in its functions is made up.
const SHAPE: &str = r#"(module
  (import "millrace:rule/host@0.1.0" "log" (func (param i32 i32 i32)))
  (import "millrace:rule/host@0.1.0" "count" (func (param i32 i32 i64)))
  (memory (export "memory") 128 512)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "millrace:rule/rule@0.1.0#describe") (result i32) unreachable)
  (func (export "millrace:rule/rule@0.1.0#configure") (param i32 i32) (result i32) unreachable)
  (func (export "millrace:rule/rule@0.1.0#process") (param i32) (result i32) unreachable)
  (func (export "millrace:rule/rule@0.1.0#finish") (param i64 i64 i64 i32 i32) (result i32) unreachable))"#;

fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/smith");
    fs::create_dir_all(&folder)?;
    let shape = wat::parse_str(SHAPE)?;
    for seed in 0..MODULES {
        fs::write(folder.join(format!("{seed:03}.wasm")), module(seed, shape.clone())?)?;
    }
    Ok(())
}

fn module(seed: u64, shape: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    // Where the bytes run out the rest is zeros: short ones give modules that get further, long ones odder ones.
    let bytes = bytes(seed, 64 << (seed % 6));
    let config = Config {
        module_shape: Some(shape),
        // The host validates without these, as every rule's compiler does.
        threads_enabled: false,
        memory64_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        relaxed_simd_enabled: false,
        max_instructions: [4, 20, 100, 400][(seed / 6 % 4) as usize],
        allow_start_export: seed % 3 == 0,
        ..Config::default()
    };
    Ok(Module::new(config, &mut Unstructured::new(&bytes))?.to_bytes())
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

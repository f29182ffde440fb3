//! Writes `tests/fixtures/smith`: modules that wasm-smith makes up, with the functions, memory and imports of a rule and
//! anything at all in them. The same at every run with one version of wasm-smith; the test `hostile` runs them.
//!
//! `cargo run --release`, in this folder.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use arbitrary::Unstructured;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{CodeSection, Function, MemArg, ValType};
use wasm_smith::{Config, Module};
use wasmparser::{ExternalKind, FunctionBody, Parser, Payload};

const MODULES: u64 = 160;
/// Functions that the shape imports.
const IMPORTS: u32 = 2;

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
        let mut module = module(seed, shape.clone())?;
        if seed % 4 > 0 {
            // What is made up mostly fails at once; these come as far as `process`.
            module = made_to_start(&module)?;
        }
        fs::write(folder.join(format!("{seed:03}.wasm")), module)?;
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
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        max_instructions: [4, 20, 100, 400][(seed / 6 % 4) as usize],
        allow_start_export: seed % 4 == 0,
        // Half of those that start do nothing that traps.
        disallow_traps: seed % 4 == 2 || seed % 8 == 3,
        max_data_segments: if seed % 4 == 0 { 10 } else { 0 },
        ..Config::default()
    };
    Ok(Module::new(config, &mut Unstructured::new(&bytes))?.to_bytes())
}

/// Puts a good allocator, `describe` and `configure` in the place of those that are made up.
fn made_to_start(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut replacing = Replacing::default();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ExportSection(exports) = payload? else { continue };
        for export in exports {
            let export = export?;
            if export.kind == ExternalKind::Func {
                let at = export.index.checked_sub(IMPORTS).context("a function of its own")?;
                replacing.bodies.extend(good(export.name).map(|body| (at, body)));
            }
        }
    }
    let mut out = wasm_encoder::Module::new();
    replacing.parse_core_module(&mut out, Parser::new(0), module)?;
    Ok(out.finish())
}

fn good(name: &str) -> Option<Function> {
    let mut body = match name {
        "cabi_realloc" => allocator(),
        "millrace:rule/rule@0.1.0#describe" | "millrace:rule/rule@0.1.0#configure" => {
            let mut body = Function::new([]);
            body.instructions().i32_const(0);
            body
        }
        _ => return None,
    };
    body.instructions().end();
    Some(body)
}

/// Hands out memory from the second mebibyte on. Where it is stands in memory: who writes there has what he wanted.
fn allocator() -> Function {
    const NEXT: i32 = 64;
    let next = MemArg { offset: 0, align: 2, memory_index: 0 };
    let (align, size, at) = (2, 3, 4);
    let mut body = Function::new([(1, ValType::I32)]);
    body.instructions()
        .i32_const(NEXT)
        .i32_load(next)
        .i32_const(1 << 20)
        .i32_or()
        .local_get(align)
        .i32_add()
        .i32_const(1)
        .i32_sub()
        .i32_const(0)
        .local_get(align)
        .i32_sub()
        .i32_and()
        .local_set(at)
        .i32_const(NEXT)
        .local_get(at)
        .local_get(size)
        .i32_add()
        .i32_store(next)
        .local_get(at);
    body
}

/// Writes a module again with other bodies for some of its functions, by their number among its own.
#[derive(Default)]
struct Replacing {
    at: u32,
    bodies: HashMap<u32, Function>,
}

impl Reencode for Replacing {
    type Error = Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        let at = self.at;
        self.at += 1;
        match self.bodies.get(&at) {
            Some(body) => {
                code.function(body);
                Ok(())
            }
            None => reencode::utils::parse_function_body(self, code, body),
        }
    }
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

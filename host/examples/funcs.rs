fn main() {
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true);
    config
        .wasm_component_model(true)
        .max_wasm_stack(512 << 10)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false);
    let engine = wasmtime::Engine::new(&config).unwrap();
    let bytes = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    let module = wasmtime::Module::new(&engine, &bytes).unwrap();
    for f in module.functions() {
        println!("{} {} {}", f.offset, f.len, f.name.unwrap_or_default());
    }
}

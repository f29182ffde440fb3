//! The contract as generated from `wit/rule.wit`. Rules need nothing of this; the macro and the
//! benches do.

/// The generated code.
#[allow(missing_docs, unsafe_code, clippy::all, clippy::pedantic, unused_qualifications, rust_2018_idioms)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "millrace-rule",
        pub_export_macro: true,
        generate_all,
    });
}

pub use bindings::export;
pub use bindings::exports::millrace::rule::rule::{
    Batch, Cycle, Description, Edit, Entities, Error, Guest, LabelSets, Metrics, Origin, Points, Symbols,
};
pub use bindings::millrace::rule::host;

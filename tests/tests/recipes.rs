//! The recipes of `docs/RULES.md` for rules that come with Millrace, as they stand there: the settings and
//! the case under them, through the real runtime. Those in Rust are doc tests of this package.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use millrace_tests::fixtures::process::{self, Process, binary};

const BOOK: &str = include_str!("../../docs/RULES.md");
const DEADLINE: Duration = Duration::from_secs(60);

/// The TOML blocks of the book: the comment on top, and what follows.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let blocks = BOOK.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest));
    blocks.map(|block| block.strip_prefix("# ").unwrap().split_once('\n').unwrap()).collect()
}

#[test]
fn rules_that_come_with_millrace_do_what_the_book_says() {
    let blocks = blocks();
    let recipes: Vec<_> = blocks.chunks_exact(2).collect();
    assert_eq!((recipes.len(), blocks.len()), (6, 12), "settings, and a case under each");
    for recipe in recipes {
        let [(file, settings), (kind, case)] = recipe else { panic!("{recipe:?}") };
        assert_eq!(*kind, "case", "{file}");
        let name = file.strip_suffix(".toml").and_then(|slot| slot.split_once('-')).unwrap().1;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("recipe.toml"), format!("{settings}\n{case}")).unwrap();
        let mut command = Command::new(binary("millrace", "millrace"));
        command.args(["rule", "test"]).arg(process::rule(format!("rules-examples/{name}.wasm")));
        let outcome = Process::start("millrace", {
            command.arg("--cases").arg(dir.path());
            command
        })
        .wait(DEADLINE);
        assert_eq!(outcome.code(), Some(0), "{file}: {}{}", outcome.stdout, outcome.stderr);
    }
}

#[test]
fn the_book_has_ten_recipes() {
    let numbered = (1..).take_while(|number| BOOK.contains(&format!("\n### {number}. "))).count();
    assert_eq!((numbered, BOOK.matches("```rust\n").count()), (10, 4));
}

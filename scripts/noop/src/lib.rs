//! Changes nothing. What it costs is what crossing into Wasm costs; the benches use it.

use millrace_sdk::NoSettings;
use millrace_sdk::prelude::*;

/// The rule.
pub struct Noop;

impl Rule for Noop {
    type Settings = NoSettings;

    fn configure(_: NoSettings) -> Result<Self, Refusal> {
        Ok(Self)
    }
}

millrace_sdk::register_rule!(Noop);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes() {
        let batch =
            millrace_sdk::testing::batch("n").entity(Level::Node, &[("nodename", "n")]).int("cpu/usage", 1).build();
        let rows = millrace_sdk::testing::process(&mut Noop, &batch);
        assert_eq!(rows, Ok(vec!["node {nodename=n} cpu/usage = 1".to_owned()]));
    }
}

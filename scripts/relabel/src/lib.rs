//! Rewrites labels and drops entities as Prometheus does by `relabel_config`.
//!
//! `[[settings.steps]]`, one table a step, carried out in order on the labels of every entity:
//!
//! | setting | default | |
//! |---|---|---|
//! | `action` | `replace` | see below |
//! | `source-labels` | none | their values, joined by `separator`, are what the step looks at; one that is missing is empty |
//! | `separator` | `;` | |
//! | `regex` | `(.*)` | has to match the whole value; `.` matches a line's end too, as in Prometheus 3 |
//! | `target-label` | | the label to write; in `replace` with `$1`, `${1}`, `${name}` for what groups matched |
//! | `replacement` | `$1` | what to write, with the same |
//! | `modulus` | | for `hashmod` |
//! | `levels` | all | the entities this step is for |
//!
//! | action | |
//! |---|---|
//! | `replace` | writes `replacement` to `target-label` if `regex` matches |
//! | `keep`, `drop` | drops entities whose value does not match, or does |
//! | `keepequal`, `dropequal` | drops entities whose value is not that of `target-label`, or is |
//! | `hashmod` | writes the value's MD5 hash (its last 8 bytes) modulo `modulus` to `target-label` |
//! | `labelmap` | copies every label whose *name* matches `regex` to the name that `replacement` gives |
//! | `labeldrop`, `labelkeep` | removes the labels whose *name* matches `regex`, or does not |
//! | `lowercase`, `uppercase` | writes the value so to `target-label` |
//!
//! As in Prometheus, writing an empty value removes the label, and every text is a name of a label. The keys
//! may be spelt with `_`. Labels that begin with `__` are facts for rules and reach no sink: the pods' own
//! labels are `__label_NAME`. Points stay with their entity; for metrics there is the rule `keep-metrics`.
//!
//! An entity without a label has it empty: a `keep` by `namespace_name` drops nodes as well, unless
//! `levels = ["pod", "container"]` says otherwise. `labelkeep` and `labeldrop` take all labels into
//! account, those that begin with `__` too, and before `heapster` (50) it needs many of them.
//!
//! Differences: the regular expressions know no Unicode classes such as `\pL` and no `\Q…\E` (the
//! step is refused then); a malformed `$` in a `target-label` is refused where Prometheus finds nothing
//! to write to; a value over 16 KiB and labels past 250 changes to one entity are not written and
//! counted as `changes_refused`.
//!
//! ```toml
//! [[settings.steps]]
//! action = "labelmap"
//! regex = "__label_(app|team)"
//!
//! [[settings.steps]]
//! action = "drop"
//! source-labels = ["namespace_name", "team"]
//! regex = "dev-.*;blue"
//! ```

mod labels;
mod md5;
mod settings;
mod step;
mod template;

use millrace_sdk::host;
use millrace_sdk::prelude::*;

use labels::Labels;
pub use settings::Settings;
use step::Step;

/// The rule.
pub struct Relabel {
    steps: Vec<Step>,
}

impl Rule for Relabel {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = settings::SCHEMA;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        Ok(Self { steps: settings.check()? })
    }

    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        let mut refused = 0;
        let mut joined = String::new();
        for entity in batch.all() {
            let level = entity.level();
            let mut labels = Labels::of(batch, entity);
            let steps = self.steps.iter_mut().filter(|step| step.is_for(level));
            let mut kept = true;
            for step in steps {
                kept = step.apply(&mut labels, &mut joined);
                if !kept {
                    break;
                }
            }
            if kept {
                labels.write(entity, edit);
                refused += labels.refused;
            } else {
                edit.drop_entity(entity);
            }
        }
        if refused > 0 {
            host::count("changes_refused", refused);
        }
        Ok(())
    }
}

millrace_sdk::register_rule!(Relabel);

#[cfg(test)]
mod tests;

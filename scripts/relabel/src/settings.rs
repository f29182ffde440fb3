//! The settings, checked as Prometheus checks them.

use millrace_sdk::{Level, Refusal};
use regex_lite::{Regex, RegexBuilder};

use crate::step::{Action, Memory, Step};
use crate::template::Template;

/// For operators; the host shows it.
pub const SCHEMA: &str = r#"{"type":"object","required":["steps"],"additionalProperties":false,"properties":{
"steps":{"type":"array","items":{"type":"object","additionalProperties":false,"properties":{
"action":{"default":"replace","enum":["replace","keep","drop","keepequal","dropequal","hashmod","labelmap","labeldrop","labelkeep","lowercase","uppercase"]},
"source-labels":{"type":"array","items":{"type":"string"}},"separator":{"type":"string","default":";"},
"regex":{"type":"string","default":"(.*)"},"target-label":{"type":"string"},"replacement":{"type":"string","default":"$1"},
"modulus":{"type":"integer","minimum":1},
"levels":{"type":"array","items":{"enum":["cluster","node","namespace","pod","container","system-container","other"]}}}}}}}"#;

/// Room for one compiled expression, bytes.
const REGEX_BYTES: usize = 1 << 20;
/// A step costs every entity time.
const MOST_STEPS: usize = 200;

/// `[settings]` of the rule.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    steps: Vec<RawStep>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawStep {
    #[serde(default)]
    action: RawAction,
    #[serde(default, alias = "source_labels")]
    source_labels: Vec<String>,
    separator: Option<String>,
    regex: Option<String>,
    #[serde(default, alias = "target_label")]
    target_label: String,
    replacement: Option<String>,
    modulus: Option<u64>,
    levels: Option<Vec<Level>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawAction {
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Settings {
    /// The steps, or what is wrong with the first that makes no sense.
    pub fn check(self) -> Result<Vec<Step>, Refusal> {
        if self.steps.is_empty() {
            return Err("`steps` is empty; write a `[[settings.steps]]`, or remove the rule".into());
        }
        if self.steps.len() > MOST_STEPS {
            return Err(format!("`steps` holds {} steps; use at most {MOST_STEPS}", self.steps.len()).into());
        }
        let step = |(at, raw): (usize, RawStep)| {
            raw.check().map_err(|(key, reason)| format!("`steps[{at}].{key}` {reason}").into())
        };
        self.steps.into_iter().enumerate().map(step).collect()
    }
}

/// The key, and what is wrong with it.
type Wrong = (&'static str, String);

impl RawStep {
    fn check(self) -> Result<Step, Wrong> {
        use RawAction as A;
        if self.source_labels.iter().any(|label| label == "__name__") {
            let reason =
                "holds `__name__`, but a metric's name is no label here; the rule keep-metrics chooses metrics";
            return Err(("source-labels", reason.to_owned()));
        }
        if self.levels.as_ref().is_some_and(Vec::is_empty) {
            return Err(("levels", "is empty; name levels, or leave it out for all".to_owned()));
        }
        self.unused()?;
        let target = Template::parse(&self.target_label);
        let replacement = Template::parse(self.replacement.as_deref().unwrap_or("$1"));
        let action = match self.action {
            A::Keep => Action::Drop(false, self.regex()?, Memory::default()),
            A::Drop => Action::Drop(true, self.regex()?, Memory::default()),
            A::KeepEqual => Action::DropEqual(false, self.target()?),
            A::DropEqual => Action::DropEqual(true, self.target()?),
            A::Replace => {
                if self.target_label.is_empty() || target.malformed {
                    return Err(("target-label", wrong_target(&self.target_label)));
                }
                Action::Replace { regex: self.regex()?, target, replacement, known: Memory::default() }
            }
            A::HashMod => match self.modulus {
                None | Some(0) => return Err(("modulus", "is missing or 0; `hashmod` needs at least 1".to_owned())),
                Some(modulus) => Action::HashMod(self.target()?.into(), modulus),
            },
            A::Lowercase => Action::Case(false, self.target()?.into()),
            A::Uppercase => Action::Case(true, self.target()?.into()),
            A::LabelMap if replacement.malformed || self.replacement.as_deref() == Some("") => {
                return Err(("replacement", wrong_target(self.replacement.as_deref().unwrap_or(""))));
            }
            A::LabelMap => Action::LabelMap { regex: self.regex()?, replacement, known: Memory::default() },
            A::LabelDrop => Action::LabelDrop(true, self.regex()?, Memory::default()),
            A::LabelKeep => Action::LabelDrop(false, self.regex()?, Memory::default()),
        };
        let separator = self.separator.unwrap_or_else(|| ";".to_owned());
        Ok(Step { action, source: self.source_labels, separator, levels: self.levels })
    }

    /// Refuses what the action would ignore, wherever Prometheus refuses it.
    fn unused(&self) -> Result<(), Wrong> {
        use RawAction as A;
        let by_name = matches!(self.action, A::LabelDrop | A::LabelKeep);
        let equal = matches!(self.action, A::KeepEqual | A::DropEqual);
        let case = matches!(self.action, A::Lowercase | A::Uppercase);
        for (key, given, forbidden) in [
            ("source-labels", !self.source_labels.is_empty(), by_name),
            ("target-label", !self.target_label.is_empty(), by_name),
            ("separator", self.separator.is_some(), by_name || equal),
            ("replacement", self.replacement.is_some(), by_name || equal || case),
            ("modulus", self.modulus.is_some(), by_name || equal),
            ("regex", self.regex.is_some(), equal),
        ] {
            if given && forbidden {
                return Err((key, "has no meaning for this action; leave it out".to_owned()));
            }
        }
        Ok(())
    }

    fn regex(&self) -> Result<Regex, Wrong> {
        let regex = self.regex.as_deref().unwrap_or("(.*)");
        let anchored = format!("^(?s:{regex})$");
        RegexBuilder::new(&anchored)
            .size_limit(REGEX_BYTES)
            .build()
            .map_err(|error| ("regex", format!("is no regular expression that is known here: {error}")))
    }

    /// A target without groups.
    fn target(&self) -> Result<String, Wrong> {
        if self.target_label.is_empty() || self.target_label.contains('$') {
            return Err(("target-label", wrong_target(&self.target_label)));
        }
        Ok(self.target_label.clone())
    }
}

fn wrong_target(target: &str) -> String {
    if target.is_empty() {
        "is missing; name the label to write".to_owned()
    } else {
        format!("is `{target}`, where a `$` has no meaning; `replace` and `labelmap` take `$1` and `${{name}}`")
    }
}

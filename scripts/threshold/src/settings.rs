//! The settings.

use millrace_sdk::{Level, Refusal};

/// For operators; the host shows it.
pub const SCHEMA: &str = r#"{"type":"object","required":["checks"],"additionalProperties":false,"properties":{
"max-series":{"type":"integer","default":100000,"minimum":1,"maximum":1000000},
"checks":{"type":"array","items":{"type":"object","required":["metric","name","raise"],"additionalProperties":false,"properties":{
"metric":{"type":"string"},"name":{"type":"string","description":"the metric to add, 0 or 1"},
"raise":{"type":"number"},"clear":{"type":"number"},"direction":{"enum":["above","below"]},
"for-cycles":{"type":"integer","default":1,"minimum":1},"clear-cycles":{"type":"integer","default":1,"minimum":1},
"levels":{"type":"array","items":{"enum":["cluster","node","namespace","pod","container","system-container","other"]}}}}}}}"#;

/// `[settings]` of the rule.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    checks: Vec<RawCheck>,
    /// Series that are raised or about to be.
    #[serde(default = "max_series")]
    pub max_series: usize,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCheck {
    metric: String,
    name: String,
    raise: f64,
    clear: Option<f64>,
    direction: Option<Direction>,
    #[serde(default = "once")]
    for_cycles: u32,
    #[serde(default = "once")]
    clear_cycles: u32,
    levels: Option<Vec<Level>>,
}

/// Which values are too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Those at or over the threshold.
    Above,
    /// Those at or under it.
    Below,
}

/// A check that makes sense.
#[derive(Debug)]
pub struct Check {
    /// The metric to watch.
    pub metric: String,
    /// The metric to add.
    pub name: String,
    raise: f64,
    clear: f64,
    direction: Direction,
    /// Cycles in a row before the alarm.
    pub for_cycles: u32,
    /// Cycles in a row before its end.
    pub clear_cycles: u32,
    levels: Option<Vec<Level>>,
}

impl Check {
    /// Whether an entity of this level is watched.
    pub fn watches(&self, level: Level) -> bool {
        self.levels.as_ref().is_none_or(|levels| levels.contains(&level))
    }

    /// Whether a value is at the threshold or beyond.
    pub fn breaches(&self, value: f64) -> bool {
        match self.direction {
            Direction::Above => value >= self.raise,
            Direction::Below => value <= self.raise,
        }
    }

    /// Whether a value has come back past the threshold that ends the alarm.
    pub fn clears(&self, value: f64) -> bool {
        match self.direction {
            Direction::Above => value < self.clear,
            Direction::Below => value > self.clear,
        }
    }
}

fn once() -> u32 {
    1
}

fn max_series() -> usize {
    100_000
}

impl Settings {
    /// The checks, or what is wrong with them.
    pub fn check(self) -> Result<Vec<Check>, Refusal> {
        if self.checks.is_empty() {
            return Err("`checks` is empty; write a `[[settings.checks]]`, or remove the rule".into());
        }
        if !(1..=1_000_000).contains(&self.max_series) {
            return Err(format!("`max-series` is {}; use 1 to 1000000", self.max_series).into());
        }
        let mut checks: Vec<Check> = Vec::new();
        for (at, raw) in self.checks.into_iter().enumerate() {
            if checks.iter().any(|check| check.name == raw.name) {
                return Err(
                    format!("`checks[{at}].name` is `{}`, as another check's; give each its own", raw.name).into()
                );
            }
            checks.push(raw.check().map_err(|reason| format!("`checks[{at}].{reason}"))?);
        }
        Ok(checks)
    }
}

impl RawCheck {
    /// The reason begins with the key, and the backtick that ends it.
    fn check(self) -> Result<Check, String> {
        if self.metric.is_empty() {
            return Err("metric` is empty; name the metric to watch".into());
        }
        if self.name.is_empty() || self.name == self.metric {
            return Err(format!("name` is `{}`; name a metric of its own, such as `alarm/memory`", self.name));
        }
        let clear = self.clear.unwrap_or(self.raise);
        let implied = if clear > self.raise { Direction::Below } else { Direction::Above };
        let direction = self.direction.unwrap_or(implied);
        if clear != self.raise && direction != implied {
            let (word, side) = if direction == Direction::Above { ("above", "below") } else { ("below", "above") };
            // Without the values: the formatting of floats would make the rule 20 KB larger.
            return Err(format!(
                "clear` is on the wrong side of `raise`: with `direction` {word} it must be {side} it"
            ));
        }
        if self.for_cycles == 0 || self.clear_cycles == 0 {
            return Err("for-cycles` or `clear-cycles` is 0; use at least 1".into());
        }
        if self.levels.as_ref().is_some_and(Vec::is_empty) {
            return Err("levels` is empty; name levels, or leave it out for all".into());
        }
        Ok(Check {
            metric: self.metric,
            name: self.name,
            raise: self.raise,
            clear,
            direction,
            for_cycles: self.for_cycles,
            clear_cycles: self.clear_cycles,
            levels: self.levels,
        })
    }
}

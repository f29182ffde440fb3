//! What a rule is measured and replayed on: recorded batches or a made-up node's, as they are or as
//! the rule heapster leaves them; with the rule's own settings.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::remote::{Remote, RemoteError};
use super::console::{Console, Fail, tamed};
use super::{InputArgs, Place, build, files, sample};
use crate::batch::wire::{Decoder, Record};
use crate::batch::{Batch, Cycle};
use crate::rules::directory::{bundled_places, short_name};
use crate::rules::manifest::HEAPSTER;
use crate::rules::{CompiledRule, Desk, Manifest, RuleEngine};

/// Points of one recording that are held in memory.
const MAX_POINTS: usize = 50_000_000;
/// Largest file of settings, bytes.
const MAX_SETTINGS_BYTES: usize = 1 << 20;
/// Largest recording of failures, bytes: more than a Millrace keeps of one rule.
const MAX_FAILURES_BYTES: usize = 16 << 20;
/// How long a Millrace may take for the next part of it.
const SILENCE: Duration = Duration::from_secs(20);

/// The batches of some cycles.
pub(super) struct Input {
    /// In words, for the report.
    pub about: String,
    /// The cycles with their batches; a rule's totals among them.
    pub cycles: Vec<(Cycle, Vec<Batch>)>,
    /// Batches that the recording lacks.
    pub lost: u64,
}

/// A rule with all that a directory of rules says of it.
pub(super) struct Subject {
    /// The name of its file without extension.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// Ready to run.
    pub compiled: CompiledRule,
    /// Settings and limits.
    pub manifest: Manifest,
}

impl Subject {
    /// A fresh instance of the rule.
    pub(super) fn desk(&self, compiled: &CompiledRule) -> Result<Desk, Fail> {
        let settings = serde_json::Value::Object(self.manifest.settings.clone()).to_string();
        Desk::start(compiled, &self.name, &settings, self.manifest.limits).map_err(|fault| {
            Fail::rule(format!(
                "{}: {}; its settings are in NAME.toml beside it, or --settings FILE",
                self.name,
                tamed(&fault.to_string())
            ))
        })
    }
}

impl Input {
    /// Points of all batches.
    pub(super) fn points(&self) -> usize {
        self.batches().map(|batch| batch.points.len()).sum()
    }

    /// All batches in order.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.cycles.iter().flat_map(|(_, batches)| batches)
    }
}

/// The rule that the arguments name.
pub(super) fn subject(engine: &RuleEngine, args: &InputArgs, console: &Console) -> Result<Subject, Fail> {
    let bytes = files::read_wasm(&args.rule)?;
    let compiled = build::load(engine, &args.rule, &bytes, console)?;
    let name = files::stem(&args.rule);
    let beside = args.rule.with_file_name(format!("{name}.toml"));
    let path = args.settings.clone().or_else(|| beside.is_file().then_some(beside));
    let mut manifest = Manifest::default_of(&format!("{name}.wasm"));
    if let Some(path) = path {
        let text = files::read_text(&path, MAX_SETTINGS_BYTES)?;
        let wrong = |problems: Vec<String>| Fail::input(format!("{}: {}", path.display(), problems.join("\n")));
        manifest = manifest.read(&text).map_err(wrong)?;
    }
    Ok(Subject { name, bytes, compiled, manifest })
}

/// The inputs at the places that the arguments or the file's name say, with a word for each.
pub(super) fn inputs(
    engine: &RuleEngine,
    args: &InputArgs,
    both: bool,
    console: &Console,
) -> Result<Vec<(Place, Input)>, Fail> {
    let places = match (args.at, number(&args.rule)) {
        (Some(place), _) => vec![place],
        (None, Some(number)) if number < 50 => vec![Place::Before],
        (None, Some(_)) => vec![Place::After],
        (None, None) if both => vec![Place::Before, Place::After],
        (None, None) => vec![Place::After],
    };
    let mut inputs = Vec::new();
    for place in places {
        let input = match &args.input {
            Some(path) => recorded(path, console)?,
            None => sample::node()?,
        };
        let input = match place {
            Place::Before => input,
            Place::After => after_heapster(engine, args, input, console)?,
        };
        inputs.push((place, input));
    }
    Ok(inputs)
}

/// `60` of `60-drop-idle.wasm`.
fn number(path: &Path) -> Option<u32> {
    let name = files::stem(path);
    let digits = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
    name[..digits].parse().ok()
}

/// Reads a recording.
pub(super) fn recorded(path: &Path, console: &Console) -> Result<Input, Fail> {
    let wrong = |what: &dyn std::fmt::Display| Fail::input(format!("{}: {what}", path.display()));
    if path.is_dir() {
        return Err(wrong(&"is a folder; name a file"));
    }
    let _progress = console.progress(format!("reading {}", path.display()));
    let mut file = File::open(path).map_err(|error| wrong(&error))?;
    read(&mut file, path.display().to_string())
}

/// Reads a recording that is called `about`.
fn read(from: &mut dyn Read, about: String) -> Result<Input, Fail> {
    let place = about.clone();
    let wrong = |what: &dyn std::fmt::Display| Fail::input(format!("{place}: {what}"));
    let (mut decoder, mut piece) = (Decoder::default(), vec![0; 1 << 20]);
    let mut input = Input { about, cycles: Vec::new(), lost: 0 };
    let mut points = 0;
    loop {
        let read = from.read(&mut piece).map_err(|error| wrong(&error))?;
        decoder.push(&piece[..read]);
        while let Some(record) = decoder.next_record().map_err(|error| wrong(&error))? {
            match record {
                Record::Batch(cycle, batch) => {
                    points += batch.points.len();
                    input.add(cycle, *batch);
                }
                Record::End(cycle) => input.end(cycle),
                Record::Lost(batches) => input.lost = input.lost.saturating_add(batches),
            }
            if points > MAX_POINTS {
                return Err(wrong(&format!("holds more than {MAX_POINTS} points; record fewer cycles")));
            }
        }
        if read == 0 {
            break;
        }
    }
    decoder.end().map_err(|error| wrong(&error))?;
    if input.points() == 0 {
        return Err(wrong(&"holds no points; record a cycle in which a node answers"));
    }
    Ok(input)
}

/// The batches that a rule failed on last in the running Millrace at `from`, as they came to it. A rule is called by
/// its file's name with or without the number there.
pub(super) fn failed_on(from: &str, name: &str, console: &Console) -> Result<Input, Fail> {
    let remote = Remote::at(from, SILENCE).map_err(Fail::input)?;
    let _progress = console.progress(format!("asking {}", remote.address()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::input(format!("no threads to run on: {error}")))?;
    let ask = |name: &str| {
        let path = format!("/api/v1/rules/{}/failures/recording", utf8_percent_encode(name, NON_ALPHANUMERIC));
        runtime.block_on(remote.bytes(&path, MAX_FAILURES_BYTES))
    };
    let short = short_name(name);
    let bytes = match ask(short) {
        Err(RemoteError::Refused(refusal)) if short != name => ask(name).map_err(|_| RemoteError::Refused(refusal)),
        answer => answer,
    };
    let bytes = bytes.map_err(|error| Fail::input(error.to_string()))?;
    read(&mut bytes.as_slice(), format!("the failures kept at {}", remote.address()))
}

impl Input {
    fn add(&mut self, cycle: Cycle, batch: Batch) {
        match self.cycles.last_mut() {
            Some((last, batches)) if last.number == cycle.number => batches.push(batch),
            _ => self.cycles.push((cycle, vec![batch])),
        }
    }

    /// The end of a cycle knows how many nodes answered.
    fn end(&mut self, cycle: Cycle) {
        match self.cycles.last_mut() {
            Some((last, _)) if last.number == cycle.number => *last = cycle,
            _ => self.cycles.push((cycle, Vec::new())),
        }
    }
}

/// What the bundled rule heapster makes of the batches, its totals last in each cycle.
fn after_heapster(engine: &RuleEngine, args: &InputArgs, input: Input, console: &Console) -> Result<Input, Fail> {
    let path = heapster(args)?;
    let compiled = build::load(engine, &path, &files::read_wasm(&path)?, console)?;
    let limits = Manifest::default_of(HEAPSTER).limits;
    let failed = |fault: crate::rules::Fault| Fail::input(format!("{}: {}", path.display(), tamed(&fault.to_string())));
    let mut desk = Desk::start(&compiled, "heapster", "{}", limits).map_err(failed)?;
    let _progress = console.progress("running the rule heapster first");
    let mut cycles = Vec::with_capacity(input.cycles.len());
    for (cycle, batches) in input.cycles {
        let mut left = Vec::with_capacity(batches.len() + 1);
        let running = Cycle { nodes_answered: 0, ..cycle };
        for batch in batches {
            left.push(desk.process(&running, batch).map_err(failed)?.batch);
        }
        let totals = desk.finish(&cycle).map_err(failed)?.batch;
        left.extend(Some(totals).filter(|totals| !totals.entities.is_empty()));
        cycles.push((cycle, left));
    }
    Ok(Input { about: format!("{}, after heapster", input.about), cycles, lost: input.lost })
}

fn heapster(args: &InputArgs) -> Result<PathBuf, Fail> {
    let executable = std::env::current_exe().map_err(|error| Fail::input(format!("own path: {error}")))?;
    let places = bundled_places(args.bundled_rules.as_deref(), &executable);
    let found = places.iter().map(|place| place.join(HEAPSTER)).find(|path| path.is_file());
    found.ok_or_else(|| {
        Fail::input(format!(
            "{} is not there; build it with `make rules`, name its directory with --bundled-rules, or say \
             `--at before`: the rule sees facts then",
            places.first().map(|place| place.join(HEAPSTER).display().to_string()).unwrap_or_default()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_number_is_what_its_name_begins_with() {
        for (name, want) in
            [("60-x.wasm", Some(60)), ("x.wasm", None), ("dir/5.wasm", Some(5)), ("99999999999.wasm", None)]
        {
            assert_eq!(number(Path::new(name)), want, "{name}");
        }
    }
}

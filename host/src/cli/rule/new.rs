//! `millrace rule new`: writes a folder that builds and whose tests pass as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::console::{Console, Fail, Paint, code};
use super::{Kind, NewArgs, embedded, lang};

/// Longest name: file names in the chain have a bound, and numbers go before it.
const MAX_NAME: usize = 60;

/// Names that Rust or cargo take for something else.
const TAKEN: &[&str] = &["test", "core", "std", "alloc", "proc-macro", "millrace-sdk", "serde"];

/// Types that the templates use by these names.
const TAKEN_TYPES: &[&str] = &[
    "BTreeMap",
    "Batch",
    "Cycle",
    "Descriptor",
    "Edit",
    "Entity",
    "Err",
    "GroupBy",
    "Level",
    "NoSettings",
    "None",
    "Ok",
    "Option",
    "Point",
    "Refusal",
    "Result",
    "Rule",
    "Self",
    "Settings",
    "Some",
    "String",
    "Value",
    "Vec",
];

impl Kind {
    /// Its word, which names folders of templates.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Relabel => "relabel",
            Self::Aggregate => "aggregate",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Filter => "Drops every container that uses less CPU than a floor.",
            Self::Relabel => "Copies labels of pods into labels of their series.",
            Self::Aggregate => "Adds a metric of all pods up by some of their labels.",
        }
    }

    /// Where in the chain the template makes sense: relabelling works on facts and on what the rule
    /// heapster leaves, the others need its rates and sums.
    fn number(self) -> u8 {
        60
    }
}

/// Makes the folder.
pub(super) fn new(args: &NewArgs, console: &Console) -> Result<ExitCode, Fail> {
    check_name(&args.name)?;
    let language = lang::named(&args.lang)?;
    if !language.kinds().contains(&args.kind) {
        let kinds: Vec<_> = language.kinds().iter().map(|kind| kind.word()).collect();
        let (lang, kind) = (&args.lang, args.kind.word());
        return Err(Fail::input(format!("there is no {kind} in {lang}; there is: {}", kinds.join(", "))));
    }
    let dir = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    check_room(&dir)?;
    let (mut files, sdk) = language.more_files(args)?;
    let words = words(args, &sdk);
    let folders = [format!("{}/all", args.lang), format!("{}/{}", args.lang, args.kind.word())];
    for folder in &folders {
        files.extend(templates(folder).map(|(path, text)| (path, rendered(text, &words))));
    }
    let cases = format!("cases/{}", args.kind.word());
    files.extend(templates(&cases).map(|(path, text)| (format!("cases/{path}"), text.to_owned())));
    let settings = templates("settings").find(|(path, _)| *path == format!("{}.toml", args.kind.word()));
    files.extend(settings.map(|(_, text)| (format!("{}.toml", args.name), rendered(text, &words))));
    write_all(&dir, &files)?;
    told(args, &dir, &files, console);
    if let Some(missing) = language.missing_tools() {
        console.warn(missing);
    }
    Ok(code(true))
}

pub(super) fn check_name(name: &str) -> Result<(), Fail> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let why = if name.is_empty() {
        "a rule needs a name"
    } else if !starts {
        "begin it with a letter a-z"
    } else if !name.bytes().all(allowed) {
        "use the characters a-z 0-9 and - only"
    } else if name.len() > MAX_NAME {
        "it is too long"
    } else if TAKEN.contains(&name) {
        "that is the name of something else already"
    } else {
        return Ok(());
    };
    Err(Fail::input(format!("`{name}` is no name for a rule: {why}")))
}

fn check_room(dir: &Path) -> Result<(), Fail> {
    let empty = fs::read_dir(dir).map(|mut entries| entries.next().is_none());
    if dir.exists() && !empty.unwrap_or(false) {
        let dir = dir.display();
        return Err(Fail::input(format!("`{dir}` is there already; choose another name, or another --path")));
    }
    Ok(())
}

/// What stands for the words in braces.
fn words(args: &NewArgs, sdk: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("name", args.name.clone()),
        ("Type", type_of(&args.name)),
        ("sdk", sdk.to_owned()),
        ("what", args.kind.what().to_owned()),
        ("number", args.kind.number().to_string()),
    ])
}

/// The name of the rule's type.
fn type_of(name: &str) -> String {
    let type_name = name.split('-').filter(|part| !part.is_empty()).fold(String::new(), |name, part| {
        let (first, rest) = part.split_at(1);
        name + &first.to_ascii_uppercase() + rest
    });
    if TAKEN_TYPES.contains(&type_name.as_str()) { format!("My{type_name}") } else { type_name }
}

fn rendered(text: &str, words: &BTreeMap<&'static str, String>) -> String {
    words.iter().fold(text.to_owned(), |text, (word, with)| text.replace(&format!("{{{{{word}}}}}"), with))
}

/// The templates of a folder, by path in the project.
fn templates(folder: &str) -> impl Iterator<Item = (String, &'static str)> {
    let folder = format!("{folder}/");
    embedded::TEMPLATES.iter().filter_map(move |(path, text)| {
        let path = path.strip_prefix(&folder)?;
        // The repository's own tools would take these for theirs.
        let path = path.strip_suffix(".in").unwrap_or(path);
        Some((if path == "gitignore" { ".gitignore".to_owned() } else { path.to_owned() }, *text))
    })
}

fn write_all(dir: &Path, files: &[(String, String)]) -> Result<(), Fail> {
    for (path, text) in files {
        let path = dir.join(path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|error| Fail::input(format!("{}: can't be written: {error}", path.display())))?;
    }
    Ok(())
}

fn told(args: &NewArgs, dir: &Path, files: &[(String, String)], console: &Console) {
    let (dir, kind) = (dir.display(), args.kind.word());
    console.line(console.paint(Paint::Bold, format!("Made {dir} ({kind}, {}):", args.lang)));
    let mut shown: Vec<&str> =
        files.iter().map(|(path, _)| path.as_str()).filter(|path| !path.starts_with("vendor/")).collect();
    shown.sort_unstable();
    for path in shown {
        console.line(format!("  {path}"));
    }
    if files.iter().any(|(path, _)| path.starts_with("vendor/")) {
        console.line("  vendor/  (the SDK)");
    }
    console.line(format!("\nNext:\n  cd {dir}\n  millrace rule test"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        for (name, why) in [
            ("", "needs a name"),
            ("9lives", "begin it with a letter"),
            ("-x", "begin it with a letter"),
            ("Drop", "begin it with a letter"),
            ("a/b", "characters"),
            ("a b", "characters"),
            ("é", "begin"),
            ("aé", "characters"),
            ("std", "something else"),
            (&"a".repeat(61), "too long"),
        ] {
            assert!(check_name(name).unwrap_err().text().contains(why), "{name}");
        }
        assert!(check_name("drop-idle2").is_ok());
    }

    #[test]
    fn a_rule_may_have_the_name_of_something_in_its_code() {
        for (name, type_name) in [
            ("drop-idle", "DropIdle"),
            ("x--y-", "XY"),
            ("batch", "MyBatch"),
            ("self", "MySelf"),
            ("group-by", "MyGroupBy"),
        ] {
            assert_eq!(type_of(name), type_name);
        }
    }

    #[test]
    fn every_language_has_every_template_that_it_says() {
        for name in ["rust", "c", "javascript", "python"] {
            for kind in lang::named(name).unwrap().kinds() {
                for folder in
                    [format!("{name}/all"), format!("{name}/{}", kind.word()), format!("cases/{}", kind.word())]
                {
                    assert!(templates(&folder).count() > 0, "{folder}");
                }
                let settings = format!("{}.toml", kind.word());
                assert!(templates("settings").any(|(path, _)| path == settings), "{settings}");
            }
        }
    }
}

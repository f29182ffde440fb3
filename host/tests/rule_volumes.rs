//! Rule directories that change while they are read and watched: ConfigMap volumes, written as the
//! kubelet's AtomicWriter does it, and plain directories.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use millrace::rules::directory::files::Fingerprint;
use millrace::rules::{Digest, RuleSet, RuleSources, Watch};

/// Long enough for a change to be noticed on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// No change is told in this time: longer than the watch waits for more of them.
const QUIET: Duration = Duration::from_millis(800);
const NEVER: Duration = Duration::from_secs(3600);

type Payload = BTreeMap<String, Vec<u8>>;

/// When the links that users see are made for new keys.
#[derive(Debug, Clone, Copy)]
enum Links {
    /// Before the swap, as older kubelets do: they lead nowhere for a moment.
    First,
    /// After it.
    Last,
}

/// A ConfigMap volume.
struct Volume {
    dir: PathBuf,
    writes: u32,
}

impl Volume {
    fn new(dir: PathBuf) -> Self {
        fs::create_dir(&dir).unwrap();
        Self { dir, writes: 0 }
    }

    /// Writes a payload, and calls `after` with whether it is in force after each step.
    fn write(&mut self, payload: &Payload, links: Links, mut after: impl FnMut(bool)) -> io::Result<()> {
        let dir = &self.dir;
        let old = fs::read_link(dir.join("..data")).ok();
        self.writes += 1;
        let new = format!("..2026_07_01_10_00_00.{}", self.writes);
        fs::create_dir(dir.join(&new))?;
        after(false);
        for (name, bytes) in payload {
            fs::write(dir.join(&new).join(name), bytes)?;
            after(false);
        }
        if matches!(links, Links::First) {
            self.make_links(payload, || after(false))?;
        }
        symlink(&new, dir.join("..data_tmp"))?;
        after(false);
        fs::rename(dir.join("..data_tmp"), dir.join("..data"))?;
        after(true);
        if matches!(links, Links::Last) {
            self.make_links(payload, || after(true))?;
        }
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name().into_string().unwrap();
            if !name.starts_with("..") && !payload.contains_key(&name) {
                fs::remove_file(dir.join(name))?;
                after(true);
            }
        }
        if let Some(old) = old {
            for entry in fs::read_dir(dir.join(&old))? {
                fs::remove_file(entry?.path())?;
                after(true);
            }
            fs::remove_dir(dir.join(old))?;
            after(true);
        }
        Ok(())
    }

    fn make_links(&self, payload: &Payload, mut after: impl FnMut()) -> io::Result<()> {
        for name in payload.keys() {
            let link = self.dir.join(name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(name), link)?;
                after();
            }
        }
        Ok(())
    }
}

/// Files that say which version they are of. Some come and go from version to version, and a
/// manifest's digest fits its own version's rule only.
fn payload(version: u32) -> Payload {
    let rule = |name: &str| format!("{name} of version {version}").into_bytes();
    let digest = Digest::of(&rule("20-b"));
    let mut payload = Payload::from([
        ("10-a.wasm".to_owned(), rule("10-a")),
        ("20-b.wasm".to_owned(), rule("20-b")),
        ("20-b.toml".to_owned(), format!("digest = '{digest}'\nsettings = {{ version = {version} }}").into_bytes()),
    ]);
    payload.insert(format!("30-c{}.wasm", version % 3), rule("30-c"));
    payload
}

/// The version of a set that must be one version whole.
fn version(set: &RuleSet) -> u32 {
    let own: Vec<_> = set.files.iter().filter(|file| !file.slot.starts_with("50")).collect();
    let version: u32 = own[1].manifest.settings["version"].as_u64().unwrap().try_into().unwrap();
    let found: Vec<_> = own.iter().map(|file| (file.slot.clone(), file.bytes.clone())).collect();
    let mut want = payload(version);
    want.remove("20-b.toml");
    assert_eq!(found, Vec::from_iter(want), "one version, whole");
    version
}

/// A directory with a bundled rule in it, and sources that read it and these.
fn sources(dirs: &[&str]) -> (tempfile::TempDir, RuleSources) {
    let root = tempfile::tempdir().unwrap();
    let bundled = root.path().join("bundled");
    fs::create_dir(&bundled).unwrap();
    fs::write(bundled.join("50-heapster.wasm"), "bundled").unwrap();
    let dirs = dirs.iter().map(|dir| root.path().join(dir)).collect();
    (root, RuleSources { bundled: Some(bundled), dirs, ..RuleSources::default() })
}

fn read(sources: &RuleSources) -> RuleSet {
    sources.read(Path::new("bin")).unwrap()
}

#[test]
fn at_each_step_of_a_swap_one_version_is_read() {
    for links in [Links::First, Links::Last] {
        let (_root, sources) = sources(&["rules"]);
        let mut volume = Volume::new(sources.dirs[0].clone());
        volume.write(&payload(1), links, |_| ()).unwrap();
        for new in 2..6 {
            let mut steps = 0;
            let check = |in_force| {
                steps += 1;
                assert_eq!(version(&read(&sources)), if in_force { new } else { new - 1 }, "{links:?}, step {steps}");
            };
            volume.write(&payload(new), links, check).unwrap();
            assert!(steps > 10, "{steps}");
        }
    }
}

#[test]
fn a_thousand_swaps_at_speed_never_yield_a_half_read_set() {
    let (_root, sources) = sources(&["rules"]);
    let mut volume = Volume::new(sources.dirs[0].clone());
    volume.write(&payload(0), Links::Last, |_| ()).unwrap();
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = vec![0];
            while !done.load(Ordering::SeqCst) {
                seen.push(version(&read(&sources)));
            }
            seen.push(version(&read(&sources)));
            seen
        });
        for new in 1..=1000 {
            let links = if new % 2 == 0 { Links::First } else { Links::Last };
            volume.write(&payload(new), links, |_| ()).unwrap();
        }
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });
    assert!(seen.is_sorted(), "never an older version after a newer one");
    assert_eq!(seen.last(), Some(&1000));
    assert!(seen.len() > 50, "only {} sets were read meanwhile", seen.len());
}

#[test]
fn several_volumes_are_a_set_each_and_the_later_one_counts() {
    let (_root, sources) = sources(&["base", "site"]);
    let mut volumes: Vec<_> = sources.dirs.iter().map(|dir| Volume::new(dir.clone())).collect();
    volumes[0].write(&payload(1), Links::Last, |_| ()).unwrap();
    let site =
        |text: &str| Payload::from([("20-b.wasm".to_owned(), text.into()), ("40-d.wasm".to_owned(), "d".into())]);
    volumes[1].write(&site("site"), Links::Last, |_| ()).unwrap();
    let texts = || {
        let set = read(&sources);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        set.files.iter().map(|file| text(&file.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(texts(), ["10-a of version 1", "site", "30-c of version 1", "d", "bundled"]);

    // An empty file takes the earlier volume's rule out.
    volumes[1].write(&site(""), Links::Last, |_| ()).unwrap();
    assert_eq!(texts(), ["10-a of version 1", "30-c of version 1", "d", "bundled"]);
    volumes[1].write(&Payload::new(), Links::Last, |_| ()).unwrap();
    assert_eq!(texts(), ["10-a of version 1", "20-b of version 1", "30-c of version 1", "bundled"]);
}

#[test]
fn a_directory_that_never_rests_is_a_problem_and_not_a_wrong_set() {
    let (_root, sources) = sources(&["rules"]);
    let dir = &sources.dirs[0];
    fs::create_dir(dir).unwrap();
    let file = File::create(dir.join("10-a.wasm")).unwrap();
    // A write that goes on, as seen by its last moment: always just now.
    let done = AtomicBool::new(false);
    let problem = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                file.set_modified(SystemTime::now() - Duration::from_millis(1)).unwrap();
            }
        });
        // On a busy machine the other thread may rest long enough for a read that is good.
        let problem = (0..50).find_map(|_| sources.read(Path::new("bin")).err());
        done.store(true, Ordering::SeqCst);
        problem.unwrap()
    });
    assert!(problem[0].what.contains("changes faster than it can be read"), "{problem:?}");
    assert!(read(&sources).warnings.iter().any(|it| it.contains("left out")), "it rests, and is read");
}

#[test]
fn a_fingerprint_tells_every_change_of_a_rule_from_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("rules");
    let file = |name: &str| dir.join(name);
    let hour = SystemTime::now() - Duration::from_secs(3600);
    let mut last = Fingerprint::of(&dir);
    let mut expect = |what: &str, differs: bool| {
        let now = Fingerprint::of(&dir);
        assert_eq!(now != last, differs, "{what}");
        last = now;
    };
    expect("nothing", false);
    fs::create_dir(&dir).unwrap();
    expect("a directory where none was", true);
    fs::write(file("10-a.wasm"), "a").unwrap();
    expect("a new file", true);
    fs::write(file("10-a.wasm"), "aa").unwrap();
    expect("a longer file", true);
    File::options().append(true).open(file("10-a.wasm")).unwrap().set_modified(hour).unwrap();
    expect("another time", true);
    fs::write(file(".new"), "bb").unwrap();
    File::options().append(true).open(file(".new")).unwrap().set_modified(hour).unwrap();
    expect("a name that begins with a dot", false);
    fs::rename(file(".new"), file("10-a.wasm")).unwrap();
    expect("another file of the same size and time", true);
    fs::rename(file("10-a.wasm"), file("20-a.wasm")).unwrap();
    expect("another name", true);
    fs::remove_file(file("20-a.wasm")).unwrap();
    expect("a file less", true);
    fs::remove_dir(&dir).unwrap();
    expect("no directory any more", true);
}

async fn is_told(watch: &mut Watch) {
    tokio::time::timeout(DEADLINE, watch.changed()).await.expect("the change is noticed");
}

async fn is_not_told(watch: &mut Watch, what: &str) {
    assert!(tokio::time::timeout(QUIET, watch.changed()).await.is_err(), "{what} is no change");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_swap_is_told_once_by_events_and_by_looking() {
    for (how, start, poll) in [
        ("events", Watch::start as fn(Vec<PathBuf>, Duration) -> Watch, NEVER),
        ("looking", Watch::polling, Duration::from_millis(50)),
    ] {
        let (_root, sources) = sources(&["base", "site"]);
        let mut volumes: Vec<_> = sources.dirs.iter().map(|dir| Volume::new(dir.clone())).collect();
        for volume in &mut volumes {
            volume.write(&payload(1), Links::Last, |_| ()).unwrap();
        }
        let mut watch = start(sources.dirs.clone(), poll);
        is_not_told(&mut watch, "the start").await;
        for version in 2..5 {
            for volume in &mut volumes {
                volume.write(&payload(version), Links::First, |_| ()).unwrap();
                is_told(&mut watch).await;
            }
        }
        is_not_told(&mut watch, &format!("nothing more ({how})")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_told_once_and_what_is_no_rule_not_at_all() {
    let (_root, sources) = sources(&["rules"]);
    let dir = &sources.dirs[0];
    fs::create_dir(dir).unwrap();
    let mut watch = Watch::start(sources.dirs.clone(), NEVER);
    fs::write(dir.join(".10-a.wasm.swp"), "half").unwrap();
    is_not_told(&mut watch, "a file whose name begins with a dot").await;
    for size in 0..5000 {
        fs::write(dir.join("10-a.wasm"), vec![1; size]).unwrap();
    }
    is_told(&mut watch).await;
    // The events of the last writes may still be on their way; what they tell is known.
    is_not_told(&mut watch, "an event without a difference").await;
    read(&sources);
    is_not_told(&mut watch, "reading").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_nobody_waits() {
    let (_root, sources) = sources(&["rules"]);
    let mut volume = Volume::new(sources.dirs[0].clone());
    let mut watch = Watch::start(sources.dirs.clone(), NEVER);
    volume.write(&payload(1), Links::Last, |_| ()).unwrap();
    // Whoever waits is interrupted again and again, as by the other arms of a `select!`.
    let mut told = false;
    for _ in 0..200 {
        told = told || tokio::time::timeout(Duration::from_millis(350), watch.changed()).await.is_ok();
        if told {
            break;
        }
    }
    assert!(told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_made_anew_is_found_again() {
    let (_root, sources) = sources(&["rules"]);
    let dir = &sources.dirs[0];
    let mut watch = Watch::start(sources.dirs.clone(), Duration::from_millis(50));
    for _ in 0..3 {
        fs::create_dir(dir).unwrap();
        is_told(&mut watch).await;
        fs::write(dir.join("10-a.wasm"), "a").unwrap();
        is_told(&mut watch).await;
        fs::remove_dir_all(dir).unwrap();
        is_told(&mut watch).await;
    }
}

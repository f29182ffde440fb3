//! Where rules come from: bundled and the user's directories, manifests, ConfigMap volumes.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace::rules::{Digest, OnError, RuleSources};

/// A directory of bundled rules and one of the user's, with these files. Nothing is compiled
/// here, so any bytes are a rule.
fn directories(bundled: &[&str], user: &[(&str, &str)]) -> (tempfile::TempDir, RuleSources) {
    let root = tempfile::tempdir().unwrap();
    let (own, theirs) = (root.path().join("bundled"), root.path().join("user"));
    fs::create_dir(&own).unwrap();
    fs::create_dir(&theirs).unwrap();
    for name in bundled {
        fs::write(own.join(name), "bundled").unwrap();
    }
    for (name, text) in user {
        fs::write(theirs.join(name), text).unwrap();
    }
    let flags = [("floor", 1.into()), ("sep", ",".into())];
    let sources = RuleSources {
        bundled: Some(own),
        dirs: vec![theirs],
        heapster: flags.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
    };
    (root, sources)
}

#[test]
fn user_files_replace_and_remove_bundled_ones() {
    let (root, sources) = directories(
        &["50-heapster.wasm", "60-limits.wasm", "70-extras.wasm"],
        &[
            ("10-drop.wasm", "user"),
            ("10-drop.toml", "on-error = 'halt'\n[settings]\nnames = ['a']"),
            ("50-heapster.toml", "settings = { floor = 2 }\nlimits = { process = '2s' }"),
            ("60-limits.wasm", ""),
            ("70-extras.wasm", "user"),
            (".hidden.wasm", "user"),
            ("README", "hello"),
        ],
    );
    let set = sources.read(Path::new("/nowhere/bin/millrace")).unwrap();
    let found: Vec<_> =
        set.files.iter().map(|file| (file.slot.as_str(), file.name.as_str(), file.bytes.as_slice())).collect();
    let want: [(&str, &str, &[u8]); 3] = [
        ("10-drop.wasm", "drop", b"user"),
        ("50-heapster.wasm", "heapster", b"bundled"),
        ("70-extras.wasm", "extras", b"user"),
    ];
    assert_eq!(found, want);
    assert_eq!(set.files[0].manifest.on_error, OnError::Halt);
    assert_eq!(set.files[2].path, root.path().join("user/70-extras.wasm"));
    assert_eq!(set.warnings.len(), 2, "{:?}", set.warnings);
    assert!(set.warnings[1].contains("60-limits.wasm is left out"), "{:?}", set.warnings);

    let heapster = &set.files[1].manifest;
    assert_eq!(heapster.on_error, OnError::Drop);
    assert_eq!(heapster.limits.memory_bytes, 512 << 20);
    assert_eq!(heapster.limits.process, Duration::from_secs(2));
    let settings = serde_json::to_string(&heapster.settings).unwrap();
    assert_eq!(settings, r#"{"floor":2,"sep":","}"#);
}

#[test]
fn a_missing_heapster_names_the_command_that_builds_it() {
    let (root, mut sources) = directories(&["60-x.wasm"], &[]);
    let problems = sources.read(Path::new("bin")).unwrap_err();
    assert!(problems[0].what.contains("`make rules`"), "{problems:?}");

    sources.bundled = None;
    let executable = root.path().join("release/millrace");
    let problems = sources.read(&executable).unwrap_err();
    let place = root.path().join("rules/50-heapster.wasm");
    assert_eq!(problems[0].place, place.display().to_string());
}

#[test]
fn bundled_rules_are_found_beside_the_program_and_left_out_by_an_empty_file() {
    for folder in ["rules", "share/millrace/rules"] {
        let (root, mut sources) = directories(&["50-heapster.wasm", "60-x.wasm"], &[]);
        sources.bundled = None;
        fs::create_dir_all(root.path().join(folder).parent().unwrap()).unwrap();
        fs::rename(root.path().join("bundled"), root.path().join(folder)).unwrap();
        let executable = root.path().join("bin/millrace");
        assert_eq!(sources.read(&executable).unwrap().files.len(), 2);

        fs::write(root.path().join("user/50-heapster.wasm"), "").unwrap();
        let set = sources.read(&executable).unwrap();
        assert_eq!(set.files.len(), 1);
        assert!(set.warnings[0].contains("left out"), "{:?}", set.warnings);
    }
}

#[test]
fn every_problem_of_the_directories_is_reported() {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let (_root, mut sources) = directories(
        &["50-heapster.wasm"],
        &[
            ("10-a.wasm", "abcd"),
            ("10-a.toml", &format!("digest = 'sha256:{digest}'")),
            ("15-a.wasm", "abc"),
            ("15-a.toml", &format!("digest = 'sha256:{digest}'")),
            ("20-b.toml", ""),
            ("30 c.wasm", "x"),
            ("50-heapster.toml", "colour = 1\n"),
        ],
    );
    fs::create_dir(sources.dirs[0].join("40-d.wasm")).unwrap();
    sources.dirs.push(PathBuf::from("/nowhere"));
    let problems = sources.read(Path::new("bin")).unwrap_err();
    for want in [
        "10-a.toml: `digest` does not match",
        "20-b.toml: stands beside no 20-b.wasm",
        "30 c.wasm: has a name that is no rule's",
        "unknown field `colour`",
        "/nowhere: can't be read",
        "40-d.wasm: can't be read: it is no regular file",
    ] {
        let named = problems.iter().any(|it| it.to_string().contains(want));
        assert!(named, "{want}: {problems:?}");
    }
    assert_eq!(problems.len(), 6, "{problems:?}");
}

#[test]
fn what_no_config_map_holds_is_warned_about() {
    let (_root, sources) = directories(&["50-heapster.wasm"], &[]);
    fs::write(sources.dirs[0].join("10-a.wasm"), vec![1; (1 << 20) + 1]).unwrap();
    let set = sources.read(Path::new("bin")).unwrap();
    assert!(set.warnings[0].contains("ConfigMap"), "{:?}", set.warnings);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn a_packed_rule_stands_in_the_same_slot_as_an_unpacked_one() {
    let (_root, sources) = directories(&["50-heapster.wasm", "60-limits.wasm"], &[("70-z.wasm.zst", "")]);
    let dir = &sources.dirs[0];
    // Larger than a ConfigMap holds, but not as it lies there.
    let large = vec![7; 2 << 20];
    fs::write(dir.join("10-a.wasm.zst"), zstd(&large)).unwrap();
    fs::write(dir.join("10-a.toml"), format!("digest = '{}'", Digest::of(&large))).unwrap();
    fs::write(dir.join("50-heapster.wasm.gz"), gzip(b"user")).unwrap();
    fs::write(dir.join("60-limits.wasm.gz"), "").unwrap();
    let set = sources.read(Path::new("bin")).unwrap();
    let found: Vec<_> = set.files.iter().map(|file| (file.slot.as_str(), file.name.as_str())).collect();
    assert_eq!(found, [("10-a.wasm", "a"), ("50-heapster.wasm", "heapster")]);
    assert_eq!(set.files[0].bytes, large);
    assert_eq!(set.files[1].bytes, b"user");
    assert_eq!(set.files[1].manifest.on_error, OnError::Drop);
    assert_eq!(set.warnings.len(), 2, "{:?}", set.warnings);
    assert!(set.warnings.iter().all(|it| it.contains("left out")), "{:?}", set.warnings);
}

#[test]
fn packed_rules_that_are_ambiguous_damaged_or_too_large_are_problems() {
    let (_root, sources) = directories(
        &["50-heapster.wasm"],
        &[("10-a.wasm", "a"), ("20-b.wasm.gz", "no gzip"), ("20-b.toml", ""), ("30-c.wasm.zst", "no zstd")],
    );
    let dir = &sources.dirs[0];
    fs::write(dir.join("10-a.wasm.gz"), gzip(b"a")).unwrap();
    fs::write(dir.join("40-bomb.wasm.gz"), gzip(&vec![0; 33 << 20])).unwrap();
    let problems = sources.read(Path::new("bin")).unwrap_err();
    for want in [
        "10-a.wasm.gz: stands beside 10-a.wasm, the same rule in another form",
        "20-b.wasm.gz: can't be unpacked as gzip",
        "30-c.wasm.zst: can't be unpacked as zstd",
        "40-bomb.wasm.gz: unpacks to more than 32 MiB",
    ] {
        let named = problems.iter().any(|it| it.to_string().contains(want));
        assert!(named, "{want}: {problems:?}");
    }
    assert_eq!(problems.len(), 4, "{problems:?}");
}

#[test]
fn many_rules_that_unpack_to_too_much_together_are_a_problem() {
    let (_root, sources) = directories(&["50-heapster.wasm"], &[]);
    let bomb = gzip(&vec![0; 32 << 20]);
    for number in 10..30 {
        fs::write(sources.dirs[0].join(format!("{number}-bomb.wasm.gz")), &bomb).unwrap();
    }
    let problems = sources.read(Path::new("bin")).unwrap_err();
    assert!(problems.iter().all(|it| it.to_string().contains("MiB together")), "{problems:?}");
}

#[cfg(unix)]
#[test]
fn a_config_map_is_read_as_one_version() {
    use std::os::unix::fs::symlink;
    let (_root, sources) = directories(&["50-heapster.wasm"], &[]);
    let dir = &sources.dirs[0];
    fs::create_dir(dir.join("..2024_01_01")).unwrap();
    fs::write(dir.join("..2024_01_01/10-a.wasm"), "user").unwrap();
    symlink("..2024_01_01", dir.join("..data")).unwrap();
    symlink("..data/10-a.wasm", dir.join("10-a.wasm")).unwrap();
    let set = sources.read(Path::new("bin")).unwrap();
    assert_eq!(set.files.len(), 2);
    let path = &set.files[0].path;
    assert!(path.ends_with("..2024_01_01/10-a.wasm"), "{}", path.display());
}

//! What each getter accepts and says.

use std::io::{Error, ErrorKind};

use super::*;

fn outside() -> Outside {
    Outside {
        env: Box::new(|name| (name == "PW").then(|| "s3cret".to_owned())),
        read: Box::new(|path| match path.to_str() {
            Some("/pw") => Ok("from file\n".to_owned()),
            _ => Err(Error::from(ErrorKind::NotFound)),
        }),
        resolve_secrets: true,
    }
}

/// Reads `toml` with `get`; the value's debug text, or the errors.
fn outcome<T: std::fmt::Debug>(toml: &str, get: impl Fn(&Fields<'_>) -> T) -> Result<String, String> {
    let (outside, problems) = (outside(), Problems::default());
    let fields = Fields::toml(toml.parse().unwrap(), "sink[0]", &outside, &problems);
    let value = get(&fields);
    fields.finish();
    problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
    Ok(format!("{value:?}"))
}

type Get = fn(&Fields<'_>) -> String;

#[test]
fn values_are_read_or_explained() {
    let shown: [(&str, Get); 7] = [
        ("string", |f| format!("{:?}", f.string("k"))),
        ("boolean", |f| format!("{:?}", f.boolean("k"))),
        ("integer", |f| format!("{:?}", f.integer("k", 1..=9))),
        ("duration", |f| format!("{:?}", f.duration("k", Duration::from_secs(1)..=Duration::from_secs(60)))),
        ("bytes", |f| format!("{:?}", f.bytes("k", 1024..=1 << 20))),
        ("url", |f| format!("{:?}", f.url("k").map(String::from))),
        ("strings", |f| format!("{:?}", f.strings("k"))),
    ];
    for (getter, toml, want) in [
        ("string", "k = 'a'", Ok("Some(\"a\")")),
        ("string", "", Ok("None")),
        ("string", "k = ''", Err("`sink[0].k` is empty; fill it or leave it out")),
        ("string", "k = 5", Err("`sink[0].k` is `5`; write a text in quotes")),
        ("boolean", "k = true", Ok("Some(true)")),
        ("boolean", "k = 'true'", Err("`sink[0].k` is `true`; write true or false")),
        ("integer", "k = 9", Ok("Some(9)")),
        ("integer", "k = 10", Err("`sink[0].k` is `10`; use a whole number from 1 to 9")),
        ("integer", "k = -1", Err("`sink[0].k` is `-1`; use a whole number from 1 to 9")),
        ("duration", "k = '1s'", Ok("Some(1s)")),
        ("duration", "k = '0s'", Err("`sink[0].k` is `0s`; use at least 1s")),
        ("duration", "k = '2m'", Err("`sink[0].k` is `2m`; use at most 1m")),
        ("duration", "k = 10", Err("`sink[0].k` is `10`; write a text such as \"10s\", \"500ms\" or \"1m 30s\"")),
        ("bytes", "k = '64KiB'", Ok("Some(65536)")),
        ("bytes", "k = 5", Err("`sink[0].k` is `5`; use 1KiB to 1MiB")),
        ("url", "k = 'http://db:8086'", Ok("Some(\"http://db:8086/\")")),
        (
            "url",
            "k = 'http://db/x'",
            Err("`sink[0].k` is `http://db/x`; write it as http://host:port, with nothing after the port"),
        ),
        ("url", "k = 'ftp://db'", Err("`sink[0].k` is `ftp://db`; write it as http://host:port or https://host:port")),
        (
            "url",
            "k = 'http://me:s3cret@db'",
            Err("`sink[0].k` is `http://…@db`; leave out the user and password; they have options of their own"),
        ),
        ("strings", "k = ['a', 'b']", Ok("Some([\"a\", \"b\"])")),
        ("strings", "k = 'a'", Ok("Some([\"a\"])")),
        ("strings", "k = ['a', 1]", Err("`sink[0].k` is `a list`; write a list of texts, none of them empty")),
    ] {
        let get = shown.iter().find(|(name, _)| *name == getter).unwrap().1;
        let got = outcome(toml, get).map(|text| text.trim_matches('"').replace("\\\"", "\""));
        assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{getter} of {toml}");
    }
}

#[test]
fn unknown_keys_are_named_with_the_known_ones_and_without_their_value() {
    let get = |fields: &Fields<'_>| (fields.secret("password").is_some(), fields.string("db").is_some());
    assert_eq!(
        outcome("pasword = 's3cret'", get).unwrap_err(),
        "`sink[0].pasword` is not a known key; did you mean `password`? known: db, password, password-file"
    );
}

#[test]
fn secrets_come_from_text_variable_or_file_and_are_not_shown() {
    let get = |fields: &Fields<'_>| fields.secret("pw").map(|secret| secret.expose().to_owned());
    for (name, toml, want) in [
        ("text", "pw = 'a'", Ok("Some(\"a\")")),
        ("variable", "pw = '${PW}'", Ok("Some(\"s3cret\")")),
        ("file", "pw-file = '/pw'", Ok("Some(\"from file\")")),
        ("no file", "pw-file = '/no'", Err("`sink[0].pw-file` is `/no`; the file cannot be read: entity not found")),
        ("unset", "pw = 'x${NO}'", Err("`sink[0].pw` uses the environment variable `NO`, which is not set; set it")),
        ("both", "pw = 'a'\npw-file = '/pw'", Err("`sink[0].pw` and `sink[0].pw-file` are both given; leave one out")),
        ("number", "pw = 12345", Err("`sink[0].pw` is not a text; write it in quotes")),
    ] {
        assert_eq!(outcome(toml, get), want.map(str::to_owned).map_err(str::to_owned), "{name}");
    }
}

use std::collections::BTreeMap;

use super::read;
use super::reader::float;

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    min_millicores: i64,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    steps: Vec<Step>,
    share: Option<f64>,
    #[serde(default)]
    small: u8,
    #[serde(default)]
    on: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    pair: Option<(i64, String)>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    regex: String,
    #[serde(default)]
    action: Action,
}

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    #[default]
    Keep,
    DropAll,
    Hash(u64),
    Cut {
        to: usize,
    },
}

#[test]
fn the_message_names_the_key() {
    for (json, want) in [
        (r#"{"min-millicors":5}"#, "unknown field `min-millicors`, expected one of `min-millicores`, "),
        (r#"{"names":["a"]}"#, "missing field `min-millicores`"),
        (r#"{"min-millicores":"5"}"#, "`min-millicores`: invalid type: string \"5\", expected i64"),
        (
            r#"{"min-millicores":5.5,"names":[]}"#,
            "`min-millicores`: invalid type: a number with a fraction, expected i64",
        ),
        (r#"{"min-millicores":5,"names":["a",7]}"#, "`names[1]`: invalid type: integer `7`, expected a string"),
        (r#"{"min-millicores":5,"names":{"a":1}}"#, "`names`: invalid type: a table, expected a sequence"),
        (
            "{\"min-millicores\":5,\n\"steps\":[{\"regex\":\"a\"},{\"regex\":false}]}",
            "`steps[1].regex`: invalid type: boolean `false`, expected a string",
        ),
        (
            r#"{"min-millicores":5,"steps":[{"regex":"\"}"},{"regexp":"a"}]}"#,
            "`steps[1]`: unknown field `regexp`, expected ",
        ),
        (r#"{"min-millicores":5,"steps":[{}]}"#, "`steps[0]`: missing field `regex`"),
        (
            r#"{"min-millicores":5,"steps":[{"regex":"a","action":"keeep"}]}"#,
            "`steps[0].action`: unknown variant `keeep`",
        ),
        (r#"{"min-millicores":5,"small":300}"#, "`small`: invalid value: integer `300`, expected u8"),
        (r#"{"min-millicores":5,"on":1}"#, "`on`: invalid type: integer `1`, expected a boolean"),
        (r#"{"min-millicores":5,"labels":{"a":null}}"#, "`labels.a`: invalid type: null, expected a string"),
        (r#"{"min-millicores":5,"share":"a"}"#, "`share`: invalid type: string \"a\", expected f64"),
        (r#"{"min-millicores":5,"min-millicores":5}"#, "`min-millicores`: duplicate field `min-millicores`"),
        (r#"[1]"#, "invalid type: integer"),
        ("7", "invalid type: integer `7`, expected struct Settings"),
    ] {
        let reason = read::<Settings>(json).unwrap_err();
        assert!(reason.starts_with(want) || want == "invalid type: integer", "{json}: {reason}");
    }
}

#[test]
fn what_serde_json_writes_is_read() {
    let json = r#" { "min-millicores" : -5 , "names":["","a\"b\\c\n\u00e4\ud83d\ude00ü"],"steps":[{"regex":".","action":"drop-all"},
        {"regex":"","action":{"hash":18446744073709551615}},{"regex":"","action":{"cut":{"to":3}}}],"share":1.5e-3,"small":255,"on":true,
        "labels":{"a":"b"},"pair":[1,"x"]} "#;
    let settings = read::<Settings>(json).unwrap();
    assert_eq!(settings, serde_json::from_str(json).unwrap());
    assert_eq!(settings.names[1], "a\"b\\c\nä😀ü");
    let whole = read::<serde_json::Value>(json).unwrap();
    assert_eq!(whole["share"], 0.0015);
    assert_eq!(read::<Settings>(r#"{"min-millicores":5,"share":2,"pair":null}"#).unwrap().share, Some(2.0));
}

#[test]
fn broken_text_is_refused_and_never_ends_the_rule() {
    let json =
        r#"{"min-millicores":5,"names":["a\u00e4","b"],"steps":[{"regex":"a","action":{"hash":1}}],"share":1.5}"#;
    for end in (0..json.len()).filter(|&end| json.is_char_boundary(end)) {
        assert!(read::<Settings>(&json[..end]).is_err(), "{}", &json[..end]);
        for byte in ["}", "]", ",", "\"", "\\", "9", "ü", ":"] {
            let _ = read::<Settings>(&format!("{}{byte}{}", &json[..end], &json[end + 1..]));
        }
    }
    for json in
        [r#"{"min-millicores":5}x"#, r#"{"min-millicores":5,}"#, r#"{"min-millicores" 5}"#, r#"{"min-millicores":nul}"#]
    {
        assert!(read::<Settings>(json).is_err(), "{json}");
    }
    let deep = "[".repeat(100_000);
    assert!(read::<serde_json::Value>(&deep).unwrap_err().contains("within each other"));
}

#[test]
fn floats_are_read() {
    for word in [
        "0",
        "-0.0",
        "0.9",
        "1.5e-3",
        "99.999",
        "1e22",
        "-2.50",
        "9007199254740993",
        "1E+2",
        "0.1",
        "0.30",
        "123456.789e3",
        "1e-22",
    ] {
        assert_eq!(float(word), Some(word.parse().unwrap()), "{word}");
    }
    for word in [
        "3.141592653589793238462643383",
        "1e300",
        "2.2250738585072014e-308",
        "18446744073709551616",
        "0.1234567890123456789e-40",
    ] {
        let (got, want) = (float(word).unwrap(), word.parse::<f64>().unwrap());
        assert!((got - want).abs() <= want * 1e-14, "{word}: {got}");
    }
    for word in ["", "-", ".5", "5.", "1e", "1e999", "nan", "1.2.3", "--1", "0x10", "1e99999999999"] {
        assert_eq!(float(word), None, "{word}");
    }
}

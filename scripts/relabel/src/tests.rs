//! The cases are those of Prometheus's own tests of relabelling, with the values that it expects.

use super::*;
use millrace_sdk::testing;
use serde_json::{Value as Json, json};

/// The labels after the steps, as one row prints them; `None` if the entity was dropped.
fn relabelled(labels: &[(&str, &str)], steps: &Json) -> Option<String> {
    let mut rule: Relabel = testing::configure(&json!({ "steps": steps }).to_string()).unwrap();
    let batch = testing::batch("n").entity(Level::Pod, labels).int("m", 1).build();
    let rows = testing::process(&mut rule, &batch).unwrap();
    let again = testing::process(&mut rule, &batch).unwrap();
    assert_eq!(rows, again, "what is remembered is the same");
    Some(rows.first()?.strip_prefix("pod {")?.strip_suffix("} m = 1")?.to_owned())
}

#[test]
fn labels_are_rewritten_as_in_prometheus() {
    let abc: &[(&str, &str)] = &[("a", "foo"), ("b", "bar"), ("c", "baz")];
    for (labels, steps, want) in [
        (
            abc,
            json!([{"source_labels":["a"],"regex":"f(.*)","target_label":"d","replacement":"ch${1}-ch${1}"}]),
            "a=foo,b=bar,c=baz,d=choo-choo",
        ),
        (
            abc,
            json!([
                {"source-labels":["a","b"],"regex":"f(.*);(.*)r","target-label":"a","replacement":"b${1}${2}m"},
                {"source-labels":["c","a"],"regex":"(b).*b(.*)ba(.*)","target-label":"d","replacement":"$1$2$2$3"},
            ]),
            "a=boobam,b=bar,c=baz,d=boooom",
        ),
        (&[("a", "abc")], json!([{"source-labels":["a"],"regex":".*(b).*","target-label":"d"}]), "a=abc,d=b"),
        (&[("a", "boo")], json!([{"source-labels":["a"],"regex":"f","target-label":"b","replacement":"bar"}]), "a=boo"),
        (
            abc,
            json!([{"source-labels":["c"],"target-label":"d","action":"hashmod","modulus":1000}]),
            "a=foo,b=bar,c=baz,d=976",
        ),
        (
            &[("a", "foo\nbar")],
            json!([{"source-labels":["a"],"target-label":"b","action":"hashmod","modulus":1000}]),
            "a=\"foo\\nbar\",b=734",
        ),
        (
            &[("a", "foo\nbar")],
            json!([{"source-labels":["a"],"target-label":"a","regex":"foo(.)bar","replacement":"x"}]),
            "a=x",
        ),
        (
            &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
            json!([{"regex":"(b.*)","replacement":"bar_${1}","action":"labelmap"}]),
            "a=foo,b1=bar,b2=baz,bar_b1=bar,bar_b2=baz",
        ),
        (
            &[("a", "foo"), ("__meta_my_bar", "aaa"), ("__meta_my_baz", "bbb"), ("__meta_other", "ccc")],
            json!([{"regex":"__meta_(my.*)","replacement":"${1}","action":"labelmap"}]),
            "__meta_my_bar=aaa,__meta_my_baz=bbb,__meta_other=ccc,a=foo,my_bar=aaa,my_baz=bbb",
        ),
        (
            &[("a", "some-name-value")],
            json!([{"source-labels":["a"],"regex":"some-([^-]+)-([^,]+)","replacement":"${2}","target-label":"${1}"}]),
            "a=some-name-value,name=value",
        ),
        (
            &[("a", "some-name-value")],
            json!([{"source-labels":["a"],"regex":"some-([^-]+)-([^,]+)","replacement":"${3}","target-label":"${1}"}]),
            "a=some-name-value",
        ),
        (
            &[("a", "some-name-0")],
            json!([{"source-labels":["a"],"regex":"some-([^-]+)-([^,]+)","replacement":"${1}","target-label":"${3}"}]),
            "a=some-name-0",
        ),
        (
            &[("__meta_sd_tags", "path:/secret,job:some-job,label:foo=bar")],
            json!([
                {"source-labels":["__meta_sd_tags"],"regex":"(?:.+,|^)path:(/[^,]+).*","replacement":"${1}","target-label":"__metrics_path__"},
                {"source-labels":["__meta_sd_tags"],"regex":"(?:.+,|^)job:([^,]+).*","replacement":"${1}","target-label":"job"},
                {"source-labels":["__meta_sd_tags"],"regex":"(?:.+,|^)label:([^=]+)=([^,]+).*","replacement":"${2}","target-label":"${1}"},
            ]),
            "__meta_sd_tags=\"path:/secret,job:some-job,label:foo=bar\",__metrics_path__=/secret,foo=bar,job=some-job",
        ),
        (
            &[("port_name", "foo"), ("metrics_port", "9091")],
            json!([
                {"regex":"^port_name$","action":"labeldrop"},
                {"source-labels":["metrics_port"],"regex":"(.+)","replacement":"metrics","target-label":"port_name"},
                {"source-labels":["port_name"],"regex":"^metrics$","action":"keep"},
            ]),
            "metrics_port=9091,port_name=metrics",
        ),
        (
            &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
            json!([{"regex":"(b.*)","action":"labelkeep"}]),
            "b1=bar,b2=baz",
        ),
        (&[("a", "foo"), ("b1", "bar"), ("b2", "baz")], json!([{"regex":"(b.*)","action":"labeldrop"}]), "a=foo"),
        (
            &[("foo", "bAr123Foo")],
            json!([
                {"source-labels":["foo"],"action":"uppercase","target-label":"foo_uppercase"},
                {"source-labels":["foo"],"action":"lowercase","target-label":"foo_lowercase"},
            ]),
            "foo=bAr123Foo,foo_lowercase=bar123foo,foo_uppercase=BAR123FOO",
        ),
        // An empty value removes a label, a group by its name, and `$1x` is the group `1x`.
        (&[("a", "b")], json!([{"target-label":"a","replacement":""}]), ""),
        (
            &[("a", "b")],
            json!([{"source-labels":["a"],"regex":"(?P<it>.*)","target-label":"c","replacement":"${it}$$$1x."}]),
            "a=b,c=b$.",
        ),
        (&[("a", "b")], json!([{"target-label":"cluster","replacement":"test"}]), "a=b,cluster=test"),
        (&[("a", "b")], json!([{"source-labels":["a","x","y"],"separator":"/","target-label":"a"}]), "a=b//"),
    ] {
        assert_eq!(relabelled(labels, &steps).as_deref(), Some(want), "{steps}");
    }
}

#[test]
fn entities_are_dropped_as_in_prometheus() {
    let ports: &[(&str, &str)] = &[("tmp_port", "1234"), ("port1", "1234"), ("port2", "5678")];
    for (labels, steps, kept) in [
        (&[("a", "foo")] as &[_], json!([{"source-labels":["a"],"regex":".*o.*","action":"drop"}]), false),
        (&[("a", "foo")], json!([{"source-labels":["a"],"regex":"no-match","action":"drop"}]), true),
        (&[("a", "foo")], json!([{"source-labels":["a"],"regex":"f|o","action":"drop"}]), true),
        (&[("a", "foo")], json!([{"source-labels":["a"],"regex":"no-match","action":"keep"}]), false),
        (&[("a", "foo")], json!([{"source-labels":["a"],"regex":"f.*","action":"keep"}]), true),
        (&[("a", "foo")], json!([{"source-labels":["b"],"regex":"","action":"drop"}]), false),
        (ports, json!([{"source-labels":["tmp_port"],"action":"keepequal","target-label":"port1"}]), true),
        (ports, json!([{"source-labels":["tmp_port"],"action":"dropequal","target-label":"port1"}]), false),
        (ports, json!([{"source-labels":["tmp_port"],"action":"dropequal","target-label":"port2"}]), true),
        (ports, json!([{"source-labels":["tmp_port"],"action":"keepequal","target-label":"port2"}]), false),
        (&[("a", "foo")], json!([{"source-labels":["a"],"action":"drop","levels":["container"]}]), true),
        (
            &[("a", "foo")],
            json!([{"source-labels":["a"],"target-label":"b"},{"source-labels":["b"],"regex":"foo","action":"drop"},{"regex":".*","action":"labeldrop"}]),
            false,
        ),
    ] {
        assert_eq!(relabelled(labels, &steps).is_some(), kept, "{steps}");
    }
}

#[test]
fn steps_that_make_no_sense_are_refused() {
    for (step, want) in [
        (json!({}), "`steps[0].target-label` is missing"),
        (json!({"action":"lowercase"}), "`steps[0].target-label` is missing"),
        (json!({"action":"lowercase","target-label":"${3}"}), "`steps[0].target-label` is `${3}`"),
        (json!({"action":"hashmod","target-label":"a"}), "`steps[0].modulus`"),
        (json!({"action":"hashmod","target-label":"a","modulus":0}), "`steps[0].modulus`"),
        (json!({"action":"labeldrop","source-labels":["a"]}), "`steps[0].source-labels` has no meaning"),
        (json!({"action":"keepequal","target-label":"a","regex":"a"}), "`steps[0].regex` has no meaning"),
        (json!({"action":"uppercase","target-label":"a","replacement":"a"}), "`steps[0].replacement` has no meaning"),
        (json!({"action":"labelmap","replacement":"${"}), "`steps[0].replacement` is `${`"),
        (json!({"action":"keep","regex":"("}), "`steps[0].regex` is no regular expression"),
        (json!({"action":"keep","regex":r"\pL"}), "`steps[0].regex` is no regular expression"),
        (json!({"action":"keep","source-labels":["__name__"]}), "keep-metrics"),
        (json!({"action":"keeep"}), "`steps[0].action`"),
        (json!({"target":"a"}), "unknown field `target`"),
        (json!({"action":"keep","levels":[]}), "`steps[0].levels` is empty"),
        (json!({"action":"keep","regex":"((a{100}){100}){100}"}), "`steps[0].regex`"),
    ] {
        let settings = json!({ "steps": [step] }).to_string();
        let refusal = testing::configure::<Relabel>(&settings).err().unwrap();
        assert!(refusal.reason().contains(want), "{settings}: {refusal}");
    }
    assert!(testing::configure::<Relabel>(r#"{"steps":[]}"#).is_err());
}

#[test]
fn templates_are_read_as_in_go() {
    for (template, malformed) in [
        ("label", false),
        ("label${1}", false),
        ("${1}label", false),
        ("${", true),
        ("$", true),
        ("${}", true),
        ("foo${", true),
        ("$1", false),
        ("asd$2asd", false),
        ("_${1}_", false),
        ("foo${bar}foo", false),
        ("$$", false),
    ] {
        assert_eq!(template::Template::parse(template).malformed, malformed, "{template}");
    }
}

#[test]
fn what_a_hostile_pod_may_do_is_bounded() {
    let steps = json!([{"regex":"(.*)","replacement":"copy_$1","action":"labelmap"}]);
    let mut rule: Relabel = testing::configure(&json!({ "steps": steps }).to_string()).unwrap();
    let names: Vec<String> = (0..400).map(|at| format!("l{at}")).collect();
    let labels: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "x")).collect();
    let batch = testing::batch("n").entity(Level::Pod, &labels).int("m", 1).build();
    let rows = testing::process(&mut rule, &batch).unwrap();
    assert_eq!(rows[0].matches("copy_").count(), 250);
    assert_eq!(testing::counted("changes_refused"), 150);

    let double = json!({"source-labels":["a"],"target-label":"a","replacement":"$1$1"});
    let mut rule: Relabel = testing::configure(&json!({ "steps": vec![double; 60] }).to_string()).unwrap();
    let batch = testing::batch("n").entity(Level::Pod, &[("a", "xy")]).int("m", 1).build();
    let rows = testing::process(&mut rule, &batch).unwrap();
    assert!(rows[0].len() < 17_000, "{}", rows[0].len());
}

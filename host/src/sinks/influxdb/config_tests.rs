//! TOML and URIs, and that both say the same.

use super::*;
use crate::config::outside::Outside;
use crate::config::problems::Problems;
use crate::config::uri::Uri;

fn toml(text: &str) -> Result<(InfluxdbConfig, Vec<String>), String> {
    let (outside, problems) = (Outside::nothing(), Problems::default());
    let config = from_toml(Fields::toml(text.parse().unwrap(), "sink[0]", &outside, &problems));
    let warnings = problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
    Ok((config.unwrap(), warnings))
}

fn uri(text: &str) -> Result<(InfluxdbConfig, Vec<String>), String> {
    let (outside, problems) = (Outside::nothing(), Problems::default());
    let config =
        Uri::parse("sink", text, &outside, &problems).and_then(|uri| heapster::sink(&uri, &outside, &problems));
    let warnings = problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
    Ok((config.unwrap(), warnings))
}

#[test]
fn heapsters_defaults_hold_for_a_bare_uri() {
    let (config, warnings) = uri("influxdb").unwrap();
    assert_eq!(config.url.as_str(), "http://localhost:8086/");
    assert_eq!((config.username.as_str(), config.password.expose()), ("root", "root"));
    assert_eq!((config.database.as_str(), config.cluster_name.as_str()), ("k8s", "default"));
    assert_eq!((config.retention, config.concurrency, config.gzip), (None, 1, Some(1)));
    assert!(warnings.is_empty());
}

#[test]
fn every_option_means_what_its_toml_key_means() {
    for (options, keys) in [
        (
            "http://db:8086?user=a&pw=b&db=c&retention=7d",
            "url='http://db:8086'\nusername='a'\npassword='b'\ndatabase='c'\nretention='1w'",
        ),
        (
            "http://db?user=&pw=&withfields=T&cluster_name=eu&disable_counter_metrics=1&concurrency=4",
            "url='http://db'\nwith-fields=true\ncluster-name='eu'\ndisable-counter-metrics=true\nconcurrency=4",
        ),
        ("http://db:8086?secure=true&user=", "url='https://db:8086'"),
        (
            "http://db?user=&gzip=false&timestamps=measured&timeout=9s",
            "url='http://db'\ngzip=0\ntimestamps='measured'\ntimeout='9s'",
        ),
        ("http://db?token=t&org=o+p&bucket=b/rp", "url='http://db'\ntoken='t'\norg='o p'\nbucket='b/rp'"),
        ("http://db?user=u&pw=p&api=v2&db=d", "url='http://db'\nusername='u'\npassword='p'\napi='v2'\ndatabase='d'"),
        (
            "https://db?secure=1&insecuressl=1&gzip=6&queue=128MiB&user=r&pw=s",
            "url='https://db'\ninsecure-tls=true\ngzip=6\nqueue='128MiB'\nusername='r'\npassword='s'",
        ),
    ] {
        let (from_uri, _) = uri(&format!("influxdb:{options}")).unwrap();
        assert_eq!(from_uri, toml(keys).unwrap().0, "{options}");
        assert_eq!(toml(&from_uri.to_toml().to_string()).unwrap().0, from_uri, "{options} again");
    }
}

#[test]
fn https_url_means_tls_and_says_so() {
    let (config, warnings) = uri("influxdb:https://db:8086").unwrap();
    assert_eq!(config.url.as_str(), "https://db:8086/");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("so TLS is used"), "{warnings:?}");
    let (config, warnings) = uri("influxdb:http://db:8086?secure=true").unwrap();
    assert_eq!((config.url.as_str(), warnings.len()), ("https://db:8086/", 0));
}

#[test]
fn problems_name_key_value_and_remedy() {
    for (name, text, want) in [
        ("no url", "", "`sink[0].url` is missing; write it as \"http://monitoring-influxdb.kube-system.svc:8086\""),
        ("zero timeout", "timeout='0s'", "`sink[0].timeout` is `0s`; use at least 1s"),
        (
            "retention in words",
            "retention='a week'",
            "`sink[0].retention` is `a week`; write it as InfluxDB does: \"7d\", \"52w\", \"36h\", or \"INF\" or \"0\" for ever",
        ),
        (
            "retention too short",
            "retention='5m'",
            "`sink[0].retention` is `5m`; use at least 1h, which is InfluxDB's least",
        ),
        ("gzip level", "gzip=10", "`sink[0].gzip` is `10`; use true, false, or a level from 1 to 9"),
        ("timestamps", "timestamps='now'", "`sink[0].timestamps` is `now`; use \"cycle\" or \"measured\""),
        ("queue under a post", "queue='1MiB'", "`sink[0].queue` is `1MiB`; use at least sink[0].max-body (8MB)"),
        ("password alone", "password='s3cret'", "`sink[0].password` needs `sink[0].username` beside it"),
        (
            "authority without tls",
            "certificate-authority='/ca'",
            "`sink[0].certificate-authority` has no meaning over plain HTTP; use https or leave it out",
        ),
        (
            "two at once",
            "concurrency=0\nmax-lines='x'",
            "`sink[0].concurrency` is `0`; use a whole number from 1 to 256\
             |`sink[0].max-lines` is `x`; use a whole number from 1 to 1000000",
        ),
    ] {
        let text = if name == "no url" { text.to_owned() } else { format!("url='http://db'\n{text}") };
        assert_eq!(toml(&text).map(|_| ()), Err(want.to_owned()), "{name}");
    }
}

#[test]
fn a_token_an_org_or_a_bucket_says_v2() {
    for (text, want) in [
        ("", Api::Auto),
        ("api='v1'", Api::V1),
        ("api='v2'", Api::V2),
        ("token='t'", Api::V2),
        ("org='o'", Api::V2),
        ("bucket='b'", Api::V2),
    ] {
        assert_eq!(toml(&format!("url='http://db'\n{text}")).unwrap().0.api(), want, "{text}");
    }
    for (text, want) in [
        ("bucket='b'\nretention='7d'", "`sink[0].retention` does nothing with the v2 API: set it on the bucket"),
        ("bucket='b'\ndatabase='d'", "`sink[0].database` does nothing with the v2 API: the bucket is written"),
    ] {
        assert_eq!(toml(&format!("url='http://db'\n{text}")).unwrap().1, [want], "{text}");
    }
    for (text, want) in [
        ("api='v1'\nbucket='b'", "`sink[0].bucket` is of the v2 API; write `sink[0].api` as \"v2\" or leave one out"),
        ("token='t'\nusername='u'", "`sink[0].token` and `sink[0].username` contradict each other; leave one out"),
        ("token='a\\nb'", "`sink[0].token` holds characters that no token has; is it the right text or file?"),
        ("api='v3'", "`sink[0].api` is `v3`; use \"auto\" or \"v1\" or \"v2\""),
    ] {
        let text = text.replace("'a\\nb'", "\"a\\nb\"");
        assert_eq!(toml(&format!("url='http://db'\n{text}")).unwrap_err(), want, "{text}");
    }
}

#[test]
fn unknown_option_of_a_uri_names_the_known_ones() {
    let error = uri("influxdb:http://db?with_fields=true").unwrap_err();
    assert!(
        error.starts_with("`--sink=influxdb:?with_fields` is not a known option; did you mean `withfields`? known: "),
        "{error}"
    );
    for option in
        ["user", "pw", "db", "retention", "secure", "insecuressl", "withfields", "cluster_name", "concurrency"]
    {
        assert!(error.contains(option), "{option} in {error}");
    }
}

#[test]
fn password_is_in_no_message_and_no_debug_text() {
    let (config, _) = uri("influxdb:http://db?user=me&pw=s3cret").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    let (config, _) = uri("influxdb:http://db?token=s3cret").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    let error = uri("influxdb:http://me:s3cret@:x?pw=s3cret&concurrency=no").unwrap_err();
    assert!(!error.contains("s3cret"), "{error}");
}

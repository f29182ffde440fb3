//! The whole: file, flags and options together.

use std::ffi::OsString;
use std::io::{Error, ErrorKind};

use super::*;

/// An outside with one file, `/c.toml`, and one variable.
fn outside(file: &str) -> Outside {
    let file = file.to_owned();
    Outside {
        env: Box::new(|name| (name == "PW").then(|| "s3cret".to_owned())),
        read: Box::new(move |path| match path.to_str() {
            Some("/c.toml") => Ok(file.clone()),
            Some("/kc") => Ok("a kubeconfig".to_owned()),
            _ => Err(Error::from(ErrorKind::NotFound)),
        }),
        resolve_secrets: true,
    }
}

fn inputs(args: &[&str]) -> Inputs {
    let (flags, _) = flags::split(args.iter().map(OsString::from));
    Inputs { flags, ..Inputs::default() }
}

fn from_file(text: &str, args: &[&str]) -> Result<Loaded, Refused> {
    load(&Inputs { file: Some("/c.toml".into()), ..inputs(args) }, &outside(text))
}

const EXAMPLE: &str = r#"
resolution = "60s"
[source.kubernetes]
api-server = "in-cluster"
[source.kubernetes.kubelet]
port = "node-status"
certificate-authority = "cluster"
[rules]
dir = "/etc/millrace/rules"
[rules.heapster]
ignore-labels = ["pod-template-hash"]
store-labels = ["app", "team=example.com/team"]
[[sink]]
type = "influxdb"
url = "http://monitoring-influxdb.kube-system.svc:8086"
username = "millrace"
password = "${PW}"
retention = "7d"
[[sink]]
type = "log"
[http]
listen = "0.0.0.0:8082"
"#;

#[test]
fn the_documented_example_is_read() {
    let Loaded { config, warnings, .. } = from_file(EXAMPLE, &[]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.source, SourceConfig::default());
    assert_eq!(config.rules.dirs, [PathBuf::from("/etc/millrace/rules")]);
    assert_eq!(
        serde_json::to_string(&config.rules.heapster).unwrap(),
        r#"{"ignore-labels":["pod-template-hash"],"store-labels":["app","team=example.com/team"]}"#
    );
    let Target::Influxdb(influxdb) = &config.sinks[0].target else { panic!("{:?}", config.sinks) };
    assert_eq!(influxdb.password.expose(), "s3cret");
    assert_eq!(config.sinks[1].kind(), "log");
    assert!(!format!("{config:?}{config}").contains("s3cret"));
}

#[test]
fn recording_is_turned_off_in_the_file() {
    let config = from_file("[http]\nrecord = false", &["--source=kubernetes:", "--sink=log"]).unwrap().config;
    assert!(!config.http.record && HttpConfig::default().record);
    assert!(config.to_string().ends_with("http        0.0.0.0:8082, no recording"), "{config}");
    let again = from_file(&config.to_toml().to_string(), &[]).unwrap().config;
    assert_eq!(again.http, config.http);
}

#[test]
fn flags_replace_the_source_and_add_sinks() {
    let args = [
        "--source=kubernetes.summary_api:?kubeletPort=10255",
        "--sink=log",
        "--metric-resolution=10s",
        "--heapster-port=80",
    ];
    let config = from_file(EXAMPLE, &args).unwrap().config;
    assert_eq!(config.source.kubelet.port, KubeletPort::Fixed(10255));
    assert_eq!(config.sinks.iter().map(SinkConfig::kind).collect::<Vec<_>>(), ["influxdb", "log", "log"]);
    assert_eq!(config.resolution, Duration::from_secs(10));
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:80");
}

#[test]
fn every_error_is_reported_at_once() {
    let text = "resolution = '0s'\nresolutoin = 1\n[http]\nlisten = '8082'\n[[sink]]\ntype = 'kafak'\n[[sink]]\ntype = 'influxdb'\npassword = 's3cret' \n[source.kubernetes.kubelet]\nport = 0";
    let refused = from_file(text, &["--metric-resolution=3s", "--sink=gcm", "--client-ca-file=/c", "--store-label==x"])
        .unwrap_err();
    let starts = [
        "`resolution` is `0s`; use at least 1s",
        "`source.kubernetes.kubelet.port` is `0`; use",
        "`sink[0].type` is `kafak`; millrace has influxdb, kafka, log, prometheus-remote-write",
        "`sink[1].url` is missing",
        "`sink[1].password` needs `sink[1].username`",
        "`http.listen` is `8082`; write an address",
        "`resolutoin` is not a known key; did you mean `resolution`? known: http, resolution, rules, sink, source",
        "`--client-ca-file` is not supported",
        "`--metric-resolution` is `3s`; use 5s to 24h (TOML allows 1s)",
        "`--sink` is `gcm`; that sink of Heapster's is not here; write `influxdb` to Telegraf",
        "`--store-label` is `=x`; write NAME or NEW=NAME",
    ];
    assert_eq!(refused.errors.len(), starts.len(), "{refused}");
    for (error, start) in refused.errors.iter().zip(starts) {
        assert!(error.starts_with(start), "{error}\n{start}");
    }
    assert!(!refused.to_string().contains("s3cret"));
}

#[test]
fn syntax_error_names_the_place_and_does_not_show_the_line() {
    let refused = from_file("a = 1\npassword = \"s3cret", &["--sink=gcm"]).unwrap_err();
    assert_eq!(refused.errors.len(), 2, "{refused}");
    assert!(refused.errors[0].starts_with("line 2, column "), "{refused}");
    assert!(!refused.to_string().contains("s3cret"), "{refused}");
}

#[test]
fn what_flags_mean_is_read_again_from_its_toml() {
    for args in [
        vec!["--source=kubernetes:"],
        vec!["--source=kubernetes.summary_api:''", "--sink=influxdb:http://monitoring-influxdb:8086"],
        vec![
            "--source=kubernetes.summary_api:http://127.0.0.1:81?inClusterConfig=false&kubeletHttps=false&kubeletPort=81&auth=&host_id_annotation=example.com/host-id",
            "--sink=log",
            "--label-separator=",
            "--ignore-label=a",
            "--store-label=b",
            "--store_label=c=d",
        ],
        vec![
            "--source=kubernetes:https://api?kubeletHttps=true&kubeletPort=10250&insecure=true",
            "--sink=influxdb:http://db?user=me&pw=$PW&retention=52w&withfields=true&gzip=0",
            "--sink=influxdb:http://db2?user=&cluster_name=a%22b",
            "--metric-resolution=1m30s",
            "--listen-ip=::1",
        ],
        vec!["--source=kubernetes:?inClusterConfig=false&auth=/kc", "--sink=influxdb:?pw=a$PW%24%7Bx"],
    ] {
        let config = load(&inputs(&args), &outside("")).unwrap().config;
        let text = toml::to_string(&config.to_toml()).unwrap();
        let again = from_file(&text, &[]).unwrap_or_else(|refused| panic!("{refused}\n{text}")).config;
        assert_eq!(again, written(config), "{text}");
    }
}

/// As a file says it: nobody, where Heapster sent a user and a password of its own.
fn written(mut config: Config) -> Config {
    for sink in &mut config.sinks {
        if let Target::Influxdb(influxdb) = &mut sink.target
            && influxdb.names_nobody()
        {
            influxdb.username.clear();
            influxdb.password = Secret::literal("");
        }
    }
    config
}

#[test]
fn a_conversion_has_no_user_that_nobody_named() {
    for (sink, want) in [
        ("influxdb:http://db", None),
        ("influxdb:http://db?user=", None),
        ("influxdb:http://db?user=me", Some(("me", "root"))),
        ("influxdb:http://db?pw=x", Some(("root", "x"))),
        ("influxdb:http://db?user=root&pw=root", Some(("root", "root"))),
    ] {
        for flag in [format!("--sink={sink}"), format!("--historical-source={sink}")] {
            let config = load(&inputs(&[&flag]), &outside("")).unwrap().config;
            let text = toml::to_string(&config.to_toml()).unwrap();
            let key =
                |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name} = "))).map(str::to_owned);
            let want = want.map(|(user, pw)| (format!("{user:?}"), format!("{pw:?}")));
            assert_eq!(key("username").zip(key("password")), want, "{flag}\n{text}");
            assert_eq!(key("username").is_some(), want.is_some(), "{flag}\n{text}");
        }
    }
}

#[test]
fn retention_by_flag_is_a_change_and_by_file_is_not() {
    let changes = |args: &[&str]| load(&inputs(args), &outside("")).unwrap().changes;
    let found = changes(&["--sink=influxdb:http://db?retention=30d"]);
    assert!(found.len() == 1 && found[0].starts_with("`--sink=influxdb:?retention=30d` takes effect"), "{found:?}");
    for quiet in [
        "--sink=influxdb:http://db",
        "--sink=influxdb:http://db?retention=0",
        "--sink=influxdb:http://db?retention=7d&bucket=b",
        "--historical-source=influxdb:http://db?retention=7d",
    ] {
        assert!(changes(&[quiet]).is_empty(), "{quiet}");
    }
    assert!(from_file(EXAMPLE, &[]).unwrap().changes.is_empty());
    let refused = load(&inputs(&["--sink=influxdb:http://db?retention=7d", "--sink=gcm"]), &outside("")).unwrap_err();
    assert!(refused.warnings.iter().any(|warning| warning.contains("takes effect")), "{refused:?}");
}

#[test]
fn conversion_carries_references_over_without_looking_at_them() {
    let mut outside = Outside::nothing();
    outside.resolve_secrets = false;
    let config = load(&inputs(&["--sink=influxdb:http://db?user=me&pw=${UNSET}"]), &outside).unwrap().config;
    assert!(toml::to_string(&config.to_toml()).unwrap().contains("password = \"${UNSET}\""));
}

#[test]
fn nothing_at_all_teaches_outside_and_starts_inside_a_cluster() {
    let refused = load(&Inputs::default(), &outside("")).unwrap_err();
    assert!(refused.errors[0].contains("--config FILE"), "{refused}");
    let mut inside = Outside::nothing();
    inside.env = Box::new(|name| (name == "KUBERNETES_SERVICE_HOST").then(|| "10.0.0.1".to_owned()));
    assert_eq!(load(&Inputs::default(), &inside).unwrap().config, Config::default());
}

#[test]
fn kubelet_timeout_must_end_before_the_next_cycle() {
    let refused = from_file("resolution = '5s'\n[source.kubernetes.kubelet]\ntimeout = '5s'", &[]).unwrap_err();
    assert_eq!(refused.errors, ["`source.kubernetes.kubelet.timeout` is `5s`; use less than the resolution (5s)"]);
}

#[test]
fn damaged_input_is_refused_or_read_but_never_ends_the_process() {
    let uri = "influxdb:http://u:p@db:8086?user=$PW&pw=${PW}&retention=7d&queue=64MiB&timeout=20s&gzip=1";
    let mut state = 1_u64;
    let mut next = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let alphabet: Vec<char> = "0123456789$%{}[]=:/?&#'\"\\\n-_.,@ \0wdhsµµ–ﬀ🦀".chars().collect();
    for _ in 0..3_000 {
        let mut damage = |text: &str| {
            let mut text: Vec<char> = text.chars().collect();
            for _ in 0..=next(4) {
                let at = next(text.len());
                match next(3) {
                    0 => drop(text.remove(at)),
                    1 => text.insert(at, alphabet[next(alphabet.len())]),
                    _ => text[at] = alphabet[next(alphabet.len())],
                }
            }
            text.into_iter().collect::<String>()
        };
        let (sink, source) = (damage(uri), damage("kubernetes:https://api?kubeletPort=10250&auth=$PW"));
        let args = [format!("--sink={sink}"), format!("--source={source}"), damage("--metric-resolution=1m30s")];
        let text = damage(EXAMPLE);
        if let Ok(loaded) = from_file(&text, &args.iter().map(String::as_str).collect::<Vec<_>>()) {
            let again = toml::to_string(&loaded.config.to_toml()).unwrap();
            let read = from_file(&again, &[]).unwrap_or_else(|refused| panic!("{refused}\n{again}"));
            assert_eq!(read.config.to_toml(), loaded.config.to_toml());
        }
    }
}

#[test]
fn the_store_and_the_export_are_bounded_and_switched_off_by_keys_or_flags() {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    for (text, args, want) in [
        ("", vec![], (minutes(15), 512 << 20, true)),
        ("[store]\nkeep = '5m'\nmax-memory = '64MiB'", vec![], (minutes(5), 64 << 20, true)),
        ("[store]\nkeep = '0s'\n[http]\nmetric-export = false", vec![], (minutes(0), 512 << 20, false)),
        ("", vec!["--disable-metric-sink", "--disable_export=true"], (minutes(0), 512 << 20, false)),
        ("", vec!["--disable-metric-sink=false", "--disable-export=false"], (minutes(15), 512 << 20, true)),
    ] {
        let config = from_file(text, &args).unwrap().config;
        assert_eq!((config.store.keep, config.store.max_memory, config.http.export), want, "{text} {args:?}");
        let again = from_file(&config.to_toml().to_string(), &[]).unwrap().config;
        assert_eq!(again, config, "{text} {args:?}");
    }
    assert!(from_file("[store]\nkeep = '2d'", &[]).is_err());
    assert!(from_file("[store]\nmax-memory = '1kB'", &[]).is_err());
}

#[test]
fn who_may_ask_is_read_from_the_file() {
    let text = "[http]\nopen = 'health'\ncertificate = '/kc'\nkey = '/kc'\nclient-authority = '/kc'\n\
                allowed-users = ['anna']\n[http.secure]\nlisten = '[::]:4443'\nnames = ['a.b', '10.0.0.1']\n\
                [[sink]]\ntype = 'log'";
    let config = from_file(text, &[]).unwrap().config;
    let files = || Some(KeyFiles { certificate: "/kc".into(), key: "/kc".into() });
    assert!(config.http.health_only);
    assert_eq!(config.http.tls, files());
    let clients = ClientsConfig { authority: "/kc".into(), allowed_users: vec!["anna".to_owned()] };
    assert_eq!(config.http.clients, Some(clients));
    let secure = config.http.secure.clone().unwrap();
    assert_eq!((secure.listen.to_string(), secure.tls.clone()), ("[::]:4443".to_owned(), None));
    assert_eq!(secure.names, ["a.b", "10.0.0.1"]);
    let again = from_file(&config.to_toml().to_string(), &[]).unwrap().config;
    assert_eq!(again.http, config.http);
    assert!(config.to_string().ends_with(
        "http        0.0.0.0:8082, TLS, client certificates of anna, health checks only\n\
         secure      [::]:4443, the API server says who may ask, certificate made at start"
    ));
}

#[test]
fn what_does_not_go_together_on_a_port_is_told() {
    let text = "[http]\ncertificate = '/kc'\nallowed-users = ['anna']\n[http.secure]\nnames = ['a b']\nkey = '/kc'";
    let errors = from_file(text, &[]).unwrap_err().errors;
    let want = [
        "`http.certificate` needs `key` beside it",
        "`http.allowed-users` needs `client-authority` beside it",
        "`http.secure.listen` is missing",
        "`http.secure.key` needs `certificate` beside it",
        "`http.secure.names` is `a b`",
    ];
    for want in want {
        assert!(errors.iter().any(|error| error.starts_with(want)), "{want}: {errors:?}");
    }
    assert_eq!(errors.len(), want.len(), "{errors:?}");
    let errors =
        from_file("[http]\nlisten = '0.0.0.0:1'\n[http.secure]\nlisten = '127.0.0.1:1'", &[]).unwrap_err().errors;
    assert!(errors[0].ends_with("use another port than that of `http.listen`"), "{errors:?}");
    let errors = from_file("[http]\nclient-authority = '/kc'", &[]).unwrap_err().errors;
    assert!(errors[0].starts_with("`http.client-authority` needs TLS"), "{errors:?}");
}

#[test]
fn heapsters_flags_about_tls_are_about_each_other() {
    let http = |args: &[&str]| from_file("[[sink]]\ntype = 'log'", args).map(|loaded| loaded.config.http);
    let files = || Some(KeyFiles { certificate: "/kc".into(), key: "/kc".into() });
    let config =
        http(&["--tls-key=/kc", "--tls-cert=/kc", "--allowed-users=anna, bert", "--tls-client-ca=/kc"]).unwrap();
    assert_eq!(config.tls, files());
    assert_eq!(config.clients.unwrap().allowed_users, ["anna", "bert"]);
    let all = ["--api-server", "--secure-port=8443", "--bind-address=10.0.0.1", "--tls-cert-file=/kc"];
    let config = http(&[&all[..], &["--tls-private-key-file=/kc"]].concat()).unwrap();
    let secure = config.secure.unwrap();
    assert_eq!((secure.listen.to_string(), secure.tls), ("10.0.0.1:8443".to_owned(), files()));
    assert_eq!(http(&["--api-server"]).unwrap().secure.unwrap().listen.to_string(), "0.0.0.0:443");
    assert_eq!(http(&["--api-server=false", "--tls-cert="]).unwrap(), HttpConfig::default());
    for (args, want) in [
        (&["--tls-cert=/kc"][..], "`--tls-cert` needs `--tls-key` beside it"),
        (&["--tls-client-ca=/kc"], "`--tls-client-ca` needs TLS"),
        (&["--allowed-users=anna"], "`--allowed-users` needs `--tls-client-ca`"),
        (&["--api-server", "--secure-port=0"], "`--secure-port` is `0`"),
    ] {
        let errors = http(args).unwrap_err().errors;
        assert!(errors.len() == 1 && errors[0].starts_with(want), "{errors:?}");
    }
}

//! What `deploy/` shows and when it calls: every query of the Grafana dashboards finds something in a real InfluxDB
//! or Prometheus that Millrace fills, and every alert is about metrics that there are, and is quiet where all is well.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use millrace_tests::fixtures::guests::guest;
use millrace_tests::fixtures::influxd::Influxd;
use millrace_tests::fixtures::prometheus::Prometheus;
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::{Failure, Kubesim};
use serde_json::{Map, Value};

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);
const HEAPSTERS_SCHEMA: [&str; 4] = ["cluster", "nodes", "namespaces", "pods"];

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dashboard(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn all() -> Vec<Value> {
    let ours = HEAPSTERS_SCHEMA.map(|name| dashboard(&format!("grafana/dashboards/{name}.json")));
    ours.into_iter().chain([dashboard("grafana/millrace/millrace.json")]).collect()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().expect("panels")
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// Every query of every panel, with its panel's title.
fn queries<'d>(dashboard: &'d Value, key: &'static str) -> Vec<(&'d str, &'d str)> {
    let targets = panels(dashboard).iter().filter_map(|panel| Some((panel, panel["targets"].as_array()?)));
    targets.flat_map(|(panel, all)| all.iter().map(|one| (text(panel, "title"), text(one, key)))).collect()
}

/// The variables that are asked for, with their queries.
fn variables(dashboard: &Value) -> Vec<(&str, &Value)> {
    let all = dashboard["templating"]["list"].as_array().expect("variables");
    all.iter().filter(|one| one["type"] == "query").map(|one| (text(one, "name"), &one["query"])).collect()
}

/// Puts in what Grafana would.
///
/// # Panics
/// When a variable is left.
fn fill(query: &str, values: &[(&str, &str)]) -> String {
    let filled = values.iter().fold(query.to_owned(), |query, (name, value)| query.replace(&format!("${name}"), value));
    // A dollar ends the regular expressions.
    assert!(!filled.replace("$/", "").contains('$'), "a variable is left in `{filled}`");
    filled
}

fn setup(sim: &Kubesim, more: &str) -> Setup {
    Setup::new(&format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[rules]\ndir = 'FOLDER/rules'\n{more}",
        sim.api_url(),
        sim.kubelet_port(),
    ))
    .file("rules/.keep", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_on_heapsters_schema_finds_something() {
    let server = Influxd::start().await;
    let sim = Kubesim::builder()
        .size(3, 5, 2)
        .configure(|config| config.resolution = Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let mut router = setup(&sim, &format!("[[sink]]\ntype = 'influxdb'\nurl = '{}'\n", server.url())).start().await;
    // Rates need two samples of the kubelets'; then a cycle more to have been written.
    router.cycle(5).await;
    router.stop().await;

    let mut asked = 0;
    for name in HEAPSTERS_SCHEMA {
        let dashboard = dashboard(&format!("grafana/dashboards/{name}.json"));
        let mut values = vec![("timeFilter", "time > now() - 30m"), ("__interval", "1s")];
        for (variable, query) in variables(&dashboard) {
            let query = fill(query.as_str().expect("a query"), &values);
            let rows = server.rows("k8s", &query).await;
            assert!(rows.iter().any(|row| row["value"].is_string()), "{name}, {variable}: `{query}` gives {rows:?}");
            // All of them, as Grafana's choice "All" has it.
            values.push((variable, ".*"));
        }
        for (panel, query) in queries(&dashboard, "query") {
            let query = fill(query, &values);
            let rows = server.rows("k8s", &query).await;
            assert!(rows.iter().any(has_value), "{name}, {panel}: `{query}` gives {rows:?}");
            asked += 1;
        }
    }
    assert!(asked > 70, "{asked} queries");
}

/// `fill(null)` gives rows that hold nothing.
fn has_value(row: &Map<String, Value>) -> bool {
    row.iter().any(|(column, value)| column != "time" && value.is_number())
}

/// Prometheus, which asks a router each second and has its alerts' rules.
async fn watch(router: &Router) -> Prometheus {
    // What stands under `spec:` of the object is a file of rules.
    let object = read("components/prometheus/alerts.yaml");
    let (_, spec) = object.split_once("\nspec:\n").expect("a spec");
    let rules: String = spec.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or_default())).collect();
    let file = router.path("alerts.yml");
    fs::write(&file, rules).unwrap();
    let file = file.display();
    let address = router.address();
    Prometheus::start(&format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{file}']\nscrape_configs:\n\
         - job_name: heapster\n  static_configs: [{{targets: ['{address}'], labels: {{namespace: kube-system}}}}]\n"
    ))
    .await
}

/// The alerts, `name` and `state`, once each was judged.
async fn alerts(server: &Prometheus) -> Vec<(String, String)> {
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = server.get("/api/v1/rules", &[]).await;
        let groups = answer["data"]["groups"].as_array().expect("groups");
        let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).collect();
        assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:#?}");
        if !rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok") {
            return rules.iter().map(|rule| (text(rule, "name").into(), text(rule, "state").into())).collect();
        }
        assert!(Instant::now() < until, "not judged: {rules:#?}");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_on_millraces_own_metrics_finds_something() {
    let sim = Kubesim::builder().size(3, 2, 1).start().await.unwrap();
    // One of everything: a node that fails, a rule that does, one in the shadow, a sink.
    sim.fail(1, Failure::Internal).await;
    let router = setup(&sim, "[[sink]]\ntype = 'log'\n")
        .file("rules/60-beside.wasm", guest("drop_all"))
        .file("rules/60-beside.toml", "shadow = true\n")
        .file("rules/70-refuses.wasm", guest("refuses_batch"))
        .start()
        .await;
    let server = watch(&router).await;
    let dashboard = dashboard("grafana/millrace/millrace.json");
    let values = [("instance", ".*"), ("__rate_interval", "10s")];
    let variables = variables(&dashboard);
    assert_eq!(variables.len(), 1, "{variables:?}");
    assert_eq!(variables[0].1["query"], "label_values(millrace_uptime_seconds, instance)");
    let queries = queries(&dashboard, "expr");
    assert!(queries.len() > 50, "{}", queries.len());
    let until = Instant::now() + DEADLINE;
    for (panel, query) in &queries {
        let query = fill(query, &values);
        while server.query(&query).await.is_empty() {
            assert!(Instant::now() < until, "{panel}: `{query}` gives nothing");
            tokio::time::sleep(POLL).await;
        }
    }
    // What goes wrong here is what is called out.
    let until = Instant::now() + DEADLINE;
    loop {
        let alerts = alerts(&server).await;
        let awake: BTreeSet<&str> =
            alerts.iter().filter(|(_, state)| state != "inactive").map(|(name, _)| name.as_str()).collect();
        if awake == BTreeSet::from(["MillraceNodesDontAnswer", "MillraceRuleFails"]) {
            break;
        }
        assert!(Instant::now() < until, "awake: {awake:?}");
        tokio::time::sleep(POLL).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_about_metrics_that_there_are_and_quiet_where_all_is_well() {
    let sim = Kubesim::builder().size(2, 2, 1).start().await.unwrap();
    let mut router = setup(&sim, "[[sink]]\ntype = 'log'\n").start().await;
    router.cycle(2).await;
    let server = watch(&router).await;
    // The first scrape may come after the first judgement.
    let until = Instant::now() + DEADLINE;
    while server.query("up == 1").await.is_empty() {
        assert!(Instant::now() < until, "it is not scraped");
        tokio::time::sleep(POLL).await;
    }
    let until = Instant::now() + DEADLINE;
    loop {
        let alerts = alerts(&server).await;
        assert!(alerts.len() > 10, "{alerts:?}");
        if alerts.iter().all(|(_, state)| state == "inactive") {
            break;
        }
        assert!(Instant::now() < until, "{alerts:?}");
        tokio::time::sleep(POLL).await;
    }
    let (_, page) = router.page("/metrics").await;
    let there: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let alerts = read("components/prometheus/alerts.yaml");
    let mut named = 0;
    for word in alerts.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
        if word.starts_with("millrace_") {
            let family = word.strip_suffix("_bucket").unwrap_or(word);
            assert!(there.contains(family), "no metric {word} in {there:?}");
            named += 1;
        }
    }
    assert!(named > 15, "{named}");
    router.stop().await;
}

#[test]
fn panels_lie_beside_each_other_and_ask_the_chosen_source() {
    let mut seen = BTreeSet::new();
    for dashboard in all() {
        let title = text(&dashboard, "title");
        assert!(seen.insert(text(&dashboard, "uid").to_owned()), "{title}: the uid is another's, too");
        assert!(
            dashboard["tags"].as_array().unwrap().contains(&"millrace".into()),
            "{title}: not in the list of links"
        );
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in panels(&dashboard) {
            let name = text(panel, "title");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}, {name}: the id is another's, too");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(x + w <= 24, "{title}, {name}: over the edge");
            for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(place), "{title}, {name}: over another panel");
            }
            if panel["type"] == "row" {
                continue;
            }
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}, {name}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}, {name}: no unit");
        }
    }
}

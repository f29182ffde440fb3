//! `/metrics/cluster`: strictly valid, equal to what the model API and the export say of the same cycle, and scraped by
//! a real Prometheus.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millrace::batch::{Batch, BatchBuilder, Descriptor, Level, Origin};
use millrace_tests::exposition::{Family, Format, parse};
use millrace_tests::fixtures::prometheus::{Prometheus, check_metrics};
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::{Failure, Kubesim};
use serde_json::Value;
use served::Served;

#[allow(dead_code, reason = "each test uses a part")]
mod served;

const DEADLINE: Duration = Duration::from_secs(60);
const PAGE: &str = "/metrics/cluster";
const OPEN: &str = "application/openmetrics-text;version=1.0.0";

type Labels = BTreeMap<String, String>;
/// An entity's path in the model, its level, and its labels.
type Entity = (String, &'static str, Vec<(&'static str, String)>);

/// The table of the documentation: what a metric is called after its level, and what its values are divided by.
fn documented() -> BTreeMap<String, (String, f64)> {
    let text = include_str!("../../docs/PROMETHEUS.md");
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 6);
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(cell).collect();
        let divisor = cells[4].strip_prefix("/ ").map_or(1.0, |text| text.parse().unwrap());
        (cells[1].clone(), (cells[2].clone(), divisor))
    };
    rows.map(row).collect()
}

fn named(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// One value of a page.
fn value(page: &BTreeMap<String, Family>, series: &str, labels: &Labels) -> f64 {
    let key = (series.to_owned(), labels.clone());
    let family = page.get(series).or_else(|| page.get(series.trim_end_matches("_total")));
    let value = family.and_then(|family| family.series.get(&key));
    *value.unwrap_or_else(|| panic!("no {series} {labels:?} beside {:?}", family.map(|it| it.series.keys())))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_valid_in_both_formats_and_says_what_the_export_says() {
    let mut served = Served::start().await;
    served.run_to(4);
    let (status, kind, open) = served.get(PAGE, Some(OPEN)).await;
    assert_eq!((status, kind.as_str()), (200, "application/openmetrics-text"));
    let (status, kind, text) = served.get(PAGE, None).await;
    assert_eq!((status, kind.as_str()), (200, "text/plain"));
    let (open, text) = (parse(&open, Format::OpenMetrics).unwrap(), parse(&text, Format::Text).unwrap());
    let all = |page: &BTreeMap<String, Family>| -> Vec<_> {
        let mut all: Vec<_> = page.values().flat_map(|family| family.series.clone()).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    assert_eq!(all(&open), all(&text));
    assert_eq!(value(&text, "heapster_points_left_out", &Labels::new()), 0.0);

    let (table, mut compared) = (documented(), 0);
    for item in served.json("/api/v1/metric-export").await.as_array().unwrap() {
        let label = |name: &str| item["labels"][name].as_str().unwrap_or_default();
        let (node, namespace) = (("node", label("nodename")), ("namespace", label("namespace_name")));
        let (pod, container) = (("pod", label("pod_name")), ("container", label("container_name")));
        let (level, identity) = match (container.1, pod.1) {
            ("machine", _) => ("node", vec![node]),
            ("/pod", _) => ("pod", vec![node, pod]),
            (_, "") => ("system_container", vec![node, container]),
            _ => ("container", vec![node, pod, container]),
        };
        for (metric, points) in item["metrics"].as_object().unwrap() {
            let (name, divisor) = table.get(metric).unwrap_or_else(|| panic!("{metric} is not documented"));
            for point in points.as_array().unwrap() {
                let mut labels = named(&identity);
                let own = point["labels"].as_object().into_iter().flatten();
                labels.extend(own.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())));
                // The export has no names of namespaces.
                let series = format!("heapster_{level}_{name}");
                let family = text.get(&series).unwrap_or_else(|| panic!("no {series}"));
                let found = family.series.iter().find(|((_, found), _)| {
                    let mut found = found.clone();
                    found.remove("namespace");
                    found == labels
                });
                let want = point["value"].as_f64().unwrap() / divisor;
                let (_, found) = found.unwrap_or_else(|| panic!("no {series} {labels:?} {namespace:?}"));
                assert!((found - want).abs() <= want.abs() * 1e-12, "{series} {labels:?}: {found}, not {want}");
                compared += 1;
            }
        }
    }
    assert!(compared > 300, "{compared}");
    let described = named(&[
        ("namespace", "default"),
        ("node", "node-b.example.com"),
        ("pod", "gpu-job"),
        ("container", "cuda"),
        ("image", "cuda:9"),
    ]);
    assert_eq!(value(&text, "heapster_container_info", &described), 1.0);
    assert!(open.contains_key("heapster_container") && open["heapster_container"].kind == "info");
}

/// Whatever a rule may make.
fn hostile() -> Vec<Batch> {
    let mut builder = BatchBuilder::new(Origin::Totals("rule".to_owned()), 0);
    let texts = ["a\"b", "a\\", "a\nb", "a,b}", "é", "\r", "\0", "{", "__x", "1", "", " ", "le", "namespace"];
    for (at, text) in texts.iter().enumerate() {
        builder.entity(Level::Other, 0);
        for (name, value) in [("n", &*at.to_string()), (text, text), ("other", text), ("o-ther", "2"), ("o.ther", "3")]
        {
            let (name, value) = (builder.symbol(name), builder.symbol(value));
            builder.label(name, value);
        }
        for (metric, bits) in [(format!("m/{text}"), 1_u64), (format!("{text}_total"), 2), ("same".to_owned(), 3)] {
            let metric = builder.metric(Descriptor::gauge(&metric, text));
            builder.point(metric, 0, 0, bits);
        }
        let counter = builder.metric(Descriptor::cumulative("counter", "ms"));
        builder.point(counter, 0, 0, 1_500);
        let float = builder.metric(Descriptor::gauge("float", "percent").float());
        builder.point(float, 0, 0, 2.5_f64.to_bits());
    }
    // The same series twice, and a gauge with a counter's name.
    for _ in 0..2 {
        builder.entity(Level::Namespace, 0);
        let (name, value) = (builder.symbol("namespace_name"), builder.symbol("twice"));
        builder.label(name, value);
        for metric in [Descriptor::gauge("a.b", ""), Descriptor::gauge("a_b", ""), Descriptor::cumulative("a-b", "")] {
            let metric = builder.metric(metric);
            builder.point(metric, 0, 0, 9);
        }
    }
    vec![builder.build()]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_rules_make_the_page_stays_valid_and_tells_what_it_leaves_out() {
    let mut served = Served::start().await;
    let (status, _, text) = served.get(PAGE, Some(OPEN)).await;
    assert_eq!((status, text.as_str()), (200, "# EOF\n"), "before the first cycle");
    served.run_with(hostile());
    let (_, _, open) = served.get(PAGE, Some(OPEN)).await;
    let (_, _, text) = served.get(PAGE, None).await;
    let open = parse(&open, Format::OpenMetrics).unwrap_or_else(|error| panic!("{error}\n{open}"));
    let page = parse(&text, Format::Text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(
        open.values().map(|it| it.series.len()).sum::<usize>(),
        page.values().map(|it| it.series.len()).sum::<usize>()
    );
    let counter = &page["heapster_other_counter_seconds_total"];
    assert!(counter.series.len() == 14 && counter.series.values().all(|value| *value == 1.5), "{counter:?}");
    assert!(page["heapster_other_float_ratio"].series.values().all(|value| *value == 0.025));
    // Of a.b, a_b and a-b, each twice, the counter is there once.
    assert_eq!(value(&page, "heapster_namespace_a_b_total", &named(&[("namespace", "twice")])), 9.0);
    assert_eq!(value(&page, "heapster_points_left_out", &Labels::new()), 5.0, "{text}");
    // What the last cycle has not is gone.
    served.run_with(vec![]);
    let page = parse(&served.get(PAGE, None).await.2, Format::Text).unwrap();
    assert_eq!(page.keys().collect::<Vec<_>>(), ["heapster_cycle_time_seconds", "heapster_points_left_out"]);
}

fn config(sim: &Kubesim) -> String {
    let (api, port) = (sim.api_url(), sim.kubelet_port());
    format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{api}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {port}\n[[sink]]\ntype = 'log'\n"
    )
}

/// Polls until something is as wanted.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(now) => assert!(Instant::now() < deadline, "not {what}: {now}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Values of the model API by their times in ms.
async fn modelled(router: &Router, path: &str) -> BTreeMap<i64, f64> {
    let (status, text) = router.page(&format!("/api/v1/model{path}")).await;
    assert_eq!(status.as_u16(), 200, "{path}: {text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let point = |point: &Value| {
        let time: jiff::Timestamp = point["timestamp"].as_str().unwrap().parse().unwrap();
        let float = point["floatValue"].as_f64().or_else(|| point["value"].as_f64()).unwrap();
        (time.as_millisecond(), float)
    };
    answer["metrics"].as_array().unwrap().iter().map(point).collect()
}

async fn names(router: &Router, path: &str) -> Vec<String> {
    let (_, text) = router.page(&format!("/api/v1/model{path}")).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}

/// What Prometheus stored of one series, by the time of the cycle that each scrape was of.
fn scraped(stored: &[(Labels, Vec<(i64, f64)>)], series: &str, labels: &[(&str, &str)]) -> BTreeMap<i64, f64> {
    let of = |name: &str, labels: &[(&str, &str)]| -> BTreeMap<i64, f64> {
        let mut wanted = named(labels);
        wanted.insert("__name__".to_owned(), name.to_owned());
        let fits = |found: &Labels| {
            let mut found = found.clone();
            (found.remove("job"), found.remove("instance")) != (None, None) && found == wanted
        };
        stored
            .iter()
            .find(|(found, _)| fits(found))
            .map(|(_, points)| points.iter().copied().collect())
            .unwrap_or_default()
    };
    let cycles = of("heapster_cycle_time_seconds", &[]);
    of(series, labels).into_iter().map(|(at, value)| ((cycles[&at] * 1e3).round() as i64, value)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_what_the_model_api_says_and_what_is_gone_ends() {
    let sim = Kubesim::builder().size(2, 3, 2).start().await.unwrap();
    let mut router = Setup::new(&config(&sim)).start().await;
    router.cycle(3).await;
    let (_, page) = router.page(PAGE).await;
    assert_eq!(check_metrics(&page), "", "promtool has nothing to say");
    parse(&page, Format::Text).unwrap();

    let scrape = format!(
        "global:\n  scrape_interval: 500ms\n  scrape_timeout: 400ms\nscrape_configs:\n- job_name: cluster\n  \
         honor_labels: true\n  metrics_path: {PAGE}\n  static_configs:\n  - targets: ['{}']\n",
        router.address()
    );
    let prometheus = Prometheus::start(&scrape).await;
    until("scraped in four cycles", async || {
        let up = prometheus.query("min_over_time(up[1m]) == 1").await;
        let seen = prometheus.query("changes(heapster_cycle_time_seconds[1m])").await;
        if up.len() == 1 && seen.first().is_some_and(|(_, changes)| *changes >= 4.0) {
            Ok(())
        } else {
            Err(format!("{up:?} {seen:?}"))
        }
    })
    .await;

    let now = jiff::Timestamp::now().as_millisecond() as f64 / 1e3;
    let stored = prometheus.samples("{job=\"cluster\"}", "10m", now).await;
    let table = documented();
    let mut compared = 0;
    let mut entities: Vec<Entity> = vec![(String::new(), "cluster", vec![])];
    for node in names(&router, "/nodes/").await {
        entities.push((format!("/nodes/{node}"), "node", vec![("node", node)]));
    }
    for namespace in names(&router, "/namespaces/").await {
        entities.push((format!("/namespaces/{namespace}"), "namespace", vec![("namespace", namespace.clone())]));
        for pod in names(&router, &format!("/namespaces/{namespace}/pods/")).await {
            let path = format!("/namespaces/{namespace}/pods/{pod}");
            let of_pod = stored.iter().find(|(labels, _)| labels.get("pod") == Some(&pod));
            let node = of_pod.unwrap_or_else(|| panic!("no {pod}")).0["node"].clone();
            let labels = vec![("namespace", namespace.clone()), ("node", node), ("pod", pod)];
            for container in names(&router, &format!("{path}/containers/")).await {
                let labels = [labels.clone(), vec![("container", container.clone())]].concat();
                entities.push((format!("{path}/containers/{container}"), "container", labels));
            }
            entities.push((path, "pod", labels));
        }
    }
    for (path, level, labels) in entities {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for metric in names(&router, &format!("{path}/metrics/")).await {
            let (name, divisor) = table.get(&metric).unwrap_or_else(|| panic!("{metric} is not documented"));
            let (theirs, series) =
                (modelled(&router, &format!("{path}/metrics/{metric}")).await, format!("heapster_{level}_{name}"));
            for (time, value) in scraped(&stored, &series, &labels) {
                let want = theirs[&time] / divisor;
                assert!((value - want).abs() <= want.abs() * 1e-12, "{series} {labels:?} {time}: {value}, not {want}");
                compared += 1;
            }
        }
    }
    assert!(compared > 500, "{compared}");

    // A node that does not answer ends its series and those of its pods; the others go on.
    let dead = sim.node_name(1);
    sim.fail(1, Failure::Internal).await;
    until("ended", async || {
        let of_dead = prometheus.query(&format!("{{node=\"{dead}\"}}")).await.len();
        let others = prometheus.query("heapster_node_memory_usage_bytes").await.len();
        if (of_dead, others) == (0, 1) { Ok(()) } else { Err(format!("{of_dead} {others}")) }
    })
    .await;
    router.stop().await;

    let router = Setup::new(&format!("{}[store]\nkeep = '0s'\n", config(&sim))).start().await;
    let (status, text) = router.page(PAGE).await;
    assert!(status.as_u16() == 404 && text.contains("nothing is kept"), "{text}");
    router.stop().await;
}

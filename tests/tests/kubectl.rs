//! Millrace behind an API server, asked by real kubectls: every minor version that is found. What they print
//! must be what the model API has.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use millrace_tests::fixtures::kubectl::Kubectl;
use millrace_tests::fixtures::process::Outcome;
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::{Backend, Failure, Grant, Kubesim, NodeSet};
use millrace_tests::pki::Authority;
use serde_json::{Value, json};
use tempfile::TempDir;

const BETA: &str = "/apis/metrics.k8s.io/v1beta1";

/// A cluster that is sampled every second, and Millrace behind its API server.
struct Cluster {
    sim: Kubesim,
    router: Router,
    home: TempDir,
}

impl Cluster {
    /// One whose kubelets do not answer yet.
    async fn start() -> Self {
        let sim = Kubesim::builder().size(2, 4, 2).configure(|config| {
            config.namespaces = 2;
            config.resolution = std::time::Duration::from_secs(1);
        });
        let sim = sim.fail(NodeSet::Percent(100.0), Failure::Internal).start().await.unwrap();
        let config = format!(
            "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\nport = {}\n\
             [[sink]]\ntype = 'log'\n",
            sim.api_url(),
            sim.kubelet_port()
        );
        let router = Setup::new(&config).start().await;
        Self { sim, router, home: tempfile::tempdir().unwrap() }
    }

    fn register(&self) {
        self.sim.aggregate(Some(Backend::plain(&format!("http://{}", self.router.address()))));
    }

    /// Lets the kubelets answer, and waits until every pod has rates.
    async fn heal(&mut self) {
        for node in 0..self.sim.node_count() {
            self.sim.heal(node).await;
        }
        for _ in 0..200 {
            self.router.cycles(1).await;
            let (_, text) = self.router.page(&format!("{BETA}/pods")).await;
            if text.parse::<Value>().unwrap()["items"].as_array().unwrap().len() == 8 {
                return;
            }
        }
        panic!("not every pod has metrics: {}", self.router.page(&format!("{BETA}/pods")).await.1);
    }

    fn kubectl(&self, kubectl: &Kubectl, args: &str) -> Outcome {
        let args: Vec<&str> = args.split(' ').collect();
        tokio::task::block_in_place(|| kubectl.run(&self.home, &self.sim.api_url(), &args))
    }

    /// The words of the lines that a command prints, without its head.
    fn rows(&self, kubectl: &Kubectl, args: &str, head: &[&str]) -> Vec<Vec<String>> {
        let outcome = self.kubectl(kubectl, args);
        assert_eq!(outcome.code(), Some(0), "{:?} {args}: {outcome:?}", kubectl.version);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut lines = outcome.stdout.lines().map(words);
        let found = lines.next().unwrap_or_default();
        assert_eq!(found, head, "{:?} {args}: {outcome:?}", kubectl.version);
        lines.collect()
    }

    /// All values of one metric that the model API has, by their timestamps.
    async fn series(&self, entity: &str, metric: &str) -> BTreeMap<String, u64> {
        let (_, text) = self.router.page(&format!("/api/v1/model/{entity}/metrics/{metric}")).await;
        let result: Value = text.parse().unwrap();
        let points = result["metrics"].as_array().unwrap().iter();
        points
            .map(|point| (point["timestamp"].as_str().unwrap().to_owned(), point["value"].as_u64().unwrap()))
            .collect()
    }

    /// What may be printed: CPU and memory of one moment, of all these entities together.
    async fn usages(&self, entities: &[String]) -> BTreeSet<(u64, u64)> {
        let mut sums: BTreeMap<String, (u64, u64, usize)> = BTreeMap::new();
        for entity in entities {
            let memory = self.series(entity, "memory/working_set").await;
            for (time, cpu) in self.series(entity, "cpu/usage_rate").await {
                if let Some(memory) = memory.get(&time) {
                    let sum = sums.entry(time).or_default();
                    *sum = (sum.0 + cpu, sum.1 + memory, sum.2 + 1);
                }
            }
        }
        let whole = sums.into_values().filter(|(.., count)| *count == entities.len());
        whole.map(|(cpu, memory, _)| (cpu, memory >> 20)).collect()
    }

    /// Containers of a pod as entities of the model.
    async fn containers(&self, namespace: &str, pod: &str) -> Vec<String> {
        let pod = format!("namespaces/{namespace}/pods/{pod}");
        let (_, text) = self.router.page(&format!("/api/v1/model/{pod}/containers")).await;
        let names: Vec<String> = serde_json::from_str(&text).unwrap();
        names.into_iter().map(|name| format!("{pod}/containers/{name}")).collect()
    }

    async fn agrees(&self, what: &str, entities: &[String], cpu: &str, memory: &str) {
        let usages = self.usages(entities).await;
        let printed = (number(cpu, "m"), number(memory, "Mi"));
        assert!(usages.contains(&printed), "{what}: {printed:?} is none of {usages:?}");
    }
}

fn number(text: &str, unit: &str) -> u64 {
    text.strip_suffix(unit).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("`{text}` in {unit}"))
}

/// Says so when there is none.
fn kubectls() -> Vec<Kubectl> {
    let all = Kubectl::all();
    if all.is_empty() {
        eprintln!("skipped: no kubectl found; `make setup` fetches one, or set MILLRACE_KUBECTL to its path");
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kubectl_prints_what_the_model_api_has() {
    let kubectls = kubectls();
    if kubectls.is_empty() {
        return;
    }
    let versions: Vec<String> = kubectls.iter().map(|one| format!("{}.{}", one.version.0, one.version.1)).collect();
    eprintln!("kubectl {}", versions.join(", "));
    let mut cluster = Cluster::start().await;
    for kubectl in [&kubectls[0], &kubectls[kubectls.len() - 1]] {
        without_metrics(&cluster, kubectl);
    }
    cluster.register();
    cluster.router.cycle(2).await;
    for kubectl in &kubectls {
        // What was discovered before is kept by clients.
        cluster.home = tempfile::tempdir().unwrap();
        before_the_first_values(&cluster, kubectl);
    }
    cluster.heal().await;
    for kubectl in &kubectls {
        top(&cluster, kubectl).await;
        get(&cluster, kubectl);
    }
    let asked = cluster.sim.requests();
    assert!(asked.iter().any(|entry| entry.path == format!("{BETA}/pods") && entry.status == 200));
}

fn without_metrics(cluster: &Cluster, kubectl: &Kubectl) {
    let outcome = cluster.kubectl(kubectl, "top nodes");
    let said = outcome.stderr.contains("Metrics API not available");
    assert!(outcome.code() == Some(1) && said, "{:?}: {outcome:?}", kubectl.version);
}

fn before_the_first_values(cluster: &Cluster, kubectl: &Kubectl) {
    let outcome = cluster.kubectl(kubectl, "top nodes");
    let said = outcome.stderr.to_lowercase().contains("metrics not available yet");
    assert!(outcome.code() == Some(1) && said, "{:?}: {outcome:?}", kubectl.version);
    let rows = cluster.kubectl(kubectl, "get nodes.metrics.k8s.io");
    assert!(rows.stderr.contains("No resources found"), "{:?}: {rows:?}", kubectl.version);
}

async fn top(cluster: &Cluster, kubectl: &Kubectl) {
    let percent = if kubectl.version >= (1, 32) { ["CPU(%)", "MEMORY(%)"] } else { ["CPU%", "MEMORY%"] };
    let nodes = ["NAME", "CPU(cores)", percent[0], "MEMORY(bytes)", percent[1]];
    let rows = cluster.rows(kubectl, "top nodes", &nodes);
    assert_eq!(rows.len(), 2, "{rows:?}");
    let one = cluster.rows(kubectl, &format!("top node {}", cluster.sim.node_name(0)), &nodes);
    let zone = cluster.rows(kubectl, "top nodes -l topology.kubernetes.io/zone=sim-1b", &nodes);
    assert_eq!((one.len(), zone.len(), &*zone[0][0]), (1, 1, &*cluster.sim.node_name(1)));
    for row in rows.iter().chain(&one).chain(&zone) {
        cluster.agrees(&row[0], &[format!("nodes/{}", row[0])], &row[1], &row[3]).await;
        assert_eq!(number(&row[2], "%"), number(&row[1], "m") * 100 / 15_900, "{row:?}");
    }

    let pods = ["NAMESPACE", "NAME", "CPU(cores)", "MEMORY(bytes)"];
    let rows = cluster.rows(kubectl, "top pods -A", &pods);
    assert_eq!(rows.len(), 8, "{rows:?}");
    for row in &rows {
        let containers = cluster.containers(&row[0], &row[1]).await;
        cluster.agrees(&row[1], &containers, &row[2], &row[3]).await;
    }
    let by_cpu = cluster.rows(kubectl, "top pods -A --sort-by=cpu", &pods);
    assert!(by_cpu.is_sorted_by(|a, b| number(&a[2], "m") >= number(&b[2], "m")), "{by_cpu:?}");
    let (namespace, pod) = (&rows[0][0], &rows[0][1]);
    let selected = cluster.rows(kubectl, &format!("top pods -n {namespace} -l !none,app!=none"), &pods[1..]);
    let theirs = rows.iter().filter(|row| row[0] == *namespace).count();
    assert_eq!(selected.len(), theirs, "{selected:?}");
    let daemons = cluster.rows(kubectl, "top pods -A -l k8s-app", &pods);
    assert_eq!(daemons.len(), 2, "one on each node: {daemons:?}");
    let one = cluster.rows(kubectl, &format!("top pod -n {namespace} {pod}"), &pods[1..]);
    assert_eq!((one.len(), &one[0][0]), (1, pod));

    let containers = ["NAMESPACE", "POD", "NAME", "CPU(cores)", "MEMORY(bytes)"];
    let rows = cluster.rows(kubectl, "top pods -A --containers", &containers);
    assert_eq!(rows.len(), 16, "{rows:?}");
    for row in &rows {
        let entity = format!("namespaces/{}/pods/{}/containers/{}", row[0], row[1], row[2]);
        cluster.agrees(&row[2], &[entity], &row[3], &row[4]).await;
    }
    if kubectl.version >= (1, 27) {
        let rows = cluster.rows(kubectl, "top pods -A --sum", &pods);
        let (sum, parts) = (&rows[9], &rows[..8]);
        let total = parts.iter().map(|row| number(&row[2], "m")).sum::<u64>();
        assert_eq!(number(&sum[0], "m"), total, "{rows:?}");
    }
    let unknown = cluster.kubectl(kubectl, &format!("top pod -n {namespace} nope"));
    assert!(unknown.code() == Some(1) && unknown.stderr.contains("(NotFound): pods \"nope\" not found"), "{unknown:?}");
}

fn get(cluster: &Cluster, kubectl: &Kubectl) {
    let nodes = cluster.rows(kubectl, "get nodes.metrics.k8s.io", &["NAME", "CPU", "MEMORY", "WINDOW"]);
    assert!(nodes.len() == 2 && nodes.iter().all(|row| row[3] == "1s"), "{nodes:?}");
    let head = ["NAMESPACE", "NAME", "CPU", "MEMORY", "WINDOW"];
    let pods = cluster.rows(kubectl, "get pods.metrics.k8s.io -A", &head);
    assert_eq!(pods.len(), 8, "{pods:?}");
    let yaml = cluster.kubectl(kubectl, "get pods.metrics.k8s.io -A -o yaml").stdout;
    for (part, count) in [("kind: PodMetrics\n", 8), ("apiVersion: metrics.k8s.io/v1beta1\n", 8), ("    usage:\n", 16)]
    {
        assert_eq!(yaml.matches(part).count(), count, "{part}: {yaml}");
    }
    let raw = cluster.kubectl(kubectl, &format!("get --raw {BETA}/nodes"));
    let raw: Value = serde_json::from_str(&raw.stdout).unwrap();
    assert_eq!((&raw["kind"], raw["items"].as_array().unwrap().len()), (&json!("NodeMetricsList"), 2));
    let resources = cluster.kubectl(kubectl, "api-resources --api-group=metrics.k8s.io -o name --cached=false");
    assert_eq!(resources.stdout, "nodes.metrics.k8s.io\npods.metrics.k8s.io\n", "{resources:?}");
    // Before, it wants what the API server alone has: the schemas of everything, as protobuf.
    if kubectl.version >= (1, 30) {
        let explained = cluster.kubectl(kubectl, "explain pods.containers --api-version=metrics.k8s.io/v1beta1");
        assert!(explained.stdout.contains("usage"), "{:?}: {explained:?}", kubectl.version);
    }
}

/// As in a real cluster: tokens at the API server, the front proxy's certificate behind it.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_list_is_told_so_by_kubectl() {
    let kubectls = kubectls();
    let (front_proxy, clients) = (Authority::new("front-proxy-ca").unwrap(), Authority::new("cluster-ca").unwrap());
    let sim = Kubesim::builder().size(2, 2, 1).configure(|config| {
        config.https = true;
        config.resolution = std::time::Duration::from_secs(1);
    });
    let sim = sim.start().await.unwrap();
    sim.publish_authorities(&front_proxy.pem(), &["front-proxy-client"], &clients.pem());
    sim.know_token("annas-token", "anna", &["viewers"]);
    sim.know_token("ottos-token", "otto", &[]);
    sim.grant(Grant::of("viewers", "list", "nodes.metrics.k8s.io"));
    let config = "resolution = '1s'\n[source.kubernetes]\napi-server = 'FOLDER/kubeconfig'\n[http.secure]\nlisten = '127.0.0.1:0'\n";
    let setup = Setup::new(config).file("kubeconfig", sim.kubeconfig()).file("ca.crt", sim.ca_pem().unwrap());
    let mut router = setup.start().await;
    let port = router.logged(|line| line["message"] == "secure port").await;
    router.logged(|line| line["message"] == "authorities of the cluster" && line["front_proxy"] == true).await;
    let identity = front_proxy.client("front-proxy-client", "", 2090).unwrap();
    let identity = format!("{}{}", identity.certificate, identity.key);
    let client = reqwest::Client::builder().no_proxy().no_gzip().tls_danger_accept_invalid_certs(true);
    let client = client.identity(reqwest::Identity::from_pem(identity.as_bytes()).unwrap()).build().unwrap();
    sim.aggregate(Some(Backend::new(&format!("https://{}", port["address"].as_str().unwrap()), client)));
    // A rate needs two samples.
    router.cycles(4).await;

    let ca = router.path("ca.crt");
    for kubectl in &kubectls {
        let home = tempfile::tempdir().unwrap();
        let run = |token: &str, args: &str| {
            let authority = format!("--certificate-authority={}", ca.display());
            let token = format!("--token={token}");
            let args: Vec<&str> = [&*authority, &*token].into_iter().chain(args.split(' ')).collect();
            tokio::task::block_in_place(|| kubectl.run(&home, &sim.api_url(), &args))
        };
        let printed = run("annas-token", "top nodes");
        assert!(printed.code() == Some(0) && printed.stdout.lines().count() == 3, "{:?}: {printed:?}", kubectl.version);
        for (token, user, command, what) in
            [("annas-token", "anna", "top pods -A", "pods"), ("ottos-token", "otto", "top nodes", "nodes")]
        {
            let refused = run(token, command);
            let sentence = format!(
                "{what}.metrics.k8s.io is forbidden: User \"{user}\" cannot list resource \"{what}\" in API group \"metrics.k8s.io\" at \
                 the cluster scope"
            );
            assert!(
                refused.code() == Some(1) && refused.stderr.contains(&sentence),
                "{:?}: {refused:?}",
                kubectl.version
            );
        }
    }
}

/// By the paths that they had at the API server: they ask Heapster's service through its proxy.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_heapsters_service_reach_it_through_the_service_proxy() {
    let mut cluster = Cluster::start().await;
    cluster.register();
    cluster.heal().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let services = "/api/v1/namespaces/kube-system/services";
    let json = async |path: &str| {
        let response = client.get(format!("{}{services}/{path}", cluster.sim.api_url())).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        response.text().await.unwrap().parse::<Value>().unwrap()
    };
    // kubectl top up to 1.10.
    let top = "http:heapster:/proxy/apis/metrics/v1alpha1";
    let nodes = json(&format!("{top}/nodes?labelSelector=")).await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2, "{nodes}");
    let name = cluster.sim.node_name(1);
    assert_eq!(json(&format!("{top}/nodes/{name}?labelSelector=")).await["metadata"]["name"], *name);
    let pods = json(&format!("{top}/pods?labelSelector=")).await;
    assert_eq!(pods["items"].as_array().unwrap().len(), 8, "{pods}");
    let of = |field: &str| pods["items"][0]["metadata"][field].as_str().unwrap().to_owned();
    let (namespace, pod) = (of("namespace"), of("name"));
    let one = json(&format!("{top}/namespaces/{namespace}/pods/{pod}?labelSelector=")).await;
    assert_eq!(one["containers"].as_array().unwrap().len(), 2, "{one}");
    // The autoscaler of the same time.
    let of_namespace = json(&format!("{top}/namespaces/{namespace}/pods?labelSelector=%21none")).await;
    assert_eq!(of_namespace["items"][0]["window"], "1m0s", "{of_namespace}");
    let start = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 300).unwrap();
    let model = "http:heapster:/proxy/api/v1/model";
    let path = format!("{model}/namespaces/{namespace}/pod-list/{pod},{pod}/metrics/cpu/usage_rate?start={start}");
    assert_eq!(json(&path).await["items"].as_array().unwrap().len(), 2);
    // The dashboard's check.
    let health =
        client.get(format!("{}{services}/heapster/proxy/healthz", cluster.sim.api_url())).send().await.unwrap();
    assert_eq!((health.status().as_u16(), health.text().await.unwrap().as_str()), (200, "ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_behind_learns_from_the_api_server_alone_who_asks() {
    let echo = axum::Router::new().fallback(async |headers: http::HeaderMap| {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines.join("\n")
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, echo).await });
    let sim = Kubesim::builder().configure(|config| config.token = Some("secret".to_owned())).start().await.unwrap();
    sim.aggregate(Some(Backend::plain(&format!("http://{address}"))));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = |token: &str| {
        let request = client.get(format!("{}{BETA}/nodes", sim.api_url())).bearer_auth(token);
        request.header("x-remote-user", "mallory").header("X-Remote-Group", "system:masters").send()
    };
    assert_eq!(ask("wrong").await.unwrap().status().as_u16(), 401);
    let seen = ask("secret").await.unwrap().text().await.unwrap();
    for line in ["x-remote-user: kubernetes-admin", "x-remote-group: system:authenticated"] {
        assert!(seen.lines().any(|seen| seen == line), "{line}: {seen}");
    }
    assert!(
        seen.contains("x-forwarded-for: 127.0.0.1") && !seen.contains("mallory") && !seen.contains("secret"),
        "{seen}"
    );
    sim.aggregate(Some(Backend::plain("http://127.0.0.1:9")));
    let gone = ask("secret").await.unwrap();
    assert_eq!(gone.status().as_u16(), 503);
    assert!(gone.text().await.unwrap().contains("error trying to reach service"));
}

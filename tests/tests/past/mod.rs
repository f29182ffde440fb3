//! A Millrace that reads a database, and a database with something in it.

use millrace_tests::fixtures::influxd::Influxd;
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::Kubesim;
use serde_json::Value;

/// Where the historical API stands.
pub const PAST: &str = "/api/v1/historical";
/// Where the points of [`ten_points`] begin: a whole minute, s since the epoch.
pub const BEGIN: i64 = 1_700_000_040;

/// Two nodes.
pub async fn cluster() -> Kubesim {
    Kubesim::builder().size(2, 2, 1).start().await.unwrap()
}

/// A cycle a second, with more TOML.
pub fn setup(sim: &Kubesim, more: &str) -> Setup {
    Setup::new(&format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n{more}",
        sim.api_url(),
        sim.kubelet_port(),
    ))
}

/// One that only reads a database.
pub async fn reader(sim: &Kubesim, url: &str, more: &str) -> Router {
    setup(sim, &format!("[historical]\nurl = '{url}'\n{more}\n[[sink]]\ntype = 'log'\n")).start().await
}

/// The JSON of a request that succeeds.
pub async fn json(router: &Router, path: &str) -> Value {
    let (status, text) = router.page(path).await;
    assert_eq!(status.as_u16(), 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}

/// A request that does not, and what the answer says.
pub async fn refused(router: &Router, path: &str, status: u16, says: &str) {
    let (answered, text) = router.page(path).await;
    assert_eq!(answered.as_u16(), status, "{path}: {text}");
    assert!(text.contains(says), "{path}: {text}");
}

/// Ten values, one a second, of a pod: 1 to 10, in both forms.
pub async fn ten_points(server: &Influxd) {
    server.query("", "CREATE DATABASE k8s").await;
    let mut lines = String::new();
    for value in 1..=10 {
        let time = (BEGIN + value - 1) * 1_000_000_000;
        let tags = "type=pod,namespace_name=ns,pod_name=p,pod_id=u-1";
        lines += &format!("memory/usage,{tags} value={value}i {time}\nmemory,{tags} usage={value}i {time}\n");
        lines += &format!("cpu/ratio,{tags} value={} {time}\n", value as f64 / 4.0);
    }
    server.write("k8s", &lines).await;
}

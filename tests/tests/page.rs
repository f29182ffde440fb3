//! The page at `/` in a real Chromium: what it shows of a simulated cluster, that it follows what changes,
//! works by keyboard, stands hostile names and outages, asks for rights on the secure port, and has nothing
//! against it in light and dark, on a desk and on a phone.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use millrace_tests::fixtures::browser::{Browser, Look};
use millrace_tests::fixtures::process::rule;
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::{Failure, Grant, Kubesim, NodeSet};
use serde_json::{Value, json};

const DESK: Look = Look { width: 1280, height: 900, scheme: "light" };
const DARK: Look = Look { scheme: "dark", ..DESK };
const PHONE: Look = Look { width: 360, height: 740, scheme: "light" };
const DARK_PHONE: Look = Look { scheme: "dark", ..PHONE };

/// Twelve nodes, one of which fails, and a sink whose server is dead.
async fn start() -> (Kubesim, Router) {
    let sim = Kubesim::builder().size(12, 5, 2).configure(|config| {
        config.resolution = Duration::from_secs(1);
        (config.churn, config.restarts, config.resets) = (0.0, 0.0, 0.0);
    });
    let sim = sim.fail(NodeSet::Range(3..4), Failure::Internal).start().await.unwrap();
    let config = format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\nport = {}\n\
         [rules]\ndir = 'FOLDER/rules'\n[[sink]]\ntype = 'log'\n[[sink]]\ntype = 'influxdb'\nurl = 'http://127.0.0.1:1'\n",
        sim.api_url(),
        sim.kubelet_port()
    );
    let heapster = fs::read(rule("rules/50-heapster.wasm")).unwrap();
    let mut router = Setup::new(&config).file("rules/50-heapster.wasm", heapster).start().await;
    router.cycle(3).await;
    (sim, router)
}

fn url(router: &Router) -> String {
    format!("http://{}/", router.address())
}

/// Waits until pods with rates and sparklines, a chart, rules, sinks and the map are there.
async fn drawn(browser: &mut Browser) {
    for wanted in [
        "document.querySelectorAll('#used tr').length === 20",
        "/\\sm$/.test(document.querySelector('#used td').textContent)",
        "document.querySelector('#used polyline.cpu') && document.querySelector('#used polyline.memory')",
        "document.querySelector('#chart polyline.cpu')",
        "document.querySelectorAll('#rules tr').length > 0",
        "document.querySelectorAll('#sinks > li').length === 2",
        "document.querySelectorAll('#map button').length === 12",
        "/points.s/.test(document.getElementById('sinks-rate').textContent)",
    ] {
        browser.until(wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_cluster_without_errors_and_to_everybody() {
    let Some(mut browser) = Browser::start() else { return };
    let (sim, mut router) = start().await;
    for (name, look) in [("light", DESK), ("dark", DARK), ("phone", PHONE), ("dark-phone", DARK_PHONE)] {
        browser.open(&url(&router), look).await;
        drawn(&mut browser).await;
        let pod = "document.querySelector('#used .pick').textContent";
        let sub = "document.querySelector('#used .sub').textContent.split(' ')[0]";
        let (pod, namespace) = (browser.evaluate(pod).await, browser.evaluate(sub).await);
        let path = format!("/api/v1/model/namespaces/{}/pods", namespace.as_str().unwrap());
        let pods: Value = serde_json::from_str(&router.page(&path).await.1).unwrap();
        assert!(pods.as_array().unwrap().contains(&pod), "{name}: {pod} of {namespace}: {pods}");
        // The dead sink, the node that fails, and the cluster's figures.
        let dead = "[...document.querySelectorAll('#sinks > li')].find((it) => /influxdb/.test(it.textContent) && \
                    /failing/.test(it.textContent) && /refused/.test(it.textContent))?.textContent";
        browser.until(dead).await;
        browser.until("document.querySelectorAll('#map .gone').length === 1").await;
        browser.until("/11 of 12 nodes/.test(document.getElementById('scrape-more').textContent)").await;
        assert_eq!(browser.violations().await, json!([]), "{name}");
        let wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.evaluate(wide).await, 0, "{name}: nothing sticks out");
        assert_eq!(browser.trouble().await, json!([]), "{name}");
        if let Some(folder) = env::var_os("MILLRACE_SCREENSHOTS") {
            browser.screenshot(&PathBuf::from(folder).join(format!("page-{name}.png"))).await;
        }
    }
    // On its own, and small.
    let loaded = "performance.getEntriesByType('resource').every((it) => it.name.startsWith(location.origin))";
    assert_eq!(browser.evaluate(loaded).await, true);
    let mut size = 0;
    for path in ["", "page/page.css", "page/main.js", "page/ask.js", "page/dom.js", "page/parts.js", "page/usage.js"] {
        let text = format!("fetch('{path}', {{ headers: {{ accept: 'text/html' }} }}).then((it) => it.text())");
        size += browser.evaluate(&text).await.as_str().unwrap().len();
        let policy = format!(
            "fetch('{path}', {{ headers: {{ accept: 'text/html' }} }}).then((it) => it.headers.get('content-security-policy'))"
        );
        let policy = browser.evaluate(&policy).await;
        assert!(
            policy.as_str().unwrap().starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{path}"
        );
    }
    assert!((10_000..150_000).contains(&size), "{size}");
    let (_, text) = router.page("/").await;
    assert!(text.starts_with("Millrace") && text.contains("/api/v1/status"), "those without HTML get paths: {text}");
    // A sink whose server is dead holds up nobody; what is queued is lost with the process, and that is known.
    router.cycles(1).await;
    drop((router, sim));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_by_keyboard_and_follows_new_rules() {
    let Some(mut browser) = Browser::start() else { return };
    let (sim, router) = start().await;
    browser.open(&url(&router), DESK).await;
    drawn(&mut browser).await;

    browser.press(&["Tab"]).await;
    browser.until("document.activeElement.textContent === 'Skip to usage'").await;
    browser.press(&["Enter"]).await;
    browser.until("document.activeElement.id === 'usage'").await;

    let pick = "document.querySelectorAll('#used .pick')[7].textContent";
    let pod = browser.evaluate(pick).await;
    browser.press(&["/"]).await;
    browser.until("document.activeElement.name === 'search'").await;
    browser.write(pod.as_str().unwrap()).await;
    browser.until("document.querySelectorAll('#used tr').length === 1").await;
    browser.press(&["Tab", "Tab", "Enter"]).await;
    let title = format!("document.getElementById('chart-title').textContent.endsWith('/' + {pod})");
    browser.until(&title).await;
    browser.until("document.querySelector('#used .pick').getAttribute('aria-pressed') === 'true'").await;
    // The focus survives what each cycle brings.
    let cycle = "document.getElementById('about').textContent";
    let before = browser.evaluate(cycle).await;
    browser.until(&format!("{cycle} !== {before}")).await;
    browser.until("document.activeElement.className === 'pick'").await;

    // From the search back to the radio buttons: the arrow keys choose, as they do everywhere.
    browser.press(&["/", "Control+a", "Delete", "Shift+Tab", "ArrowRight", "Shift+Tab", "ArrowLeft"]).await;
    browser.until("document.querySelectorAll('#used tr').length === 11").await;
    browser.until("document.activeElement.value === 'node'").await;
    let sorted = "(([...list]) => list.every((it, at) => !at || parseFloat(it) <= parseFloat(list[at - 1])))\
                  ([...document.querySelectorAll('#used tr')].map((it) => it.children[3].textContent))";
    browser.until(sorted).await;

    browser.evaluate("document.querySelector('#map button').focus()").await;
    browser.press(&["ArrowRight", "ArrowRight", "ArrowRight", "Enter"]).await;
    browser.until("/no points for/.test(document.getElementById('node').textContent)").await;

    let rules = "[...document.querySelectorAll('#rules tr')].map((it) => it.firstChild.textContent).join('\\n')";
    assert!(!browser.evaluate(rules).await.as_str().unwrap().contains("noop"));
    router.put("rules/60-noop.wasm", fs::read(rule("rules-examples/noop.wasm")).unwrap());
    browser.until(&format!("/noop/.test({rules})")).await;
    browser.until("/1 took over/.test(document.getElementById('reloads').textContent)").await;
    router.put("rules/60-noop.wasm", b"no rule at all");
    browser.until("/refused: /.test(document.getElementById('reloads').textContent)").await;
    router.remove("rules/60-noop.wasm");
    browser.until(&format!("!/noop/.test({rules})")).await;
    assert_eq!(browser.trouble().await, json!([]));
    drop((router, sim));
}

/// Names that nobody has who means well, in every answer that comes from now on.
const HOSTILE: &str = r#"(() => {
    const real = window.fetch;
    const script = "<script>document.title='owned'</script>";
    const names = ["\"><img src=x onerror=\"document.title='owned'\">",
        "x".repeat(253), "\u202eedirrevo\u2069", "\u0627\u0633\u0645 \u05e9\u05dd", "\ud83d\ude80".repeat(60), "", "__proto__"];
    window.fetch = async (...asked) => {
        const answer = await real(...asked);
        const text = await answer.text();
        let count = 0;
        const hostile = (key) => (key === "sink" ? script : names[count++ % names.length] + script + count);
        const change = (_, key) => `"${key}":${JSON.stringify(hostile(key))}`;
        const changed = text.replace(/"(name|namespace|node|sink|slot|version|error|message)":\s*"[^"]*"/g, change);
        return new Response(changed, { status: answer.status });
    };
})()"#;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_text_and_break_nothing() {
    let Some(mut browser) = Browser::start() else { return };
    let (sim, router) = start().await;
    for look in [PHONE, DARK] {
        browser.open(&url(&router), look).await;
        drawn(&mut browser).await;
        browser.evaluate(HOSTILE).await;
        for place in ["used", "rules", "sinks", "troubled"] {
            browser.until(&format!("/<script>/.test(document.getElementById('{place}').textContent)")).await;
        }
        browser.until("[...document.querySelectorAll('#map button')].some((it) => /<script>/.test(it.title))").await;
        // The override is seen and does nothing; two sinks of one name are two.
        browser.until("/\\ufffdedirrevo\\ufffd/.test(document.getElementById('used').textContent)").await;
        browser.until("document.querySelectorAll('#sinks > li').length === 2").await;
        assert_eq!(browser.evaluate("document.title").await, "Millrace");
        assert_eq!(browser.evaluate("document.querySelectorAll('body script, body img, [onerror]').length").await, 0);
        let wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.evaluate(wide).await, 0, "{look:?}: nothing sticks out");
        assert_eq!(browser.violations().await, json!([]), "{look:?}");
        assert_eq!(browser.trouble().await, json!([]), "{look:?}");
    }
    drop((router, sim));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_and_what_comes_after_it_is_shown() {
    let Some(mut browser) = Browser::start() else { return };
    let (sim, router) = start().await;
    browser.open(&url(&router), DARK).await;
    drawn(&mut browser).await;
    let tells = "!document.getElementById('reason').hidden && document.getElementById('reason').textContent";
    for (name, answer) in [
        ("does not answer; what is shown is of ", "Promise.reject(new TypeError('gone'))"),
        ("does not answer; what is shown is of ", "Promise.resolve(new Response('<html>a proxy</html>'))"),
        ("api/v1/page answers 502", "Promise.resolve(new Response('', { status: 502 }))"),
    ] {
        browser.evaluate(&format!("window.real ??= window.fetch; window.fetch = () => {answer}; null")).await;
        browser.until("document.getElementById('state').textContent === 'no answer'").await;
        browser.until(&format!("({tells} || '').includes('{name}')")).await;
        assert_eq!(browser.violations().await, json!([]), "{name}");
        browser.evaluate("window.fetch = window.real; null").await;
        browser.until("document.getElementById('state').textContent === 'ready'").await;
        browser.until("document.getElementById('reason').hidden && !document.querySelector('main.old')").await;
    }
    // What is gone is said where it was.
    browser.evaluate("[...document.querySelectorAll('#used .pick')][0].click()").await;
    browser.until("/^Pod /.test(document.getElementById('chart-title').textContent)").await;
    let gone = "window.fetch = (path, more) => /model/.test(path) ? Promise.resolve(new Response('', { status: 404 })) : real(path, more); null";
    browser.evaluate(gone).await;
    browser.until("/Nothing of it is kept/.test(document.getElementById('chart').textContent)").await;
    browser.until("document.getElementById('reason').hidden").await;
    drop((router, sim));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_secure_port_the_page_is_for_those_who_may() {
    let Some(mut browser) = Browser::start() else { return };
    let sim = Kubesim::builder().size(2, 12, 1).configure(|config| config.https = true).start().await.unwrap();
    for (token, paths) in [("reader", &["/", "/page/*", "/api/v1/*"][..]), ("visitor", &["/", "/page/*"])] {
        sim.know_token(&format!("{token}s-token"), token, &[]);
        paths.iter().for_each(|path| sim.grant(Grant::of(token, "get", path)));
    }
    let config = "resolution = '1s'\n[source.kubernetes]\napi-server = 'FOLDER/kubeconfig'\n\
                  [rules]\ndir = 'FOLDER/rules'\n[http]\n[http.secure]\nlisten = '127.0.0.1:0'\n";
    let heapster = fs::read(rule("rules/50-heapster.wasm")).unwrap();
    let setup = Setup::new(config).file("kubeconfig", sim.kubeconfig()).file("rules/50-heapster.wasm", heapster);
    let mut router = setup.start().await;
    let line = router.logged(|line| line["message"] == "secure port").await;
    let url = format!("https://{}/", line["address"].as_str().unwrap());
    assert_eq!(browser.open_as(&url, DESK, None).await, 401);
    browser.until("/Unauthorized/.test(document.body.innerText)").await;
    assert_eq!(browser.evaluate("/Pipeline|node-/.test(document.documentElement.outerHTML)").await, false);
    assert_eq!(browser.open_as(&url, DESK, Some("visitors-token")).await, 200);
    browser.until("/api.v1.page answers 403/.test(document.getElementById('reason').textContent)").await;
    assert_eq!(browser.open_as(&url, DESK, Some("readers-token")).await, 200);
    browser.until("document.querySelectorAll('#used tr').length === 20").await;
    browser.until("document.querySelector('#chart polyline') && document.getElementById('reason').hidden").await;
    assert_eq!(browser.trouble().await, json!([]));
    drop((router, sim));
}

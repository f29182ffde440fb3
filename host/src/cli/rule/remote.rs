//! Asks a running Millrace for what it has recorded or kept.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};
use tokio::runtime::Runtime;

use super::console::{Fail, tamed};

const CONNECT: Duration = Duration::from_secs(10);

/// Where requests run.
pub(super) fn runtime() -> Result<Runtime, Fail> {
    crate::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Fail::input(format!("no threads to run on: {error}")))
}

/// Asks `from` for `path`. Between two parts of the answer there may be `silence`. `remedy` is for when nobody answers.
pub(super) async fn ask(from: &str, path: &str, silence: Duration, remedy: &str) -> Result<Response, Fail> {
    let from = from.trim_end_matches('/');
    let url = Url::parse(&format!("{from}{path}"))
        .map_err(|error| Fail::input(format!("`{from}` is no URL ({error}); write it as http://127.0.0.1:8082")))?;
    let client = Client::builder().no_proxy().connect_timeout(CONNECT).read_timeout(silence).build();
    let client = client.map_err(|error| Fail::input(format!("HTTP client: {error}")))?;
    client.get(url).send().await.map_err(|error| {
        let why = if error.is_connect() { "nobody answers there".to_owned() } else { error.to_string() };
        Fail::input(format!("{from}: {why}; {remedy}"))
    })
}

/// What an answer that is not 200 says.
pub(super) async fn refusal(from: &str, answer: Response) -> Fail {
    let status = answer.status();
    let text: String = answer.text().await.unwrap_or_default().chars().take(300).collect();
    let hint = if status == StatusCode::NOT_FOUND && text.trim().is_empty() {
        "; is it a Millrace, and one of this version?"
    } else {
        ""
    };
    Fail::input(format!("{from}: answers {status}: {}{hint}", tamed(text.trim())))
}

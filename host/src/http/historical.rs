//! Heapster's historical API: the model API's routes and aggregations in buckets of time, answered from
//! InfluxDB, where sinks write.
//!
//! Paths are read in `route`, queries in `params`, statements made in `influxql`, answers in `answer`, all
//! without I/O; `client` asks. A database that does not answer is these routes' trouble and nobody else's.

mod answer;
mod client;
mod influxql;
mod params;
mod route;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tracing::warn;

use super::model::{busy, nowhere, unacceptable};
use super::reply::{JSON, PIECE, accepts_json, in_pieces};
use super::turns;
use crate::config::HistoricalConfig;
use crate::throttle::Throttle;
use crate::tls::TlsError;
use answer::Useless;
use client::{ClientError, Database};
use influxql::{Form, MAX_POINTS};
use params::Params;
use route::{Ask, Refused, Series};

/// Where the historical API stands.
const PREFIX: &str = "/api/v1/historical";

/// What the historical API is answered from.
pub struct Historical {
    form: Form,
    database: Database,
    refusals: Mutex<Throttle>,
}

impl Historical {
    /// Has asked nothing yet.
    ///
    /// # Errors
    /// [`TlsError`] where the certificate authority's file can't be used.
    pub fn new(config: &HistoricalConfig) -> Result<Self, TlsError> {
        let form = Form { with_fields: config.with_fields, cluster_name: config.cluster_name.clone() };
        Ok(Self { form, database: Database::new(config)?, refusals: Mutex::default() })
    }
}

/// Why there is no answer, as HTTP says it.
type Failure = (StatusCode, String);

/// The routes; `None`: no database is configured.
pub(super) fn routes(answering: Option<Arc<Historical>>) -> Router {
    let route = || get(historical);
    Router::new()
        .route(PREFIX, route())
        .route("/api/v1/historical/", route())
        .route("/api/v1/historical/{*path}", route())
        .with_state(answering)
}

async fn historical(State(historical): State<Option<Arc<Historical>>>, uri: Uri, headers: HeaderMap) -> Response {
    let Some(historical) = historical else { return off() };
    let ask = match route::parse(uri.path().strip_prefix(PREFIX).unwrap_or_default()) {
        Ok(ask) => ask,
        Err(Refused::Nowhere) => return nowhere(),
        Err(Refused::Bad(text)) => return bad(text).into_response(),
    };
    if !accepts_json(&headers) {
        return unacceptable();
    }
    match historical.answer(ask, uri.query().unwrap_or_default()).await {
        Ok(body) if body.len() <= PIECE => in_pieces(&headers, JSON, std::iter::once(body), None),
        Ok(body) => {
            let Some(turn) = turns::turn().await else { return busy() };
            let starts = (0..body.len()).step_by(PIECE);
            let pieces = starts.map(move |start| body[start..body.len().min(start + PIECE)].to_vec());
            in_pieces(&headers, JSON, pieces, Some(turn))
        }
        Err(failure) => {
            if failure.0.is_server_error() {
                historical.warn(&failure.1);
            }
            failure.into_response()
        }
    }
}

impl Historical {
    async fn answer(&self, ask: Ask, query: &str) -> Result<Vec<u8>, Failure> {
        match ask {
            Ask::Names(tag, of) => {
                let statement = influxql::names(&self.form, tag, &of);
                self.ask(&statement, 1, |found| pretty(&answer::names(&found[0], MAX_POINTS)?)).await
            }
            Ask::Metrics(entity) => {
                let (statement, with_fields) = (influxql::metrics(&self.form, &entity), self.form.with_fields);
                self.ask(&statement, 1, move |found| pretty(&answer::metrics(&found[0], with_fields))).await
            }
            Ask::Series(series) => {
                let now = jiff::Timestamp::now().as_nanosecond();
                let params = params::parse(query, i64::try_from(now).unwrap_or(i64::MAX)).map_err(bad)?;
                let (statements, most) = influxql::series(&self.form, &series, &params).map_err(bad)?;
                let count = series.entities.len();
                self.ask(&statements, count, move |found| written(&series, &params, &found, most)).await
            }
        }
    }

    /// Asks so many statements, and makes the answer of what they give. Long ones take a while, which
    /// other requests are not to wait for.
    async fn ask(
        &self,
        statements: &str,
        count: usize,
        make: impl FnOnce(Vec<Vec<answer::Rows>>) -> Result<Vec<u8>, Useless> + Send + 'static,
    ) -> Result<Vec<u8>, Failure> {
        let mut found = self.database.ask(statements).await.map_err(|error| failed(&error))?;
        let body = std::mem::take(&mut found.body);
        let made = tokio::task::spawn_blocking(move || make(answer::read(&body, count)?)).await;
        let made = made.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))?;
        made.map_err(|useless| match useless {
            Useless::Broken(reason) => failed(&ClientError::Refused(reason)),
            Useless::TooMany(most) => bad(format!(
                "there are more than {most} of them, which are the most for one entity of this request; \
                 ask for a shorter time, fewer pods, or larger buckets"
            )),
        })
    }

    fn warn(&self, reason: &str) {
        if let Some(more) = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).pass() {
            warn!(reason = reason.trim_end(), more, "the historical API can't be answered");
        }
    }
}

/// The answer for a metric's values.
fn written(series: &Series, params: &Params, found: &[Vec<answer::Rows>], most: usize) -> Result<Vec<u8>, Useless> {
    match &series.functions {
        None => {
            let all = found.iter().map(|rows| answer::values(rows, most)).collect::<Result<Vec<_>, _>>()?;
            items(all, series.is_list)
        }
        Some(functions) => {
            let made = |rows: &Vec<_>| answer::aggregated(rows, functions, params, most);
            items(found.iter().map(made).collect::<Result<Vec<_>, _>>()?, series.is_list)
        }
    }
}

fn items<T: Serialize>(all: Vec<T>, is_list: bool) -> Result<Vec<u8>, Useless> {
    #[derive(Serialize)]
    struct Items<T> {
        items: Vec<T>,
    }
    if is_list {
        return serde_json::to_vec(&Items { items: all }).map_err(|error| unwritten(&error));
    }
    all.first().map_or_else(|| Ok(Vec::new()), pretty)
}

fn pretty(what: &impl Serialize) -> Result<Vec<u8>, Useless> {
    let mut body = serde_json::to_vec_pretty(what).map_err(|error| unwritten(&error))?;
    body.push(b'\n');
    Ok(body)
}

fn unwritten(error: &serde_json::Error) -> Useless {
    Useless::Broken(error.to_string())
}

fn bad(text: String) -> Failure {
    (StatusCode::BAD_REQUEST, text)
}

fn failed(error: &ClientError) -> Failure {
    let code = match error {
        ClientError::Busy | ClientError::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
        ClientError::Refused(_) => StatusCode::INTERNAL_SERVER_ERROR,
        ClientError::TooLong => StatusCode::BAD_REQUEST,
    };
    (code, format!("{error}\n"))
}

fn off() -> Response {
    let text = "404: there is no historical source: [historical] names the InfluxDB that is read, \
                or --historical-source\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

//! The write API of InfluxDB 2, which others have too: 3, Cloud, VictoriaMetrics, and 1.8 beside its own.
//! Buckets and their retention are made by an operator; nothing is made here.

use reqwest::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder};
use url::Url;

use super::answer::partial;
use super::config::InfluxdbConfig;
use crate::config::Secret;
use crate::sinks::AttemptError;
use crate::sinks::web::Answer;

/// One bucket.
pub struct V2 {
    client: Client,
    write_url: Url,
    token: Secret,
    username: String,
    password: Secret,
}

impl V2 {
    pub fn new(config: &InfluxdbConfig, client: Client) -> Self {
        let mut write_url = config.url.clone();
        write_url.set_path("/api/v2/write");
        let bucket = config.bucket.as_ref().unwrap_or(&config.database);
        write_url.query_pairs_mut().clear().extend_pairs([
            ("org", config.org.as_str()),
            ("bucket", bucket),
            ("precision", "ns"),
        ]);
        Self {
            client,
            write_url,
            token: config.token.clone(),
            username: config.username.clone(),
            password: config.password.clone(),
        }
    }

    /// Where lines are posted. InfluxDB 1.8 takes user and password for a token.
    pub fn post(&self) -> RequestBuilder {
        self.authorised(self.client.post(self.write_url.clone()))
    }

    /// What the server says of the bucket to those who may read it.
    pub fn bucket(&self) -> RequestBuilder {
        let mut url = self.write_url.clone();
        url.set_path("/api/v2/buckets");
        let of = |key: &str| self.write_url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value);
        let (org, name) = (of("org").unwrap_or_default(), of("bucket").unwrap_or_default());
        url.query_pairs_mut().clear().extend_pairs([("org", org), ("name", name)]);
        self.authorised(self.client.get(url))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        if !self.token.is_empty() {
            request.header(AUTHORIZATION, format!("Token {}", self.token.expose()))
        } else if !self.username.is_empty() {
            request.header(AUTHORIZATION, format!("Token {}:{}", self.username, self.password.expose()))
        } else {
            request
        }
    }
}

/// What an answer to a write means; `lines` counts those that were sent.
pub fn classify(answer: &Answer, lines: impl FnOnce() -> u64) -> Result<(), AttemptError> {
    let (status, text) = (answer.status, answer.text.as_str());
    if status.is_success() {
        return Ok(());
    }
    let reason = answer.reason();
    let refused = |remedy: &str| AttemptError::Refused { reason: format!("{reason}; {remedy}") };
    Err(match status.as_u16() {
        413 => AttemptError::TooLarge,
        // 400, 422, and 500 from the first releases: what is left has been written.
        400 | 422 | 500 if text.contains("partial write") => partial(text, reason, lines),
        401 => refused("check `token`"),
        403 => refused("check that `token` may write to the bucket"),
        404 if answer.text.contains("not found\"") => {
            refused("make the bucket in InfluxDB, or check `bucket` and `org`")
        }
        400 if text.contains("orgID") => refused("check `org`"),
        408 | 429 | 500..=599 => AttemptError::Transient { reason, retry_after: answer.retry_after },
        300..=399 | 404 | 405 | 407 => {
            refused("check `url`: has this server /api/v2/write? (`api` says which is used)")
        }
        _ => AttemptError::Permanent { reason },
    })
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn every_answer_has_a_class() {
        for (status, text, want) in [
            (204, "", "ok"),
            (400, r#"{"code":"invalid","message":"unable to parse 'x': missing fields"}"#, "permanent"),
            (400, r#"{"code":"invalid","message":"Please provide either orgID or org"}"#, "refused check `org`"),
            (
                400,
                r#"{"code":"invalid","message":"partial write error (5 written): unable to parse 'x': schema"}"#,
                "partial 3",
            ),
            (
                400,
                r#"{"code":"invalid","message":"partial write error (7 accepted): 1 out of 8 points rejected"}"#,
                "partial 1",
            ),
            (
                400,
                r#"{"error":"partial write of line protocol occurred","data":[{"line_number":2},{"line_number":4}]}"#,
                "partial 2",
            ),
            (
                422,
                r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: x dropped=3"}"#,
                "partial 3",
            ),
            (
                422,
                r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=4"}"#,
                "expired 4",
            ),
            (
                500,
                r#"{"code":"internal error","message":"unexpected error writing points to database: partial write: field type conflict: x dropped=2"}"#,
                "partial 2",
            ),
            (422, r#"{"code":"unprocessable entity","message":"x"}"#, "permanent"),
            (401, r#"{"code":"unauthorized","message":"unauthorized access"}"#, "refused check `token`"),
            (403, r#"{"code":"forbidden","message":"no"}"#, "refused check that `token` may write to the bucket"),
            (
                404,
                r#"{"code":"not found","message":"bucket \"k8s\" not found"}"#,
                "refused make the bucket in InfluxDB, or check `bucket` and `org`",
            ),
            (
                404,
                "404 page not found",
                "refused check `url`: has this server /api/v2/write? (`api` says which is used)",
            ),
            (413, r#"{"code":"request too large","message":"x"}"#, "too large"),
            (429, "", "transient"),
            (500, r#"{"code":"internal error","message":"x"}"#, "transient"),
            (503, "", "transient"),
        ] {
            let answer =
                Answer { status: StatusCode::from_u16(status).unwrap(), retry_after: None, text: text.to_owned() };
            let got = match classify(&answer, || 8) {
                Ok(()) => "ok".to_owned(),
                Err(AttemptError::Transient { .. }) => "transient".to_owned(),
                Err(AttemptError::Refused { reason }) => format!("refused {}", reason.split_once("; ").unwrap().1),
                Err(AttemptError::Unprepared { .. }) => "unprepared".to_owned(),
                Err(AttemptError::Permanent { .. }) => "permanent".to_owned(),
                Err(AttemptError::TooLarge) => "too large".to_owned(),
                Err(AttemptError::Unfinished { .. }) => "unfinished".to_owned(),
                Err(AttemptError::Partial { records, why, .. }) => format!("{} {records}", why.name()),
            };
            assert_eq!(got, want, "{status} {text}");
        }
    }
}

//! What would keep points from being written: the server is asked without anything being made or written.

use std::time::Instant;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use super::config::InfluxdbConfig;
use super::request::{Server, Spoken, spoken_by};
use super::v1::{self, Series, quoted};
use super::v2;
use crate::finding::{Finding, Status};
use crate::sinks::AttemptError;
use crate::sinks::web::Answer;
use crate::text::tame;

/// The policy that is written to.
const POLICY: &str = "default";
/// A database may hold a million series by default.
const MANY_SERIES: u64 = 800_000;
/// Lines that say nothing: whoever takes them would take others.
const COMMENT: &str = "# millrace doctor\n";
/// Of versions and periods, bytes.
const WORD_BYTES: usize = 100;

/// Asks the server of a sink called `name`.
pub(crate) async fn diagnose(name: &str, config: &InfluxdbConfig) -> Vec<Finding> {
    let server = match Server::new(config) {
        Ok(server) => server,
        Err(error) => {
            return vec![Finding::of_sentence("sinks.settings", name, Status::Failure, &error.to_string())];
        }
    };
    let look = Look { name, config, server };
    match tokio::time::timeout(config.timeout, look.examine()).await {
        Ok(findings) => findings,
        Err(_) => {
            let says = format!("{}: no answer within {:?}", place(config), config.timeout);
            let remedy = "look at the server's load and at the way to it, or raise `timeout`";
            vec![Finding::failure("sinks.answers", name, &says, remedy)]
        }
    }
}

/// Asks the server that somebody called `name` reads from.
pub(crate) async fn diagnose_reading(name: &str, config: &InfluxdbConfig) -> Finding {
    let server = match Server::new(config) {
        Ok(server) => server,
        Err(error) => return Finding::of_sentence("sinks.settings", name, Status::Failure, &error.to_string()),
    };
    let (begin, database) = (Instant::now(), &config.database);
    let statement = format!("SHOW MEASUREMENTS ON {} LIMIT 1", quoted(database));
    let asked = tokio::time::timeout(config.timeout, server.v1.ask(&statement)).await;
    let check = "sinks.read";
    match asked {
        Ok(Ok(Ok(series))) if series.is_empty() => {
            Finding::note(check, name, &format!("{} answers, and `{database}` is empty", place(config)))
        }
        Ok(Ok(Ok(_))) => {
            Finding::ok(check, name, &format!("{} lets us read `{database}`", place(config))).took(begin.elapsed())
        }
        Ok(Ok(Err(words))) => {
            let says = format!("{}: {words}", place(config));
            let remedy = "give the user READ on the database, or name the one that the sink writes as `database`";
            Finding::failure(check, name, &says, remedy)
        }
        Ok(Err(AttemptError::Transient { reason, .. })) => {
            let remedy = "is the server running, and is `url` of [historical] right from here?";
            Finding::failure(check, name, &format!("{}: {reason}", place(config)), remedy)
        }
        Ok(Err(error)) => Finding::of_sentence(check, name, Status::Failure, &error.to_string()),
        Err(_) => {
            let says = format!("{}: no answer within {:?}", place(config), config.timeout);
            Finding::failure(check, name, &says, "look at the server's load, or raise `timeout`")
        }
    }
}

struct Look<'l> {
    name: &'l str,
    config: &'l InfluxdbConfig,
    server: Server,
}

impl Look<'_> {
    async fn examine(&self) -> Vec<Finding> {
        let begin = Instant::now();
        let version = match self.server.version().await {
            Ok(version) => version,
            Err(error) => {
                let says = format!("{}: {error}", place(self.config));
                let remedy = "is the server running, and is `url` right from here? A name of a Service ends with .svc \
                              outside its namespace";
                return vec![Finding::failure("sinks.answers", self.name, &says, remedy)];
            }
        };
        let took = begin.elapsed();
        let settled = *self.server.spoken();
        let spoken = settled.unwrap_or_else(|| spoken_by(version.as_deref()));
        let version = tame(version.as_deref().unwrap_or("of unknown version"), WORD_BYTES);
        let api = if spoken == Spoken::V2 { "v2" } else { "v1" };
        let says = format!("{} answers: InfluxDB {version}, written by the API {api}", place(self.config));
        let answers = Finding::ok("sinks.answers", self.name, &says).took(took).fact("version", version);
        let mut findings = vec![answers];
        match spoken {
            Spoken::V1 => findings.extend(self.of_database().await),
            Spoken::V2 => findings.extend(self.of_bucket().await),
        }
        findings
    }

    /// Database, retention, series, and the right to write.
    async fn of_database(&self) -> Vec<Finding> {
        let (name, database) = (self.name, &self.config.database);
        let policies = self.server.v1.ask(&format!("SHOW RETENTION POLICIES ON {}", quoted(database))).await;
        let mut findings = Vec::new();
        match policies {
            Ok(Ok(series)) => findings.push(retention(name, self.config, &series)),
            Ok(Err(words)) if words.contains("database not found") => {
                let by_admin =
                    if self.config.username.is_empty() { "" } else { ", for which its user must be an administrator" };
                let says =
                    format!("there is no database `{database}` yet; Millrace makes it at its first write{by_admin}");
                findings.push(Finding::note("sinks.database", name, &says));
                return findings;
            }
            Ok(Err(words)) => findings.push(unseen(name, &words)),
            Err(AttemptError::Refused { reason }) if reason.starts_with("401") => {
                return vec![Finding::of_sentence("sinks.credentials", name, Status::Failure, &reason)];
            }
            // Whoever may only write is not told of policies.
            Err(AttemptError::Refused { reason }) if reason.starts_with("403") => findings.push(unseen(name, &reason)),
            Err(error) => {
                findings.push(Finding::of_sentence("sinks.database", name, Status::Failure, &error.to_string()));
                return findings;
            }
        }
        findings.push(self.write(Spoken::V1).await);
        if let Ok(Ok(series)) = self.server.v1.ask(&format!("SHOW SERIES CARDINALITY ON {}", quoted(database))).await {
            findings.extend(cardinality(name, &series));
        }
        findings
    }

    /// The right to write to the bucket, and what is known of it.
    async fn of_bucket(&self) -> Vec<Finding> {
        let mut findings = vec![self.write(Spoken::V2).await];
        if self.config.retention.is_some() {
            let says = "`retention` does nothing with the v2 API, where a bucket keeps its own";
            findings.push(Finding::warning(
                "sinks.retention",
                self.name,
                says,
                "set it at the bucket, and leave it out here",
            ));
        }
        let Ok(answer) = Answer::of(self.server.v2.bucket()).await else { return findings };
        let json: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let rules = json["buckets"][0]["retentionRules"].as_array();
        if let Some(rules) = rules.filter(|_| answer.status.is_success()) {
            let seconds = rules.iter().find_map(|rule| rule["everySeconds"].as_u64()).filter(|&seconds| seconds > 0);
            let kept =
                seconds.map_or_else(|| "for ever".to_owned(), |seconds| format!("for {} days", seconds / 86_400));
            let says = format!("the bucket keeps points {kept}");
            findings.push(Finding::ok("sinks.retention", self.name, &says).fact("retention_s", seconds));
        }
        findings
    }

    /// Writes a comment: the server looks at user and place before it sees that there is nothing to write.
    async fn write(&self, spoken: Spoken) -> Finding {
        let begin = Instant::now();
        let request = match spoken {
            Spoken::V1 => self.server.v1.post(),
            Spoken::V2 => self.server.v2.post(),
        };
        let request =
            request.header(CONTENT_TYPE, "text/plain; charset=utf-8").body(Bytes::from_static(COMMENT.as_bytes()));
        let result = match Answer::of(request).await {
            // Some find nothing to write a fault, after all else was right.
            Ok(answer) if answer.status.as_u16() == 400 && says_empty(&answer.text) => Ok(()),
            Ok(answer) if spoken == Spoken::V2 => v2::classify(&answer, || 0),
            Ok(answer) => v1::classify(&answer, || 0),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => Finding::ok("sinks.write", self.name, "it takes writes").took(begin.elapsed()),
            Err(AttemptError::Unprepared { reason }) => {
                let says = format!("{reason}: Millrace makes it at its first write");
                Finding::note("sinks.write", self.name, &says)
            }
            Err(error) => Finding::of_sentence("sinks.write", self.name, Status::Failure, &error.to_string()),
        }
    }
}

/// Where the server is.
fn place(config: &InfluxdbConfig) -> &str {
    config.url.as_str().trim_end_matches('/')
}

fn says_empty(text: &str) -> bool {
    ["requires points", "no data", "empty"].iter().any(|words| text.contains(words))
}

/// What is not told to whoever may only write.
fn unseen(name: &str, words: &str) -> Finding {
    let says = format!("database and retention are not told to this user: {words}");
    Finding::note("sinks.retention", name, &says)
}

/// Whether what is kept is what was wanted.
fn retention(name: &str, config: &InfluxdbConfig, series: &[Series]) -> Finding {
    let check = "sinks.retention";
    let duration = series.iter().find_map(|series| series.value("duration", Some(POLICY))).and_then(Value::as_str);
    let database = &config.database;
    let Some(duration) = duration else {
        let says = format!(
            "the database `{database}` has no retention policy `{POLICY}`: Millrace makes it, and makes it the \
             default one"
        );
        let remedy = "readers that name another policy don't find the new points; let them name none";
        return Finding::warning(check, name, &says, remedy);
    };
    let told = tame(duration, WORD_BYTES);
    let kept = seconds(duration);
    let for_ever = kept == Some(0);
    let finding = match config.retention.map(|wanted| wanted.as_secs()) {
        None if for_ever => Finding::note(
            check,
            name,
            &format!("`{database}` keeps points for ever, until its disk is full; `retention` bounds it"),
        ),
        Some(wanted) if kept != Some(wanted) => Finding::note(
            check,
            name,
            &format!("`{database}` keeps points for {told}; Millrace changes that to {wanted} s at its first write"),
        ),
        None | Some(_) => Finding::ok(check, name, &format!("`{database}` keeps points for {told}")),
    };
    finding.fact("retention_s", kept)
}

/// `168h0m0s` as the server writes it; 0 is for ever.
fn seconds(duration: &str) -> Option<u64> {
    if duration == "0s" || duration == "0" {
        return Some(0);
    }
    humantime::parse_duration(duration).ok().map(|duration| duration.as_secs())
}

/// A database that is nearly full of series.
fn cardinality(name: &str, series: &[Series]) -> Option<Finding> {
    let count = ["cardinality estimation", "count"]
        .iter()
        .find_map(|column| series.iter().find_map(|series| series.value(column, None)))?
        .as_u64()?;
    if count < MANY_SERIES {
        return Some(Finding::ok("sinks.series", name, &format!("{count} series")).fact("series", count));
    }
    let says = format!(
        "{count} series: points of new ones are refused at max-series-per-database (1,000,000 by default), and memory \
         grows with them"
    );
    let remedy = "drop what is not needed by the rules drop-namespaces, keep-metrics or limit-cardinality, keep \
                  points for a shorter time, or raise the bound";
    Some(Finding::warning("sinks.series", name, &says, remedy).fact("series", count))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn series(json: &str) -> Vec<Series> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_retention_that_is_there_is_held_against_the_wanted_one() {
        let policies = |duration: &str| {
            series(&format!(
                r#"[{{"columns":["name","duration","default"],"values":[["autogen","0s",false],["default","{duration}",true]]}}]"#
            ))
        };
        let mut config = InfluxdbConfig::at("http://db:8086".parse().unwrap());
        for (wanted, there, want, part) in [
            (None, "0s", Status::Note, "for ever"),
            (None, "168h0m0s", Status::Ok, "168h0m0s"),
            (Some(604_800), "168h0m0s", Status::Ok, "168h0m0s"),
            (Some(86_400), "168h0m0s", Status::Note, "changes that to 86400 s"),
            (Some(86_400), "0s", Status::Note, "changes that"),
        ] {
            config.retention = wanted.map(Duration::from_secs);
            let finding = retention("influxdb", &config, &policies(there));
            assert_eq!(finding.status, want, "{wanted:?} {there}: {}", finding.says);
            assert!(finding.says.contains(part), "{}", finding.says);
        }
        let none = series(r#"[{"columns":["name","duration"],"values":[["autogen","0s"]]}]"#);
        assert_eq!(retention("influxdb", &config, &none).status, Status::Warning);
    }

    #[test]
    fn many_series_are_told() {
        let count = |count: u64| series(&format!(r#"[{{"columns":["cardinality estimation"],"values":[[{count}]]}}]"#));
        assert_eq!(cardinality("influxdb", &count(5)).unwrap().status, Status::Ok);
        assert_eq!(cardinality("influxdb", &count(900_000)).unwrap().status, Status::Warning);
        assert_eq!(cardinality("influxdb", &[]), None);
    }
}

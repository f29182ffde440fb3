//! What would keep samples from the receiver: it is sent a request without any.

use std::time::Instant;

use bytes::Bytes;

use super::config::PrometheusConfig;
use super::request::Receiver;
use crate::finding::{Finding, Status};
use crate::sinks::AttemptError;

/// A request without series, packed: an empty message has no bytes.
const NOTHING: &[u8] = &[0];

/// Asks the receiver of a sink called `name`.
pub(crate) async fn diagnose(name: &str, config: &PrometheusConfig) -> Vec<Finding> {
    let receiver = match Receiver::new(config) {
        Ok(receiver) => receiver,
        Err(error) => {
            return vec![Finding::of_sentence("sinks.settings", name, Status::Failure, &error.to_string())];
        }
    };
    let begin = Instant::now();
    let written = tokio::time::timeout(config.timeout, receiver.write(Bytes::from_static(NOTHING))).await;
    let at = format!("{}{}", config.url.as_str().trim_end_matches('/'), config.path);
    let finding = match written {
        Ok(Ok(())) => Finding::ok("sinks.write", name, &format!("{at} takes writes")).took(begin.elapsed()),
        Ok(Err(AttemptError::Transient { reason, .. })) => {
            let remedy = "is the receiver running, and is `url` right from here?";
            Finding::failure("sinks.answers", name, &format!("{at}: {reason}"), remedy)
        }
        // It got through to where samples are looked at: some receivers want at least one.
        Ok(Err(AttemptError::Permanent { reason })) => {
            let says = format!("{at} takes requests, and finds one without samples wrong: {reason}");
            Finding::note("sinks.write", name, &says)
        }
        Ok(Err(error)) => Finding::of_sentence("sinks.write", name, Status::Failure, &format!("{at}: {error}")),
        Err(_) => {
            let remedy = "look at the receiver's load, or raise `timeout`";
            Finding::failure("sinks.answers", name, &format!("{at}: no answer within {:?}", config.timeout), remedy)
        }
    };
    vec![finding]
}

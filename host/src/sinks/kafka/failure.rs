//! What Kafka's errors mean for a record, and what an operator can do about them.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::sinks::{AttemptError, DropReason};

/// What becomes of a record that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes again, by itself or with the others.
    Later,
    /// It goes again, but an operator has to act.
    Refused,
    /// It, or the batch that it was sent in, is too large.
    TooLarge,
    /// It will never be taken.
    Lost(DropReason),
}

/// What becomes of a record with that error.
pub fn fate(code: Code) -> Fate {
    match code {
        Code::MessageSizeTooLarge => Fate::TooLarge,
        Code::InvalidTimestamp => Fate::Lost(DropReason::Expired),
        Code::InvalidRecord | Code::PolicyViolation => Fate::Lost(DropReason::Rejected),
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::InvalidTopic => Fate::Refused,
        _ => Fate::Later,
    }
}

/// What an operator has to do where the brokers don't want this client; `None` for other errors.
pub fn refusal(code: Code, reason: &str) -> Option<String> {
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            Some(format!("the broker refuses the user: {reason}; check `username`, `password` and `sasl-mechanism`"))
        }
        Code::SSL => Some(format!(
            "TLS with the broker fails: {reason}; check `certificate-authority`, `certificate` and the brokers' names"
        )),
        _ => None,
    }
}

/// Why a topic can't be written.
pub fn of_topic(code: Code, topic: &str) -> AttemptError {
    let reason = match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => format!(
            "the topic `{topic}` does not exist, and the brokers do not make it; make it (kafka-topics.sh --create \
             --topic {topic} --partitions N --bootstrap-server …), or let them (auto.create.topics.enable)"
        ),
        Code::TopicAuthorizationFailed => format!(
            "the user may not write to the topic `{topic}`; allow Describe and Write (kafka-acls.sh --add --producer \
             --topic {topic} …)"
        ),
        Code::ClusterAuthorizationFailed => "the user may not write idempotently; allow IdempotentWrite on the \
             cluster, which Kafka before 2.8 wants"
            .to_owned(),
        Code::InvalidTopic => format!("the brokers find `{topic}` no name of a topic; choose another one"),
        other => {
            let reason = format!("the topic `{topic}` can't be written: {other}");
            return AttemptError::Transient { reason, retry_after: None };
        }
    };
    AttemptError::Refused { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_must_do_is_said() {
        for (code, fate_of_it, want) in [
            (Code::UnknownTopicOrPartition, Fate::Refused, "--create"),
            (Code::TopicAuthorizationFailed, Fate::Refused, "allow Describe and Write"),
            (Code::ClusterAuthorizationFailed, Fate::Refused, "IdempotentWrite"),
            (Code::InvalidTopic, Fate::Refused, "choose another"),
            (Code::NotEnoughReplicas, Fate::Later, "can't be written"),
        ] {
            let error = of_topic(code, "t");
            assert!(error.to_string().contains(want), "{error}");
            assert_eq!(matches!(error, AttemptError::Refused { .. }), fate_of_it == Fate::Refused, "{error}");
            assert_eq!(fate(code), fate_of_it, "{code}");
        }
    }
}

//! The statements that are put to InfluxDB. Pure.
//!
//! Whatever a client names is quoted, and first brought into the spelling in which the sink stored it.

use std::fmt::Write as _;

use super::params::Params;
use super::route::{Entity, Function, Series};
use crate::sinks::influxdb::{push_key, push_value, quoted, stored, stored_names};

/// Values of one answer, of all its entities; names in a list.
pub const MAX_POINTS: usize = 100_000;
/// Length of a request's statements, bytes.
const MAX_TEXT: usize = 1 << 20;
/// Labels of metrics' own, in Heapster's schema: a series without labels has none of them.
const OWN_LABELS: [&str; 2] = ["resource_id", "accelerator_id"];
/// Every entity has one of these.
const COMMON: [&str; 3] = ["memory/usage", "cpu/usage_rate", "uptime"];

/// How the database is written.
#[derive(Debug, Clone, Default)]
pub struct Form {
    /// Measurements have several fields.
    pub with_fields: bool,
    /// Only this tag `cluster_name` counts.
    pub cluster_name: Option<String>,
}

/// The names that a tag has among these entities.
pub fn names(form: &Form, tag: &str, of: &Entity) -> String {
    let mut from: Vec<String> = COMMON.iter().map(|metric| stored_names(metric, form.with_fields).0).collect();
    from.sort_unstable();
    from.dedup();
    let from: Vec<String> = from.iter().map(|measurement| quoted(measurement)).collect();
    let (from, tag, condition) = (from.join(", "), quoted(tag), condition(form, of, None));
    format!("SHOW TAG VALUES FROM {from} WITH KEY = {tag} WHERE {condition} LIMIT {}", MAX_POINTS + 1)
}

/// The metrics that an entity has without labels: each with its last value, which is the cheapest to find.
pub fn metrics(form: &Form, entity: &Entity) -> String {
    format!("SELECT last(*) FROM /.+/ WHERE {}", condition(form, entity, Some(&[])))
}

/// The statements for one metric, one an entity, and how many values each may give: one more is too many.
///
/// # Errors
/// Text for an answer of 400.
pub fn series(form: &Form, series: &Series, params: &Params) -> Result<(String, usize), String> {
    params.check_buckets(series.entities.len())?;
    let most = MAX_POINTS / series.entities.len().max(1);
    let (measurement, field) = stored_names(&series.metric, form.with_fields);
    let (measurement, field) = (quoted(&measurement), quoted(&field));
    let wanted = match &series.functions {
        None => field,
        Some(functions) => functions.iter().map(|one| one.of(&field)).collect::<Vec<_>>().join(", "),
    };
    let (start, end) = (params.start, params.end);
    let group = params.bucket.filter(|_| series.functions.is_some());
    let group = group.map_or_else(String::new, |bucket| format!(" GROUP BY time({}ms) fill(none)", bucket.as_millis()));
    let mut statements = String::new();
    for entity in &series.entities {
        let condition = condition(form, entity, Some(&params.labels));
        // Writing to memory does not fail.
        let _ = writeln!(
            statements,
            "SELECT {wanted} FROM {measurement} WHERE {condition} AND time >= {start} AND time <= {end}{group} LIMIT {};",
            most + 1
        );
        if statements.len() > MAX_TEXT {
            return Err("names and labels are too long for so many pods; ask for fewer".to_owned());
        }
    }
    Ok((statements, most))
}

/// Where an entity's points are found; with `labels`, those with these labels and no others of their own.
fn condition(form: &Form, entity: &Entity, labels: Option<&[(String, String)]>) -> String {
    let mut tags = vec![("type".to_owned(), entity.kind)];
    tags.extend(entity.tags.iter().map(|(tag, value)| ((*tag).to_owned(), &**value)));
    tags.extend(form.cluster_name.as_deref().map(|name| ("cluster_name".to_owned(), name)));
    if let Some(labels) = labels {
        tags.extend(labels.iter().map(|(name, value)| (stored(push_key, name), &**value)));
        let is_named = |own: &str| labels.iter().any(|(name, _)| name == own);
        tags.extend(OWN_LABELS.iter().filter(|own| !is_named(own)).map(|own| ((*own).to_owned(), "")));
    }
    let equal = |(tag, value): &(String, &str)| format!("{} = {}", quoted(tag), text(&stored(push_value, value)));
    tags.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

/// A text of InfluxQL, whatever it holds.
fn text(value: &str) -> String {
    let mut out = String::from("'");
    for character in value.chars() {
        match character {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('\'');
    out
}

impl Function {
    fn of(self, field: &str) -> String {
        match self {
            Self::Average => format!("mean({field})"),
            Self::Max => format!("max({field})"),
            Self::Min => format!("min({field})"),
            Self::Median => format!("median({field})"),
            Self::Count => format!("count({field})"),
            Self::Percentile(percent) => format!("percentile({field}, {percent})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::route::{Ask, parse};
    use super::*;

    fn params() -> Params {
        Params { start: 1, end: 2, labels: Vec::new(), bucket: None }
    }

    fn statement(form: &Form, path: &str, params: &Params) -> String {
        let Ask::Series(asked) = parse(path).unwrap() else { panic!("{path}") };
        series(form, &asked, params).unwrap().0
    }

    #[test]
    fn statements_are_of_the_form_that_the_sink_writes() {
        let fields = Form { with_fields: true, cluster_name: Some("eu".to_owned()) };
        let bucket = Params { bucket: Some(Duration::from_secs(300)), ..params() };
        let labels = Params { labels: vec![("resource_id".to_owned(), "/".to_owned())], ..params() };
        let own = "\"resource_id\" = '' AND \"accelerator_id\" = ''";
        for (form, path, params, want) in [
            (
                Form::default(),
                "/metrics/cpu-usage",
                &params(),
                format!(
                    "SELECT \"value\" FROM \"cpu/usage_rate\" WHERE \"type\" = 'cluster' AND {own} \
                     AND time >= 1 AND time <= 2 LIMIT 100001;\n"
                ),
            ),
            (
                fields.clone(),
                "/namespaces/ns/pod-list/a,b/metrics-aggregated/average,95-perc/memory/usage",
                &bucket,
                ["a", "b"].map(|pod| {
                    format!(
                        "SELECT mean(\"usage\"), percentile(\"usage\", 95) FROM \"memory\" WHERE \"type\" = 'pod' AND \
                         \"namespace_name\" = 'ns' AND \"pod_name\" = '{pod}' AND \"cluster_name\" = 'eu' AND {own} AND \
                         time >= 1 AND time <= 2 GROUP BY time(300000ms) fill(none) LIMIT 50001;\n"
                    )
                }).concat(),
            ),
            (
                Form::default(),
                "/nodes/n/metrics/filesystem/usage",
                &labels,
                "SELECT \"value\" FROM \"filesystem/usage\" WHERE \"type\" = 'node' AND \"nodename\" = 'n' AND \
                 \"resource_id\" = '/' AND \"accelerator_id\" = '' AND time >= 1 AND time <= 2 LIMIT 100001;\n"
                    .to_owned(),
            ),
        ] {
            assert_eq!(statement(&form, path, params), want, "{path}");
        }
        let Ask::Names(tag, of) = parse("/nodes").unwrap() else { panic!() };
        assert_eq!(
            names(&fields, tag, &of),
            "SHOW TAG VALUES FROM \"cpu\", \"memory\", \"uptime\" WITH KEY = \"nodename\" WHERE \"type\" = 'node' AND \
             \"cluster_name\" = 'eu' LIMIT 100001"
        );
    }

    #[test]
    fn nothing_that_a_client_names_ends_its_quotes() {
        let hostile = [
            "'; DROP DATABASE k8s; --",
            "\\'; DROP DATABASE k8s; --",
            "\\\\'; DROP DATABASE k8s",
            "\"; DROP DATABASE \"k8s",
            "\\\"; DROP DATABASE \"k8s",
            "a' OR 'a' = 'a",
            "/.*/",
            "é'\u{2028}\\",
        ];
        for name in hostile {
            let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
            let labels = vec![(name.to_owned(), name.to_owned())];
            let path = format!("/nodes/{encoded}/freecontainers/{encoded}/metrics/{encoded}");
            for (form, conditions) in
                [(Form::default(), 6), (Form { with_fields: true, cluster_name: Some(name.to_owned()) }, 7)]
            {
                let statement = statement(&form, &path, &Params { labels: labels.clone(), ..params() });
                let conditions = "Q = Q AND ".repeat(conditions);
                let want = format!("SELECT Q FROM Q WHERE {conditions}time >= 1 AND time <= 2 LIMIT 100001;\n");
                assert_eq!(outside_of_quotes(&statement), want, "{statement}");
            }
        }
    }

    /// The statement as the server's scanner sees it, each quoted thing a `Q`.
    fn outside_of_quotes(statement: &str) -> String {
        let mut outside = String::new();
        let mut characters = statement.chars();
        while let Some(character) = characters.next() {
            if character != '\'' && character != '"' {
                outside.push(character);
                continue;
            }
            outside.push('Q');
            loop {
                match characters.next().expect("quotes end") {
                    '\\' => {
                        let next = characters.next().expect("an escape has two characters");
                        assert!(matches!(next, 'n' | '\\' | '\'' | '"'), "{next}");
                    }
                    end if end == character => break,
                    _ => {}
                }
            }
        }
        outside
    }

    #[test]
    fn statements_are_bounded() {
        let pods = "a,".repeat(400) + "a";
        let Ask::Series(asked) = parse(&format!("/pod-id-list/{pods}/metrics/uptime")).unwrap() else { panic!() };
        let long = Params { labels: vec![("a".to_owned(), "b".repeat(10_000))], ..params() };
        assert!(series(&Form::default(), &asked, &long).is_err());
        assert_eq!(series(&Form::default(), &asked, &params()).unwrap().1, 249);
    }
}

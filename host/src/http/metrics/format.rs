//! Which of the two text formats an answer has, and the older one made of the newer.

use std::fmt::Write as _;

use axum::http::{HeaderMap, header};

/// A text format that Prometheus reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus's own, which many others read too.
    Text,
}

impl Format {
    /// The one that a scraper prefers; the older one where nothing is said.
    pub(in crate::http) fn asked_for(headers: &HeaderMap) -> Self {
        let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (mut open, mut text) = (0.0, 0.0);
        for range in ranges.flat_map(|value| value.split(',')) {
            let (kind, parameters) = range.split_once(';').unwrap_or((range, ""));
            let quality = parameters.split(';').find_map(|it| it.trim().strip_prefix("q=")?.trim().parse::<f64>().ok());
            let best = match kind.trim() {
                "application/openmetrics-text" => &mut open,
                "text/plain" | "text/*" | "*/*" => &mut text,
                _ => continue,
            };
            *best = quality.unwrap_or(1.0).max(*best);
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    pub(in crate::http) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// A page in OpenMetrics text in this format.
    pub(in crate::http) fn of(self, page: String) -> String {
        match self {
            Self::OpenMetrics => page,
            Self::Text => older(&page),
        }
    }
}

/// The older format knows no units, no infos and no end; and there a family's name is that of its
/// series.
fn older(page: &str) -> String {
    let (mut out, mut help) = (String::with_capacity(page.len()), None);
    for line in page.lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            help = text.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|text| text.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            // Writing to a string can't fail.
            if let Some((_, help)) = help.take() {
                let _ = writeln!(out, "# HELP {name}{suffix} {help}");
            }
            let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_what_it_prefers() {
        use Format::{OpenMetrics, Text};
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, want) in [
            ("", Text),
            ("*/*", Text),
            ("text/html, */*;q=0.1", Text),
            (prometheus, OpenMetrics),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text; q=0.2, text/plain;version=0.0.4;q=0.9", Text),
            ("application/openmetrics-text; q=0, */*", Text),
            ("application/openmetrics-text; q=many", OpenMetrics),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(Format::asked_for(&headers), want, "{accept}");
        }
        assert_eq!(Format::asked_for(&HeaderMap::new()), Text);
    }

    #[test]
    fn the_older_format_names_families_as_their_series() {
        let page = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total{x=\"# y\"} 1\n\
            # HELP b What.\n# TYPE b info\nb_info{v=\"1\"} 1\n# HELP c Now.\n# TYPE c gauge\nc 2\n# EOF\n";
        let want = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\na_seconds_total{x=\"# y\"} 1\n\
            # HELP b_info What.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n# HELP c Now.\n# TYPE c gauge\nc 2\n";
        assert_eq!(older(page), want);
    }
}

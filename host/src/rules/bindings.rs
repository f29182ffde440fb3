//! What `guest-sdk/wit/rule.wit` says, as Rust: generated, with the batch's columns lent as slices
//! and the answer's columns owned. Here they only change names; no row is touched.

#![allow(missing_docs, unused_qualifications, unsafe_code)]

use crate::batch;

wasmtime::component::bindgen!({
    path: "../guest-sdk/wit",
    world: "millrace-rule",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub(super) use self::millrace::rule::host;
pub(super) use exports::millrace::rule::rule as guest;

impl From<&batch::Cycle> for guest::Cycle {
    fn from(cycle: &batch::Cycle) -> Self {
        Self {
            number: cycle.number,
            time: cycle.time,
            window: cycle.window,
            nodes_asked: cycle.nodes_asked,
            nodes_answered: cycle.nodes_answered,
        }
    }
}

/// The batch's columns, lent.
pub(super) fn lend(batch: &batch::Batch) -> guest::Batch<'_> {
    let (metrics, sets) = (&batch.metrics, &batch.label_sets);
    let (entities, points) = (&batch.entities, &batch.points);
    guest::Batch {
        origin: match &batch.origin {
            batch::Origin::Node(name) => guest::Origin::Node(name),
            batch::Origin::Totals(rule) => guest::Origin::Totals(rule),
        },
        base: batch.base,
        symbols: guest::SymbolsParam { text: batch.symbols.text(), ends: batch.symbols.ends() },
        metrics: guest::MetricsParam {
            name: &metrics.name,
            unit: &metrics.unit,
            kind: &metrics.kind,
            value: &metrics.value,
            merge: &metrics.merge,
        },
        label_sets: guest::LabelSetsParam { ends: &sets.ends, names: &sets.names, values: &sets.values },
        entities: guest::EntitiesParam {
            level: &entities.level,
            label_ends: &entities.label_ends,
            label_names: &entities.label_names,
            label_values: &entities.label_values,
            started_at: &entities.started_at,
            point_ends: &entities.point_ends,
        },
        points: guest::PointsParam {
            metric: &points.metric,
            labels: &points.labels,
            at: &points.at,
            bits: &points.bits,
        },
    }
}

impl From<guest::Edit> for batch::Edit {
    fn from(edit: guest::Edit) -> Self {
        Self {
            keep_entities: edit.keep_entities,
            keep_points: edit.keep_points,
            relabel_entity: edit.relabel_entity,
            relabel_name: edit.relabel_name,
            relabel_value: edit.relabel_value,
            new_text: edit.new_symbols.text,
            new_text_ends: edit.new_symbols.ends,
            new_metrics: batch::Metrics {
                name: edit.new_metrics.name,
                unit: edit.new_metrics.unit,
                kind: edit.new_metrics.kind,
                value: edit.new_metrics.value,
                merge: edit.new_metrics.merge,
            },
            new_label_sets: batch::LabelSets {
                ends: edit.new_label_sets.ends,
                names: edit.new_label_sets.names,
                values: edit.new_label_sets.values,
            },
            new_entities: batch::Entities {
                level: edit.new_entities.level,
                label_ends: edit.new_entities.label_ends,
                label_names: edit.new_entities.label_names,
                label_values: edit.new_entities.label_values,
                started_at: edit.new_entities.started_at,
                point_ends: edit.new_entities.point_ends,
            },
            new_points: edit.new_points.into(),
            added_entity: edit.added_entity,
            added: edit.added.into(),
        }
    }
}

impl From<guest::PointsResult> for batch::Points {
    fn from(points: guest::PointsResult) -> Self {
        Self { metric: points.metric, labels: points.labels, at: points.at, bits: points.bits }
    }
}

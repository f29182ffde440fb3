//! Edits, good and bad, on a small batch.

use std::time::{Duration, Instant};

use super::*;
use crate::batch::{BatchBounds, BatchBuilder, Descriptor, Level, NamedBy, Origin, Value, ValueType, strip_private};

/// Two pods with one metric each, and a private label.
fn sample() -> Batch {
    let mut builder = BatchBuilder::new(Origin::Node("n".into()), 0);
    let (pod, secret) = (builder.symbol("pod_name"), builder.symbol("__phase"));
    let usage = builder.metric(Descriptor::gauge("memory/usage", "bytes"));
    let request = builder.metric(Descriptor::gauge("__request/cpu", ""));
    for (name, value) in [("a", 1_u64), ("b", 2)] {
        builder.entity(Level::Pod, 0);
        let (name, phase) = (builder.symbol(name), builder.symbol("Running"));
        builder.label(pod, name);
        builder.label(secret, phase);
        builder.point(usage, 0, 5, value);
        builder.point(request, 0, 0, 100);
    }
    builder.build()
}

fn rows(batch: &Batch) -> Vec<String> {
    let mut rows = Vec::new();
    for entity in batch.iter() {
        let labels: Vec<_> = entity.labels().map(|(k, v)| format!("{k}={v}")).collect();
        for point in entity.points() {
            let Value::Int(value) = point.value() else {
                continue;
            };
            rows.push(format!("{} {}={value}", labels.join(","), point.metric()));
        }
    }
    rows
}

fn applied(edit: &Edit) -> Result<(Vec<String>, EditStats), EditError> {
    let batch = sample();
    let bounds = BatchBounds::growing_from(&batch).room(&batch);
    match apply(batch, edit, &bounds, &TypeRegistry::default()) {
        Ok((batch, stats)) => Ok((rows(&strip_private(batch).0), stats)),
        Err(refused) => {
            assert_eq!(rows(&refused.0), rows(&sample()), "a refused edit leaves the batch alone");
            Err(refused.1)
        }
    }
}

#[test]
fn an_empty_edit_keeps_all_but_what_is_private() {
    let (rows, stats) = applied(&Edit::default()).unwrap();
    assert_eq!(rows, ["pod_name=a memory/usage=1", "pod_name=b memory/usage=2"]);
    assert_eq!(stats, EditStats::default());
}

#[test]
fn masks_drop_entities_and_points() {
    let edit = Edit { keep_entities: vec![0, 1], ..Edit::default() };
    let (rows, stats) = applied(&edit).unwrap();
    assert_eq!(rows, ["pod_name=b memory/usage=2"]);
    assert_eq!((stats.dropped_entities, stats.dropped_points), (1, 2));
    let edit = Edit { keep_points: vec![0, 1, 1, 1], ..Edit::default() };
    assert_eq!(applied(&edit).unwrap().0, ["pod_name=b memory/usage=2"]);
}

#[test]
fn entities_that_are_equal_after_relabelling_become_one_and_their_points_merge() {
    let batch = sample();
    let (pod, a) = (batch.symbols.find("pod_name").unwrap(), batch.symbols.find("a").unwrap());
    let edit = Edit { relabel_entity: vec![1], relabel_name: vec![pod], relabel_value: vec![a], ..Edit::default() };
    let (rows, stats) = applied(&edit).unwrap();
    assert_eq!(rows, ["pod_name=a memory/usage=3"]);
    assert_eq!((stats.relabelled, stats.merged_points), (1, 2));
}

#[test]
fn points_are_added_to_old_and_new_entities() {
    let batch = sample();
    let (symbols, metrics) = (batch.symbols.len() as u32, batch.metrics.len() as u32);
    let mut edit = Edit { new_text: "ratex".into(), ..Edit::default() };
    edit.new_text_ends = vec![4, 5];
    edit.new_metrics.name = vec![symbols];
    edit.new_metrics.unit = vec![symbols + 1];
    edit.new_metrics.kind = vec![0];
    edit.new_metrics.value = vec![0];
    edit.new_metrics.merge = vec![0];
    edit.added_entity = vec![0, 0];
    edit.added.push(metrics, 0, 0, 7);
    edit.added.push(0, 0, 9, 10);
    edit.new_entities.level = vec![6];
    edit.new_entities.started_at = vec![0];
    edit.new_entities.label_ends = vec![1];
    edit.new_entities.label_names = vec![symbols + 1];
    edit.new_entities.label_values = vec![symbols + 1];
    edit.new_entities.point_ends = vec![1];
    edit.new_points.push(metrics, 0, 0, 8);
    let (rows, stats) = applied(&edit).unwrap();
    assert_eq!(rows, ["pod_name=a memory/usage=11", "pod_name=a rate=7", "pod_name=b memory/usage=2", "x=x rate=8"]);
    assert_eq!((stats.added_points, stats.added_entities, stats.merged_points), (3, 1, 1));
}

#[test]
fn a_refused_edit_takes_no_metric_name() {
    let (batch, types) = (sample(), TypeRegistry::default());
    let bounds = BatchBounds::growing_from(&batch).room(&batch);
    let (name, metric) = (batch.symbols.len() as u32, batch.metrics.len() as u32);
    let mut edit = Edit { new_text: "rate".into(), new_text_ends: vec![4], ..Edit::default() };
    (edit.new_metrics.name, edit.new_metrics.unit) = (vec![name], vec![name]);
    (edit.new_metrics.kind, edit.new_metrics.value, edit.new_metrics.merge) = (vec![0], vec![1], vec![0]);
    edit.added_entity = vec![0];
    edit.added.push(metric, 0, 0, f64::NAN.to_bits());
    assert!(apply(batch, &edit, &bounds, &types).is_err());
    // As an integer it is another metric of the same name: free, since the float was refused.
    edit.new_metrics.value = vec![0];
    assert!(apply(sample(), &edit, &bounds, &types).is_ok());
    edit.new_metrics.value = vec![1];
    edit.added.bits = vec![0];
    assert!(matches!(apply(sample(), &edit, &bounds, &types), Err(refused) if matches!(refused.1, EditError::Type(_))));
}

type Spoilt = (&'static str, fn(&mut Edit));

#[test]
fn every_wrong_column_is_refused_and_the_batch_kept() {
    let wrong: &[Spoilt] = &[
        ("short entity mask", |edit| edit.keep_entities = vec![1]),
        ("long point mask", |edit| edit.keep_points = vec![1; 99]),
        ("relabelled entity past the end", |edit| {
            (edit.relabel_entity, edit.relabel_name, edit.relabel_value) = (vec![9], vec![0], vec![0]);
        }),
        ("relabel columns of two lengths", |edit| edit.relabel_entity = vec![0]),
        ("relabel to an unknown symbol", |edit| {
            (edit.relabel_entity, edit.relabel_name, edit.relabel_value) = (vec![0], vec![0], vec![4_000_000_000]);
        }),
        ("relabel of a dropped entity", |edit| {
            edit.keep_entities = vec![0, 1];
            (edit.relabel_entity, edit.relabel_name, edit.relabel_value) = (vec![0], vec![0], vec![0]);
        }),
        ("new text that is not UTF-8", |edit| {
            (edit.new_text, edit.new_text_ends) = (vec![0xff], vec![1]);
        }),
        ("a string that ends inside a character", |edit| {
            (edit.new_text, edit.new_text_ends) = ("é".into(), vec![1, 2]);
        }),
        ("text ends that fall", |edit| {
            (edit.new_text, edit.new_text_ends) = ("abc".into(), vec![2, 1, 3]);
        }),
        ("added point of an unknown metric", |edit| {
            edit.added_entity = vec![0];
            edit.added.push(99, 0, 0, 0);
        }),
        ("added point of an unknown label set", |edit| {
            edit.added_entity = vec![0];
            edit.added.push(0, 99, 0, 0);
        }),
        ("added entities that fall", |edit| {
            edit.added_entity = vec![1, 0];
            edit.added.push(0, 0, 0, 0);
            edit.added.push(0, 0, 0, 0);
        }),
        ("a level that means nothing", |edit| {
            edit.new_entities.level = vec![77];
            edit.new_entities.started_at = vec![0];
            edit.new_entities.label_ends = vec![0];
            edit.new_entities.point_ends = vec![0];
        }),
        ("a new float that is NaN", |edit| {
            edit.new_metrics.name = vec![0];
            edit.new_metrics.unit = vec![0];
            edit.new_metrics.kind = vec![0];
            edit.new_metrics.value = vec![1];
            edit.new_metrics.merge = vec![0];
            edit.added_entity = vec![0];
            edit.added.push(2, 0, 0, f64::NAN.to_bits());
        }),
        ("too many points", |edit| edit.added.metric = vec![0; 20_000]),
    ];
    for (name, spoil) in wrong {
        let mut edit = Edit::default();
        spoil(&mut edit);
        assert!(applied(&edit).is_err(), "{name}");
    }
}

/// The time limits of calls do not cover the host's own work on an edit.
#[test]
fn labels_with_long_names_that_begin_alike_are_checked_quickly() {
    const NAMES: usize = 250;
    const BYTES: usize = 128 << 10;
    const ENTITIES: usize = 20_000;
    let mut edit = Edit::default();
    for name in 0..NAMES {
        edit.new_text.resize(edit.new_text.len() + BYTES - 3, b'a');
        edit.new_text.extend(format!("{name:03}").bytes());
        edit.new_text_ends.push(edit.new_text.len() as u32);
    }
    let new = &mut edit.new_entities;
    new.level = vec![6; ENTITIES];
    new.started_at = vec![0; ENTITIES];
    new.point_ends = vec![0; ENTITIES];
    new.label_ends = (1..=ENTITIES).map(|row| (row * NAMES) as u32).collect();
    new.label_names = (0..ENTITIES * NAMES).map(|at| (at % NAMES) as u32).collect();
    new.label_values = new.label_names.clone();
    let empty = || Batch::empty(Origin::Totals("r".into()), 0);
    let bounds = BatchBounds::totals().room(&empty());
    let started = Instant::now();
    let refused = apply(empty(), &edit, &bounds, &TypeRegistry::default()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(matches!(refused.1, EditError::TooMuch("bytes of labels", ..)), "{}", refused.1);
}

#[test]
fn a_name_twice_is_found_by_what_it_says() {
    let twice = |text: &str, ends: Vec<u32>, names: Vec<u32>| {
        let mut edit = Edit { new_text: text.into(), new_text_ends: ends, ..Edit::default() };
        edit.new_label_sets.ends = vec![names.len() as u32];
        (edit.new_label_sets.values, edit.new_label_sets.names) = (names.clone(), names);
        matches!(applied(&edit), Err(EditError::Twice(..)))
    };
    let symbols = sample().symbols.len() as u32;
    let known = sample().symbols.find("pod_name").unwrap();
    assert!(twice("xx", vec![1, 2], vec![symbols, symbols + 1]), "two new ones");
    assert!(twice("pod_name", vec![8], vec![known, symbols]), "an old and a new one");
    assert!(!twice("xy", vec![1, 2], vec![symbols, known, symbols + 1]), "three different ones");
}

/// An edit that adds a point of each of these metrics to the first pod.
fn adds_metrics(names: &[String]) -> Edit {
    let batch = sample();
    let mut edit = Edit::default();
    for (at, name) in names.iter().enumerate() {
        edit.new_text.extend(name.bytes());
        edit.new_text_ends.push(edit.new_text.len() as u32);
        let symbol = (batch.symbols.len() + at) as u32;
        let new = &mut edit.new_metrics;
        new.name.push(symbol);
        new.unit.push(symbol);
        [&mut new.kind, &mut new.value, &mut new.merge].into_iter().for_each(|column| column.push(0));
        edit.added_entity.push(0);
        edit.added.push((batch.metrics.len() + at) as u32, 0, 0, 7);
    }
    edit
}

#[test]
fn a_metric_that_there_is_no_room_for_costs_its_points_alone() {
    let types = TypeRegistry::default();
    let mut number = 0;
    while types.check(&format!("m{number}"), ValueType::Int, NamedBy::Rule).is_ok() {
        number += 1;
    }
    let edit = adds_metrics(&["new".to_owned(), "m1".to_owned()]);
    let bounds = BatchBounds::growing_from(&sample()).room(&sample());
    let (batch, stats) = apply(sample(), &edit, &bounds, &types).unwrap();
    assert_eq!((stats.added_points, stats.refused_points), (1, 1));
    assert_eq!(batch.points.len(), sample().points.len() + 1);
    assert!(rows(&batch).contains(&"pod_name=a,__phase=Running m1=7".to_owned()), "{:?}", rows(&batch));
}

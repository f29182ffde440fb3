//! Edits that can be read and are wrong: one good edit with rows in every column, and what can be wrong with each
//! column of it.

use std::fmt::Write as _;

use millrace::rules::FaultKind;

use super::guests::{Case, Expected, World, framed};

/// The columns of an edit, as they follow each other in the interface, with what is in them.
const COLUMNS: [(&str, Is); 30] = [
    ("keep-entities", Is::Mask),
    ("keep-points", Is::Mask),
    ("relabel-entity", Is::Id(Of::Entities)),
    ("relabel-name", Is::Id(Of::Symbols)),
    ("relabel-value", Is::Id(Of::Symbols)),
    ("new-symbols.text", Is::Text),
    ("new-symbols.ends", Is::Ends),
    ("new-metrics.name", Is::Id(Of::Symbols)),
    ("new-metrics.unit", Is::Id(Of::Symbols)),
    ("new-metrics.kind", Is::Choice),
    ("new-metrics.value", Is::Choice),
    ("new-metrics.merge", Is::Choice),
    ("new-label-sets.ends", Is::Ends),
    ("new-label-sets.names", Is::Id(Of::Symbols)),
    ("new-label-sets.values", Is::Id(Of::Symbols)),
    ("new-entities.level", Is::Choice),
    ("new-entities.label-ends", Is::Ends),
    ("new-entities.label-names", Is::Id(Of::Symbols)),
    ("new-entities.label-values", Is::Id(Of::Symbols)),
    ("new-entities.started-at", Is::Long),
    ("new-entities.point-ends", Is::Ends),
    ("new-points.metric", Is::Id(Of::Metrics)),
    ("new-points.labels", Is::Id(Of::Sets)),
    ("new-points.at", Is::Short),
    ("new-points.bits", Is::Long),
    ("added-entity", Is::Id(Of::Entities)),
    ("added.metric", Is::Id(Of::Metrics)),
    ("added.labels", Is::Id(Of::Sets)),
    ("added.at", Is::Short),
    ("added.bits", Is::Long),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    /// A byte a row of the input.
    Mask,
    /// Ids of a table: the input's rows, then the edit's.
    Id(Of),
    Text,
    Ends,
    /// A byte of a few that mean something.
    Choice,
    /// 64 bits.
    Long,
    /// 32 bits.
    Short,
}

/// A table of the batch: where the length of one of its columns stands among the arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The edit adds none that its ids could mean.
    Entities,
    Symbols,
    Metrics,
    Sets,
}

impl Of {
    /// Where the batch's number of rows stands, from the arguments' begin: the cycle has 32 bytes, the origin 16.
    fn length_at(self) -> u32 {
        match self {
            Self::Symbols => 68,
            Self::Metrics => 76,
            Self::Sets => 116,
            Self::Entities => 140,
        }
    }

    /// Rows that the good edit adds.
    fn added(self) -> i64 {
        match self {
            Self::Entities => 0,
            Self::Symbols => 4,
            Self::Metrics => 2,
            Self::Sets => 1,
        }
    }
}

/// A value of a row.
#[derive(Clone, Copy)]
enum Row {
    /// It.
    Plain(i64),
    /// So many rows after the last one of the input.
    After(Of, i64),
}

#[derive(Clone)]
struct Column {
    rows: Vec<Row>,
    /// Rows of a mask more than the batch has; `None`: no mask.
    mask: Option<i64>,
    /// Rows of zeros that it has beside.
    zeros: u32,
    pointer: Option<u32>,
    length: Option<u32>,
}

#[derive(Clone)]
struct Edit(Vec<Column>);

const ANSWER: u32 = 1024;
const ROWS: u32 = 4096;
/// A mebibyte of ones, for masks.
const ONES: u32 = 1 << 20;
/// Four mebibytes that nobody writes.
const ZEROS: u32 = 4 << 20;

fn plain(rows: &[i64]) -> Column {
    Column {
        rows: rows.iter().map(|&row| Row::Plain(row)).collect(),
        mask: None,
        zeros: 0,
        pointer: None,
        length: None,
    }
}

fn after(of: Of, rows: &[i64]) -> Column {
    let rows = rows.iter().map(|&row| Row::After(of, row)).collect();
    Column { rows, ..plain(&[]) }
}

impl Edit {
    fn empty() -> Self {
        Self(vec![plain(&[]); COLUMNS.len()])
    }

    /// Changes a label, adds four strings, an integer's and a float's metric, a label set, two entities with a point
    /// each, and two points to entities of the input; drops nothing.
    fn good() -> Self {
        let symbols = |rows: &[i64]| after(Of::Symbols, rows);
        let mask = Column { mask: Some(0), ..plain(&[]) };
        let one = 1_f64.to_bits().cast_signed();
        Self(vec![
            mask.clone(),
            mask,
            plain(&[0]),
            symbols(&[0]),
            symbols(&[1]),
            plain(&b"namevalueunitkey".map(i64::from)),
            plain(&[4, 9, 13, 16]),
            symbols(&[0, 3]),
            symbols(&[2, 2]),
            plain(&[0, 1]),
            plain(&[0, 1]),
            plain(&[0, 0]),
            plain(&[1]),
            symbols(&[3]),
            symbols(&[1]),
            plain(&[6, 6]),
            plain(&[1, 2]),
            symbols(&[0, 3]),
            symbols(&[1, 1]),
            plain(&[0, 0]),
            plain(&[1, 2]),
            after(Of::Metrics, &[0, 1]),
            Column { rows: vec![Row::Plain(0), Row::After(Of::Sets, 0)], ..plain(&[]) },
            plain(&[0, i64::from(i32::MIN)]),
            plain(&[7, one]),
            plain(&[0, 1]),
            after(Of::Metrics, &[0, 1]),
            Column { rows: vec![Row::After(Of::Sets, 0), Row::Plain(0)], ..plain(&[]) },
            plain(&[0, 0]),
            plain(&[7, one]),
        ])
    }

    fn with(mut self, column: &str, change: impl FnOnce(&mut Column)) -> Self {
        let at = COLUMNS.iter().position(|(name, _)| *name == column).expect("there is such a column");
        change(&mut self.0[at]);
        self
    }

    /// A module that answers it.
    fn text(&self) -> String {
        let (mut data, mut code) = (String::new(), String::new());
        let mut at = ROWS;
        for (field, (column, (_, is))) in self.0.iter().zip(COLUMNS).enumerate() {
            let list = ANSWER + 4 + 8 * field as u32;
            let size = match is {
                Is::Mask | Is::Text | Is::Choice => 1,
                Is::Id(_) | Is::Ends | Is::Short => 4,
                Is::Long => 8,
            };
            let mut bytes = Vec::new();
            for row in &column.rows {
                let row = match *row {
                    Row::Plain(row) => row,
                    Row::After(of, row) => {
                        let place = at + bytes.len() as u32;
                        let _ = writeln!(
                            code,
                            "(i32.store (i32.const {place}) (i32.add (i32.const {}) (i32.load offset={} (local.get 0))))",
                            row as i32,
                            of.length_at(),
                        );
                        row
                    }
                };
                bytes.extend_from_slice(&row.to_le_bytes()[..size]);
            }
            let (mut pointer, mut length) = (at, column.rows.len() as u32);
            if let Some(more) = column.mask {
                pointer = ONES;
                let rows = if field == 0 { Of::Entities.length_at() } else { 188 };
                let _ = writeln!(
                    code,
                    "(i32.store (i32.const {}) (i32.add (i32.const {more}) (i32.load offset={rows} (local.get 0))))",
                    list + 4,
                );
            }
            if column.zeros > 0 {
                (pointer, length) = (ZEROS, column.zeros);
            }
            let pointer = column.pointer.unwrap_or(pointer);
            if let Some(length) = column.length {
                let _ = writeln!(code, "(i32.store (i32.const {}) (i32.const {}))", list + 4, length.cast_signed());
            }
            let words = [pointer.to_le_bytes(), length.to_le_bytes()].concat();
            let _ = writeln!(data, "(data (i32.const {list}) \"{}\")", escaped(&words));
            let _ = writeln!(data, "(data (i32.const {at}) \"{}\")", escaped(&bytes));
            at = (at + bytes.len() as u32).next_multiple_of(8);
        }
        framed(&format!(
            "{data}(func $process (param i32) (result i32)\n\
             (memory.fill (i32.const {ONES}) (i32.const 1) (i32.const 1048576))\n{code}(i32.const {ANSWER}))\n"
        ))
    }
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("\\{byte:02x}"))
}

/// The good edit, which must be one, or the others would fail for another reason than theirs.
pub fn good() -> Vec<u8> {
    World::new().rule("the good edit", &Edit::good().text())
}

/// Everything that can be wrong with a column.
pub fn wrong() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, is) in COLUMNS {
        let mut add = |what: &str, expected, change: &dyn Fn(&mut Column)| {
            cases.push((format!("{name} {what}"), expected, Edit::good().with(name, change)));
        };
        lists(is, &mut add);
        match is {
            Is::Mask => {
                add("has a row less than the batch", FaultKind::InvalidEdit, &|column| column.mask = Some(-1));
                add("has a row more than the batch", FaultKind::InvalidEdit, &|column| column.mask = Some(1));
            }
            Is::Id(of) => {
                add("is one past the last row", FaultKind::InvalidEdit, &|column| {
                    column.rows[0] = Row::After(of, of.added());
                });
                add("is the largest number but one", FaultKind::InvalidEdit, &|column| {
                    column.rows[0] = Row::Plain(i64::from(u32::MAX - 1));
                });
            }
            Is::Ends => {
                add("ends past its rows", FaultKind::InvalidEdit, &|column| *last(column) = Row::Plain(1000));
                add("ends before its rows do", FaultKind::InvalidEdit, &|column| *last(column) = Row::Plain(0));
                add("ends at the largest number", FaultKind::InvalidEdit, &|column| {
                    *last(column) = Row::Plain(i64::from(u32::MAX));
                });
                add("falls", FaultKind::InvalidEdit, &|column| column.rows.insert(0, Row::Plain(1000)));
            }
            Is::Choice => {
                for byte in [7, 255] {
                    let what = format!("is {byte}");
                    add(&what, FaultKind::InvalidEdit, &|column| column.rows[0] = Row::Plain(byte));
                }
            }
            Is::Text | Is::Long | Is::Short => {}
        }
    }
    cases.extend(others());
    cases.extend(too_big());
    let world = World::new();
    let case = |(name, kind, edit): (String, FaultKind, Edit)| Case {
        bytes: world.rule(&name, &edit.text()),
        expected: Expected::Process(kind),
        name,
    };
    cases.into_iter().map(case).collect()
}

fn last(column: &mut Column) -> &mut Row {
    column.rows.last_mut().expect("the good edit has rows in every column")
}

/// What can be wrong with any list.
fn lists(is: Is, add: &mut dyn FnMut(&str, FaultKind, &dyn Fn(&mut Column))) {
    add("begins past the end of memory", FaultKind::Unreadable, &|column| column.pointer = Some(0xffff_fff0));
    add("begins at the end of memory", FaultKind::Unreadable, &|column| column.pointer = Some(8 << 20));
    add("has 4,294,967,295 rows", FaultKind::Unreadable, &|column| column.length = Some(u32::MAX));
    add("has 536,870,913 rows", FaultKind::Unreadable, &|column| column.length = Some((1 << 29) + 1));
    if matches!(is, Is::Id(_) | Is::Ends | Is::Long | Is::Short) {
        add("stands at an odd address", FaultKind::Unreadable, &|column| column.pointer = Some(ZEROS + 1));
    }
    if !matches!(is, Is::Mask) {
        add("has a row less than it must", FaultKind::InvalidEdit, &|column| drop(column.rows.pop()));
    }
    if !matches!(is, Is::Mask | Is::Ends) {
        add("has a row more than it may", FaultKind::InvalidEdit, &|column| column.rows.push(Row::Plain(0)));
    }
}

type Wrong = (String, FaultKind, Edit);

fn others() -> Vec<Wrong> {
    let bits = |value: f64| Row::Plain(value.to_bits().cast_signed());
    let text = |bytes: &'static [u8]| {
        move |column: &mut Column| {
            for (row, &byte) in column.rows.iter_mut().zip(bytes) {
                *row = Row::Plain(i64::from(byte));
            }
        }
    };
    let good = Edit::good;
    let drop_first = |edit: Edit| {
        let first = |column: &mut Column| (column.pointer, column.mask) = (Some(ONES - 1), Some(0));
        edit.with("keep-entities", first)
    };
    let mut cases: Vec<(&str, Edit)> = vec![
        ("text that is no UTF-8", good().with("new-symbols.text", text(b"\xff\xfe"))),
        ("text with an overlong slash", good().with("new-symbols.text", text(b"\xc0\xaf"))),
        ("text with half a pair of UTF-16", good().with("new-symbols.text", text(b"\xed\xa0\x80"))),
        ("a string that ends within a character", good().with("new-symbols.text", text("nam\u{e9}".as_bytes()))),
        ("an added point without a number", good().with("added.bits", |column| column.rows[1] = bits(f64::NAN))),
        ("an added point without end", good().with("added.bits", |column| column.rows[1] = bits(f64::INFINITY))),
        ("a new point without a number", good().with("new-points.bits", |column| column.rows[1] = bits(-f64::NAN))),
        (
            "a new point without begin",
            good().with("new-points.bits", |column| column.rows[1] = bits(f64::NEG_INFINITY)),
        ),
        (
            "an entity with one label twice",
            good()
                .with("new-entities.label-ends", |column| {
                    column.rows = vec![Row::Plain(2), Row::Plain(2)];
                })
                .with("new-entities.label-names", |column| column.rows[1] = Row::After(Of::Symbols, 0)),
        ),
        ("points added to entities that fall", good().with("added-entity", |column| column.rows.reverse())),
    ];
    // The byte before the ones is a zero: the first entity goes, with a label changed and a point added.
    cases.push((
        "a label of a dropped entity",
        drop_first(good().with("added-entity", |column| {
            column.rows = vec![Row::Plain(1), Row::Plain(1)];
        })),
    ));
    cases.push((
        "a point of a dropped entity",
        drop_first(good().with("relabel-entity", |column| {
            column.rows[0] = Row::Plain(1);
        })),
    ));
    cases.into_iter().map(|(name, edit)| (name.to_owned(), FaultKind::InvalidEdit, edit)).collect()
}

/// Edits of many rows of zeros: each is within what may be read, and over what an edit may add.
fn too_big() -> Vec<Wrong> {
    let zeros = |names: &[&str], rows: u32| {
        names.iter().fold(Edit::empty(), |edit, name| edit.with(name, |column| column.zeros = rows))
    };
    let points = ["new-points.metric", "new-points.labels", "new-points.at", "new-points.bits"];
    let metrics =
        ["new-metrics.name", "new-metrics.unit", "new-metrics.kind", "new-metrics.value", "new-metrics.merge"];
    let entities =
        ["new-entities.level", "new-entities.label-ends", "new-entities.started-at", "new-entities.point-ends"];
    let cases = [
        ("100,000 points", zeros(&points, 100_000)),
        ("10,001 metrics", zeros(&metrics, 10_001)),
        ("60,000 entities", zeros(&entities, 60_000)),
        ("100,000 label sets", zeros(&["new-label-sets.ends"], 100_000)),
        ("100,000 label changes of one entity", zeros(&["relabel-entity", "relabel-name", "relabel-value"], 100_000)),
        (
            "1,000 labels in one set",
            zeros(&["new-label-sets.names", "new-label-sets.values"], 1000)
                .with("new-label-sets.ends", |column| *column = plain(&[1000])),
        ),
        (
            "a metric's name of 2,000 bytes",
            zeros(&["new-symbols.text"], 2000)
                .with("new-symbols.ends", |column| *column = plain(&[2000]))
                .with("new-metrics.name", |column| *column = after(Of::Symbols, &[0]))
                .with("new-metrics.unit", |column| *column = plain(&[0]))
                .with("new-metrics.kind", |column| *column = plain(&[0]))
                .with("new-metrics.value", |column| *column = plain(&[0]))
                .with("new-metrics.merge", |column| *column = plain(&[0])),
        ),
        (
            "a label set of 9,000 bytes",
            zeros(&["new-symbols.text"], 9000)
                .with("new-symbols.ends", |column| *column = plain(&[9000]))
                .with("new-label-sets.ends", |column| *column = plain(&[1]))
                .with("new-label-sets.names", |column| *column = plain(&[0]))
                .with("new-label-sets.values", |column| *column = after(Of::Symbols, &[0])),
        ),
    ];
    cases.map(|(name, edit)| (name.to_owned(), FaultKind::TooBig, edit)).into()
}

/// Good edits with some bytes of what the guest answers changed at random, always the same for a seed.
pub fn spoiled(seeds: std::ops::Range<u64>) -> Vec<Case> {
    let world = World::new();
    let text = Edit::good().text();
    let end = text.rfind(&format!("(i32.const {ANSWER}))")).expect("it ends with its answer");
    seeds
        .map(|seed| {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) as u32
            };
            let mut code = String::new();
            for _ in 0..1 + seed % 4 {
                // Three of four among the rows, else among pointers and lengths.
                let place = if next() % 4 > 0 { ROWS + next() % 320 } else { ANSWER + next() % 244 };
                let _ = writeln!(code, "(i32.store8 (i32.const {place}) (i32.const {}))", next() % 256);
            }
            let text = format!("{}{code}{}", &text[..end], &text[end..]);
            let name = format!("spoiled {seed}");
            Case { bytes: world.rule(&name, &text), expected: Expected::Anything, name }
        })
        .collect()
}

//! Reads recordings. Every length, index and byte is checked before a batch is made of them.

use super::super::columns::{Batch, Entities, LabelSets, Metrics, Origin, Points, span};
use super::super::symbols::Symbols;
use super::super::types::{Cycle, Kind, Level, Merge, ValueType};
use super::{BATCH, END, HEADER, LOST, MAX_RECORD_BYTES, Record};

/// Why bytes are no recording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They begin with something else.
    #[error("is no recording of batches; `millrace rule record --out FILE` makes one")]
    NoRecording,
    /// Of a version that is not known here.
    #[error("is a recording of version {0}, which this program does not read; record it again")]
    OtherVersion(u8),
    /// It ends before a record does.
    #[error("ends in the middle of a record; it was cut short")]
    CutShort,
    /// Longer than any record may be.
    #[error("has a record of {0} bytes, more than {MAX_RECORD_BYTES}")]
    TooLong(usize),
    /// What it says does not fit together.
    #[error("is damaged: {0}")]
    Damaged(&'static str),
}

/// Takes bytes as they come and gives whole records.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    at: usize,
    begun: bool,
}

impl Decoder {
    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        // What has been read is forgotten once it is the larger part.
        if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..std::mem::take(&mut self.at));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next record; `None` until more bytes come.
    ///
    /// # Errors
    /// [`WireError`]; nothing sensible follows.
    pub fn next_record(&mut self) -> Result<Option<Record>, WireError> {
        if !self.begun && !self.begin()? {
            return Ok(None);
        }
        let left = self.bytes.get(self.at..).unwrap_or_default();
        let Some((&[kind, a, b, c, d], rest)) = left.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > MAX_RECORD_BYTES {
            return Err(WireError::TooLong(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let mut reading = Reading { left: body };
        let record = match kind {
            BATCH => {
                let cycle = reading.cycle()?;
                Record::Batch(cycle, Box::new(reading.batch()?))
            }
            END => Record::End(reading.cycle()?),
            LOST => Record::Lost(u64::from_le_bytes(reading.array()?)),
            _ => return Err(WireError::Damaged("a record of an unknown kind")),
        };
        if !reading.left.is_empty() {
            return Err(WireError::Damaged("a record is longer than what it says"));
        }
        self.at += 5 + length;
        Ok(Some(record))
    }

    /// Whether all bytes have been read.
    ///
    /// # Errors
    /// [`WireError::CutShort`], [`WireError::NoRecording`] if not.
    pub fn end(&self) -> Result<(), WireError> {
        match (self.begun, self.at == self.bytes.len()) {
            (true, true) => Ok(()),
            (true, false) => Err(WireError::CutShort),
            (false, _) => Err(WireError::NoRecording),
        }
    }

    fn begin(&mut self) -> Result<bool, WireError> {
        let (magic, version) = HEADER.split_at(HEADER.len() - 1);
        let have = self.bytes.len().min(magic.len());
        if self.bytes[..have] != magic[..have] {
            return Err(WireError::NoRecording);
        }
        match self.bytes.get(magic.len()) {
            None => Ok(false),
            Some(got) if version == [*got] => {
                self.at = HEADER.len();
                self.begun = true;
                Ok(true)
            }
            Some(&other) => Err(WireError::OtherVersion(other)),
        }
    }
}

struct Reading<'a> {
    left: &'a [u8],
}

impl<'a> Reading<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], WireError> {
        let (taken, left) = self.left.split_at_checked(bytes).ok_or(WireError::Damaged("a column is too long"))?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, left) = self.left.split_first_chunk().ok_or(WireError::Damaged("a record is too short"))?;
        self.left = left;
        Ok(*taken)
    }

    fn cycle(&mut self) -> Result<Cycle, WireError> {
        Ok(Cycle {
            number: u64::from_le_bytes(self.array()?),
            time: i64::from_le_bytes(self.array()?),
            window: i64::from_le_bytes(self.array()?),
            nodes_asked: u32::from_le_bytes(self.array()?),
            nodes_answered: u32::from_le_bytes(self.array()?),
        })
    }

    /// The rows of a column of `N` bytes each. Never more than what is there.
    fn column<T, const N: usize>(&mut self, read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, WireError> {
        let rows = u32::from_le_bytes(self.array()?) as usize;
        let bytes = self.take(rows.checked_mul(N).ok_or(WireError::Damaged("a column is too long"))?)?;
        Ok(bytes.as_chunks().0.iter().map(|&row| read(row)).collect())
    }

    fn bytes(&mut self) -> Result<Vec<u8>, WireError> {
        self.column(|[byte]: [u8; 1]| byte)
    }

    fn u32s(&mut self) -> Result<Vec<u32>, WireError> {
        self.column(u32::from_le_bytes)
    }

    fn batch(&mut self) -> Result<Batch, WireError> {
        let [kind] = self.array()?;
        let name = text(self.bytes()?)?;
        let origin = match kind {
            0 => Origin::Node(name),
            1 => Origin::Totals(name),
            _ => return Err(WireError::Damaged("an origin of an unknown kind")),
        };
        let base = i64::from_le_bytes(self.array()?);
        let symbols = symbols(&text(self.bytes()?)?, &self.u32s()?)?;
        let metrics = Metrics {
            name: self.u32s()?,
            unit: self.u32s()?,
            kind: self.bytes()?,
            value: self.bytes()?,
            merge: self.bytes()?,
        };
        let label_sets = LabelSets { ends: self.u32s()?, names: self.u32s()?, values: self.u32s()? };
        let entities = Entities {
            level: self.bytes()?,
            label_ends: self.u32s()?,
            label_names: self.u32s()?,
            label_values: self.u32s()?,
            started_at: self.column(i64::from_le_bytes)?,
            point_ends: self.u32s()?,
        };
        let points = Points {
            metric: self.u32s()?,
            labels: self.u32s()?,
            at: self.column(i32::from_le_bytes)?,
            bits: self.column(u64::from_le_bytes)?,
        };
        let batch = Batch { origin, base, symbols, metrics, label_sets, entities, points };
        check(&batch)?;
        Ok(batch)
    }
}

fn text(bytes: Vec<u8>) -> Result<String, WireError> {
    String::from_utf8(bytes).map_err(|_| WireError::Damaged("text is not UTF-8"))
}

fn symbols(text: &str, ends: &[u32]) -> Result<Symbols, WireError> {
    rise("symbols do not rise", ends, text.len())?;
    let mut symbols = Symbols::default();
    for row in 0..ends.len() {
        let string = text.get(span(ends, row)).ok_or(WireError::Damaged("a symbol ends inside a character"))?;
        if symbols.intern(string) as usize != row {
            return Err(WireError::Damaged("a symbol stands twice"));
        }
    }
    Ok(symbols)
}

fn rise(what: &'static str, ends: &[u32], to: usize) -> Result<(), WireError> {
    let rises = ends.is_sorted() && ends.last().copied().unwrap_or(0) as usize == to;
    if rises { Ok(()) } else { Err(WireError::Damaged(what)) }
}

fn below(what: &'static str, ids: &[u32], rows: usize) -> Result<(), WireError> {
    if ids.iter().all(|&id| (id as usize) < rows) { Ok(()) } else { Err(WireError::Damaged(what)) }
}

fn check(batch: &Batch) -> Result<(), WireError> {
    let (metrics, sets, entities, points) = (&batch.metrics, &batch.label_sets, &batch.entities, &batch.points);
    let lengths = [
        (metrics.unit.len(), metrics.len()),
        (metrics.kind.len(), metrics.len()),
        (metrics.value.len(), metrics.len()),
        (metrics.merge.len(), metrics.len()),
        (sets.values.len(), sets.names.len()),
        (entities.label_ends.len(), entities.len()),
        (entities.label_values.len(), entities.label_names.len()),
        (entities.started_at.len(), entities.len()),
        (entities.point_ends.len(), entities.len()),
        (points.labels.len(), points.len()),
        (points.at.len(), points.len()),
        (points.bits.len(), points.len()),
    ];
    if lengths.iter().any(|(got, want)| got != want) {
        return Err(WireError::Damaged("columns of one table differ in length"));
    }
    if sets.ends.first() != Some(&0) {
        return Err(WireError::Damaged("the first label set is not empty"));
    }
    rise("label sets do not rise", &sets.ends, sets.names.len())?;
    rise("labels do not rise", &entities.label_ends, entities.label_names.len())?;
    rise("points do not rise", &entities.point_ends, points.len())?;
    let strings =
        [&metrics.name, &metrics.unit, &sets.names, &sets.values, &entities.label_names, &entities.label_values];
    for ids in strings {
        below("a symbol is not there", ids, batch.symbols.len())?;
    }
    below("a metric is not there", &points.metric, metrics.len())?;
    below("a label set is not there", &points.labels, sets.ends.len())?;
    let known = entities.level.iter().all(|&byte| Level::from_byte(byte).is_some())
        && metrics.kind.iter().all(|&byte| Kind::from_byte(byte).is_some())
        && metrics.value.iter().all(|&byte| ValueType::from_byte(byte).is_some())
        && metrics.merge.iter().all(|&byte| Merge::from_byte(byte).is_some());
    if !known {
        return Err(WireError::Damaged("a byte that means nothing"));
    }
    let finite = |(&metric, &bits): (&u32, &u64)| {
        batch.metrics.value_type(metric) == ValueType::Int || f64::from_bits(bits).is_finite()
    };
    if points.metric.iter().zip(&points.bits).all(finite) {
        Ok(())
    } else {
        Err(WireError::Damaged("a value is not finite"))
    }
}

//! One node's blocks, or one rule's totals: one block a cycle.
//!
//! The newest block holds its values as they are; each older one as differences to the block after
//! it, as long as the shape is the same. So the newest is read at once, the others by going back from
//! it, and the oldest can be forgotten without touching another.

use std::sync::Arc;

use super::code::{self, Bits};
use super::fit::fit;
use super::shape::Shape;
use crate::batch::{Batch, Cycle, Origin};

/// A cycle of one source.
#[derive(Debug)]
pub(super) struct Block {
    /// Number of the cycle.
    pub cycle: u64,
    /// Its timestamp, ns since the epoch.
    pub time: i64,
    /// Its window, ns.
    pub window: i64,
    pub shape: Arc<Shape>,
    /// Rows of the shape that this cycle has not.
    absent: Option<Bits>,
    /// Points of this cycle.
    pub points: usize,
    /// Whether the values are differences to the block after it.
    is_difference: bool,
    data: Box<[u8]>,
}

impl Block {
    /// Whether the cycle has this row.
    pub fn has(&self, row: usize) -> bool {
        self.absent.as_ref().is_none_or(|absent| !absent.has(row))
    }

    /// Memory, bytes, without the shape's.
    pub fn size_bytes(&self) -> usize {
        // Two counters before what an `Arc` shares.
        self.data.len() + self.absent.as_ref().map_or(0, Bits::size_bytes) + size_of::<Self>() + 16
    }
}

/// All blocks of one origin.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub origin: Origin,
    /// The oldest first; never empty.
    pub blocks: Vec<Arc<Block>>,
}

impl Source {
    /// One with its first cycle.
    pub fn new(cycle: &Cycle, batch: &Batch) -> Self {
        let mut source = Self { origin: batch.origin.clone(), blocks: Vec::new() };
        source.key(cycle, batch);
        source
    }

    /// Adds a cycle.
    pub fn append(&mut self, cycle: &Cycle, batch: &Batch) {
        let Some(last) = self.blocks.last().cloned() else { return self.key(cycle, batch) };
        let older = values(&last);
        let mut newer = older.clone();
        let fitted = match fit(batch, &last.shape, &mut newer) {
            Some(fitted) if fitted.is_enough => fitted,
            Some(_) => return self.key(cycle, batch),
            None => return self.extend(cycle, batch, &last.shape),
        };
        let differences = Block {
            is_difference: true,
            data: encoded(&older, Some(&newer), &last.shape.floats),
            shape: Arc::clone(&last.shape),
            absent: last.absent.clone(),
            ..*last
        };
        if let Some(place) = self.blocks.last_mut() {
            *place = Arc::new(differences);
        }
        self.push(cycle, Arc::clone(&last.shape), fitted.absent(), fitted.count, &newer);
    }

    /// A cycle with something new: a shape that has room for what was there before, too.
    fn extend(&mut self, cycle: &Cycle, batch: &Batch, before: &Shape) {
        let shape = Shape::extending(batch, Some(before));
        let mut values = vec![0; shape.rows()];
        match fit(batch, &shape, &mut values).filter(|fitted| fitted.is_enough) {
            Some(fitted) => self.push(cycle, Arc::new(shape), fitted.absent(), fitted.count, &values),
            None => self.key(cycle, batch),
        }
    }

    /// A cycle with a shape of its own.
    fn key(&mut self, cycle: &Cycle, batch: &Batch) {
        // Rows of a new shape stand as the batch's points do.
        self.push(cycle, Arc::new(Shape::of(batch)), None, batch.points.len(), &batch.points.bits);
    }

    fn push(&mut self, cycle: &Cycle, shape: Arc<Shape>, absent: Option<Bits>, points: usize, values: &[u64]) {
        let data = encoded(values, None, &shape.floats);
        let (cycle, time, window) = (cycle.number, cycle.time, cycle.window);
        let block = Block { cycle, time, window, shape, absent, points, is_difference: false, data };
        self.blocks.push(Arc::new(block));
    }

    /// The newest block.
    pub fn newest(&self) -> Option<&Arc<Block>> {
        self.blocks.last()
    }

    /// Every block with all its values, the newest first.
    pub fn backwards(&self) -> impl Iterator<Item = (&Block, Vec<u64>)> {
        let mut values = Vec::new();
        self.blocks.iter().rev().map(move |block| {
            // A difference is one to the block after it, whose values these still are.
            if !block.is_difference {
                values.clear();
            }
            values.resize(block.shape.rows(), 0);
            code::decode(&block.data, &block.shape.floats, &mut values);
            (&**block, values.clone())
        })
    }

    /// Every different shape with the places of the blocks that have it, the newest first.
    pub fn shapes(&self) -> impl Iterator<Item = (&Arc<Shape>, &[Arc<Block>])> {
        let runs = self.blocks.chunk_by(|one, other| Arc::ptr_eq(&one.shape, &other.shape)).rev();
        runs.filter_map(|run| Some((&run.first()?.shape, run)))
    }

    /// Memory of blocks and shapes, bytes.
    pub fn size_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|block| block.size_bytes() + size_of::<Arc<Block>>()).sum();
        blocks + self.shapes().map(|(shape, _)| shape.size_bytes()).sum::<usize>() + size_of::<Self>()
    }
}

fn encoded(values: &[u64], reference: Option<&[u64]>, floats: &Bits) -> Box<[u8]> {
    let mut data = Vec::with_capacity(values.len() * 4);
    code::encode(values, reference, floats, &mut data);
    data.into()
}

/// All values of a block that is the newest of its source or its shape.
pub(super) fn values(block: &Block) -> Vec<u64> {
    let mut values = vec![0; block.shape.rows()];
    if !block.is_difference {
        code::decode(&block.data, &block.shape.floats, &mut values);
    }
    values
}

/// The values of one row in blocks of one shape, the newest block first. Of a run of blocks with one
/// shape the last is never a difference.
pub(super) fn row_values<'b>(run: &'b [Arc<Block>], row: usize) -> impl Iterator<Item = (&'b Block, u64)> + 'b {
    let mut reference = 0;
    run.iter().rev().filter_map(move |block| {
        let start = if block.is_difference { reference } else { 0 };
        reference = code::decode_row(&block.data, row, block.shape.floats.has(row), start);
        block.has(row).then_some((&**block, reference))
    })
}

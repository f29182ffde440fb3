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

/// Memory that is used again and again: what is allocated and freed between pieces that stay would
/// leave holes of three times their size.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    older: Vec<u64>,
    newer: Vec<u64>,
    code: Vec<u8>,
}

impl Scratch {
    fn encoded(&mut self, shape: &Shape, is_difference: bool) -> Box<[u8]> {
        self.code.clear();
        let (values, reference) = if is_difference { (&self.older, Some(&*self.newer)) } else { (&self.newer, None) };
        code::encode(values, reference, &shape.floats, &mut self.code);
        self.code.as_slice().into()
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
    pub fn new(cycle: &Cycle, batch: &Batch, scratch: &mut Scratch) -> Self {
        let mut source = Self { origin: batch.origin.clone(), blocks: Vec::new() };
        source.key(cycle, batch, scratch);
        source
    }

    /// Adds a cycle.
    pub fn append(&mut self, cycle: &Cycle, batch: &Batch, scratch: &mut Scratch) {
        let Some(last) = self.blocks.last().cloned() else { return self.key(cycle, batch, scratch) };
        read_values(&last, &mut scratch.older);
        scratch.newer.clone_from(&scratch.older);
        let fitted = match fit(batch, &last.shape, &mut scratch.newer) {
            Some(fitted) if fitted.is_enough => fitted,
            Some(_) => return self.key(cycle, batch, scratch),
            None => return self.extend(cycle, batch, &last.shape, scratch),
        };
        let differences = Block {
            is_difference: true,
            data: scratch.encoded(&last.shape, true),
            shape: Arc::clone(&last.shape),
            absent: last.absent.clone(),
            ..*last
        };
        if let Some(place) = self.blocks.last_mut() {
            *place = Arc::new(differences);
        }
        self.push(cycle, Arc::clone(&last.shape), fitted.absent(), fitted.count, scratch);
    }

    /// A cycle with something new: a shape that has room for what was there before, too.
    fn extend(&mut self, cycle: &Cycle, batch: &Batch, before: &Shape, scratch: &mut Scratch) {
        let shape = Shape::extending(batch, Some(before));
        scratch.newer.clear();
        scratch.newer.resize(shape.rows(), 0);
        match fit(batch, &shape, &mut scratch.newer).filter(|fitted| fitted.is_enough) {
            Some(fitted) => self.push(cycle, Arc::new(shape), fitted.absent(), fitted.count, scratch),
            None => self.key(cycle, batch, scratch),
        }
    }

    /// A cycle with a shape of its own.
    fn key(&mut self, cycle: &Cycle, batch: &Batch, scratch: &mut Scratch) {
        // Rows of a new shape stand as the batch's points do.
        scratch.newer.clone_from(&batch.points.bits);
        self.push(cycle, Arc::new(Shape::of(batch)), None, batch.points.len(), scratch);
    }

    /// With the values that lie in the scratch.
    fn push(&mut self, cycle: &Cycle, shape: Arc<Shape>, absent: Option<Bits>, points: usize, scratch: &mut Scratch) {
        let data = scratch.encoded(&shape, false);
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

/// All values of a block that is the newest of its source or its shape.
pub(super) fn values(block: &Block) -> Vec<u64> {
    let mut values = Vec::new();
    read_values(block, &mut values);
    values
}

fn read_values(block: &Block, values: &mut Vec<u64>) {
    values.clear();
    values.resize(block.shape.rows(), 0);
    if !block.is_difference {
        code::decode(&block.data, &block.shape.floats, values);
    }
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

//! What is written is read, and what is damaged is refused without a panic.

use super::super::rows::{Descriptors, build, parse, rows};
use super::*;

const CYCLE: Cycle = Cycle { number: 7, time: 60_000_000_000, window: 1, nodes_asked: 2, nodes_answered: 0 };

fn batch() -> Batch {
    let text = "node {@started=1970-01-01T00:00:01Z,nodename=n} cpu/usage = 5 @ 3ms\n\
                pod {pod_name=é} fs{resource_id=/} = 1.5\npod {pod_name=é} memory/usage = -1";
    let rows = parse(text, &Descriptors::new()).unwrap();
    build(&rows, Origin::Node("n".to_owned()), CYCLE.time, &Descriptors::new()).unwrap()
}

fn recording() -> Vec<u8> {
    let mut out = HEADER.to_vec();
    write_batch(&mut out, &CYCLE, &batch());
    write_lost(&mut out, 3);
    write_end(&mut out, &CYCLE);
    out
}

fn read(bytes: &[u8]) -> Result<Vec<Record>, WireError> {
    let (mut decoder, mut records) = (Decoder::default(), Vec::new());
    // In small pieces, as a network brings them.
    for piece in bytes.chunks(7) {
        decoder.push(piece);
        while let Some(record) = decoder.next_record()? {
            records.push(record);
        }
    }
    decoder.end().map(|()| records)
}

#[test]
fn what_is_written_is_read() {
    let records = read(&recording()).unwrap();
    let [Record::Batch(cycle, got), Record::Lost(3), Record::End(end)] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!((cycle, end), (&CYCLE, &CYCLE));
    assert_eq!(rows(got, CYCLE.time), rows(&batch(), CYCLE.time));
    assert_eq!((got.origin.clone(), got.base), (batch().origin, batch().base));
    assert!(got.symbols.find("pod_name").is_some(), "rules' edits look strings up");
}

#[test]
fn what_is_no_recording_is_told_apart() {
    let whole = recording();
    assert_eq!(read(b"PK\x03\x04").unwrap_err(), WireError::NoRecording);
    assert_eq!(read(b"").unwrap_err(), WireError::NoRecording);
    assert_eq!(read(&whole[..whole.len() - 1]).unwrap_err(), WireError::CutShort);
    let mut newer = whole;
    newer[HEADER.len() - 1] = 2;
    assert_eq!(read(&newer).unwrap_err(), WireError::OtherVersion(2));
    let mut long = HEADER.to_vec();
    long.extend_from_slice(&[BATCH, 255, 255, 255, 255]);
    assert_eq!(read(&long).unwrap_err(), WireError::TooLong(u32::MAX as usize));
}

#[test]
fn every_damaged_byte_gives_an_error_or_another_batch_and_no_panic() {
    let whole = recording();
    for at in HEADER.len()..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            for record in read(&damaged).into_iter().flatten() {
                if let Record::Batch(cycle, batch) = record {
                    // Whatever was accepted can be looked at.
                    drop(rows(&batch, cycle.time));
                }
            }
        }
    }
}

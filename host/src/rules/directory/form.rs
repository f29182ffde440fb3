//! The forms in which a rule's file may lie in a directory: `.wasm` as it is, `.wasm.gz`, `.wasm.zst`.
//!
//! What unpacks to more than it may is refused where the bound is passed, not after.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Largest window of a zstd frame, bytes: no rule is larger, and the decoder sets it aside at once.
const MAX_WINDOW_BYTES: u64 = 32 << 20;

/// How a rule's file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Not at all.
    Plain,
    /// As `gzip` does.
    Gzip,
    /// As `zstd` does.
    Zstd,
}

impl Form {
    /// The form that a file's name tells, with the name before `.wasm`. `None` if it is no rule's.
    #[must_use]
    pub fn of(name: &str) -> Option<(&str, Self)> {
        [(".wasm", Self::Plain), (".wasm.gz", Self::Gzip), (".wasm.zst", Self::Zstd)]
            .into_iter()
            .find_map(|(ending, form)| Some((name.strip_suffix(ending)?, form)))
    }

    /// The module or component in a file of this form, of at most `most` bytes. Of an empty file
    /// that is nothing, whatever its form.
    ///
    /// # Errors
    /// What is wrong, to stand behind the file's name.
    pub fn unpack(self, bytes: Vec<u8>, most: usize) -> Result<Vec<u8>, String> {
        let unpacked = match self {
            _ if bytes.is_empty() => bytes,
            Self::Plain => bytes,
            Self::Gzip => gunzip(&bytes, most)?,
            Self::Zstd => unzstd(&bytes, most)?,
        };
        if unpacked.len() > most {
            return Err(format!("unpacks to more than {} MiB", most >> 20));
        }
        Ok(unpacked)
    }
}

fn gunzip(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let done = MultiGzDecoder::new(bytes).take(most as u64 + 1).read_to_end(&mut unpacked);
    done.map_err(|error| damaged("gzip", &error))?;
    Ok(unpacked)
}

/// All frames of a file: `zstd` makes one, `pzstd` many.
fn unzstd(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW_BYTES);
    let (mut rest, mut unpacked) = (bytes, Vec::new());
    while !rest.is_empty() && unpacked.len() <= most {
        let room = most as u64 + 1 - unpacked.len() as u64;
        match StreamingDecoder::new_with_decoder(&mut rest, &mut decoder) {
            Ok(frame) => {
                frame.take(room).read_to_end(&mut unpacked).map_err(|error| damaged("zstd", &error))?;
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                rest = rest.get(length as usize..).ok_or_else(|| damaged("zstd", &"it is cut short"))?;
                continue;
            }
            Err(error) => return Err(damaged("zstd", &error)),
        }
        // The decoder leaves comparing to its caller.
        let wanted = decoder.get_checksum_from_data();
        if decoder.is_finished() && wanted.is_some() && wanted != decoder.get_calculated_checksum() {
            return Err(damaged("zstd", &"its checksum does not match"));
        }
    }
    Ok(unpacked)
}

fn damaged(kind: &str, reason: &dyn std::fmt::Display) -> String {
    format!("can't be unpacked as {kind}: {reason}; pack it again")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn text(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at * at % 251) as u8).collect()
    }

    #[test]
    fn a_name_tells_the_form() {
        for (name, want) in [
            ("50-heapster.wasm", Some(("50-heapster", Form::Plain))),
            ("50-heapster.wasm.gz", Some(("50-heapster", Form::Gzip))),
            ("50-heapster.wasm.zst", Some(("50-heapster", Form::Zstd))),
            ("50-heapster.wasm.xz", None),
            ("50-heapster.gz", None),
            ("50-heapster.toml", None),
        ] {
            assert_eq!(Form::of(name), want, "{name}");
        }
    }

    #[test]
    fn every_form_gives_back_what_went_in() {
        let whole = text(300_000);
        assert_eq!(Form::Plain.unpack(whole.clone(), 1 << 20).unwrap(), whole);
        let halves = whole.split_at(100_000);
        for (form, pack) in [(Form::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Form::Zstd, zstd)] {
            assert_eq!(form.unpack(pack(&whole), whole.len()).unwrap(), whole, "{form:?}");
            let two = [pack(halves.0), pack(halves.1)].concat();
            assert_eq!(form.unpack(two, whole.len()).unwrap(), whole, "{form:?} in two parts");
            assert_eq!(form.unpack(Vec::new(), 0).unwrap(), b"", "{form:?} of nothing");
        }
        // A frame that decoders must skip, between two of data.
        let skipped = [&[0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let three = [zstd(halves.0), skipped, zstd(halves.1)].concat();
        assert_eq!(Form::Zstd.unpack(three, whole.len()).unwrap(), whole);
    }

    #[test]
    fn what_is_damaged_or_too_large_is_refused_and_never_panics() {
        let whole = text(5_000);
        for (form, packed) in [(Form::Gzip, gzip(&whole)), (Form::Zstd, zstd(&whole))] {
            for end in 1..packed.len() {
                let cut = form.unpack(packed[..end].to_vec(), 1 << 20);
                assert!(cut.is_err_and(|what| what.contains("pack it again")), "{form:?} cut at {end}");
            }
            for at in 0..packed.len() {
                let mut flipped = packed.clone();
                flipped[at] ^= 0x55;
                if let Ok(bytes) = form.unpack(flipped, 1 << 20) {
                    assert_eq!(bytes, whole, "{form:?} with byte {at} changed");
                }
            }
            let what = form.unpack(packed, whole.len() - 1).unwrap_err();
            assert_eq!(what, "unpacks to more than 0 MiB", "{form:?}");
        }
        let bomb = vec![0; 8 << 20];
        assert!(Form::Gzip.unpack(gzip(&bomb), 1 << 20).is_err());
        let many = zstd(&bomb).repeat(200);
        assert!(Form::Zstd.unpack(many, 1 << 20).is_err());
        // A window of 3.75 TiB.
        let wide = [0x28, 0xB5, 0x2F, 0xFD, 0, 0xFF, 1, 0, 0];
        let what = Form::Zstd.unpack(wide.to_vec(), 1 << 20).unwrap_err();
        assert!(what.to_lowercase().contains("window"), "{what}");
    }
}

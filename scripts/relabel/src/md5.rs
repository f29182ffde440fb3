//! MD5 (RFC 1321), for `hashmod` to choose as Prometheus does. It protects nothing.

/// How far each step of a round turns.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The first 32 bits behind the point of |sin(1)| to |sin(64)|.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
];

/// The last 8 of the 16 bytes of a text's hash, as a number that begins with the first of them.
pub fn second_half(text: &str) -> u64 {
    let mut bytes = text.as_bytes().to_vec();
    let bits = 8 * bytes.len() as u64;
    bytes.push(0x80);
    bytes.resize((bytes.len() + 8).next_multiple_of(64) - 8, 0);
    bytes.extend_from_slice(&bits.to_le_bytes());
    let mut state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];
    for block in bytes.as_chunks::<64>().0 {
        state = turn(state, block);
    }
    let bytes = |word: u32| u64::from(word.swap_bytes());
    bytes(state[2]) << 32 | bytes(state[3])
}

fn turn(state: [u32; 4], block: &[u8; 64]) -> [u32; 4] {
    let words = block.as_chunks::<4>().0;
    let [mut a, mut b, mut c, mut d] = state;
    for step in 0..64 {
        let (mixed, word) = match step / 16 {
            0 => (b & c | !b & d, step),
            1 => (d & b | !d & c, 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(SINES[step]).wrapping_add(u32::from_le_bytes(words[word % 16]));
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(TURNS[step / 16][step % 4]));
    }
    let [old_a, old_b, old_c, old_d] = state;
    [a.wrapping_add(old_a), b.wrapping_add(old_b), c.wrapping_add(old_c), d.wrapping_add(old_d)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        for (text, want) in [
            ("", 0xe980_0998_ecf8_427e),
            ("a", 0x31c3_99e2_6977_2661),
            ("abc", 0xd696_3f7d_28e1_7f72),
            ("message digest", 0x525a_2f31_aaf1_61d0),
            ("12345678901234567890123456789012345678901234567890123456789012345678901234567890", 0xac49_da2e_2107_b67a),
        ] {
            assert_eq!(second_half(text), want, "{text}");
        }
        for length in 54..=66 {
            assert_ne!(second_half(&"x".repeat(length)), second_half(&"x".repeat(length + 1)));
        }
    }
}
